"""Claims about a sweep as a job, with a cluster that is a few lines: what it is handed, asked and how it is ended."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyarrow.fs import FileSystem

from sweep import submit
from sweep.cli import main
from sweep.masked import masked
from sweep.submit import (
    _OF_BUCKETS,
    _OF_PATHS,
    STOP_SECONDS,
    Cluster,
    _unreachable,
    _version_faults,
    job_faults,
)
from trainables.faults import Invalid


class Jobs:
    """The part of Ray's client of jobs that is used. A job runs at once, in a shell of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.handed: dict[str, dict] = {}
        self.states: dict[str, str] = {}
        self.codes: dict[str, int | None] = {}
        self.line_breaks: BaseException | None = None

    def submit_job(self, *, entrypoint: str, submission_id: str, runtime_env=None, metadata=None) -> str:
        self.handed[submission_id] = {"entrypoint": entrypoint, "environment": runtime_env or {}, "told": metadata}
        environment = {"PATH": f"{self.folder}:/usr/bin:/bin", "LOG": str(self.log(submission_id))}
        with self.log(submission_id).open("a") as log:
            ran = subprocess.run(entrypoint, shell=True, stdout=log, stderr=subprocess.STDOUT, env=environment)
        self.states[submission_id] = "FAILED" if ran.returncode else "SUCCEEDED"
        self.codes[submission_id] = ran.returncode
        return submission_id

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def get_job_info(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(
            submission_id=name,
            metadata=self.handed[name]["told"],
            status=self.states[name],
            start_time=1000,
            message=None,
            driver_exit_code=self.codes[name],
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


#: Whatever a job runs as `python` prints its words and complains of one thing; of `broken` it dies, and where there is
#: a file `code` it exits with what that says. While it runs, Ray writes its own line to the log.
PYTHON = """#!/bin/sh
echo "Running entrypoint for job: python $*" >>"$LOG"
echo "cell,accuracy"
echo "$@"
echo "wrote a file" >&2
case "$*" in *broken*) exit 2 ;; esac
if [ -f "${LOG%/*}/code" ]; then exit "$(cat "${LOG%/*}/code")"; fi
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


def test_a_job_that_is_about_to_end_is_waited_for_by_the_next(jobs, monkeypatch):
    cluster = Cluster("there")
    job = cluster.submit("lab", sweep="lab", storage="/mnt/all")
    jobs.states[job.id] = "RUNNING"
    monkeypatch.setattr(submit.time, "sleep", lambda _: jobs.states.update({job.id: "SUCCEEDED"}))
    assert cluster.submit("lab", sweep="lab", storage="/mnt/all").id != job.id


def test_a_sweep_of_a_suite_that_runs_is_not_handed_over_beside_it(jobs, monkeypatch):
    monkeypatch.setattr(submit, "_ENDING_SECONDS", 0.0)
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


@pytest.mark.parametrize(("there", "here"), [(1, 1), (2, 2), (3, 3), (137, 1)])
def test_whoever_follows_exits_as_the_run_did_on_the_cluster(jobs, capsys, there, here):
    (jobs.folder / "code").write_text(str(there))
    assert main([*SUBMIT, "--follow"]) == here
    assert "failed" in capsys.readouterr().err


def test_a_job_whose_driver_left_no_number_has_not_succeeded(jobs):
    cluster = Cluster("there")
    job = cluster.submit("lab", sweep="lab", storage="/mnt/all")
    assert cluster.latest("lab").exit_code == 0
    jobs.states[job.id], jobs.codes[job.id] = "STOPPED", None
    assert cluster.latest("lab").exit_code == 1


# What is refused here, before a cluster is asked


@pytest.fixture
def nobody(monkeypatch):
    """No cluster may be asked."""

    def asked(address: str) -> None:
        raise AssertionError("the cluster was asked")

    monkeypatch.setattr("sweep.submit._client", asked)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("--storage s3://", "--storage must name a bucket, got 's3://'; write s3://BUCKET/FOLDER"),
        ("--storage s3:///folder", "--storage must name a bucket, got 's3:///folder'"),
        ("--storage gs://?scheme=http", "--storage must name a bucket, got 'gs://?scheme=http'"),
        ("--storage s3://key:secret@", "--storage must name a bucket, got 's3://***@'"),
        ("--storage nonsense://b", "--storage must be a URI that pyarrow.fs knows (s3, gs, gcs, abfs, abfss, hdfs, "),
        ("--storage sweeps", "--storage must be a URI, or an absolute path that every machine of the cluster sees"),
        ("--storage s3://b --gangs 0", "count must be a whole number of at least 1, got 0"),
        ("--storage s3://b --mirror nope", "a mirror must be wandb[:PROJECT] or mlflow[:TRACKING_URI], got 'nope'"),
        (
            "--storage s3://b --variable =x",
            "--variable must be NAME=VALUE, with a name of letters, digits and '_', got",
        ),
        ("--storage s3://b --variable A", "--variable must be NAME=VALUE"),
        ("--storage s3://b --folder .", "--folder goes with a definition file, got the name 'lab'"),
    ],
)
def test_what_would_fail_on_the_cluster_is_refused_before_it_is_asked(nobody, words, fault, capsys):
    assert main(["submit", "lab", "--address", "http://there", *words.split()]) == 2
    assert fault in capsys.readouterr().err


def test_a_suite_cannot_have_no_gangs_either(nobody, capsys):
    assert main(["submit", "phang2020", "--address", "http://there", "--storage", "s3://b", "--gangs", "0"]) == 2
    assert "count must be a whole number of at least 1, got 0" in capsys.readouterr().err


def test_all_that_is_wrong_with_a_job_is_said_at_once(nobody, capsys):
    words = ["--storage", "s3://", "--mirror", "nope", "--variable", "=x", "--folder", "."]
    assert main(["submit", "lab", "--address", "http://there", *words]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in ("--storage must", "--folder goes", "--variable must", "a mirror must"))


@pytest.mark.parametrize("scheme", [*_OF_BUCKETS, *_OF_PATHS])
def test_pyarrow_knows_how_each_storage_begins(scheme):
    try:
        FileSystem.from_uri(f"{scheme}://bucket/folder?region=us-east-1")
    except (ValueError, OSError) as error:  # what it needs to have, or to be told, beside
        assert "Unrecognized filesystem type" not in str(error)


@pytest.mark.parametrize(
    "storage", ["fsspec+memory://x", "file:///mnt/x", "hdfs:///x", "s3://k:s@b/x?region=r", "/mnt/x"]
)
def test_a_storage_that_a_cluster_can_see_is_taken(storage):
    assert list(job_faults("lab", storage)) == []


@pytest.fixture
def definition(tmp_path) -> Path:
    """A definition file in a folder of its own."""
    file = tmp_path / "mine/studies/my.py"
    file.parent.mkdir(parents=True)
    file.write_text("from sweep.presets import lab\nsweep = lab()\n")
    return file


def test_a_folder_must_be_there_and_hold_the_definition(nobody, definition, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    words = ["submit", str(definition), "--address", "http://there", "--storage", "s3://b", "--folder"]
    for folder, fault in (
        ("other", "--folder must hold the definition, got "),
        ("none", "--folder must be a folder, got"),
    ):
        assert main([*words, str(tmp_path / folder)]) == 2
        assert fault in capsys.readouterr().err


def test_a_folder_above_the_definition_is_copied_and_the_definition_found_in_it(jobs, definition):
    words = ["--address", "http://there", "--storage", "s3://b", "--folder", str(definition.parents[1])]
    assert main(["submit", str(definition), *words]) == 0
    assert entrypoint(jobs) == "python -m sweep.cli run studies/my.py --storage s3://b"
    (handed,) = jobs.handed.values()
    assert handed["environment"]["working_dir"] == str(definition.parents[1])


# Credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no 's3://key:sec%2Fret@bucket/x?region=r', sorry", "no 's3://***@bucket/x?region=r', sorry"),
        ("mlflow:https://me:pass@host/x and https://a:b@c", "mlflow:https://***@host/x and https://***@c"),
        ("abfs://box@account.dfs.core.windows.net/x", "abfs://box@account.dfs.core.windows.net/x"),
        ("abfs://:word@a.blob.core.windows.net/b", "abfs://***@a.blob.core.windows.net/b"),
        ("abfs://a/b?client_id=1&client_secret=2&tenant_id=3", "abfs://a/b?client_id=1&client_secret=***&tenant_id=3"),
        ("abfs://a/b?sv=2023&sig=a%2Bb&sp=r", "abfs://a/b?sv=2023&sig=***&sp=r"),
        ("http://there:8265 said: me@home", "http://there:8265 said: me@home"),
    ],
)
def test_names_and_passwords_in_a_uri_are_not_shown(text, shown):
    assert masked(text) == shown


def test_whoever_hands_credentials_over_is_told_who_can_read_them(jobs, capsys):
    words = ["submit", "lab", "--address", "http://there", "--storage"]
    assert main([*words, "s3://key:secret@bucket/sweeps"]) == 0
    said = capsys.readouterr()
    assert "sweep: s3://***@bucket/sweeps is handed over with its credentials, which everyone reads" in said.err
    assert "secret" not in said.out + said.err
    assert main([*words, "s3://bucket/sweeps"]) == 0
    assert capsys.readouterr().err == ""


def test_no_command_repeats_the_credentials_of_its_storage(capsys):
    storage = "nonsense://key:secret@bucket"
    for words in (["table", "lab"], ["plan", "lab"], ["status", "lab"], ["status", "lab_full"]):
        main([*words, "--storage", storage])
        said = capsys.readouterr()
        assert "nonsense://***@bucket" in said.out + said.err
        assert "secret" not in said.out + said.err


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
