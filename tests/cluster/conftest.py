"""Hosts and a cluster on them, once for the tier: real `ray up`, real SSH, real processes."""

from __future__ import annotations

import os

import pytest

from tests.cluster.hosts import why_not

#: Set in CI, where every package is there: a skip would hide that nothing was tested.
MUST_RUN = os.environ.get("CI") == "true" and os.geteuid() == 0


def pytest_collection_modifyitems(items):
    reason = why_not()
    if reason and not MUST_RUN:
        for item in items:
            if "tests/cluster" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def machines():
    """The hosts of the tier, which leave nothing on this machine."""
    reason = why_not()
    assert not reason, f"in CI the cluster tests must run, but {reason}"
    from tests.cluster.hosts import hosts

    with hosts() as made:
        yield made
    assert made.left() == []


@pytest.fixture(scope="session")
def hold(tmp_path_factory):
    """What keeps a write to that server back."""
    from tests.pure.s3_server import Hold

    return Hold(tmp_path_factory.mktemp("hold"))


@pytest.fixture(scope="session")
def storage(machines, hold):
    """Storage URIs of an S3 server that every host and this machine reach."""
    from tests.pure.s3_server import CREDENTIALS, s3_server, uri

    with s3_server(machines.bridge_address, hold) as place, pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield lambda folder: uri(*place, folder)


@pytest.fixture(scope="session")
def cluster(machines, storage, tmp_path_factory):
    """A head and two workers, up and reached through a tunnel, as from a laptop."""
    from tests.cluster.running import brought_up

    with brought_up(machines, tmp_path_factory.mktemp("cluster")) as running:
        yield running
