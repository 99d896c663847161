"""Claims about `cluster/node.sh`, run in a home of its own with a `ray` that only writes down how it was called."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from sweep.notice import nodes_here
from tests.pure.test_notice import amazon, interrupted, served

ROOT = Path(__file__).parents[2]
NODE = ROOT / "cluster/node.sh"


class Machine:
    """A home with a token and an environment whose Python is this one and whose `ray` writes down its words."""

    def __init__(self, home: Path) -> None:
        self.home, self.venv = home, home / "venv"
        self.calls = home / "calls"
        self.calls.write_text("")
        (home / ".ray").mkdir()
        (home / ".ray/auth_token").write_text("0123456789abcdef" * 4)
        (self.venv / "bin").mkdir(parents=True)
        self.program("python", f'exec {sys.executable} "$@"')
        self.program("ray", f'echo "$@ OMP=${{OMP_NUM_THREADS:-}} AUTH=${{RAY_AUTH_MODE:-}}" >>{self.calls}')

    def program(self, name: str, text: str) -> None:
        path = self.venv / "bin" / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """node.sh with those words, as Ray's launcher runs it."""
        given = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
        given |= {"SWEEP_VENV": str(self.venv), "SWEEP_INSTALL": "0", "SWEEP_RAY": version("ray")}
        given |= {"SWEEP_PYTHON": platform.python_version()}
        return subprocess.run(
            ["bash", str(NODE), *words], env=given | variables, capture_output=True, text=True, timeout=60
        )


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


def until(holds) -> None:
    stop = time.monotonic() + 20
    while not holds() and time.monotonic() < stop:
        time.sleep(0.05)
    assert holds()


def test_a_worker_whose_cloud_takes_it_back_drains_its_node_and_no_other(machine):
    head = "192.0.2.1:6379"

    def raylet(node: str, of: str) -> subprocess.Popen:
        words = ["/x/raylet", "-c", "sleep 60; :", f"--node-id={node}", f"--gcs-address={of}"]
        return subprocess.Popen(words, executable="/bin/bash")

    metadata = amazon()
    raylets = [raylet("a1", head), raylet("b2", "192.0.2.2:6379")]
    try:
        with served(metadata) as base:
            interrupted(metadata, 100)
            until(lambda: nodes_here(head) == ["a1"])
            answer = machine.run("worker", "192.0.2.1", SWEEP_SPOT="aws", SWEEP_METADATA=base)
            assert answer.returncode == 0, answer.stderr
            until(lambda: "drain-node" in machine.calls.read_text())
    finally:
        for process in raylets:
            process.kill()
            process.wait()
    stopped, started, drained = machine.calls.read_text().splitlines()
    assert stopped.startswith("stop")
    assert started.startswith("start --address=192.0.2.1:6379 --disable-usage-stats OMP= AUTH=token")
    assert drained.startswith(f"drain-node --address {head} --node-id a1 --reason DRAIN_NODE_REASON_PREEMPTION")
    assert 90 <= int(drained.split("--deadline-remaining-seconds ")[1].split()[0]) <= 100


def test_a_machine_of_ones_own_watches_for_no_notice(machine):
    assert machine.run("worker", "192.0.2.1").returncode == 0
    assert not (machine.home / "transfer-sweep-notice.log").exists()
