"""Claims about a sweep as a job, with a cluster that is a few lines: what it is handed, asked and how it is ended."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweep.submit import STOP_SECONDS, Cluster


class Jobs:
    """The part of Ray's client of jobs that is used. A job runs at once, in a shell of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.handed: dict[str, dict] = {}
        self.states: dict[str, str] = {}

    def submit_job(self, *, entrypoint: str, submission_id: str, runtime_env=None, metadata=None) -> str:
        self.handed[submission_id] = {"entrypoint": entrypoint, "environment": runtime_env or {}, "told": metadata}
        environment = {"PATH": f"{self.folder}:/usr/bin:/bin", "LOG": str(self.log(submission_id))}
        with self.log(submission_id).open("a") as log:
            ran = subprocess.run(entrypoint, shell=True, stdout=log, stderr=subprocess.STDOUT, env=environment)
        self.states[submission_id] = "FAILED" if ran.returncode else "SUCCEEDED"
        return submission_id

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def get_job_info(self, name: str) -> SimpleNamespace:
        told = self.handed[name]["told"]
        return SimpleNamespace(
            submission_id=name, metadata=told, status=self.states[name], start_time=1000, message=None
        )

    def list_jobs(self) -> list[SimpleNamespace]:
        return [self.get_job_info(name) for name in self.handed]

    def get_job_logs(self, name: str) -> str:
        return self.log(name).read_text()

    def delete_job(self, name: str) -> None:
        del self.handed[name]


#: Whatever a job runs as `python` prints its words and complains of one thing; of `broken` it dies. While it runs, Ray
#: writes its own line to the log.
PYTHON = """#!/bin/sh
echo "Running entrypoint for job: python $*" >>"$LOG"
echo "cell,accuracy"
echo "$@"
echo "wrote a file" >&2
case "$*" in *broken*) exit 2 ;; esac
"""


@pytest.fixture
def jobs(monkeypatch, tmp_path):
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    made = Jobs(tmp_path)
    monkeypatch.setattr("sweep.submit._client", lambda address: made)
    return made


def test_what_a_command_on_the_cluster_prints_comes_without_its_errors_and_without_what_ray_writes(jobs):
    answer = Cluster("there").ask(["table", "my sweep", "--format", "csv"])
    assert answer.succeeded
    assert answer.output == "cell,accuracy\n-m sweep.cli table my sweep --format csv\n"
    assert answer.errors == "wrote a file\n"
    assert jobs.handed == {}


def test_a_command_that_fails_on_the_cluster_says_so_and_why(jobs):
    answer = Cluster("there").ask(["table", "broken"])
    assert not answer.succeeded
    assert answer.errors == "wrote a file\n"


def test_a_command_that_ray_could_not_start_is_answered_with_what_ray_says(jobs, monkeypatch):
    monkeypatch.setattr(jobs, "get_job_logs", lambda name: "no such environment\n")
    answer = Cluster("there").ask(["table", "lab"])
    assert (answer.succeeded, answer.output, answer.errors) == (False, "", "no such environment\n")


def test_a_job_that_is_stopped_has_the_time_that_checkpoints_may_take(jobs):
    cluster = Cluster("there")
    cluster.submit("lab", sweep="lab", storage="s3://bucket/sweeps", variables={"TOKEN": "1"})
    (handed,) = jobs.handed.values()
    # Ray reads this in the process that ends the job, which has the job's environment.
    assert handed["environment"]["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS), "TOKEN": "1"}
    assert handed["told"] == {"sweep": "lab", "storage": "s3://bucket/sweeps"}
