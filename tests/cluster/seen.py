"""What a test sees of a sweep on a cluster: its ledger, what it says of itself, its tables; starts and ends nothing."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from sweep import Results, Sweep
from sweep.ledger import Ledger
from sweep.live import FILE
from sweep.records import Happening, What
from tests.cluster.running import ROOT
from trainables.places import place_of
from trainables.store import Store

#: What a sweep says of itself is written every two seconds; older than this, whoever wrote it is dead.
LIVE_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class AtWork:
    """A gang in the middle of a training stage, and the ids of the nodes that its workers are on."""

    digest: str
    step: int
    steps: int
    nodes: frozenset[str]


def until(what: str, holds: Callable[[], Any], *, seconds: float = 300) -> Any:
    """What `holds()` gives as soon as it is true; says how long that took."""
    start = time.monotonic()
    while not (found := holds()):
        assert time.monotonic() < start + seconds, f"did not happen in {seconds:g} s: {what}"
        time.sleep(0.5)
    print(f"{time.monotonic() - start:6.1f} s until {what}", flush=True)
    return found


def happenings(sweep: Sweep, storage: str) -> list[Happening]:
    """What the ledger of a sweep holds; nothing before there is one."""
    filesystem, root = place_of(storage)
    return Ledger(filesystem, root, sweep.name).happenings()


def live(sweep: Sweep, storage: str) -> dict[str, Any]:
    """What the running sweep says of itself; nothing where none runs."""
    filesystem, root = place_of(storage)
    try:
        with filesystem.open_input_stream(f"{root}/sweeps/{sweep.name}/{FILE}") as stream:
            said = json.loads(stream.read())
    except (FileNotFoundError, ValueError):
        return {}
    return said if time.time() - said["written"] < LIVE_SECONDS else {}


def at_work(sweep: Sweep, storage: str) -> list[AtWork]:
    """The gangs that are past the first step of a stage and not at its end."""
    said = live(sweep, storage)
    found = []
    for gang in said.get("gangs", ()):
        steps = re.search(r"step (\d+) of (\d+)", gang["doing"])
        if steps and 0 < int(steps[1]) < int(steps[2]):
            name = gang["gang"]
            nodes = frozenset(said["nodes"][name])
            found.append(AtWork(digest=said["running"][name], step=int(steps[1]), steps=int(steps[2]), nodes=nodes))
    return found


def saved(storage: str) -> dict[str, int]:
    """The step of the newest checkpoint in the storage of each stage under way, by digest."""
    filesystem, root = place_of(storage)
    listed = filesystem.get_file_info(pafs.FileSelector(f"{root}/inflight", recursive=True, allow_not_found=True))
    found = [re.search(r"/inflight/(\w+)/(\d{9})-\w{8}\.json$", info.path) for info in listed]
    return {name[1]: int(name[2]) for name in sorted(filter(None, found), key=lambda name: name[2])}


def executed(sweep: Sweep, storage: str) -> list[dict[str, Any]]:
    """The payloads of the stages that were trained or evaluated for this sweep."""
    return [h.payload for h in happenings(sweep, storage) if h.what is What.STAGE and not h.payload["reused"]]


def executed_once(sweep: Sweep, storage: str) -> bool:
    """Whether no stage was finished twice."""
    digests = [payload["digest"] for payload in executed(sweep, storage)]
    return len(digests) == len(set(digests))


def resumed_from(sweep: Sweep, storage: str, digest: str) -> int:
    """The step from which the last attempt at a training stage went on."""
    (stage,) = (payload for payload in executed(sweep, storage) if payload["digest"] == digest)
    return stage["steps"] - stage["steps_executed"]


def tables(storage: str, sweep: Sweep, folder: Path) -> dict[str, bytes]:
    """The exported tables, by file name."""
    return {Path(path).name: Path(path).read_bytes() for path in Results.open(storage, sweep.name).export(str(folder))}


def values(storage: str, sweep: Sweep, folder: Path) -> dict[str, list[float | str]]:
    """What the exported tables say, by file name, but for the digests of stages; numbers as such."""
    found: dict[str, list[float | str]] = {}
    for path in map(Path, Results.open(storage, sweep.name).export(str(folder))):
        if path.suffix == ".csv":
            texts = [text for row in csv.reader(path.read_text().splitlines()) for text in row]
            found[path.name] = [number(text) for text in texts if not re.fullmatch("[0-9a-f]{24}", text)]
    return found


def number(text: str) -> float | str:
    """The number that a text is, or the text."""
    try:
        return float(text)
    except ValueError:
        return text


def losses(storage: str, sweep: Sweep) -> dict[int, list[float]]:
    """The mean losses that each training stage of a sweep of one task wrote down, by its seed."""
    store, found = Store(storage), {}
    for payload in executed(sweep, storage):
        manifest = store.find(payload["digest"])
        if manifest and manifest.stage.steps:
            windows = json.loads((store.fetch(payload["digest"]) / "losses.json").read_text())
            found[manifest.stage.seed] = [window["losses"][0]["loss"] for window in windows]
    return found


def alone(sweep: Sweep, folder: Path, *, workers: int = 0) -> str:
    """The storage of the same sweep, run on this machine without a cluster; in a process of its own.

    With `workers`, its gang has so many.
    """
    storage = folder / f"alone-{workers}"
    file = folder / "alone.py"
    file.write_text(
        "from dataclasses import replace\n"
        f"from tests.cluster.sweeps import {sweep.name.upper()} as there\n"
        "sweep = replace(there, gangs=replace(there.gangs, count=1, cpus_per_worker=0.5, elastic=False, "
        f"workers={workers or sweep.gangs.workers}))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-m", "sweep.cli", "run", str(file), "--storage", str(storage)],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return str(storage)
