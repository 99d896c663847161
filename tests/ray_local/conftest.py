"""One small Ray cluster for the whole tier, since starting one costs seconds."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from sweep import run
from tests.ray_local.machines import Machines, placed
from trainables.dispatcher import start_local_ray

ROOT = str(Path(__file__).parents[2])


@pytest.fixture(scope="session")
def cluster():
    """Ray with two processors; its workers can import the fakes of these tests."""
    os.environ["PYTHONPATH"] = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])
    start_local_ray(cpus=2)
    yield
    ray.shutdown()


@pytest.fixture
def machines(monkeypatch) -> Machines:
    """What Ray would say of the machines, and gangs that live on them."""
    return placed(monkeypatch)


@pytest.fixture(scope="session")
def uninterrupted(cluster, tmp_path_factory) -> dict[str, bytes]:
    """The tables of the slow sweep, from a run that was never killed and did not dawdle."""
    from tests.ray_local.test_sweep_rehearsal import ONE, SLOW, tables

    folder = tmp_path_factory.mktemp("uninterrupted")
    return tables(run(replace(SLOW, gangs=ONE), folder / "storage"), folder / "tables")
