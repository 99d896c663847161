"""Running a sweep on Ray: one searcher and one scheduler around the conductor; decides nothing of the search."""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep import provenance, record_definition
from sweep.absence import Found
from sweep.clearing import clear
from sweep.conduct import Conductor, Verdict, Watcher
from sweep.definition import Sweep
from sweep.disk import disk_faults, spoken
from sweep.ledger import Ledger
from sweep.live import COUNTS_FILE, Live
from sweep.lock import Hold, held
from sweep.meter import Meter
from sweep.patience import Careless, PatientLedger
from sweep.plan import plan
from sweep.records import TrialKey, TrialRecord
from sweep.resolve import looked_up, with_rows_read
from sweep.results import Results, gone
from sweep.roll_call import call_roll, machines_to_come, may_grow, posed
from sweep.stop_request import StopRequest
from sweep.stopping import Stopping
from trainables.faults import Invalid, NotThere, refuse
from trainables.gangs import GangKind
from trainables.machine import graphics_processors, processors
from trainables.room import size_of
from trainables.scores import event_from_json
from trainables.store import Store, cache_folder
from trainables.whole_files import put_whole

if TYPE_CHECKING:
    from rich.console import Console

    from sweep.show import Display
    from sweep.vigil import Vigil

_log = logging.getLogger(__name__)

#: What Tune would do unasked, and what it costs: its own loggers (one per trial), a check that every result has the
#: metric, a snapshot of all trials every 10 s, an end of its own at Ctrl-C, and a summary on the terminal.
_TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}

#: What is kept of what the dispatcher counted.
COUNTS = (
    "gangs_started", "gangs_restarted", "executed", "reused", "failed", "cancelled", "lost", "remade", "duplicate",
    "evicted",
)  # fmt: skip

#: Trials in flight per gang: one runs, one waits, so that a gang never waits for Tune.
_TRIALS_PER_GANG = 2


#: Trials of one run of Ray's Tuner, which keeps all that it ever had and looks through them at each event. A further
#: run takes seconds, and gangs outlive it.
_TRIALS_PER_TUNER = 500


class Interrupted(RuntimeError):
    """The sweep was stopped, or the machine under it failed: nothing is lost, and running it again goes on."""


def run(
    sweep: Sweep,
    storage: str | Path = "sweeps",
    *,
    console: Console | None = None,
    retry_failed: bool = False,
    renew: bool = False,
    mirrors: Sequence[str] = (),
) -> Results:
    """Run a sweep, or what is left of it, and return its results. Blocks until the work is done.

    `storage` is a folder or a pyarrow URI. Running a finished sweep again does nothing. A Ray cluster that this
    process is connected to is used; otherwise one of this machine alone is started, and ended afterwards.

    With `retry_failed`, trials that failed are tried again; with `renew`, those that other library versions, another
    precision or another device made are made anew. Both keep their numbers, values and seeds.

    `mirrors` show the sweep elsewhere as well while it runs: `wandb[:PROJECT]` or `mlflow[:TRACKING_URI]`.

    The first Ctrl-C, or SIGTERM, lets every gang finish its step and write a checkpoint; the second stops at once.
    `sweep stop` on the same storage does as the first.

    Raises:
        Invalid: before anything starts, if the definition, the rows of its data, the storage or the machine cannot do,
            or if another process runs this sweep.
        Interrupted: if it was stopped, or if trial processes or gangs could not be kept alive.
    """
    if mirrors:
        from sweep.mirror_names import mirror_faults

        refuse("the mirrors", mirror_faults(mirrors))
    place = os.fspath(storage)
    try:
        found = looked_up(sweep, fetch=True)
        refuse(f"the data of sweep {sweep.name!r}", found.unable)
        refuse("the gangs of this sweep", _machine_faults(found.present))
    except Invalid:
        if not (retry_failed or renew) and (done := _finished(sweep, place)) is not None:
            return done
        raise
    sweep = found.present
    store = Store(place)
    store.check_writable()
    _refuse_unwritable(found, store)
    with held(store.filesystem, store.root, sweep.name) as hold:
        found = with_rows_read(found, cache_folder(place))
        return _run(found, store, place, console, mirrors, hold, retry_failed=retry_failed, renew=renew)


def _run(
    found: Found,
    store: Store,
    place: str,
    console: Console | None,
    mirrors: Sequence[str],
    hold: Hold,
    *,
    retry_failed: bool,
    renew: bool,
) -> Results:
    sweep = found.present
    ledger = PatientLedger(_ledger(sweep, store))
    ledger.hold()
    conductor = Conductor(sweep, ledger)
    damaged = gone(conductor.evaluations(), store)
    conductor.take_up(failed=retry_failed, outdated=renew, gone=damaged)
    display = None
    if conductor.remaining():
        refuse(f"the storage of sweep {sweep.name!r}", _disk_faults(conductor, store))
        display = _display(conductor, console)

    def begin() -> None:
        """Write what no refusal may have changed: everything beside this is done."""
        _keep_definition(found, store)
        ledger.release()
        if display is not None:
            ledger.wait(lambda: provenance.keep(store.filesystem, store.root, sweep.name))
            conductor.watchers = (*conductor.watchers, *_writers(conductor, store, place, display))

    try:
        if display is None:
            for text in _lost(conductor, damaged):
                _log.warning(text)
            begin()
        else:
            ledger.say, ledger.stopped = display.say, lambda: conductor.broken
            for cell, reason in found.absent_cells.items():
                display.say(f"{cell} does not run: {reason}")
            for task, remark in found.remarks.items():
                display.say(f"{task}: {remark}")
            for text in _lost(conductor, damaged):
                display.say(text)
            for text, count in conductor.outdated().items():
                display.say(
                    f"{count} ended trials were made with {text}; they stay as they are (--renew makes them anew)"
                )
            status = _conduct(conductor, place, store, display, mirrors, hold, begin)
            ledger.wait(lambda: _keep_counts(status, sweep, store))
    except Exception as error:  # Ray wraps what is raised under it
        if not ledger.gave_up:
            raise
        raise Interrupted(f"{ledger.gave_up}. What was not written is done again: run it again to go on") from error
    finally:
        for watcher in conductor.watchers:
            watcher.close()
    ledger.fold()
    if conductor.broken:
        raise Interrupted(_left_open(conductor))
    return Results(place, sweep.name)


def _finished(sweep: Sweep, place: str) -> Results | None:
    """The results of a sweep that needs neither data nor gangs any more, for all is there; None for any other."""
    try:
        results = Results.open(place, sweep.name)
        if record_definition.is_same_but_for_files(results.stated(), sweep) and results.complete:
            return results
    except (NotThere, Invalid, OSError):
        return None
    return None


def _lost(conductor: Conductor, damaged: Mapping[str, str]) -> Iterator[str]:
    """What becomes of evaluations that are not whole, in words."""
    stays = set(conductor.evaluations())
    for digest, why in damaged.items():
        way = (
            "other library versions made it, and --renew makes its run anew" if digest in stays else "it is made again"
        )
        yield f"the evaluation {digest} of a reported run is damaged ({why}); {way}"


def _left_open(conductor: Conductor) -> str:
    return f"{conductor.broken}. Nothing is lost, and what was open stays open: run it again to go on"


def _refuse_unwritable(found: Found, store: Store) -> None:
    """Refuse a definition that does not fit what is there, then a folder that cannot be written."""
    sweep = found.sweep
    folder = f"{store.root}/sweeps/{sweep.name}"
    try:
        record_definition.refuse_other(sweep, store.filesystem, store.root, found.absent_cells)
        store.filesystem.create_dir(f"{folder}/ledger", recursive=True)
    except OSError as error:
        fault = f"sweeps/{sweep.name} in {store.uri!r} must be a folder that can be written, got {error}"
        raise Invalid("the storage", [f"{fault}; choose another storage, or another name for the sweep"]) from error


def _ledger(sweep: Sweep, store: Store) -> Ledger:
    try:
        return Ledger(store.filesystem, store.root, sweep.name).open()
    except OSError as error:
        raise _unwritable(sweep, error) from error


def _keep_definition(found: Found, store: Store) -> None:
    """Put the definition beside the ledger of its sweep."""
    try:
        record_definition.keep(found.sweep, store.filesystem, store.root, found.absent_cells, found.cell_remarks)
    except OSError as error:
        raise _unwritable(found.sweep, error) from error


def _unwritable(sweep: Sweep, error: OSError) -> Invalid:
    fault = f"the definition of sweep {sweep.name!r} must be written beside its ledger, got {error}"
    return Invalid("the storage", [f"{fault}; make room or choose another storage, and run it again"])


def _keep_counts(status: dict[str, Any], sweep: Sweep, store: Store) -> None:
    """Leave what the gangs did in this run beside the ledger; no table reads it."""
    counts = {name: status[name] for name in COUNTS}
    path = f"{store.root}/sweeps/{sweep.name}/{COUNTS_FILE}"
    put_whole(store.filesystem, path, json.dumps(counts, indent=1).encode())


def _machine_faults(sweep: Sweep) -> Sequence[str]:
    """Why this machine cannot hold the gangs. A cluster answers for itself when the dispatcher starts."""
    if os.environ.get("RAY_ADDRESS") or _connected():
        return ()
    return sweep.gangs.fits(cpus=processors(), gpus=graphics_processors())


def _disk_faults(conductor: Conductor, store: Store) -> Iterator[str]:
    """Why the disk under the storage cannot hold the sweep; a rehearsal keeps little, and an object store grows.

    Of what lies there only what is this sweep's own is not needed once more.
    """
    sweep, root = conductor.sweep, store.local_path("")
    if sweep.gangs.kind is GangKind.REHEARSAL or root is None:
        return iter(())
    mine = set(conductor.stages()[0]).union(stage.digest for path in conductor.foreseen() for stage in path)
    held_bytes = sum(size_of(root / part / digest) for part in ("stages", "inflight") for digest in mine)
    return disk_faults(plan(sweep), free_bytes=shutil.disk_usage(root).free, held_bytes=held_bytes)


def _connected() -> bool:
    import sys

    return "ray" in sys.modules and sys.modules["ray"].is_initialized()


def _display(conductor: Conductor, console: Console | None) -> Display:
    from sweep.show import Display

    display = Display(plan(conductor.sweep), console=console, records=conductor.records.values())
    display.start()
    conductor.watchers = (display,)
    return display


def _writers(conductor: Conductor, store: Store, place: str, display: Display) -> tuple[Watcher, ...]:
    """Whoever writes down for TensorBoard what happens."""
    from sweep.power import power_text
    from sweep.tensorboard import SweepWriter
    from sweep.tensorboard_pictures import Painter, definition_text

    sweep = conductor.sweep
    results = Results(place, sweep.name)
    logdir = f"{store.root}/sweeps/{sweep.name}/tensorboard"
    text = definition_text(results.stated(), power_text(sweep))
    try:
        records = conductor.records.values()
        writer = SweepWriter(logdir, sweep, records, filesystem=store.filesystem, text=text, scores_of=store.scores)
    except OSError as error:
        display.say(f"this run writes nothing for TensorBoard: {error}")
        return ()
    return (Careless(writer), Painter(results, store.filesystem, logdir, stopped=lambda: bool(conductor.broken)))


def _conduct(
    conductor: Conductor,
    storage: str,
    store: Store,
    display: Display,
    mirrors: Sequence[str],
    hold: Hold,
    begin: Callable[[], None],
) -> dict[str, Any]:
    """Run what is left, and give the dispatcher's last status; `begin` is called once nothing can refuse it."""
    os.environ.update({name: os.environ.get(name, value) for name, value in _TUNE_ENVIRONMENT.items()})
    import ray

    from sweep.vigil import DIED, NO_ANSWER, Gone, Vigil, why
    from trainables.dispatcher import close, start_dispatcher, start_local_ray

    sweep = conductor.sweep
    mine = not ray.is_initialized()
    alone = mine and not os.environ.get("RAY_ADDRESS")
    if alone:
        start_local_ray(cpus=processors(), gpus=graphics_processors())
    elif mine:
        ray.init(log_to_driver=False, logging_level="ERROR")
    vigil: Vigil | None = None

    def stop(reason: str) -> None:
        conductor.broken = conductor.broken or reason
        if vigil is not None:
            with suppress(Gone, *NO_ANSWER):  # one needs no word, the other is told again
                vigil.pause(reason)

    def lose(reason: str) -> None:
        conductor.broken = conductor.broken or reason

    def ask_to_stop(reason: str = "the sweep was stopped") -> None:
        display.say("stopping: each gang ends its step and writes a checkpoint; Ctrl-C again stops at once")
        stop(reason)

    try:
        with (
            posed(sweep, storage) as question,
            tempfile.TemporaryDirectory(prefix="transfer-sweep-") as scratch,
            Stopping(ask_to_stop) as stopping,  # before any gang can have begun a stage
        ):
            call_roll(sweep, question)
            every, still_open = conductor.stages()
            foreseen = conductor.foreseen()
            to_come = {stage.digest for path in foreseen for stage in path}
            cleared = clear(store, sweep.name, stages=every, still_open={*still_open, *to_come})
            if cleared.pieces:
                display.say(f"deleted what killed runs had left: {spoken(cleared.size_bytes)}")
            name = f"{sweep.name}-{uuid.uuid4().hex[:8]}"
            cache = cache_folder(storage)
            dispatcher = start_dispatcher(
                sweep.gangs,
                store=storage,
                cache=cache,
                name=name,
                question=question,
                storage_limit_bytes=sweep.storage_limit_bytes,
                folder=f"sweeps/{sweep.name}",
                may_grow=may_grow(machines_to_come()),
                alone=alone,
            )
            vigil = Vigil(dispatcher, lose)
            begin()
            leaves = Leaves(conductor, dispatcher)
            dispatcher.remember.remote(every, still_open)
            dispatcher.foresee.remote([[stage.to_json() for stage in path] for path in foreseen])
            told: set[str] = set()
            spent = {"stage_seconds": 0.0}
            conductor.gang_seconds = lambda: spent["stage_seconds"]
            conductor.watchers = (*conductor.watchers, leaves)

            folder = f"{store.root}/sweeps/{sweep.name}"
            meter = Meter(store.filesystem, folder, sweep.gangs)

            def tell(said: dict[str, Any]) -> dict[str, Any]:
                for text in said["notices"]:
                    if text not in told:
                        told.add(text)
                        display.say(text)
                return said

            def ask() -> dict[str, Any]:
                said = tell(vigil.status())
                machines = sum(node["Alive"] for node in ray.nodes())
                if reached := meter.saw(machines=machines, gang_hours=said["gang_hours"]):
                    stopping.ask_once(reached)
                spent["stage_seconds"] = said["stage_seconds"]
                display.counted(said)
                return said | display.pace() | {"cells": conductor.waits(), "stopping": conductor.broken}

            request = StopRequest(store.filesystem, store.root, sweep.name)

            def heed() -> None:
                if not stopping.asked and request.has_come():
                    stopping.ask_once()

            live = Live(store.filesystem, folder, ask, run=request.run, heed=heed).start()
            try:
                if conductor.broken:
                    stop(conductor.broken)  # it was asked for before there was a dispatcher to hear it
                hold.when_lost(stop)
                ended = -1
                while not conductor.broken and ended < (ended := conductor.ended()):
                    _tune(conductor, vigil, name, scratch, mirrors)
                return tell(vigil.last_status())
            except Exception as error:
                vigil.look()
                if not vigil.gone:
                    raise
                raise Interrupted(_left_open(conductor)) from error
            finally:
                hold.when_lost(None)
                live.close()
                meter.keep()
                request.take_away()
                close(dispatcher, patiently=stopping.asked, at_once=stopping.times > 1)
    except DIED as error:  # while it was set up, when there was no vigil yet
        lose(f"a process of Ray's died: {why(error)}")
        raise Interrupted(_left_open(conductor)) from error
    finally:
        if mine:
            _end(ray.shutdown)


def _end(shutdown: Callable[[], None]) -> None:
    """End Ray while nothing is collected: a thread that draws or displays may be the one to collect what Ray has left,
    and Ray ends a process, with status 1, that gives a reference back while or after it ends.
    """
    gc.collect()
    gc.disable()
    try:
        shutdown()
    finally:
        gc.enable()


class Leaves:
    """Tells the dispatcher which leaves of a cell stay, which may go for want of room, and which are worth no byte."""

    def __init__(self, conductor: Conductor, dispatcher: Any) -> None:
        self._conductor, self._dispatcher = conductor, dispatcher
        self._worth: dict[str, set[str]] = {}
        for cell in conductor.cells:
            self._tell(cell, set())

    def ended(self, record: TrialRecord, path: Sequence[Any], scores: Sequence[Any]) -> None:
        """A trial has ended: it leads its cell now, or its leaf may go."""
        self._tell(record.key.cell, {record.target} if record.target else set())

    def _tell(self, cell: str, new: set[str]) -> None:
        best, spare = self._conductor.leaves(cell)
        before, self._worth[cell] = self._worth.get(cell, set()), best | spare
        self._dispatcher.keep.remote(cell, sorted(best), sorted((before | new) - best - spare), sorted(spare))

    def started(self, *what: Any) -> None: ...
    def progressed(self, *what: Any) -> None: ...
    def stage_done(self, *what: Any) -> None: ...
    def close(self) -> None: ...


def _tune(conductor: Conductor, vigil: Vigil, dispatcher: str, scratch: str, mirrors: Sequence[str]) -> None:
    from ray import tune

    from sweep.tune_adapters import LedgerScheduler, LedgerSearcher, WhileThere
    from trainables.trial import trainable

    limit = conductor.sweep.gangs.count * _TRIALS_PER_GANG
    searcher = LedgerSearcher(conductor, dispatcher, limit, _TRIALS_PER_TUNER)
    tuner = tune.Tuner(
        trainable(),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=LedgerScheduler(conductor),
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=conductor.sweep.name,
            storage_path=scratch,
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=3),
            callbacks=[WhileThere(vigil), *_callbacks(mirrors, conductor)],
        ),
    )
    # Nobody reads Tune's state, and what it says of a trial that it starts again is said in a line by the scheduler.
    for name in ("experiment_state", "tune_controller"):
        logging.getLogger(f"ray.tune.execution.{name}").setLevel(logging.CRITICAL)
    tuner.fit()


def _callbacks(mirrors: Sequence[str], conductor: Conductor) -> list[Any]:
    if not mirrors:
        return []
    from sweep.mirror_names import mirror
    from sweep.mirrors import callback

    return [callback(mirror(text), conductor) for text in mirrors]


def config_of(key: TrialKey, path: Sequence[Any], dispatcher: str) -> dict[str, Any]:
    """What `TransferTrial` reads."""
    return {
        "cell": key.cell,
        "phase": str(key.phase),
        "number": key.number,
        "trial_key": str(key),
        "path": [stage.to_json() for stage in path],
        "dispatcher": dispatcher,
    }


def verdict_of(conductor: Conductor, key: TrialKey, result: dict[str, Any]) -> Verdict:
    """Hand the events of one result of Tune to the conductor."""
    return conductor.handle(key, [event_from_json(text) for text in result.get("events", ())])
