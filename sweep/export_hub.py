"""A sweep as folders of the Hugging Face hub: tables as a data set, the best encoder as a model; uploads nothing."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.transfer_grid import CellRole
from sweep import tables
from sweep.languages import language_name
from sweep.paths import teacher
from sweep.per_language import BLIND, groups, per_language
from sweep.records import TrialRecord
from sweep.report.texts import Column, Row, plain, share, with_interval
from sweep.rows import remarks
from sweep.sources import Source, sources
from trainables.canonical import decode
from trainables.catalogue.task import Kind, Task
from trainables.faults import NotThere
from trainables.selectors import chosen, seen_of, source_dev
from trainables.store import Absent

if TYPE_CHECKING:
    from sweep.results import Results
    from sweep.standing import Standing

#: The one split of every table. The hub's library keeps the word "all" for itself, and nothing here is a "train" split.
SPLIT = "results"

#: What an encoder's folder takes from the output of a stage: all that `from_pretrained` reads, and the rest of the
#: model, which this package reads.
_KEPT = ("*.json", "*.safetensors", "*.model", "*.txt", "bpe.codes")
_LEFT = ("losses.json", "scores.json")


def data_set(results: Results, directory: str) -> list[str]:
    """Write every table as a configuration of a data set that `datasets.load_dataset(directory, TABLE)` reads.

    A table without a row is left out: that library refuses one.

    Raises:
        NotThere: where the folder is there and not empty.
    """
    folder = _new(directory)
    found = {
        "scores": results.scores(),
        "predictions": results.predictions(),
        "trials": results.trials(),
        "mixtures": results.mixtures(),
        "stages": results.stages(),
        **results.findings(),
    }
    found = {name: table for name, table in found.items() if len(table)}
    written = []
    for name, table in sorted(found.items()):
        (folder / name).mkdir(parents=True)
        path = folder / name / f"{SPLIT}.parquet"
        path.write_bytes(tables.parquet_bytes(table).to_pybytes())
        written.append(str(path))
    stated = results.stated()
    card = folder / "README.md"
    card.write_text(_data_card(results, stated, {name: len(table) for name, table in found.items()}), "utf-8")
    return [*written, str(card)]


def _data_card(results: Results, stated: Mapping[str, Any], rows: Mapping[str, int]) -> str:
    from huggingface_hub import DatasetCardData

    data = DatasetCardData(
        language=list(stated["languages"]),
        license="other",
        license_name="of-the-data-below",
        pretty_name=f"Sweep {results.name}",
        config_names=None,
        configs=[
            {
                "config_name": name,
                "data_files": [{"split": SPLIT, "path": f"{name}/{SPLIT}.parquet"}],
                **({"default": True} if name == "per_language" else {}),
            }
            for name in sorted(rows)
        ],
    )
    lines = [
        f"# Sweep {results.name}",
        f'Results of a transfer-sweep on {stated["target"]}: `load_dataset(FOLDER, TABLE, split="{SPLIT}")`.',
        "\n".join(
            ["| table | rows |", "|---|---|", *(f"| {name} | {count} |" for name, count in sorted(rows.items()))]
        ),
        "Every column's meaning and unit is in the metadata of its Arrow field. `predictions` holds answers of the "
        "test split, with its gold labels: keep it from what a model is trained on.",
        *([f"Not in it: {why}."] if (why := results.unread()) else []),
        "## Data behind it",
        _sources(sources(stated.get("definition", {}))),
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(lines) + "\n"


def encoder(results: Results, directory: str, cell: str | None = None) -> list[str]:
    """Write the best encoder as a folder that `AutoModel.from_pretrained` loads, with a model card.

    Of the confirmed runs of the cell, or of the cell with the best mean where none is stated, it is the one with the
    best English development score: no test label chooses.

    Raises:
        NotThere: for an unknown cell, a sweep without a confirmed run, weights that are gone, or a folder that is
            not empty.
    """
    standing = results.standing()
    if cell is not None:
        standing.cell(cell)
    candidates = [one for one in standing.cells if one.name == cell or (cell is None and one.role not in _NO_ANSWER)]
    runs = {one.name: [r for r in standing.confirmations(one.name) if r.score is not None] for one in candidates}
    means = {name: sum(r.score or 0.0 for r in mine) / len(mine) for name, mine in runs.items() if mine}
    target = _target(results)
    if not means and target is not None and target.kind is Kind.RETRIEVAL:
        raise NotThere(
            f"an encoder is chosen by its development score, and {results.name!r} has none: {standing.target} is "
            "retrieval, which trains nothing; export one from the sweep of another target"
        )
    if not means:
        raise NotThere(f"{results.name!r} must have a confirmed run to export an encoder of; see `sweep status`")
    best = max(means, key=lambda name: means[name])
    run = max(runs[best], key=lambda one: one.score or 0.0)
    try:
        weights = results.store.fetch(run.target)
    except Absent as error:
        raise NotThere(f"the weights of {run.key} must be in the storage: {error}") from error
    kept, chosen_steps = _choice(results, standing, run)
    folder = _new(directory)
    folder.mkdir(parents=True, exist_ok=True)
    if len(kept) > 1 and chosen_steps != kept[-1:]:
        _write_checkpoint(results, weights, kept, chosen_steps, folder)
    else:
        for pattern in _KEPT:
            for file in sorted(weights.glob(pattern)):
                if file.name not in _LEFT:
                    shutil.copyfile(file, folder / file.name)
    written = [str(file) for file in sorted(folder.iterdir())]
    answers = results.answers(standing)
    own = {name: answers.outcome(run.evaluation, languages) for name, languages in groups(standing, answers).items()}
    rows = [
        {**row, "own": None if (outcome := own[row["language"]]) is None else outcome.value}
        for row in per_language(standing, answers).to_pylist()
        if row["cell"] == best
    ]
    card = folder / "README.md"
    card.write_text(_model_card(results, run, rows), "utf-8")
    return [*written, str(card)]


def _choice(results: Results, standing: Standing, run: TrialRecord) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The steps of a run's checkpoints, in order, and those of the one that its reported scores are of."""
    answers = results.answers(standing)
    evaluated = answers.checkpoints(run.evaluation)
    kept = tuple(sorted(one.steps[0] for one in evaluated if len(one.steps) == 1))
    if not kept:
        return (), ()
    sweep = results.definition()
    cell = next((one for one in sweep.cells if one.name == run.key.cell), None) if sweep is not None else None
    learned = teacher(sweep, cell) if sweep is not None and cell is not None else None
    if sweep is None or learned is None:
        why = results.unread() or "none of its cell is stated"
        raise NotThere(
            f"the definition must be readable to tell which checkpoint was reported: {why}; export with the version "
            "that ran the sweep"
        )
    seen = seen_of(sweep.target, learned, source_dev(learned), answers.history(run.target), evaluated)
    return kept, chosen(sweep.selector, seen)


def _write_checkpoint(
    results: Results, weights: Path, kept: tuple[int, ...], steps: tuple[int, ...], folder: Path
) -> None:
    from trainables.training.checkpoint import write_checkpoint  # torch, which no other export needs

    sweep = results.definition()
    assert sweep is not None  # `_choice` has refused it
    write_checkpoint(weights, sweep.encoder, kept[:-1], kept[-1], steps, folder)


#: Cells whose encoders nobody asks for.
_NO_ANSWER = (*BLIND, CellRole.CONTROL)


def _model_card(results: Results, run: TrialRecord, rows: Sequence[Row]) -> str:
    """`rows` are those of the cell in `per_language`, with the score of this very run as `own`."""
    from huggingface_hub import EvalResult, ModelCardData

    stated = results.stated()
    definition = stated.get("definition", {})
    mine = {**definition, "cells": [one for one in definition.get("cells", ()) if one.get("name") == run.key.cell]}
    data = sources(mine)
    target = _target(results)
    metric = target.score_names[0] if target else "accuracy"
    scored = [row for row in rows if row["accuracy"] is not None]
    base = definition.get("encoder", {}).get("text", {}).get("repository")
    licences = sorted({one.licence for one in data})
    card = ModelCardData(
        language=list(stated["languages"]),
        license="other",
        license_name="of-its-data-and-base-model",
        library_name="transformers",
        pipeline_tag="feature-extraction",
        base_model=base,
        model_name=f"{results.name}, {run.key.cell}",
        eval_results=[
            EvalResult(
                task_type=_HUB_TASKS.get(target.kind, "other") if target else "other",
                dataset_type=stated["target"],
                dataset_name=f"{stated['target']}, {row['language']}",
                dataset_config=row["language"],
                dataset_split="test",
                metric_type=metric,
                metric_value=round(row["own"], 4),
            )
            for row in scored
            if row["own"] is not None and row["language"] in stated["languages"]
        ],
    )
    base_text = f"[{base}](https://huggingface.co/{base})" if base else str(definition.get("encoder", {}).get("name"))
    parts = [
        f"# {results.name}: the encoder of {run.key.cell}",
        f"A text encoder after {_training(results, run)}. Base: {base_text}. "
        f"Seed {run.seed}; chosen by English development accuracy ({run.score:.3f}) alone.",
        "```python\nfrom transformers import AutoModel, AutoTokenizer\n\n"
        "encoder = AutoModel.from_pretrained(FOLDER)\ntokenizer = AutoTokenizer.from_pretrained(FOLDER)\n```",
        "`AutoModel` loads the encoder. Its heads and its image side are in `extras.safetensors`, which transfer-sweep "
        "reads: without them it classifies nothing.",
        "## Scores",
        "On the test split: this encoder's own, and what the same training gives on average over "
        f"{max((row['seeds'] for row in scored), default=0)} seeds, of which this encoder is one, with 95% intervals "
        "over seeds and items.",
        _markdown(_score_columns(metric), scored),
        *(["\n".join(f"- {remark}" for remark in remarks(rows))] if remarks(rows) else []),
        "## Languages",
        "Trained on data of the languages that the table below states; tested in "
        f"{', '.join(language_name(code) for code in stated['languages'])}.",
        "## Data",
        _sources(data),
        "## Licence",
        f"Weights follow the licences of the base model and of the data: {'; '.join(licences) or 'not stated'}. "
        "This card does not decide which use they allow.",
    ]
    return f"---\n{card.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"


def _score_columns(metric: str) -> tuple[Column, ...]:
    return (
        Column("language", plain("language"), numeric=False),
        Column(f"{metric} of this encoder", share("own")),
        Column(f"{metric} over seeds [95%]", with_interval("accuracy", signed=False)),
        Column("gain over no intermediate training [95%]", with_interval("gain", signed=True)),
        Column("items", plain("items")),
    )


#: What the hub calls the kinds of a target.
_HUB_TASKS = {
    Kind.PAIR: "text-classification",
    Kind.CHOICE: "multiple-choice",
    Kind.SPAN: "question-answering",
    Kind.TAGGING: "token-classification",
}


def _target(results: Results) -> Task | None:
    """The target as the definition states it; None where another version wrote it."""
    try:
        return decode(Task, results.stated()["definition"]["target"])
    except (ValueError, TypeError, KeyError):
        return None


def _training(results: Results, run: TrialRecord) -> str:
    """What the encoder has learned after its pre-training, in words."""
    standing = results.standing()
    cell = standing.cell(run.key.cell)
    cells = results.stated().get("definition", {}).get("cells", ())
    words = next((one.get("align_words") for one in cells if one.get("name") == cell.name), None)
    between = ", ".join(cell.intermediates)
    learned = cell.learned_from or standing.target
    of = f" in {', '.join(cell.learned_in)}" if cell.learned_in else ""
    parts = [
        *([f"alignment on the word pairs of {words['name']}"] if words else []),
        f"intermediate training on {between}" if between else "no intermediate training",
        f"target training on {learned}{of}",
    ]
    return ", then ".join(parts)


def _markdown(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    head = "| " + " | ".join(column.head for column in columns) + " |"
    rule = "|" + "|".join("---:" if column.numeric else "---" for column in columns) + "|"
    return "\n".join([head, rule, *("| " + " | ".join(c.shows(row) for c in columns) + " |" for row in rows)])


def _sources(found: Sequence[Source]) -> str:
    lines = [
        f"| {one.task} | {', '.join(one.languages) or '.'} | {one.origin.replace('|', '/')} | {one.licence} |"
        for one in found
    ]
    return "\n".join(["| task | training data in | source | licence |", "|---|---|---|---|", *lines])


def _new(directory: str) -> Path:
    folder = Path(directory)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NotThere(f"the folder must be new or empty, got {directory!r}; name another, or empty it")
    return folder
