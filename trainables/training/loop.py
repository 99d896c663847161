"""Running one stage from its parent's weights to its output directory; knows no Ray and no sweep."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from trainables.canonical import decode
from trainables.catalogue.task import Kind, Metric, Role
from trainables.data.rows import rows
from trainables.data.sequences import Rows
from trainables.faults import Invalid, nearest
from trainables.inflight import Checkpoints, NoCheckpoints
from trainables.model.reader import Reader
from trainables.scores import CheckpointScores, Progress
from trainables.selectors import chosen, seen_of
from trainables.stages import Evaluation, Stage, StageKind
from trainables.training.attempt import Attempt, Diverged, Outcome, write_json
from trainables.training.checkpoint import lay_over, read_model, weights_of
from trainables.training.evaluate import SCORED, Scored, score
from trainables.training.explosion import MULTIPLE
from trainables.training.ranks import Ranks
from trainables.training.retrieval import score_retrieval
from trainables.training.torch_state import torch_state

__all__ = ["Diverged", "Outcome", "run_stage"]


def run_stage(
    stage: Stage,
    *,
    parent: Path | None,
    output: Path,
    cache: Path | None = None,
    checkpoints: Checkpoints | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    cancelled: Callable[[], bool] = lambda: False,
    ranks: Ranks | None = None,
    report_interval_seconds: float = 2.0,
    explosion_multiple: float = MULTIPLE,
) -> Outcome:
    """Run one stage; the same stage and parent give the same bits on the same hardware, whatever ran before.

    Every rank calls this with the same stage; rank 0 alone reports, saves and writes `output`. A stage that was
    cancelled writes no output, only a checkpoint at the step it stopped at.

    Raises:
        Invalid: where stage, data, parent and gang do not fit one another.
        Diverged: naming the step and task whose loss was no number, or exploded: see `trainables.training.explosion`.
        RankFailed: on every rank, with more than one, when any failed.
        RankLost: on every rank that is left, when the process of one has ended.
    """
    together = ranks or Ranks()
    _refuse_misfit(stage, parent, together)
    with torch_state(stage.shape) as device:
        if isinstance(stage.work, Evaluation):
            return _evaluate(stage, stage.work, parent, output, cache, device, together)
        run = together.together(lambda: Attempt(stage, parent, cache, device, together, explosion_multiple))
        return run.train(output, checkpoints or NoCheckpoints(), report, cancelled, report_interval_seconds)


def _refuse_misfit(stage: Stage, parent: Path | None, ranks: Ranks) -> None:
    faults = []
    if ranks.size != stage.shape.workers:
        faults.append(f"it must run on {stage.shape.workers} workers, as its shape says, got {ranks.size}")
    if stage.shape.precision not in ("float32", "bfloat16", "float16"):
        faults.append(f"precision must be resolved to float32, bfloat16 or float16, got {stage.shape.precision!r}")
    if bool(stage.parent) != (parent is not None):
        faults.append(f"it starts from {stage.parent or 'nothing'!r}, got the parent directory {parent}")
    if isinstance(stage.work, Evaluation) != (stage.kind is StageKind.EVALUATE):
        faults.append(f"an {StageKind.EVALUATE} stage, and no other, does an Evaluation, got {stage.kind}")
    if faults:
        raise Invalid(f"stage {stage.digest}", faults)


def _evaluate(
    stage: Stage,
    work: Evaluation,
    parent: Path | None,
    output: Path,
    cache: Path | None,
    device: torch.device,
    ranks: Ranks,
) -> Outcome:
    def prepare() -> tuple[Reader, Rows]:
        reader = read_model(parent, stage.encoder, seed=stage.seed, dropout=0.0, carry_heads=True)
        reader.suit(stage.shape)
        if work.task.kind not in SCORED | {Kind.RETRIEVAL}:
            raise Invalid(
                f"task {work.task.name!r}",
                [f"its kind must be scored by labels, spans, tags or retrieval, got {work.task.kind}"],
            )
        if work.task.kind is not Kind.RETRIEVAL and work.task.head not in reader.head_outputs:
            known = nearest(work.task.head, reader.head_outputs)
            raise Invalid(
                f"stage {stage.digest}",
                [
                    f"its parent must have trained the head {work.task.head!r}, got none; {known}; "
                    f"train {work.task.name} first"
                ],
            )
        return reader.to(device), rows(work.task, work.split, work.languages, stage.encoder, work.visible, cache)

    reader, data = ranks.together(prepare)
    how = {"batch_size": work.batch_size, "precision": stage.shape.precision, "device": device, "ranks": ranks}

    def scored_as(these: Rows, split: str, languages: tuple[str, ...], role: Role) -> Scored:
        what = {"split": split, "languages": languages, "role": role}
        if work.task.kind is Kind.RETRIEVAL:
            dev = ranks.together(lambda: _tuning_rows(stage, work, cache))
            return score_retrieval(reader, work.task, these, dev, layer=work.layer, **what, **how)
        return score(reader, work.task, these, step=0, **what, **how)

    shown = work.task.oracle if work.split == "test" else None
    # Development data need not be there in every language of the test; those without have no say.
    seen_in = tuple(language for language in work.languages if shown and language in shown.languages)
    other = ranks.together(
        lambda: rows(work.task, shown.name, seen_in, stage.encoder, work.visible, cache) if shown and seen_in else None
    )
    spoken = ranks.together(lambda: _source_rows(stage, work, cache))

    def scored_now() -> Scored:
        """What the model scores as it is now, on all that it is asked."""
        found = scored_as(data, work.split, work.languages, work.role)
        if other is not None and shown is not None:
            # No answer that an oracle sees is stored: what is reported is made from the answers that are.
            of_oracle = scored_as(other, shown.name, seen_in, Role.ORACLE)
            found = replace(found, scores=(*found.scores, *of_oracle.scores))
        return found

    scored, checkpoints = scored_now(), ()
    if work.checkpoints and parent is not None:
        scored, checkpoints = _of_checkpoints(work, parent, reader, scored, scored_now, spoken, how)

    def write() -> None:
        if ranks.rank == 0:
            output.mkdir(parents=True, exist_ok=True)
            pq.write_table(scored.predictions, output / "predictions.parquet", compression="zstd")
            write_json(output / "scores.json", {"history": (), "scores": scored.scores})

    ranks.together(write)
    return Outcome(steps_executed=0, resumed_from=0, was_cancelled=False, scores=scored.scores, checkpoints=checkpoints)


def _of_checkpoints(
    work: Evaluation,
    parent: Path,
    reader: Reader,
    last: Scored,
    scored_now: Callable[[], Scored],
    spoken: Rows | None,
    how: dict[str, Any],
) -> tuple[Scored, tuple[CheckpointScores, ...]]:
    """What the selector's choice among the checkpoints of the parent scores, and what all of them do.

    The `last` is scored already; those before it, and the mean of all, are laid over the model in turn.
    """
    history = tuple(decode(Progress, item) for item in json.loads((parent / "scores.json").read_text())["history"])
    end = history[-1].step
    weights = how["ranks"].together(lambda: weights_of(work.checkpoints, end, parent, reader))
    found: dict[tuple[int, ...], Scored] = {}
    for steps, tensors in weights.items():
        lay_over(reader, tensors)
        scored = last if steps == (end,) else scored_now()
        if spoken is not None and work.source is not None and len(steps) == 1:
            dev = work.source.split("dev")
            asked = {"split": "dev", "languages": dev.languages if dev else (), "role": Role.SELECT, "step": steps[0]}
            of_source = score(reader, work.source, spoken, **asked, **how)
            scored = replace(scored, scores=(*scored.scores, *of_source.scores))
        at = steps[-1]
        found[steps] = replace(scored, scores=tuple(replace(one, step=at) for one in scored.scores))
    checkpoints = tuple(CheckpointScores(steps=steps, scores=found[steps].scores) for steps in sorted(found))
    assert work.learned is not None  # `sweep.paths` states it with the checkpoints
    seen = seen_of(work.task, work.learned, work.source, history, checkpoints)
    choice = chosen(work.selector, seen)
    if choice not in found:
        raise Invalid(
            f"selector {work.selector}",
            [f"it must have scores to choose by, got none of {', '.join(map(str, seen.steps))}; choose another"],
        )
    reported = found[choice]
    reportable = tuple(one for one in reported.scores if one.split != "dev")
    return replace(reported, scores=reportable), checkpoints


def _source_rows(stage: Stage, work: Evaluation, cache: Path | None) -> Rows | None:
    """The development split in the language that the target is learned from; None where that is English."""
    if work.source is None or not work.checkpoints:
        return None
    return rows(work.source, "dev", None, stage.encoder, work.visible, cache)


def _tuning_rows(stage: Stage, work: Evaluation, cache: Path | None) -> Rows | None:
    """The development split of a task that is mined, in the languages scored; None where there is none to tune on."""
    dev = work.task.split("dev")
    if dev is None or work.task.measured_by is not Metric.MINING:
        return None
    return rows(work.task, "dev", work.languages, stage.encoder, work.visible, cache)
