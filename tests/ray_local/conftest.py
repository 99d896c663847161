"""One small Ray cluster for the whole tier, since starting one costs seconds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import ray

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
