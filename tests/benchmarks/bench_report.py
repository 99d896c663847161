"""How long the report of 1,000 trials takes, and `sweep table`: 15 languages, 1,000 items.

    python -m tests.benchmarks.bench_report          # about two minutes

Two sweeps, made by hand: fifty cells with 17 search trials and three confirmations each, and two hundred cells with
five confirmations each, all of which have answers. Goals, on two cores: a report in 30 s and 2 GB, `sweep table` of the
lab's size in 2 s including start-up. Seconds are those of the clock; the processor's stand beside them, since other
work on the machine is in the first and not in the second. Exits 1 if a goal is missed by the processor's time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from search_spaces.transfer_grid import CellRole
from sweep.ledger import FOLD_AT, Ledger
from sweep.records import Happening, Phase, TrialKey, What
from tests.pure import fake_sweep as fake
from trainables.catalogue.task import Role
from trainables.scores import Score
from trainables.store import PREDICTIONS, Store

LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
ITEMS = 1000

REPORT_SECONDS, REPORT_GIB, TABLE_SECONDS = 30.0, 2.0, 2.0

_MEASURE = """
import resource, sys, time
began = time.monotonic()
from sweep.cli import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print("MEASURED", time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20, file=sys.stderr)
sys.exit(code)
"""


def write(storage: str, name: str, cells: int, search: int, seeds: int) -> None:
    """A finished sweep of that size, as a run leaves it."""
    random = np.random.default_rng(0)
    names = ["none", *(f"cell_{number:03d}" for number in range(1, cells))]
    ledger, store = Ledger(pafs.LocalFileSystem(), storage, name).open(), Store(storage)
    gold = random.choice(["a", "b", "c"], ITEMS)
    wrong = np.array([{"a": "b", "b": "c", "c": "a"}[label] for label in gold])
    ids = [f"item-{number:04d}" for number in range(ITEMS)]
    hard = random.normal(0, 1, ITEMS)
    for cell in names:
        entries: list[Happening] = []
        for number in range(search):
            key = TrialKey(cell=cell, phase=Phase.SEARCH, number=number)
            entries += fake.trial(key, score=float(random.uniform(0.3, 0.8)), ending=What.FINISHED)
        for number, seed in enumerate(range(1, seeds + 1)):
            key = TrialKey(cell=cell, phase=Phase.CONFIRMATION, number=number)
            stage = fake.evaluation(cell, 0, seed)
            mine = fake.trial(key, score=float(random.uniform(0.3, 0.8)), ending=None, seed=seed)
            payload = {"score": 0.5, "target": f"t-{key}", "evaluation": stage.digest}
            entries += [*mine, Happening(trial=key, what=What.FINISHED, payload=payload)]
            right = random.normal(hard, 1, (len(LANGUAGES), ITEMS)) < random.normal(0.3, 0.1)
            _answers(store, stage, gold, wrong, ids, right)
        for entry in entries:
            ledger._loose[entry.name] = entry  # as if each had been a fragment first
            if len(ledger._loose) >= FOLD_AT:
                ledger.fold()
    ledger.fold()
    role = {name: CellRole.TRANSFER for name in names} | {"none": CellRole.BASELINE}
    stated = {
        "name": name,
        "cells": [{"name": n, "role": str(role[n]), "intermediates": [], "trials": search} for n in names],
        "languages": list(LANGUAGES),
        "target": fake.TARGET.name,
        "seeds": list(range(1, seeds + 1)),
        "parameters": list(fake.PARAMETERS),
        "definition": {},
    }
    (Path(storage) / "sweeps" / name / "definition.json").write_text(json.dumps(stated))


def _answers(store: Store, stage, gold, wrong, ids: list[str], right: np.ndarray) -> None:
    table = pa.table(
        {
            "task": [fake.TARGET.name] * right.size,
            "language": np.repeat(LANGUAGES, ITEMS),
            "item_id": ids * len(LANGUAGES),
            "gold": np.tile(gold, len(LANGUAGES)),
            "predicted": np.where(right, gold, wrong).ravel(),
        }
    )
    folder = store.workspace(stage.digest, "attempt")
    pq.write_table(table, folder / PREDICTIONS)
    about = {"task": fake.TARGET.name, "split": "test", "role": Role.REPORT, "metric": "accuracy", "step": 100}
    scores = tuple(
        Score(language=language, value=float(row.mean()), correct=int(row.sum()), count=ITEMS, **about)
        for language, row in zip(LANGUAGES, right, strict=True)
    )
    store.commit(stage, folder, "attempt", steps=0, seconds=0.0, scores=scores)


def measure(*words: str) -> tuple[float, float, float]:
    """Seconds of the clock, seconds of the processor and GiB of a command."""
    began = time.monotonic()
    said = subprocess.run([sys.executable, "-c", _MEASURE, *words], capture_output=True, text=True)
    if said.returncode:
        raise SystemExit(said.stderr)
    _, processor, gib = said.stderr.split("MEASURED ")[1].split()
    return time.monotonic() - began, float(processor), float(gib)


def main() -> int:
    missed = False
    with tempfile.TemporaryDirectory() as storage:
        for name, cells, search, seeds in (("searched", 50, 17, 3), ("confirmed", 200, 0, 5), ("small", 8, 3, 3)):
            write(storage, name, cells, search, seeds)
            words = (
                f"{cells} cells, {cells * (search + seeds)} trials, {cells * seeds * ITEMS * 15 / 1e6:.1f} M answers"
            )
            # The second table finds its answers written.
            for command, seconds in (("report", REPORT_SECONDS), ("table", TABLE_SECONDS), ("table", TABLE_SECONDS)):
                clock, processor, gib = measure(command, name, "--storage", storage)
                asked = name == "small" if command == "table" else name != "small"
                good = processor <= seconds and gib <= REPORT_GIB
                missed |= asked and not good
                verdict = f"goal {seconds:.0f} s: {'met' if good else 'MISSED'}" if asked else "no goal"
                print(f"{command:<7} {words}: {clock:.1f} s, processor {processor:.1f} s, {gib:.2f} GiB; {verdict}")
            page = Path(storage) / "sweeps" / name / "report" / "report.html"
            print(f"        page {page.stat().st_size / 1e6:.2f} MB", flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
