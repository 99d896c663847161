"""Claims about a sweep as a job, with a cluster that is a few lines: what it is handed, asked and how it is ended."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweep.cli import main
from sweep.submit import STOP_SECONDS, Cluster, _unreachable, _version_faults
from trainables.faults import Invalid


class Jobs:
    """The part of Ray's client of jobs that is used. A job runs at once, in a shell of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.handed: dict[str, dict] = {}
        self.states: dict[str, str] = {}
        self.line_breaks: BaseException | None = None

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

    async def tail_job_logs(self, name: str):
        yield self.get_job_logs(name)
        if self.line_breaks:
            raise self.line_breaks


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


# The command

SUBMIT = ["submit", "lab", "--address", "http://there", "--storage", "s3://bucket/sweeps"]


def entrypoint(jobs: Jobs) -> str:
    (handed,) = jobs.handed.values()
    return handed["entrypoint"]


def test_what_a_run_can_be_told_a_job_can_be_told_too(jobs):
    words = ["--retry-failed", "--renew", "--mirror", "wandb:mine", "--gangs", "2", "--require", "wandb"]
    assert main([*SUBMIT, *words, "--data", "/mnt/mirror", "--variable", "WANDB_API_KEY=1"]) == 0
    run = (
        "python -m sweep.cli run lab --storage s3://bucket/sweeps --gangs 2 --retry-failed --renew --mirror wandb:mine"
    )
    assert entrypoint(jobs) == run
    (handed,) = jobs.handed.values()
    assert handed["environment"]["pip"] == ["wandb"]
    variables = handed["environment"]["env_vars"]
    assert (variables["SWEEP_DATA"], variables["WANDB_API_KEY"]) == ("/mnt/mirror", "1")


def test_a_suite_is_one_job_that_is_found_by_each_of_its_sweeps(jobs, capsys):
    words = ["--address", "http://there", "--storage", "s3://bucket/sweeps"]
    assert main(["submit", "phang2020", *words]) == 0
    assert entrypoint(jobs) == "python -m sweep.cli run phang2020 --storage s3://bucket/sweeps"
    capsys.readouterr()
    assert main(["status", "phang2020-xnli", "--address", "http://there"]) == 0
    assert "-m sweep.cli status phang2020-xnli --storage s3://bucket/sweeps" in capsys.readouterr().out
    assert Cluster("there").latest("phang2020").members == Cluster("there").latest("phang2020-xnli").members != ()


def test_a_sweep_of_a_suite_that_runs_is_not_handed_over_beside_it(jobs):
    cluster = Cluster("there")
    job = cluster.submit("phang2020", sweep="phang2020", members=["phang2020-xnli"], storage="/mnt/all")
    jobs.states[job.id] = "RUNNING"
    with pytest.raises(Invalid, match=f"it must not be run twice at once, got job {job.id}, which is RUNNING"):
        cluster.submit("phang2020-xnli", sweep="phang2020-xnli", storage="/mnt/all")


def test_a_table_is_asked_for_on_the_cluster_as_it_would_be_here(jobs, capsys):
    assert main(SUBMIT) == 0
    capsys.readouterr()
    asked = ["--format", "csv", "--where", "language=de", "--where", "cell=nli", "--group-by", "family"]
    assert main(["table", "lab", "--address", "http://there", *asked]) == 0
    assert " ".join(asked) in capsys.readouterr().out
    assert main(["table", "lab", "--address", "http://there", "--selectors", "--with-published"]) == 0
    assert "--format table --selectors --with-published" in capsys.readouterr().out


def test_whoever_follows_sees_what_the_job_says_and_how_it_ended(jobs, capsys):
    assert main([*SUBMIT, "--follow"]) == 0
    said = capsys.readouterr()
    assert "cell,accuracy\n" in said.out and "succeeded" in said.err


@pytest.mark.parametrize(
    ("breaks", "code", "text"),
    [
        (RuntimeError("WebSocket connection closed"), 1, "is heard no more: WebSocket connection closed; job lab-"),
        (KeyboardInterrupt(), 130, "goes on; this command alone has ended"),
    ],
)
def test_a_broken_line_or_a_ctrl_c_ends_the_following_and_not_the_job(jobs, capsys, breaks, code, text):
    jobs.line_breaks = breaks
    assert main([*SUBMIT, "--follow"]) == code
    said = capsys.readouterr().err
    assert text in said and "goes on" in said


# A cluster that does not answer


class AuthenticationError(Exception):
    """Called as Ray's, which this tier does not load."""


def test_a_wrong_token_is_told_by_what_ray_raises_and_by_status_codes_alone():
    for error in (AuthenticationError("Token is missing"), RuntimeError("Request failed with status code 403: no.")):
        assert "this machine's token must be the cluster's" in _unreachable(error)
    for error in (
        ConnectionError("Failed to connect to Ray at address: http://127.0.0.1:14018."),
        ConnectionError("http://10.0.40.3:8265 token"),
        RuntimeError("Request failed with status code 500: 401 apples."),
    ):
        assert "its dashboard must answer" in _unreachable(error)


def test_a_cluster_of_another_ray_is_refused_with_what_to_install():
    assert _version_faults("2.60.0", "2.60.0") == []
    (fault,) = _version_faults("2.59.0", "2.60.0")
    assert "must be the one of this machine, 2.60.0, got 2.59.0; pip install 'ray[default]==2.59.0' here" in fault
