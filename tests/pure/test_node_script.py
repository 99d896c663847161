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
from tests.pure.metadata_server import amazon, interrupted, served

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
        self.program("ray", f'echo "$@ $({self.venv}/bin/variables)" >>{self.calls}')
        self.program("variables", "env | grep '^RAY_\\|^OMP_\\|_METRIC_PORT' | sort | tr '\\n' ' '")

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
        agent = f"--dashboard_agent_command=python agent.py --node-id={node} --gcs-address={of}"
        words = ["/x/raylet", "-c", "sleep 60; :", f"--node_id={node}", f"--gcs-address={of}", agent]
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
    assert started.startswith("start --address=192.0.2.1:6379 --disable-usage-stats ")
    assert drained.startswith(f"drain-node --address {head} --node-id a1 --reason DRAIN_NODE_REASON_PREEMPTION")
    assert 90 <= int(drained.split("--deadline-remaining-seconds ")[1].split()[0]) <= 100


def test_a_machine_of_ones_own_watches_for_no_notice(machine):
    assert machine.run("worker", "192.0.2.1").returncode == 0
    assert not (machine.home / "transfer-sweep-notice.log").exists()


@pytest.mark.parametrize("words", [("head",), ("worker", "192.0.2.1")])
def test_ray_asks_for_the_token_may_use_all_threads_and_serves_no_metrics(machine, words):
    assert machine.run(*words).returncode == 0
    started = machine.calls.read_text().splitlines()[-1]
    assert started.startswith("start --")
    assert "OMP_NUM_THREADS" not in started
    for variable in (
        "RAY_AUTH_MODE=token",
        f"RAY_AUTH_TOKEN_PATH={machine.home}/.ray/auth_token",
        "RAY_enable_metrics_collection=0",
        "DASHBOARD_METRIC_PORT=-1",
        "AUTOSCALER_METRIC_PORT=-1",
    ):
        assert f" {variable} " in started
    assert ("--dashboard-host=127.0.0.1" in started) == (words == ("head",))
    assert (machine.home / ".ray/auth_token").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"SWEEP_RAY": "2.0.0"}, f"Ray must be 2.0.0 on every machine, got {version('ray')} on "),
        ({"SWEEP_PYTHON": "3.1.4"}, f"Python must be 3.1.4 on every machine, got {platform.python_version()} on "),
        ({"SWEEP_VENV": "/nowhere"}, "/nowhere must be an environment with Ray, got none"),
    ],
)
def test_a_machine_of_other_versions_or_without_an_environment_starts_no_ray(machine, variables, fault):
    for words in (("install",), ("head",), ("worker", "192.0.2.1")):
        answer = machine.run(*words, **variables)
        assert answer.returncode == 1
        assert f"node.sh: {fault}" in answer.stderr
    assert machine.calls.read_text() == ""


def test_an_interpreter_of_another_python_than_asked_for_is_refused_too(machine):
    given = {"SWEEP_PYTHON": sys.executable, "SWEEP_PYTHON_VERSION": "3.1.4"}
    assert "Python must be 3.1.4 on every machine" in machine.run("head", **given).stderr
    assert machine.run("head", SWEEP_PYTHON=sys.executable).returncode == 0


@pytest.mark.parametrize("content", [None, ""])
def test_a_machine_without_the_token_starts_no_ray(machine, content):
    token = machine.home / ".ray/auth_token"
    token.unlink() if content is None else token.write_text(content)
    answer = machine.run("worker", "192.0.2.1")
    assert answer.returncode == 1
    assert "must hold the cluster's token, got none; run `ray get-auth-token --generate` before" in answer.stderr
    assert machine.calls.read_text() == ""


def test_an_environment_is_made_with_the_python_asked_for_and_the_project_goes_in_with_its_extras(machine):
    made = machine.home / "made"
    machine.program("interpreter", f'echo "interpreter $@" >>{machine.calls}; cp -r {machine.venv} {made}')
    machine.program(
        "python", f'case "$*" in *pip*) echo "$@" >>{machine.calls} ;; *) exec {sys.executable} "$@" ;; esac'
    )
    given = {"SWEEP_INSTALL": "1", "SWEEP_VENV": str(made), "SWEEP_PYTHON": str(machine.venv / "bin/interpreter")}
    answer = machine.run("install", **given, SWEEP_EXTRAS="aws", SWEEP_PIP="--no-index --find-links /wheels")
    assert answer.returncode == 0, answer.stderr
    venv, pip = machine.calls.read_text().splitlines()
    assert venv == f"interpreter -m venv {made}"
    assert pip.startswith("-m pip install ") and f"--no-index --find-links /wheels --editable {ROOT}[aws]" in pip
    assert pip.endswith(f" ray=={version('ray')}")  # else the newest that the project takes, and a refusal at its start
    again = machine.run("install", **given)
    assert again.returncode == 0
    (only,) = machine.calls.read_text().splitlines()[2:]  # and no second environment
    assert only.endswith(f"--editable {ROOT} ray=={version('ray')}")


def test_what_is_no_action_is_answered_with_the_variables(machine):
    answer = machine.run("up")
    assert answer.returncode == 2
    assert "SWEEP_VENV" in answer.stdout and "SWEEP_SPOT" in answer.stdout and "set -e" not in answer.stdout
