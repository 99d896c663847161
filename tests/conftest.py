"""Marks each test with the tier that its folder is, and refuses skips without a reason."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TIERS = {"pure", "libraries", "torch_cpu", "ray_local", "cluster", "browser", "gpu"}
HERE = Path(__file__).parent

#: Nothing that is claimed depends on how fast the machine is. `make test-deep` looks longer for what breaks a claim.
settings.register_profile("usual", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", settings.get_profile("usual"), max_examples=1000)
settings.load_profile("usual")


def pytest_collection_modifyitems(items):
    for item in items:
        tier = item.path.relative_to(HERE).parts[0]
        if tier in TIERS:
            item.add_marker(getattr(pytest.mark, tier))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if (
        report.skipped
        and isinstance(report.longrepr, tuple)
        and not report.longrepr[2].removeprefix("Skipped:").strip()
    ):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: a skip must state its reason"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
