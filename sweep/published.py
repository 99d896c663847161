"""Published accuracies as a sweep in a storage folder, so that tables and reports are made of them as of one's own."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from search_spaces.transfer_grid import CellRole
from sweep.ledger import Ledger
from sweep.records import Happening, Phase, TrialKey, What, trial_records
from trainables.catalogue.encoder import Encoder, LocalEncoder, Patches
from trainables.catalogue.task import NLI_LABELS, Kind, ParquetSource, Role, Split, Task
from trainables.faults import Invalid, NotThere, nearest, refuse
from trainables.scores import Score
from trainables.stages import Evaluation, Shape, Stage, StageKind
from trainables.store import Store
from trainables.whole_files import put_whole, read_json

#: Columns of such a file that are no language: the mean that it states is not read but computed.
MEANS = ("avg", "average", "mean")

Row = Mapping[str, Any]


def read(path: str | Path) -> list[Row]:
    """The accuracies of a CSV file with a column `model` and a column per language, as `model`, `language`, `accuracy`.

    Each row names its `file` too. Where one number of a file is above 1, all are percent. An empty field, or a number
    below 0 as IGLUE's scripts write it for what they could not read, is an absence: `accuracy` is None.

    Raises:
        Invalid: naming every field that is no accuracy.
    """
    lines = list(csv.DictReader(io.StringIO(Path(path).read_text("utf-8"))))
    refuse(f"the published numbers in {path}", _faults(lines))
    name = Path(path).name
    values = [text for line in lines for language, text in line.items() if language != "model" and text.strip()]
    percent = any(float(text) > 1 for text in values)
    return [
        {"model": line["model"], "language": language, "accuracy": _share(text, percent=percent), "file": name}
        for line in lines
        for language, text in line.items()
        if language != "model" and language not in MEANS
    ]


def _faults(lines: Sequence[Mapping[str, str]]) -> Iterator[str]:
    if not lines or "model" not in lines[0]:
        yield "the first line must name the columns, 'model' and a language for each other one; see the README"
        return
    for line in lines:
        for language, text in line.items():
            if language == "model" or language in MEANS:
                continue
            try:
                good = text.strip() == "" or float(text) <= 100
            except ValueError:
                good = False
            if not good:
                yield f"the accuracy of {line['model']!r} in {language!r} must be a number up to 100, got {text!r}"


def _share(text: str, *, percent: bool) -> float | None:
    if not text.strip() or float(text) < 0 or math.isnan(float(text)):
        return None
    value = float(text)
    return value / 100 if percent else value


def load(path: str | Path, *, storage: str, name: str, items: int, baseline: str, task: str = "published") -> None:
    """Write the accuracies as the finished sweep `name`, one cell per model, each confirmed by one run of seed 0.

    `items` is how many test items each accuracy is of: intervals come from it. Nothing is known of seeds, nor of
    which items were right, so gains are not paired and every row says so. The same file again changes nothing.

    Raises:
        Invalid: for a file that cannot be read so, fewer than two items, or a name under which the storage holds
            anything else; then nothing is written.
        NotThere: for a baseline that the file does not name.
    """
    if items < 2:
        raise Invalid("published numbers", [f"items must be the number of test items, at least 2, got {items}"])
    rows = read(path)
    models = list(dict.fromkeys(row["model"] for row in rows))
    if baseline not in models:
        raise NotThere(f"{path} has no model {baseline!r} to be the baseline; {nearest(baseline, models)}")
    languages = tuple(dict.fromkeys(row["language"] for row in rows))
    fingerprint = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    target = Task(
        name=task,
        kind=Kind.IMAGE_TEXT,
        labels=NLI_LABELS,
        splits=(Split(name="train", languages=("en",)), Split(name="test", languages=languages, rows=items)),
        source=ParquetSource(train="", dev="", test="", fingerprint=fingerprint),
        licence="as published",
    )
    store = Store(storage)
    stated = {
        "name": name,
        "target": task,
        "languages": list(languages),
        "seeds": [0],
        "parameters": [],
        "cells": [
            {
                "name": model,
                "role": str(CellRole.BASELINE if model == baseline else CellRole.TRANSFER),
                "intermediates": [],
                "trials": 0,
            }
            for model in models
        ],
        "definition": {"published": Path(path).name, "sha256": fingerprint, "items": items},
    }
    text = json.dumps(stated, sort_keys=True, indent=1, ensure_ascii=False)
    where = f"{store.root}/sweeps/{name}/definition.json"
    _refuse_taken(store, where, stated, rows)
    store.filesystem.create_dir(where.rpartition("/")[0], recursive=True)
    put_whole(store.filesystem, where, text.encode())  # first: what is imported half is known for what it is
    ledger = Ledger(store.filesystem, store.root, name).open()
    for model in models:
        mine = {row["language"]: row["accuracy"] for row in rows if row["model"] == model}
        for happening in _happenings(model, _evaluated(store, target, model, mine, items)):
            ledger.record(happening)


def _refuse_taken(store: Store, where: str, stated: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Raise `Invalid` where the sweep of that name is another than this very import.

    One that is older than the hash of its file is known by its numbers.
    """
    if store.filesystem.get_file_info(where).type == pafs.FileType.NotFound:
        return
    name, there = stated["name"], read_json(store.filesystem, where)
    definition = there.get("definition") if isinstance(there, dict) else None
    if there == stated:
        return
    if isinstance(definition, dict) and "published" in definition and "sha256" not in definition:
        whole = {**there, "definition": {**definition, "sha256": stated["definition"]["sha256"]}}
        if whole == stated and _has_numbers(store, name, rows):
            return
    fault = "must be new, or of the very same file, items, task and baseline: the storage holds another sweep of it"
    raise Invalid(f"the name {name!r}", [f"{fault}; import under another --name, or into another --storage"])


def _has_numbers(store: Store, name: str, rows: Sequence[Row]) -> bool:
    """Whether all accuracies that are kept of an import are those of the rows."""
    read = {(row["model"], row["language"]): row["accuracy"] for row in rows}
    kept = {
        (record.key.cell, score.language): score.value
        for record in trial_records(Ledger(store.filesystem, store.root, name).happenings()).values()
        for score in store.scores(record.evaluation) or ()
    }
    return all(place in read and read[place] == value for place, value in kept.items())


def _evaluated(store: Store, target: Task, model: str, accuracies: Mapping[str, float | None], items: int) -> str:
    """Put the scores into the store, and give the digest that they have there."""
    stage = Stage(
        kind=StageKind.EVALUATE,
        work=Evaluation(task=target, split="test", languages=tuple(accuracies)),
        encoder=Encoder(name=model, text=LocalEncoder(path=model), patches=Patches(height=8, width=8, patch=8)),
        parent="",
        seed=0,
        shape=Shape(workers=1, threads=1, precision="float32"),
        versions=(),
    )
    scores = tuple(
        Score(
            task=target.name,
            language=language,
            split="test",
            role=Role.REPORT,
            metric="accuracy",
            value=value,
            correct=None if value is None else round(value * items),
            count=items,
            step=0,
            absent_reason="" if value is not None else "the published file has no number",
        )
        for language, value in accuracies.items()
    )
    with tempfile.TemporaryDirectory() as empty:
        store.commit(stage, Path(empty), "published", steps=0, seconds=0.0, scores=scores)
    return stage.digest


def _happenings(model: str, evaluation: str) -> Iterator[Happening]:
    key = TrialKey(cell=model, phase=Phase.CONFIRMATION, number=0)
    proposed = {"values": {}, "draws": {}, "seed": 0, "stages": [evaluation]}
    yield Happening(trial=key, what=What.PROPOSED, payload=proposed)
    yield Happening(trial=key, what=What.FINISHED, payload={"score": None, "target": "", "evaluation": evaluation})
