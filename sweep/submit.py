"""A sweep as a job of a running cluster: handed over, followed, asked, stopped; knows nothing of how it is run."""

from __future__ import annotations

import asyncio
import math
import os
import re
import shlex
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.masked import masked
from trainables.faults import Invalid, NotThere, refuse

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

#: What of a definition's folder never travels: environments, histories, results.
_LEFT_HERE = [".venv", ".git", "sweeps", "__pycache__", "*.egg-info"]

#: How often a job's state is asked for while it is waited for.
_POLL_SECONDS = 0.5

#: A job lives on for a moment after its sweep has ended: whoever was just told of that end need not hand over twice.
_ENDING_SECONDS = 15.0

#: How long a job that is stopped may take: every gang writes a checkpoint and sends it. Ray would kill it after three
#: seconds. A little more than `sweep run` itself waits for.
STOP_SECONDS = 330

_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")

#: How a URI begins that pyarrow.fs knows: of those that name a bucket or container first, and of paths.
_OF_BUCKETS = ("s3", "gs", "gcs", "abfs", "abfss")
_OF_PATHS = ("hdfs", "viewfs", "file")

#: What `sweep run` may exit with beside 0; a driver that was killed has other numbers.
_EXITS = (1, 2, 3, 130)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A sweep handed to a cluster. `state` is Ray's: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""

    id: str
    sweep: str
    """The sweep, or the suite, that it was handed over as."""
    storage: str
    state: str
    began: float = 0.0
    message: str = ""
    members: tuple[str, ...] = ()
    """The sweeps of a suite, which one job runs in turn."""
    exit_code: int = 1
    """What `sweep run` exited with there, once it has ended; 1 also where Ray knows nothing of that."""

    @property
    def ended(self) -> bool:
        """Whether it will change no more."""
        return self.state in _ENDED

    def runs(self, sweep: str) -> bool:
        """Whether it is this sweep's, or that of a suite with it."""
        return sweep in (self.sweep, *self.members)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command on the cluster has printed, and beside it."""

    succeeded: bool
    output: str
    errors: str


class Cluster:
    """A running cluster, through the address of its dashboard, usually at the end of an SSH tunnel.

    Raises:
        Invalid: if nothing answers there, the token is not the cluster's, or its Ray is another version.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = _client(address)

    def submit(
        self,
        definition: str,
        *,
        sweep: str,
        storage: str,
        members: Sequence[str] = (),
        requirements: Sequence[str] = (),
        folder: str = "",
        variables: dict[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> Job:
        """Hand over `sweep run`. It lives on when this process ends; the same again goes on with what is open.

        `folder` is copied to the cluster, by default the one of the definition file. `requirements` are pip's.
        `members` are the sweeps of a suite, which one job runs one after the other: what they share is trained once.

        Raises:
            Invalid: if the storage is not one that a cluster could see, the folder does not hold the definition, or the
                sweep is being run there already.
        """
        refuse(
            f"the job of sweep {sweep!r}",
            (*job_faults(definition, storage, folder), *self._running_faults((sweep, *members), storage)),
        )
        patience = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}
        environment: dict[str, Any] = {"env_vars": patience | dict(variables or {})}
        if definition.endswith(".py"):
            file = Path(definition).resolve()
            root = Path(folder).resolve() if folder else file.parent
            environment |= {"working_dir": str(root), "excludes": _LEFT_HERE}
            definition = file.relative_to(root).as_posix()
        if requirements:
            environment["pip"] = list(requirements)
        words = ["python", "-m", "sweep.cli", "run", definition, "--storage", storage, *arguments]
        try:
            name = self._client.submit_job(
                entrypoint=shlex.join(words),
                submission_id=f"{sweep}-{uuid.uuid4().hex[:6]}",
                runtime_env=environment,
                metadata={"sweep": sweep, "storage": storage, **({"members": " ".join(members)} if members else {})},
            )
        except (RuntimeError, ValueError) as error:
            raise Invalid(f"the job of sweep {sweep!r}", [f"the cluster must take it, got: {error}"]) from error
        return Job(id=name, sweep=sweep, storage=storage, state="PENDING", began=time.time(), members=tuple(members))

    def jobs(self, sweep: str = "") -> list[Job]:
        """The sweeps that were handed over, the latest last; of one sweep if it is named."""
        found = [_job(details) for details in self._client.list_jobs()]
        mine = [job for job in found if job.sweep and (not sweep or job.runs(sweep))]
        return sorted(mine, key=lambda job: job.began)

    def latest(self, sweep: str) -> Job:
        """The latest job of a sweep.

        Raises:
            NotThere: where there is none.
        """
        jobs = self.jobs(sweep)
        if not jobs:
            known = ", ".join(sorted({job.sweep for job in self.jobs()})) or "none"
            raise NotThere(f"no job of sweep {sweep!r} was handed to {self.address}; known there: {known}")
        return jobs[-1]

    def follow(self, job: Job) -> Job:
        """Print what the job says until it ends; leaving this off does not end it.

        Raises:
            ConnectionError: where the cluster cannot be heard any more; the job goes on.
        """

        async def tail() -> None:
            async for text in self._client.tail_job_logs(job.id):
                print(text, end="", flush=True)

        try:
            asyncio.run(tail())
            return self.wait(job)
        except Exception as error:  # requests, ray and aiohttp raise kinds of their own
            raise ConnectionError(f"{self.address} is heard no more: {_first_line(error)}") from error

    def wait(self, job: Job, seconds: float = float("inf")) -> Job:
        """The job when it has ended, or after so many seconds."""
        stop = time.monotonic() + seconds
        while True:
            now = _job(self._client.get_job_info(job.id))
            if now.ended or time.monotonic() > stop:
                return now
            time.sleep(_POLL_SECONDS)

    def said(self, job: Job) -> str:
        """All that the job has printed."""
        return self._client.get_job_logs(job.id)

    def stop(self, job: Job) -> Job:
        """End the job once its gangs have written checkpoints; the same sweep handed over again goes on."""
        if not job.ended:
            self._client.stop_job(job.id)
        return self.wait(job, seconds=STOP_SECONDS + 30)

    def ask(self, words: Sequence[str]) -> Answer:
        """What a `sweep` command says that is run on the cluster, which sees its storage."""
        mark = uuid.uuid4().hex
        name = self._client.submit_job(
            entrypoint=_marked(["python", "-m", "sweep.cli", *words], mark), submission_id=f"ask-{mark[:6]}"
        )
        asked = self.wait(_job(self._client.get_job_info(name)))
        said = self.said(asked)
        self._client.delete_job(name)
        return _answer(said, mark, succeeded=asked.state == "SUCCEEDED")

    def _running_faults(self, sweeps: Sequence[str], storage: str) -> list[str]:
        stop = time.monotonic() + _ENDING_SECONDS
        while found := [
            job
            for job in self.jobs()
            if any(job.runs(sweep) for sweep in sweeps) and job.storage == storage and not job.ended
        ]:
            if time.monotonic() > stop:
                break
            time.sleep(_POLL_SECONDS)
        return [
            f"it must not be run twice at once, got job {job.id}, which is {job.state}; follow it with `sweep status`, "
            "or end it with `sweep stop`"
            for job in found
        ]


def _marked(words: Sequence[str], mark: str) -> str:
    """A shell command that tells the output of `words` from their errors, and both from what Ray writes around them.

    It prints nothing before `words` have ended: Ray writes its own line into the same file after it has begun.
    """
    kept = f"{shlex.join(words)} >$kept/output 2>$kept/errors; code=$?"
    shown = f"echo {mark}-output; cat $kept/output; echo {mark}-errors; cat $kept/errors"
    return f"kept=$(mktemp -d); {kept}; {shown}; rm -r $kept; exit $code"


def _answer(said: str, mark: str, *, succeeded: bool) -> Answer:
    _, began, rest = said.partition(f"{mark}-output\n")
    if not began:  # it came to no command: what Ray says of that is the answer
        return Answer(succeeded=False, output="", errors=said)
    output, _, errors = rest.partition(f"{mark}-errors\n")
    return Answer(succeeded=succeeded, output=output, errors=errors)


def job_faults(definition: str, storage: str, folder: str = "") -> Iterator[str]:
    """Why this would fail on a cluster, as far as this machine can tell: it asks no cluster and no storage."""
    yield from _storage_faults(storage)
    if not folder:
        return
    root, file = Path(folder).resolve(), Path(definition).resolve()
    if not definition.endswith(".py"):
        yield f"--folder goes with a definition file, got the name {definition!r}, which is known there; leave it out"
    elif not root.is_dir():
        yield f"--folder must be a folder, got {folder!r}; give one that holds {definition}"
    elif not file.is_relative_to(root):
        yield f"--folder must hold the definition, got {folder!r}, where {file} is not; give one above both"


def _storage_faults(storage: str) -> list[str]:
    scheme, is_uri, rest = storage.partition("://")
    if not is_uri:
        local = "a URI, or an absolute path that every machine of the cluster sees"
        fault = f"--storage must be {local}, got {storage!r}; for instance s3://bucket/folder"
        return [] if storage.startswith("/") else [fault]
    if scheme in _OF_BUCKETS:
        fault = f"--storage must name a bucket, got {masked(storage)!r}; write {scheme}://BUCKET/FOLDER"
        return [] if re.split(r"[/?]", rest)[0].rpartition("@")[2] else [fault]
    known = f"{', '.join((*_OF_BUCKETS, *_OF_PATHS))}, or of fsspec after fsspec+"
    fault = f"--storage must be a URI that pyarrow.fs knows ({known}), got {masked(storage)!r}"
    return [] if scheme in _OF_PATHS or scheme.startswith("fsspec+") else [fault]


def _client(address: str) -> JobSubmissionClient:
    if "RAY_AUTH_MODE" not in os.environ and _has_token() and "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"  # Ray sends the token only where it is told to
    import ray
    from ray.job_submission import JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
        theirs = client._do_request("GET", "/api/version").json()["ray_version"]  # get_version() gives the API's
    except Exception as error:  # requests, ray and aiohttp raise kinds of their own
        raise Invalid(f"the cluster at {address}", [_unreachable(error)]) from error
    refuse(f"the cluster at {address}", _version_faults(theirs, ray.__version__))
    return client


def _version_faults(theirs: str, ours: str) -> list[str]:
    if theirs == ours:
        return []
    return [
        f"its Ray must be the one of this machine, {ours}, got {theirs}; "
        f"pip install 'ray[default]=={theirs}' here, or `ray up` the cluster with this checkout"
    ]


def _unreachable(error: Exception) -> str:
    text = _first_line(error)
    if type(error).__name__ == "AuthenticationError" or re.search(r"\bstatus code:? 40[13]\b", str(error)):
        return (
            f"this machine's token must be the cluster's, got: {text}; copy ~/.ray/auth_token from the machine that "
            "ran `ray up`, and set RAY_AUTH_MODE=token"
        )
    return (
        f"its dashboard must answer, got: {text}; open a tunnel with `ray dashboard cluster.yaml` and give "
        "--address http://127.0.0.1:8265"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _has_token() -> bool:
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return True
    return (Path.home() / ".ray" / "auth_token").is_file()


def _job(details: Any) -> Job:
    stated = details.metadata or {}
    state = str(details.status.value if hasattr(details.status, "value") else details.status)
    code = details.driver_exit_code
    return Job(
        id=details.submission_id or "",
        sweep=stated.get("sweep", ""),
        storage=stated.get("storage", ""),
        state=state,
        began=details.start_time / 1000 if details.start_time else math.inf,  # one that waits is the latest
        message=details.message or "",
        members=tuple(stated.get("members", "").split()),
        exit_code=0 if state == "SUCCEEDED" else code if code in _EXITS else 1,
    )
