"""A sweep of which something is killed at random moments, again and again, until it is done; then what must hold.

    python -m tests.soak --kills 40 --real 10      # about half an hour on two cores

Victims are the driver, a trial's process, a gang's worker and the raylet, each once before any is chosen twice. Most
kills are on a rehearsal, `--real` of them on a sweep that trains a tiny model, from its first checkpoint on. Prints the
counts, and exits 1 if a table differs from that of a run that was never interrupted, if a trial was lost, repeated or
renumbered, if a finished stage was run again, or if some kind of victim was never hit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
REHEARSED = "from tests.ray_local.test_sweep_rehearsal import SLOW\nsweep = SLOW\n"
REAL = "from tests.soak_sweep import TINY\nsweep = TINY\n"

#: What is killed, and how often each is chosen after the first of each.
VICTIMS = {"driver": 4, "trial": 2, "worker": 4, "raylet": 1}

#: What a run has printed, in its folder.
SAID = "said.txt"

#: A run that has not come to its end after this hangs.
LONGEST_SECONDS = 900.0


def start(folder: Path, definition: str = REHEARSED) -> subprocess.Popen:
    """`sweep run` in a session of its own."""
    path = folder / "mine.py"
    path.write_text(definition)
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
        """Their process ids."""
        if victim == "driver":
            return [self.process.pid]
        titles = {
            "trial": ("ray::TransferTrial", "ray::ResourceTrainable"),
            "worker": ("ray::RehearsalHost", "ray::RayTrainWorker"),
        }
        found = []
        for child in self._descendants():
            try:
                title = " ".join(child.cmdline())
            except psutil.Error:
                continue
            if victim == "raylet" and "/raylet/raylet" in title.partition(" ")[0]:
                found.append(child.pid)
            elif any(title.startswith(name) for name in titles.get(victim, ())):
                found.append(child.pid)
        return found

    def _descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            return []

    def await_fragments(self, count: int) -> None:
        """Wait until the ledger holds so many happenings, loose ones alone."""
        while len(list(self.folder.glob("storage/sweeps/*/ledger/*.parquet"))) < count:
            assert self.process.poll() is None, said_in(self.folder)
            time.sleep(0.02)


def said_in(folder: Path) -> str:
    """What the last run in a folder has printed."""
    return (folder / SAID).read_text()


def kill_until_done(folder: Path, *, kills: int, seed: int, definition: str = REHEARSED) -> tuple[Counter[str], int]:
    """Run sweeps to their ends, one after another, until things of them were killed at `kills` random moments: of a
    rehearsal from its start on, of a sweep that trains from its first checkpoint on.

    Returns how often what was killed, and how many sweeps it took; each is in a folder of its own, `round-0` on.

    Raises:
        AssertionError: where a run hangs, or ends otherwise than well without having been killed.
    """
    chance, killed, rounds = random.Random(seed), Counter(), 0
    deck = _deck(chance)
    while sum(killed.values()) < kills:
        place = folder / f"round-{rounds}"
        place.mkdir()
        rounds += 1
        while True:
            process = start(place, definition)
            any_killed = _kill_some(place, process, chance, deck, killed, kills, trains=definition != REAL)
            if process.returncode == 0:
                break
            assert any_killed, process.returncode
    return killed, rounds


def _kill_some(
    folder: Path,
    process: subprocess.Popen,
    chance: random.Random,
    deck: Iterator[str],
    killed: Counter[str],
    kills: int,
    *,
    trains: bool,
) -> bool:
    """Kill until the driver ends, if it `trains` or as soon as it does; whether anything of this run was killed."""
    victims, any_killed = Victims(folder, process), False
    stop = time.monotonic() + LONGEST_SECONDS
    pause, victim = chance.uniform(*((3, 9) if trains else (0.2, 4))), next(deck)
    while process.poll() is None:
        assert time.monotonic() < stop, f"the sweep hangs after {dict(killed)}"
        trains = trains or any(folder.glob("storage/inflight/*/*"))
        if sum(killed.values()) < kills and trains and pause <= 0:
            found = victims.find(victim)  # waited for, or those that are there from the start would be hit alone
            if found:
                try:
                    os.kill(chance.choice(found), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                killed[victim] += 1
                any_killed = True
                pause, victim = chance.uniform(0.2, 4), next(deck)
        time.sleep(0.05)
        pause -= 0.05 * trains
    out = said_in(folder)
    assert "Traceback" not in out or any_killed, out
    return any_killed


def _deck(chance: random.Random) -> Iterator[str]:
    """Each victim once, in any order, and then as often as `VICTIMS` says."""
    yield from chance.sample(list(VICTIMS), len(VICTIMS))
    while True:
        yield chance.choices(list(VICTIMS), list(VICTIMS.values()))[0]


def renumbered(folder: Path) -> list[str]:
    """What is wrong with the numbers of the trials; empty where each is there once and none is left out."""
    from sweep.results import Results

    results = Results.open(str(folder / "storage"))
    numbers: dict[tuple[str, str], list[int]] = {}
    for key, record in results.standing().records.items():
        numbers.setdefault((key.cell, str(key.phase)), []).append(key.number)
        if record.generation:
            numbers[key.cell, str(key.phase)].append(-1)
    return [f"{place}: {found}" for place, found in numbers.items() if sorted(found) != list(range(len(found)))]


def repeated(folder: Path) -> list[str]:
    """The stages that were trained to their end more than once."""
    from sweep.results import Results

    records = Results.open(str(folder / "storage")).standing().records.values()
    trained = Counter(run["digest"] for record in records for run in record.stage_runs if not run["reused"])
    return [f"{digest} was run {count} times" for digest, count in trained.items() if count > 1]


def tables(folder: Path) -> dict[str, bytes]:
    """The exported tables, by file name."""
    found = {path.name: path.read_bytes() for path in folder.glob("storage/sweeps/*/tables/*")}
    assert found, f"{folder} has no tables"
    return found


def soak(kills: int, seed: int, definition: str) -> bool:
    """Whether a sweep that was killed so often came to the tables of one that was not."""
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        whole = Path(name) / "whole"
        whole.mkdir()
        undisturbed = start(whole, definition)
        assert undisturbed.wait(LONGEST_SECONDS) == 0, said_in(whole)
        began = time.monotonic()
        killed, rounds = kill_until_done(Path(name), kills=kills, seed=seed, definition=definition)
        ended = [Path(name) / f"round-{number}" for number in range(rounds)]
        same = [tables(whole) == tables(folder) for folder in ended]
        wrong = [text for folder in ended for text in (*renumbered(folder), *repeated(folder))]
        if kills >= len(VICTIMS) and set(killed) != set(VICTIMS):
            wrong.append(f"never hit: {sorted(set(VICTIMS) - set(killed))}")
        print(
            f"{sum(killed.values())} kills {json.dumps(dict(killed))} of {rounds} sweeps in "
            f"{time.monotonic() - began:.0f} s; tables {'equal to the byte' if all(same) else 'DIFFER'}; "
            f"numbers and finished stages {'kept' if not wrong else wrong}",
            flush=True,
        )
        return all(same) and not wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, compare, and say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40, help="on the rehearsal")
    parser.add_argument("--real", type=int, default=10, help="on a sweep that trains")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    held = soak(options.kills, options.seed, REHEARSED) if options.kills else True
    return 0 if held and (soak(options.real, options.seed, REAL) if options.real else True) else 1


if __name__ == "__main__":
    sys.exit(main())
