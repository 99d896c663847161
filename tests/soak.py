"""A sweep of which something is killed at random moments, again and again, until it is done; then what must hold.

    python -m tests.soak --kills 40 --real 10      # MINUTES on two cores

Victims are the driver, a trial's process, a gang's worker, the raylet and the dispatcher, each once before any is
chosen twice. Most kills are on a rehearsal, every other one while a gang is in the middle of a stage, and `--real` of
them on a sweep that trains a tiny model, each in the middle of a stage of which there is a checkpoint. Prints a line
for each run and the counts, and exits 1 if a table is empty or differs from that of a run that was never interrupted,
if a trial was lost, repeated, renumbered or came to another end, if a finished stage was run again, if a gang that was
killed repeated more than one interval of checkpoints, if a run that lost only trials' processes and workers did not
come to its end, if one that lost its raylet or its dispatcher did not end by itself, or if some kind of victim was
never hit.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psutil
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from sweep.definition import Sweep
from sweep.ledger import Ledger
from sweep.records import TrialKey, What
from sweep.results import Results
from tests.soak_sweep import INTERVAL_STEPS, SWEEPS
from tests.witness import attempts, begun_when_done, in_mid_stage

ROOT = Path(__file__).parents[1]
DEFINITION = "from tests.soak_sweep import {0}\nfrom tests.witness import watch\n\nwatch()\nsweep = {0}\n"

#: What is killed, and how often each is among so many kills.
VICTIMS = {"driver": 4, "trial": 2, "worker": 4, "raylet": 1, "dispatcher": 1}

#: The processes of each, by the beginning of their titles; the driver is the process itself.
TITLES = {
    "trial": ("ray::TransferTrial", "ray::ResourceTrainable"),
    "worker": ("ray::RehearsalHost", "ray::RayTrainWorker"),
    "dispatcher": ("ray::Dispatcher",),
}

#: A run that has lost one of these ends by itself, with 1 and a word on how to go on, and soon.
ENDS_A_RUN, ENDED_SECONDS = ("raylet", "dispatcher"), 90.0

#: What a run has printed, in its folder.
SAID = "said.txt"

#: A run that has not come to its end after this hangs: several times what an undisturbed one takes.
LONGEST_SECONDS = {"REHEARSED": 240.0, "TINY": 400.0}

#: Of a rehearsal, what lies between the start of a run and its first kill where that is to hit the start; otherwise
#: between its first step and the first kill, and between kills.
STARTED_SECONDS, BETWEEN_SECONDS = (3.0, 9.0), (0.2, 4.0)

_ENDINGS = (What.FINISHED, What.PRUNED, What.FAILED)


def start(folder: Path, sweep: str = "REHEARSED", *, definition: str = "") -> subprocess.Popen:
    """`sweep run` in a session of its own, of one of `SWEEPS` or of the text of a definition."""
    path = folder / "mine.py"
    path.write_text(definition or DEFINITION.format(sweep))
    with (folder / SAID).open("w") as said:  # a pipe that nobody empties would stop the sweep
        return subprocess.Popen(
            _command(folder),
            cwd=folder,
            env=_environment(),
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "sweep.cli", "run", str(folder / "mine.py"), "--storage", str(folder / "storage")]


def _environment() -> dict[str, str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    environment.pop("RAY_ADDRESS", None)
    return environment


class Victims:
    """The processes of one run of a sweep."""

    def __init__(self, folder: Path, process: subprocess.Popen) -> None:
        self.folder, self.process = folder, process
        self.command, self.environment = _command(folder), _environment()

    def find(self, victim: str) -> list[int]:
        """Their process ids, without those of children that they have just forked, which look as they do."""
        if victim == "driver":
            return [self.process.pid]
        found = {}
        for child in self._descendants():
            try:
                title, parent = " ".join(child.cmdline()), child.ppid()
            except psutil.Error:
                continue
            is_raylet = victim == "raylet" and "/raylet/raylet" in title.partition(" ")[0]
            if is_raylet or any(title.startswith(name) for name in TITLES.get(victim, ())):
                found[child.pid] = parent
        return [process for process, parent in found.items() if parent not in found]

    def _descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            return []

    def await_fragments(self, count: int) -> None:
        """Wait until the ledger holds so many happenings, loose ones alone."""
        while len(list(self.folder.glob("storage/sweeps/*/ledger/*.parquet"))) < count:
            self._goes_on()

    def await_steps(self) -> None:
        """Wait until a gang is in the middle of a stage of which this storage holds a checkpoint."""
        while not in_mid_stage(self.folder / "storage", beyond=INTERVAL_STEPS):
            self._goes_on()

    def _goes_on(self) -> None:
        assert self.process.poll() is None, said_in(self.folder)
        time.sleep(0.02)


def said_in(folder: Path) -> str:
    """What the last run in a folder has printed."""
    return (folder / SAID).read_text()


@dataclass(kw_only=True)
class Toll:
    """What was killed, how often in the middle of a stage, and how many sweeps and runs it took."""

    killed: Counter[str] = field(default_factory=Counter)
    in_mid_stage: int = 0
    rounds: int = 0
    runs: int = 0
    longest_end_seconds: float = 0.0
    """Of the runs that had lost what `ENDS_A_RUN`, the longest between that and their end."""

    def gangs_lost(self, sweep: Sweep) -> int:
        """How many gangs can have lost what they ran: a trial's own process runs nothing."""
        whole = sum(self.killed[victim] for victim in ("driver", *ENDS_A_RUN))
        return whole * sweep.gangs.count + self.killed["worker"]


def kill_until_done(
    folder: Path, *, kills: int, seed: int, sweep: str = "REHEARSED", victims: Mapping[str, int] = VICTIMS
) -> Toll:
    """Run sweeps to their ends, one after another, until things of them were killed at `kills` random moments: of one
    that trains, only while it does.

    Each sweep is in a folder of its own, `round-0` on. A run that has lost its driver, its raylet or its dispatcher is
    left alone from then on; one that has lost only trials' processes and gangs' workers must come to its end.

    Raises:
        AssertionError: where a run hangs, or ends otherwise than it must after what it has lost.
    """
    chance, toll = random.Random(seed), Toll()
    order = _order(chance, victims, kills)
    while sum(toll.killed.values()) < kills:
        place = folder / f"round-{toll.rounds}"
        place.mkdir()
        toll.rounds += 1
        while True:
            process = start(place, sweep)
            began, toll.runs = time.monotonic(), toll.runs + 1
            killed = _kill_some(place, process, chance, order, toll, sweep)
            print(
                f"  run {toll.runs}: {', '.join(killed) or 'nothing'} killed, exit {process.returncode} after "
                f"{time.monotonic() - began:.0f} s",
                flush=True,
            )
            _must_have_ended_well(place, process, killed)
            if process.returncode == 0:
                break
    return toll


def _kill_some(
    folder: Path, process: subprocess.Popen, chance: random.Random, order: Sequence[str], toll: Toll, sweep: str
) -> list[str]:
    """Kill in that order until the driver ends; what of this run was killed."""
    victims, killed, trains = Victims(folder, process), [], sweep == "TINY"
    stop = time.monotonic() + LONGEST_SECONDS[sweep]
    # What trains is killed from its first steps on, and a rehearsal every fourth time before them.
    at_its_start = not trains and sum(toll.killed.values()) % 4 == 3
    due = time.monotonic() + chance.uniform(*STARTED_SECONDS) if at_its_start else math.inf
    lost_at = math.inf
    while process.poll() is None:
        now = time.monotonic()
        if now > min(stop, lost_at + ENDED_SECONDS):
            process.kill()
            raise AssertionError(f"the sweep hangs, of which {killed} were killed: {said_in(folder)[-4000:]}")
        stepping = in_mid_stage(folder / "storage", beyond=INTERVAL_STEPS if trains else 0)
        if stepping and due == math.inf:
            due = now + chance.uniform(*BETWEEN_SECONDS)
        done = sum(toll.killed.values())
        # Of a rehearsal every other kill: what lies between stages and before them is to be hit too.
        may = lost_at == math.inf and done < len(order) and now > due and (stepping or not (trains or done % 2))
        found = (
            victims.find(order[done]) if may else []
        )  # waited for, or what is there from the start would be hit alone
        if found:
            try:
                os.kill(chance.choice(found), signal.SIGKILL)
            except ProcessLookupError:
                continue
            victim = order[done]
            toll.killed[victim] += 1
            toll.in_mid_stage += stepping
            killed.append(victim)
            due = now + chance.uniform(*BETWEEN_SECONDS)
            if victim in ENDS_A_RUN:
                lost_at = now
        time.sleep(0.02)
    if lost_at != math.inf:
        toll.longest_end_seconds = max(toll.longest_end_seconds, time.monotonic() - lost_at)
    return killed


def _must_have_ended_well(folder: Path, process: subprocess.Popen, killed: Sequence[str]) -> None:
    """What a run may end as, after what it has lost; it may have been about to end well."""
    out, code = said_in(folder), process.returncode
    words = f"{killed} were killed, and it ended with {code}: {out[-4000:]}"
    if "driver" in killed:
        assert code in (0, -signal.SIGKILL), words
        return
    assert "Traceback" not in out, words
    if code and ({*ENDS_A_RUN} & {*killed} or "more often than it is started again" in out):
        assert code == 1 and "Nothing is lost, and what was open stays open" in out, words
    else:
        assert code == 0, words


def _order(chance: random.Random, victims: Mapping[str, int], kills: int) -> list[str]:
    """What is killed: each victim once, in any order, then packs of as many of each as `victims` says, shuffled."""
    order = chance.sample(list(victims), len(victims))
    pack = [victim for victim, count in victims.items() for _ in range(count)]
    while len(order) < kills:
        order += chance.sample(pack, len(pack))
    return order[:kills]


# What must hold


def lost_in(folder: Path, whole: Path) -> list[str]:
    """What a sweep that was killed lacks, has twice or has otherwise than one that never was; empty where all is one.

    Both are folders with a `storage`, of which the tables have been exported.
    """
    found = [*_renumbered(folder), *_repeated(folder), *_ended_twice(folder)]
    mine, theirs = _trials(folder), _trials(whole)
    found += [f"{key} must be {theirs.get(key)}, got {mine.get(key)}" for key in sorted(mine.keys() | theirs.keys())
              if mine.get(key) != theirs.get(key)]  # fmt: skip
    killed, unharmed = tables(folder), tables(whole)
    found += [f"{name} is not that of the whole run" for name in killed.keys() | unharmed.keys()
              if killed.get(name) != unharmed.get(name)]  # fmt: skip
    rows = {
        name: pq.read_table(io.BytesIO(data)).num_rows for name, data in killed.items() if name.endswith(".parquet")
    }
    return found + [f"{name} is empty" for name in ("per_language.parquet", "scores.parquet") if not rows.get(name)]


def _results(folder: Path) -> Results:
    return Results.open(str(folder / "storage"))


def _renumbered(folder: Path) -> list[str]:
    """What is wrong with the numbers of the trials: each must be there once, and none left out."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for key, record in _results(folder).standing().records.items():
        numbers.setdefault((key.cell, str(key.phase)), []).append(key.number)
        if record.generation:
            numbers[key.cell, str(key.phase)].append(-1)
    return [f"{place}: {found}" for place, found in numbers.items() if sorted(found) != list(range(len(found)))]


def _repeated(folder: Path) -> list[str]:
    """The stages that were run to their end more than once."""
    records = _results(folder).standing().records.values()
    run = Counter(one["digest"] for record in records for one in record.stage_runs if not one["reused"])
    return [f"{digest} was run {count} times" for digest, count in run.items() if count > 1]


def _ended_twice(folder: Path) -> list[str]:
    """The trials that the ledger says have not ended once."""
    name = _results(folder).name
    happenings = Ledger(pafs.LocalFileSystem(), str(folder / "storage"), name).happenings()
    ends = Counter(str(one.trial) for one in happenings if one.what in _ENDINGS)
    begun = {str(one.trial) for one in happenings if one.what is What.PROPOSED}
    return [f"{trial} ended {ends[trial]} times" for trial in sorted(begun | set(ends)) if ends[trial] != 1]


def _trials(folder: Path) -> dict[TrialKey, tuple[object, ...]]:
    """By key, what must be the same of a trial whatever was killed."""
    return {
        key: (one.values, one.seed, one.stages, one.state, one.scored, one.score, one.winner, one.steps_saved)
        for key, one in _results(folder).standing().records.items()
    }


def tables(folder: Path) -> dict[str, bytes]:
    """The exported tables, by file name."""
    found = {path.name: path.read_bytes() for path in folder.glob("storage/sweeps/*/tables/*")}
    assert found, f"{folder} has no tables"
    return found


def run_again(folder: Path, interval_steps: int) -> tuple[int, list[str]]:
    """How many optimiser steps were run more than once, and what else is wrong with the steps that were run.

    An attempt must go on from at most one interval of checkpoints before where that before it was, leave out no step,
    and not begin where the stage was done; every stage that a trial has finished must have been run to its last step.
    """
    again, wrong, ended = 0, [], {}
    for found in attempts(folder / "storage"):
        ended[found[0].digest] = found[-1].last
        if found[0].first != 1:
            wrong.append(f"{found[0]} must begin with step 1")
        for before, after in pairwise(found):
            repeats = before.last + 1 - after.first
            again += repeats
            if not 0 <= repeats <= interval_steps:
                wrong.append(f"{after} must go on at most {interval_steps} steps before the last of {before}")
    for record in _results(folder).standing().records.values():
        for one in record.stage_runs:
            if ended.get(one["digest"], 0) != one["steps"]:
                wrong.append(f"{one['digest']} must be run to step {one['steps']}, got {ended.get(one['digest'], 0)}")
    return again, wrong


def faults(folder: Path, whole: Path, toll: Toll, sweep: Sweep) -> tuple[int, list[str]]:
    """How many optimiser steps were run again in all rounds of killing in a folder, and all that does not hold."""
    interval = sweep.gangs.checkpoint_interval_steps
    again, most, wrong = 0, toll.gangs_lost(sweep) * interval, []
    for number in range(toll.rounds):
        place = folder / f"round-{number}"
        steps, found = run_again(place, interval)
        again += steps
        found += begun_when_done(place / "storage")
        wrong += [f"round {number}: {text}" for text in (*lost_in(place, whole), *found)]
    if again > most:
        wrong.append(f"{again} steps were run again, more than {most}")
    return again, wrong


def soak(kills: int, seed: int, name: str) -> bool:
    """Whether a sweep that was killed so often came to the tables of one that was not; prints the counts."""
    sweep = SWEEPS[name]
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        whole = Path(folder) / "whole"
        whole.mkdir()
        undisturbed = start(whole, name)
        assert undisturbed.wait(LONGEST_SECONDS[name]) == 0, said_in(whole)
        began = time.monotonic()
        toll = kill_until_done(Path(folder), kills=kills, seed=seed, sweep=name)
        seconds = time.monotonic() - began
        again, wrong = faults(Path(folder), whole, toll, sweep)
        _, unprovoked = run_again(whole, 0)
        wrong += [f"the whole run: {text}" for text in unprovoked]
        if kills >= len(VICTIMS) and set(toll.killed) != set(VICTIMS):
            wrong.append(f"never hit: {sorted(set(VICTIMS) - set(toll.killed))}")
        interval = sweep.gangs.checkpoint_interval_steps
        print(
            f"{name}: {sum(toll.killed.values())} kills {json.dumps(dict(toll.killed))}, {toll.in_mid_stage} in the "
            f"middle of a stage, of {toll.rounds} sweeps in {toll.runs} runs and {seconds:.0f} s; without raylet or "
            f"dispatcher a run ended after {toll.longest_end_seconds:.0f} s at most\n"
            f"  {again} optimiser steps run again, of {toll.gangs_lost(sweep) * interval} allowed ({interval} for each "
            f"gang that was lost)\n"
            f"  {'tables equal to the byte, trials and finished stages kept' if not wrong else 'WRONG:'}",
            *wrong,
            sep="\n    ",
            flush=True,
        )
        return not wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, compare, and say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40, help="on the rehearsal")
    parser.add_argument("--real", type=int, default=10, help="on a sweep that trains")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    wanted = {"REHEARSED": options.kills, "TINY": options.real}
    held = [soak(kills, options.seed, name) for name, kills in wanted.items() if kills]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
