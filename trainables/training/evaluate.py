"""Scoring a split per language, over all ranks; trains nothing and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import torch

from trainables import pulse
from trainables.catalogue.task import CLASSIFICATION, IGLUE_ACCURACY, ORACLE_HALF, Kind, Metric, Role, Task
from trainables.data.batches import ABSENT, Batch, batch
from trainables.data.sequences import Rows, answer_text
from trainables.model.reader import Reader
from trainables.scores import Score
from trainables.training import metrics
from trainables.training.ranks import Ranks
from trainables.training.torch_state import autocast

#: Kinds whose predictions by a trained head can be scored here.
SCORED = CLASSIFICATION | {Kind.SPAN, Kind.TAGGING}

PREDICTIONS = pa.schema(
    [*((name, pa.string()) for name in ("task", "language", "item_id", "gold", "predicted")), ("score", pa.float64())],
)
"""`score` is the example's own, 0 to 1, whose mean is the task's; null where the task's is no mean over examples."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores per language and metric, and one prediction per example: a label's name, an ending's number, an answer, or
    tags with spaces between them.

    The gold answer is null where the row has no gold label.
    """

    scores: tuple[Score, ...]
    predictions: pa.Table


def score(
    reader: Reader,
    task: Task,
    rows: Rows,
    *,
    split: str,
    languages: Sequence[str],
    role: Role,
    step: int,
    batch_size: int,
    precision: str,
    device: torch.device,
    ranks: Ranks,
) -> Scored:
    """Score every row once. Batches are formed before they go to ranks, so any number of ranks gives the same bits.

    A language without rows gets a score without value, with the reason.
    """
    predicted = predict(reader, task, rows, batch_size=batch_size, precision=precision, device=device, ranks=ranks)
    answers = _answers(task, rows, predicted)
    examples = rows.examples
    spoken = np.array(rows.languages)[examples]
    unusable = dict(rows.left_out)
    scores: list[Score] = []
    for language in languages:
        here = np.flatnonzero(spoken == language)
        told = {"task": task.name, "language": language, "split": split, "role": role, "step": step}
        scores += scores_of(task, [answers[example] for example in here], told, unusable.get(language, ""))
    return Scored(
        scores=tuple(scores),
        predictions=pa.table(
            [
                [task.name] * len(answers),
                spoken.tolist(),
                [rows.ids[row] for row in examples],
                [answer.gold for answer in answers],
                [answer.predicted for answer in answers],
                [answer.score for answer in answers],
            ],
            schema=PREDICTIONS,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was asked for, what was answered, how good that is by itself, and whether it is just right."""

    gold: str | None
    predicted: str
    score: float | None
    exact: bool


def absent(names: Sequence[str], told: dict, why: str = "") -> list[Score]:
    """Scores without a value, of a language without rows; `why` it has none, where that is known."""
    reason = f"the {told['split']} split of {told['task']} has no row in {told['language']!r}"
    reason += f": {why}" if why else ""
    return [Score(metric=name, value=None, correct=None, count=0, absent_reason=reason, **told) for name in names]


def scores_of(task: Task, answers: list[Answer], told: dict, why: str = "") -> list[Score]:
    """The scores of one language's answers; `told` are the fields of a score that say what was asked.

    `why` is the reason why there is no answer, where one is known.
    """
    counts_unlabelled = task.keeps_unlabelled and told["split"] in ("test", ORACLE_HALF)
    names = task.score_names if counts_unlabelled else tuple(n for n in task.score_names if n != IGLUE_ACCURACY)
    if not answers:
        return absent(names, told, why)
    count = len(answers)
    exact = sum(answer.exact for answer in answers)
    if task.measured_by in (Metric.SQUAD, Metric.MLQA):
        f1 = sum(answer.score or 0.0 for answer in answers) / count
        return [
            Score(metric="f1", value=f1, correct=None, count=count, **told),
            Score(metric="exact_match", value=exact / count, correct=exact, count=count, **told),
        ]
    if task.kind is Kind.TAGGING:
        gold = [(answer.gold or "").split(" ") for answer in answers]
        predicted = [answer.predicted.split(" ") for answer in answers]
        if task.measured_by is Metric.ACCURACY:
            right = sum(
                one == other for row in zip(gold, predicted, strict=True) for one, other in zip(*row, strict=True)
            )
            words = sum(map(len, gold))
            return [Score(metric="accuracy", value=right / words, correct=right, count=words, **told)]
        f1 = (metrics.entity_f1 if task.measured_by is Metric.ENTITIES else metrics.tag_f1)(gold, predicted)
        return [Score(metric="f1", value=f1, correct=None, count=count, **told)]
    labelled = sum(answer.gold is not None for answer in answers)
    of = {"accuracy": labelled, IGLUE_ACCURACY: count}
    if not labelled:
        told = {**told, "absent_reason": f"no row of the {told['split']} split of {task.name} has a gold label"}
        return [Score(metric=name, value=None, correct=None, count=of[name], **told) for name in names]
    return [Score(metric=name, value=exact / of[name], correct=exact, count=of[name], **told) for name in names]


def _answers(task: Task, rows: Rows, predicted: np.ndarray) -> list[Answer]:
    """One per example, in the order of the examples."""
    if task.kind is Kind.SPAN:
        return _spans(task, rows, predicted)
    if task.kind is Kind.TAGGING:
        return _tags(task, rows, predicted)
    assert rows.labels is not None
    name: Callable[[int], str] = str if task.kind is Kind.CHOICE else task.labels.__getitem__
    return [
        Answer(gold=None, predicted=name(one), score=None, exact=False)
        if gold == ABSENT
        else Answer(gold=name(gold), predicted=name(one), score=float(gold == one), exact=gold == one)
        for gold, one in zip(rows.labels.tolist(), predicted.tolist(), strict=True)
    ]


def _spans(task: Task, rows: Rows, predicted: np.ndarray) -> list[Answer]:
    """The best answer over the windows of each example; none where that is likelier in all of them and may be."""
    assert rows.items is not None
    answers = []
    for example, first in enumerate(rows.examples):
        windows = np.flatnonzero(rows.items == example) if len(rows) > len(rows.contexts) else np.array([first])
        best = int(windows[np.argmax(predicted[windows, 2])])
        said = answer_text(rows, best, int(predicted[best, 0]), int(predicted[best, 1]))
        if task.unanswerable and predicted[windows, 3].min() > predicted[best, 2]:
            said = ""
        normalise = metrics.normalised
        if task.measured_by is Metric.MLQA:
            normalise = partial(metrics.mlqa_normalised, language=rows.languages[first])
        gold, f1, exact = metrics.best_answer(rows.answers[example], said, normalise, may_be_empty=task.unanswerable)
        answers.append(Answer(gold=gold, predicted=said, score=f1, exact=exact))
    return answers


def _tags(task: Task, rows: Rows, predicted: np.ndarray) -> list[Answer]:
    """The tags of each sentence, its pieces put together again; each word has that of its first token."""
    assert rows.items is not None and rows.word_starts is not None and rows.tags is not None
    said: dict[int, tuple[list[str], list[str]]] = {}
    for row, example in enumerate(rows.items.tolist()):
        gold, found = said.setdefault(example, ([], []))
        gold += [task.labels[tag] for tag in rows.tags.row(row)]
        found += [task.labels[tag] for tag in predicted[row, len(rows.template.prefix) + rows.word_starts.row(row)]]
    is_mean = task.measured_by is Metric.ACCURACY
    return [
        Answer(
            gold=" ".join(gold),
            predicted=" ".join(found),
            score=sum(map(str.__eq__, gold, found)) / len(gold) if is_mean else None,
            exact=gold == found,
        )
        for gold, found in said.values()
    ]


def predict(
    reader: Reader,
    task: Task,
    rows: Rows,
    *,
    batch_size: int,
    precision: str,
    device: torch.device,
    ranks: Ranks,
) -> np.ndarray:
    """What `Reader.predict` says of every row, complete on every rank; tags of a row stand from its first token on."""

    def answer(part: Batch) -> torch.Tensor:
        return reader.predict(part, task.head, len(task.labels))

    widest = int(rows.lengths.max()) if len(rows) else 0
    shape = {Kind.SPAN: (4,), Kind.TAGGING: (widest,)}.get(task.kind, ())
    kind = torch.float64 if task.kind is Kind.SPAN else torch.int64
    found = torch.zeros((len(rows), *shape), dtype=kind)
    return over_rows(
        reader, rows, answer, found, batch_size=batch_size, precision=precision, device=device, ranks=ranks
    ).numpy()


def over_rows(
    reader: Reader,
    rows: Rows,
    answer: Callable[[Batch], torch.Tensor],
    found: torch.Tensor,
    *,
    batch_size: int,
    precision: str,
    device: torch.device,
    ranks: Ranks,
    asked: np.ndarray | None = None,
) -> torch.Tensor:
    """`found`, (row, …) of zeros, filled with what `answer` says of batches of rows, complete on every rank.

    `asked`, (row,), are the rows, all where there are none. What is said of a batch may be narrower than `found`.
    """
    asked = np.arange(len(rows)) if asked is None else asked
    order = np.argsort(rows.lengths[asked], kind="stable")

    def mine() -> None:
        for number, start in enumerate(range(0, len(order), batch_size)):
            if number % ranks.size != ranks.rank:
                continue
            pulse.beat()
            chosen = order[start : start + batch_size]
            with torch.no_grad(), autocast(device, precision):
                said = answer(batch(rows, asked[chosen]).to(device)).cpu().to(found.dtype)
            where = torch.from_numpy(chosen)
            if found.ndim > 1:
                found[where, : said.shape[1]] = said
            else:
                found[where] = said

    was_training = reader.training
    reader.eval()
    try:
        ranks.together(mine)
    finally:
        reader.train(was_training)
    ranks.sum_(found)
    return found
