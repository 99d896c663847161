"""A gang: one long-lived worker group that runs stage after stage from its mailbox; refuses to know any trial."""

from __future__ import annotations

import faulthandler
import gc
import importlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle

from trainables import pulse
from trainables.equipment import Question, lacks
from trainables.errors import is_full, is_unfit, spoken
from trainables.gangs import GangKind, Gangs, Runner
from trainables.interface import listen_at
from trainables.mailbox import Mailbox, Request
from trainables.room import LEAST_BYTES, Asked, await_room, least_needed, size_of
from trainables.scores import Cancelled, Done, Event, Failed
from trainables.sent_checkpoints import SentCheckpoints, spacing_steps
from trainables.shared_images import SharedImages, reads_images, shared_images
from trainables.stages import Stage
from trainables.store import Absent, Store

_log = logging.getLogger(__name__)

#: How often Ray Train looks at its workers. Its default of 2 s would be paid at every start of a gang.
HEALTH_CHECK_INTERVAL_SECONDS = "0.25"

#: How long a worker group may wait for its machines: one that is being rented takes minutes, a lost one may come back.
WORKER_GROUP_START_SECONDS = "1800"

#: By this label Ray knows each machine.
NODE_LABEL = "ray.io/node-id"

#: Where the processes that steer a sweep live: the head node, by a resource that every Ray cluster has there.
#: 0.0001 is the smallest amount Ray counts, so thousands fit, and none takes a processor from a gang.
HEAD = {"node:__internal_head__": 0.0001}


#: How long a gang whose storage does not answer waits before it starts anew, beside the tries that each request makes.
UNANSWERED_SECONDS = 30.0


class Unfit(RuntimeError):
    """This process must end; the gang starts anew and the stage is tried again."""


def _feel(mailbox: Mailbox, patience_seconds: float) -> threading.Event:
    """From now on tell the dispatcher whether this process gets on, and end it if it is said to hang.

    A thread can tell while the main one hangs in a collective, in a read or in a kernel. Returns what ends it.
    """
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(min(5.0, patience_seconds / 4)):
            try:
                hangs = mailbox.pulse(pulse.silence())
            except Exception:  # the dispatcher is gone or busy: whoever tells a hang from that is not this thread
                continue
            if hangs:
                faulthandler.dump_traceback()
                os._exit(1)

    threading.Thread(target=go_on, name="pulse", daemon=True).start()
    return ended


def serve(
    mailbox: Mailbox,
    *,
    store: Store,
    cache: Path | None,
    gangs: Gangs,
    runner: Runner,
    ranks: Any,
    question: Question | None = None,
) -> None:
    """Run stage after stage until there are no more; none where the machine of any rank lacks what is asked for.

    Raises:
        Unfit: where the process must not go on.
    """
    if not _takes_part(question, mailbox, ranks):
        return
    after, frozen = -1, False
    ended = _feel(mailbox, gangs.patience_seconds)
    try:
        while (request := mailbox.take(after)) is not None:
            after = request.sequence
            pulse.beat()
            _run(request, mailbox, store=store, cache=cache, gangs=gangs, runner=runner, ranks=ranks)
            pulse.rest()  # whoever hears how the stage ended may have to wait for the storage; nothing hangs here
            mailbox.settle()
            gc.collect()
            if not frozen:
                # What the first stage has imported stays: half a million objects, 0.3 s to look through. Later
                # collections look only at what came after.
                gc.freeze()
                frozen = True
    finally:
        ended.set()


def _takes_part(question: Question | None, mailbox: Mailbox, ranks: Any) -> bool:
    """Whether the machines of all ranks have what the sweep needs; those that have not say so.

    Raises:
        Unfit: where the storage does not answer one of them, which may pass: after a while the gang starts anew.
    """
    faults, silence = [], ""
    try:
        faults = lacks(question) if question is not None else []
    except OSError as error:
        silence = f"the storage does not answer ({spoken(error)})"
    if faults or silence:
        mailbox.refuse(faults or [silence], passes=not faults)
    if faults if ranks is None else ranks.any(bool(faults)):
        return False
    if silence if ranks is None else ranks.any(bool(silence)):
        time.sleep(UNANSWERED_SECONDS)
        raise Unfit(silence or "the storage does not answer another rank")
    return True


def _run(
    request: Request,
    mailbox: Mailbox,
    *,
    store: Store,
    cache: Path | None,
    gangs: Gangs,
    runner: Runner,
    ranks: Any,
) -> None:
    stage, attempt = Stage.from_json(request.stage), request.attempt
    leads = ranks is None or ranks.rank == 0
    asked = Asked()
    try:
        if _is_there(stage, attempt, mailbox, store, ranks):
            return
        while full := _tried(stage, attempt, mailbox, store, cache, gangs, runner, ranks):
            if not _await_room(full, asked, stage, attempt, mailbox, store, ranks):
                mailbox.report(attempt, Cancelled(digest=stage.digest, steps_executed=0))
                break
            if leads:
                mailbox.notice(f"{stage.kind} {stage.digest} goes on from its last checkpoint")
    except Exception as error:  # a stage may raise anything; the gang must outlive it and say what it was
        _answer(error, stage, attempt, mailbox, store, leads)


def _is_there(stage: Stage, attempt: str, mailbox: Mailbox, store: Store, ranks: Any) -> bool:
    """Whether the store has the output of a stage already, by what the first rank sees; then the dispatcher is told.

    So it is where a gang was lost when its manifest was in place and before it had said so: these steps were run for
    this sweep, and count once. Those of another sweep do not.
    """
    leads = ranks is None or ranks.rank == 0
    manifest = _together(ranks, lambda: store.find(stage.digest) if leads else None)
    if manifest is not None:
        _clear(stage, attempt, mailbox, store)
        done = manifest.done()
        if _session(manifest.attempt) == _session(attempt):
            done = replace(done, reused=False, steps_executed=manifest.results.steps)
        mailbox.report(attempt, done)
    return manifest is not None if ranks is None else ranks.any(manifest is not None)


def _session(attempt: str) -> str:
    return attempt.rpartition("-")[0]


def _tried(
    stage: Stage,
    attempt: str,
    mailbox: Mailbox,
    store: Store,
    cache: Path | None,
    gangs: Gangs,
    runner: Runner,
    ranks: Any,
) -> str:
    """Run a stage to its end; where a disk was full before that, the error, in words: it holds a whole model."""
    started = time.monotonic()
    leads = ranks is None or ranks.rank == 0
    checkpoints = None
    try:
        if not store.is_shared:
            _fetch_checkpoint(stage, attempt, mailbox, store, ranks)
        parent, output, inflight = _together(ranks, lambda: _places(stage, attempt, store, leads))
        checkpoints = _checkpoints(stage, attempt, mailbox, store, gangs, runner, inflight)
        _share_images(SharedImages.bring, stage, mailbox, store, cache, gangs)
        outcome = _named(runner.run)(
            stage,
            parent=parent,
            output=output,
            cache=cache,
            checkpoints=checkpoints,
            report=lambda progress: mailbox.report(attempt, progress),
            cancelled=mailbox.watch(attempt),
            ranks=ranks,
            **_of_kind(gangs),
        )
    except Exception as error:
        if not is_full(error):
            raise
        return spoken(error)
    finally:  # what is still on its way is what is gone on from
        if isinstance(checkpoints, SentCheckpoints):
            checkpoints.settle()
    if leads:
        _share_images(SharedImages.send, stage, mailbox, store, cache, gangs)
    event = _ended(stage, attempt, outcome, output, started, store, mailbox) if leads else None
    if event is not None:
        mailbox.report(attempt, event)
    return ""


def _share_images(
    act: Callable[[SharedImages], int], stage: Stage, mailbox: Mailbox, store: Store, cache: Path | None, gangs: Gangs
) -> None:
    """Bring or send what a tower made of the stage's images; where that fails each machine makes its own."""
    if gangs.kind is GangKind.REHEARSAL or not reads_images(stage):
        return
    shared = shared_images(stage.encoder, store, cache)
    try:
        if shared is not None:
            act(shared)
    except OSError as error:
        mailbox.notice(f"what the vision tower made of images was not shared by the store ({error})")


def _fetch_checkpoint(stage: Stage, attempt: str, mailbox: Mailbox, store: Store, ranks: Any) -> None:
    """Bring the checkpoint to go on from to this machine: the newest that every rank finds whole, or none.

    Whoever finds one damaged says so; all ranks then try the one before. Where the storage does not answer one of them
    none goes on: what lies there may be whole.
    """
    leads = ranks is None or ranks.rank == 0
    under_way, digest = store.under_way, stage.digest
    _together(ranks, lambda: under_way.offer(digest, attempt) if leads else None)
    for name in _together(ranks, lambda: under_way.offered(digest, attempt)):
        fault = _together(ranks, lambda name=name: under_way.fetch(digest, name))
        if fault:
            mailbox.notice(
                f"the checkpoint {name} of {stage.kind} {digest} is damaged ({fault}); falling back to the one "
                "before, or to the start where there is none"
            )
        if not (bool(fault) if ranks is None else ranks.any(bool(fault))):
            return
        if leads and fault:
            under_way.drop(digest, name)
    under_way.empty(digest)


def _of_kind(gangs: Gangs) -> dict[str, Any]:
    """What the runner of this kind of gang alone is told."""
    if gangs.kind is GangKind.REHEARSAL:
        return {"step_seconds": gangs.rehearsal_step_seconds}
    return {"explosion_multiple": gangs.explosion_multiple}


def _places(stage: Stage, attempt: str, store: Store, leads: bool) -> tuple[Path | None, Path, Path]:
    """The parent's files, the directory for the output and that of checkpoints. The output is rank 0's to write."""
    parent = store.fetch(stage.parent) if stage.parent else None
    inflight = store.under_way.folder(stage.digest)
    return parent, store.workspace(stage.digest, attempt) if leads else inflight / "unused", inflight


def _checkpoints(
    stage: Stage, attempt: str, mailbox: Mailbox, store: Store, gangs: Gangs, runner: Runner, folder: Path
) -> Any:
    """What keeps the running state of the stage: in a folder that all machines see, or by sending it where they do."""
    every = gangs.checkpoint_interval_steps
    if store.is_shared:
        return _named(runner.checkpoints)(folder, interval_steps=every)
    return SentCheckpoints(
        _named(runner.checkpoints)(folder, interval_steps=spacing_steps(every)),
        store.under_way,
        stage.digest,
        interval_steps=every,
        admitted=lambda: mailbox.holds(attempt),
        tell=mailbox.notice,
    )


def _ended(
    stage: Stage, attempt: str, outcome: Any, output: Path, started: float, store: Store, mailbox: Mailbox
) -> Event | None:
    """Commit what the stage put out, and the event that says so; None where the commit was not accepted."""
    asked = Asked()
    while not outcome.was_cancelled:
        seconds = time.monotonic() - started
        try:
            manifest = store.commit(
                stage,
                output,
                attempt,
                steps=stage.steps,
                seconds=whole_seconds(seconds, stage.steps, outcome.steps_executed),
                history=tuple(outcome.history),
                scores=tuple(outcome.scores),
                checkpoints=tuple(outcome.checkpoints),
                admitted=lambda: mailbox.accepts(attempt),
            )
        except Exception as error:
            if not is_full(error):
                raise
            full = spoken(error)
            if _await_room_to_commit(full, asked, stage, attempt, mailbox, store):
                continue
            break
        if manifest is None or manifest.attempt != attempt:
            store.discard(stage.digest, attempt)
        if manifest is None:
            return None
        _clear(stage, attempt, mailbox, store)
        return Done(
            digest=stage.digest,
            steps_executed=outcome.steps_executed,
            reused=False,
            seconds=seconds,
            history=tuple(outcome.history),
            scores=tuple(outcome.scores),
            duplicate=manifest.attempt != attempt,
        )
    store.discard(stage.digest, attempt)
    if not mailbox.wanted(stage.digest):
        _clear(stage, attempt, mailbox, store)
    return Cancelled(digest=stage.digest, steps_executed=outcome.steps_executed)


def whole_seconds(seconds: float, steps: int, steps_executed: int) -> float:
    """What a stage takes from its first step, by what the last of its attempts took for those steps that it did."""
    return seconds * steps / steps_executed if 0 < steps_executed < steps else seconds


def _await_room_to_commit(full: str, asked: Asked, stage: Stage, attempt: str, mailbox: Mailbox, store: Store) -> bool:
    """Wait with what is trained in hand, on rank 0 alone: the others have done their part and wait for the next stage.

    What is written anew is a remote filesystem's to hold, or as small as scores and predictions: more is not asked for.
    """
    needed, (_, pause) = LEAST_BYTES, asked.again(LEAST_BYTES, "")
    what = f"the output of {stage.kind} {stage.digest}"
    mailbox.notice(_waits(what, needed, pause, full))
    stopped = mailbox.watch(attempt)
    went = await_room(lambda: store.has_room(needed, leads=True), stopped, ranks=None, pause_seconds=pause)
    if went:
        mailbox.notice(f"{what} is put in the store again")
    return went


def _clear(stage: Stage, attempt: str, mailbox: Mailbox, store: Store) -> None:
    """Delete the checkpoints of a stage that needs none any more; not those of another attempt that has it now."""
    if mailbox.accepts(attempt):
        store.under_way.clear(stage.digest)


def _answer(error: Exception, stage: Stage, attempt: str, mailbox: Mailbox, store: Store, leads: bool) -> None:
    """Tell the dispatcher why the stage ended, and end this process if it cannot be trusted any more.

    Raises:
        Unfit: in that case.
    """
    reason = spoken(error)
    # What a disk or a storage did is no fault of the trial: it stays open, and the sweep run again takes it up.
    of_machine = isinstance(error, OSError) or isinstance(error.__cause__, OSError)
    if is_unfit(error):
        mailbox.unfit(attempt, reason, of_machine=of_machine)
        raise Unfit(reason) from error
    absent = isinstance(error, Absent) or isinstance(error.__cause__, Absent)
    try:
        # Whatever it stumbled over, a stage whose parent is not whole has not failed in itself.
        if absent or (leads and stage.parent and store.find(stage.parent) is None):
            mailbox.parent_missing(attempt, reason if absent else store.damage.get(stage.parent, "it is gone"))
            return
    except OSError as silence:
        reason, of_machine = f"{reason}; and the storage did not answer: {spoken(silence)}", True
    if leads:
        # A manifest that was put there and not acknowledged may name what an attempt has in a silent storage.
        store.discard(stage.digest, attempt, stored=not of_machine)
    if leads and not of_machine:
        _clear(stage, attempt, mailbox, store)
    mailbox.report(attempt, Failed(digest=stage.digest, reason=reason, of_machine=of_machine))


def _await_room(
    full: str, asked: Asked, stage: Stage, attempt: str, mailbox: Mailbox, store: Store, ranks: Any
) -> bool:
    """Wait with all ranks until what the stage writes next has room; False where the attempt is to stop before that.

    What the attempt has left half-written goes first.
    """
    leads = ranks is None or ranks.rank == 0
    checkpoint = store.under_way.newest(stage.digest)
    least = least_needed(
        trains=bool(stage.steps),
        checkpoint_bytes=size_of(checkpoint) if checkpoint else 0,
        parent_bytes=store.size_bytes(stage.parent) if stage.parent else 0,
        written_bytes=size_of(store.output(stage.digest, attempt)) if leads else 0,
    )
    needed, pause = asked.again(least, checkpoint.name if checkpoint else "")
    if leads:
        store.discard(stage.digest, attempt)
        mailbox.notice(_waits(f"{stage.kind} {stage.digest}", needed, pause, full))
    return await_room(
        lambda: store.has_room(needed, leads=leads), mailbox.watch(attempt), ranks=ranks, pause_seconds=pause
    )


def _waits(what: str, needed: int, pause: float, full: str) -> str:
    longer = f", and at least {pause:.0f} s" if pause else ""
    return f"the disk is full, and {what} waits for {needed / 1e6:,.0f} MB of room{longer} ({full})"


def _together(ranks: Any, work: Callable[[], Any]) -> Any:
    return work() if ranks is None else ranks.together(work)


def _named(path: str) -> Any:
    """What `module:name` names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True, kw_only=True)
class Post:
    """Everything a gang's processes are told when they start."""

    dispatcher: ActorHandle
    gang: str
    gangs: Gangs
    runner: Runner
    store: str
    cache: str
    session: str
    question: Question | None = None
    """What the machine of every rank must have, asked at each start."""
    avoid: tuple[str, ...] = ()
    """Ids of the machines that lack it, as far as is known, or have failed a stage of late: no rank is placed there."""


class RehearsalHost:
    """A rehearsal gang: this process runs the stages itself. Ray starts it again when it dies."""

    def __init__(self, post: Post) -> None:
        self._post = post

    def serve(self) -> None:
        """Run stages until the dispatcher has no more."""
        post = self._post
        mailbox = Mailbox(post.dispatcher, post.gang, uuid.uuid4().hex, 0)
        try:
            serve(
                mailbox,
                store=Store(post.store, cache=Path(post.cache)),
                cache=Path(post.cache),
                gangs=post.gangs,
                runner=post.runner,
                ranks=None,
                question=post.question,
            )
        except Unfit:
            os._exit(1)


class TrainHost:
    """The process in which a gang's `TorchTrainer.fit()` waits; the workers are elsewhere."""

    def __init__(self, post: Post) -> None:
        self._post = post

    def serve(self) -> bool:
        """Run the worker group until the dispatcher has no more stages, or Ray Train waits no longer for machines:
        whether it is that.

        Raises:
            RuntimeError: where Ray Train is not version 2.
        """
        from ray.train.v2._internal.constants import is_v2_enabled
        from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError
        from ray.train.v2.api.exceptions import ControllerError

        if not is_v2_enabled():
            raise RuntimeError("Ray Train must be version 2, got version 1; unset RAY_TRAIN_V2_ENABLED")
        try:
            trainer(self._post).fit()
        except ControllerError as error:
            if not isinstance(error.controller_failure, WorkerGroupStartupTimeoutError):
                raise
            return True
        return False


def trainer(post: Post) -> Any:
    """The `TorchTrainer` of a gang.

    It restarts its worker group however often a worker dies: the dispatcher counts what one stage may cost.
    A worker group that could not be placed six times over its life ends it: Ray counts these and forgets none. The
    dispatcher starts it anew: however often, where it was machines that did not come; else a few times, and forgets
    those where a stage has got on in between.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.config import LoggingConfig

    gangs, avoided = post.gangs, ",".join(post.avoid)
    per_worker = {"CPU": gangs.cpus_per_worker} | gangs.asks
    scratch = Store(post.store)
    return TorchTrainer(
        train_on_rank,
        train_loop_config={"post": post},
        torch_config=_torch_config(),
        scaling_config=ScalingConfig(
            num_workers=gangs.workers,
            use_gpu=gangs.gpus_per_worker > 0,
            resources_per_worker=per_worker,
            label_selector={NODE_LABEL: f"!in({avoided})"} if avoided else None,
        ),
        run_config=RunConfig(
            name=f"{post.session}-{post.gang}",
            storage_path=scratch.scratch,
            storage_filesystem=scratch.filesystem,
            failure_config=FailureConfig(max_failures=10_000, controller_failure_limit=5),
            worker_runtime_env={"env_vars": worker_environment(gangs)},
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )


def _torch_config() -> Any:
    """Ray Train's own set-up of torch.distributed where there are ranks, after each has chosen where it listens.

    Which interface that is differs from machine to machine, so no environment that all workers share can say it.
    """
    from ray.train.torch import TorchConfig

    class Backend(TorchConfig().backend_cls):
        def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
            if len(worker_group) == 1:
                return  # it meets nobody, and the store that ranks meet at listens on every interface, without a token
            worker_group.execute(_listen)
            super().on_start(worker_group, backend_config)

    class Config(TorchConfig):
        backend_cls = Backend

    return Config()


def _listen() -> None:
    listen_at(ray.util.get_node_ip_address())


def worker_environment(gangs: Gangs) -> dict[str, str]:
    """Environment of a worker process: its threads, its kernel cache, and no progress bars."""
    threads = str(gangs.threads)
    return {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        # oneDNN keeps a compiled kernel for each of the last 1,024 shapes, and padding makes many: after 120 steps
        # 0.4 GB more than with 32 kept, and it grows. One step of a small model has more than 32 shapes, so that with
        # 32 every kernel of the lab's target training was compiled anew in every step, a quarter of its time.
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128",
        # Without this cuBLAS refuses the deterministic algorithms that equal digests rely on.
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def host_environment() -> dict[str, str]:
    """Environment of a gang's host, which Ray Train hands on to its controller."""
    return {
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": HEALTH_CHECK_INTERVAL_SECONDS,
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": WORKER_GROUP_START_SECONDS,
        "RAY_TRAIN_METRICS_ENABLED": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
    }


def train_on_rank(config: dict[str, Any]) -> None:
    """The train function of a gang: what each rank does for as long as the sweep runs."""
    import ray.train
    import torch

    post: Post = config["post"]
    torch.set_num_threads(post.gangs.threads)
    for name in ("ray.train", "transformers", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)
    rank = ray.train.get_context().get_world_rank()
    serve(
        Mailbox(post.dispatcher, post.gang, _incarnation(post.gangs.workers), rank),
        store=Store(post.store, cache=Path(post.cache)),
        cache=Path(post.cache),
        gangs=post.gangs,
        runner=post.runner,
        ranks=_ranks(post.gangs),
        question=post.question,
    )


def _incarnation(workers: int) -> str:
    """A new name for this start of the worker group, the same on all of its ranks."""
    name = uuid.uuid4().hex
    if workers == 1:
        return name
    from ray.train.collective import broadcast_from_rank_zero

    return broadcast_from_rank_zero(name)


def _ranks(gangs: Gangs) -> Any:
    from trainables.training.ranks import DistributedRanks, Ranks

    if gangs.workers == 1:
        return Ranks()
    return DistributedRanks("cuda" if gangs.gpus_per_worker else "cpu")


HOSTS = {GangKind.TRAIN: TrainHost, GangKind.REHEARSAL: RehearsalHost}


def start_host(post: Post) -> ActorHandle:
    """Start the process behind a gang; its `serve()` returns when the sweep ends, and raises when the gang is lost."""
    rehearsing = post.gangs.kind is GangKind.REHEARSAL
    return (
        ray.remote(HOSTS[post.gangs.kind])
        .options(
            num_cpus=0,
            resources=HEAD,
            max_restarts=-1 if rehearsing else 0,
            max_task_retries=-1 if rehearsing else 0,
            runtime_env={} if rehearsing else {"env_vars": host_environment()},
        )
        .remote(post)
    )
