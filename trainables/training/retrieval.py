"""Scoring retrieval: sentence vectors of one layer, and which sentence each English one finds; trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from trainables.catalogue.task import Metric, Role, Task
from trainables.data.batches import Batch
from trainables.data.rows import Rows
from trainables.faults import Invalid
from trainables.model.reader import Reader
from trainables.scores import Score
from trainables.training import metrics
from trainables.training.evaluate import PREDICTIONS, Scored, absent, over_rows
from trainables.training.ranks import Ranks

#: Neighbours whose mean similarity a pair's own is divided by (Artetxe and Schwenk 2019; XTREME's default).
NEIGHBOURS = 4

#: Sentences compared with all others at once: it bounds memory and changes no number.
_CHUNK = 1024

#: What mining is scored as where no sentence is without a translation: an F1 would mean nothing there.
PAIRS_ALONE = "pair_retrieval_accuracy"


@dataclass(frozen=True, kw_only=True)
class _Side:
    """The sentences of one language and their vectors, (sentence, width) of norm 1."""

    ids: tuple[str, ...]
    vectors: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class _Pool:
    """One language's sentences, the English ones, and the id of the English one that each of the first translates."""

    foreign: _Side
    english: _Side
    matches: tuple[str, ...]

    @property
    def has_distractors(self) -> bool:
        """Whether any sentence of either side translates none of the other."""
        return "" in self.matches or len(self.english.ids) > len(set(self.matches))


def score_retrieval(
    reader: Reader,
    task: Task,
    rows: Rows,
    dev: Rows | None,
    *,
    split: str,
    languages: Sequence[str],
    role: Role,
    layer: int,
    batch_size: int,
    precision: str,
    device: torch.device,
    ranks: Ranks,
) -> Scored:
    """Score every language against English. `dev` tunes the threshold of mining, in the same languages.

    Raises:
        Invalid: where the trunk has no such layer.
    """
    if not 0 <= layer <= reader.layers:
        raise Invalid(
            f"task {task.name!r}", [f"layer must be from 0 to the trunk's {reader.layers}, got {layer}; choose another"]
        )

    def vectors(part: Rows) -> torch.Tensor:
        def answer(some: Batch) -> torch.Tensor:
            return reader.sentence_vectors(some, layer)

        found = torch.zeros(len(part), reader.width, dtype=torch.float32)
        return over_rows(
            reader, part, answer, found, batch_size=batch_size, precision=precision, device=device, ranks=ranks
        )

    pools = _pools(rows, vectors(rows))
    tuned = _pools(dev, vectors(dev)) if dev is not None else {}
    scores: list[Score] = []
    predictions = []
    for language in languages:
        told = {"task": task.name, "language": language, "split": split, "role": role, "step": 0}
        if language not in pools:
            scores += absent(task.score_names, told)
            continue
        score, found = _scored(task, pools[language], tuned.get(language), told)
        scores.append(score)
        predictions += [
            (task.name, language, one, match, guess, float(match == guess) if score.correct is not None else None)
            for one, match, guess in found
        ]
    columns = list(zip(*predictions, strict=True)) or [()] * len(PREDICTIONS)
    return Scored(scores=tuple(scores), predictions=pa.table([list(column) for column in columns], schema=PREDICTIONS))


_Answer = tuple[str, str, str]
"""The id of a sentence, that of its translation, and that of what was found for it; each empty where there is none."""


def _scored(task: Task, pool: _Pool, dev: _Pool | None, told: dict) -> tuple[Score, list[_Answer]]:
    """The score of a language and its answers: mined for each of its own sentences, or else found for each English one.

    The second is the direction of `similarity_search` in XTREME and jiant: where many sentences have one neighbour, the
    other direction gives other numbers.
    """
    count = len(pool.matches)
    if task.measured_by is Metric.MINING and pool.has_distractors:
        if dev is None or not dev.has_distractors:
            reason = f"the threshold must be tuned on a dev split with distractors in {told['language']!r}, got none"
            score = Score(metric="f1", value=None, correct=None, count=count, absent_reason=reason, **told)
            return score, [(*pair, "") for pair in zip(pool.foreign.ids, pool.matches, strict=True)]
        mined = mine_pairs(pool.foreign.vectors, pool.english.vectors)
        threshold = metrics.best_threshold(
            _named(dev, mine_pairs(dev.foreign.vectors, dev.english.vectors)), _gold(dev)
        )
        kept = [pair for pair, score in _named(pool, mined).items() if score >= threshold]
        value = metrics.pair_f1(_gold(pool), kept)
        partner = dict(kept)
        answers = [
            (one, match, partner.get(one, "")) for one, match in zip(pool.foreign.ids, pool.matches, strict=True)
        ]
        return Score(metric="f1", value=value, correct=None, count=count, **told), answers
    translated = {match: one for one, match in _gold(pool)}
    asked = [row for row, one in enumerate(pool.english.ids) if one in translated]
    nearest = nearest_rows(pool.english.vectors[asked], pool.foreign.vectors).tolist()
    answers = [
        (one, translated[one], pool.foreign.ids[place])
        for one, place in zip((pool.english.ids[row] for row in asked), nearest, strict=True)
    ]
    right = sum(guess == match for _, match, guess in answers)
    metric = PAIRS_ALONE if task.measured_by is Metric.MINING else "accuracy"
    return Score(metric=metric, value=right / len(asked), correct=right, count=len(asked), **told), answers


def _pools(rows: Rows, vectors: torch.Tensor) -> dict[str, _Pool]:
    assert rows.english is not None
    spoken = np.array(rows.languages)
    pools = {}
    for language in dict.fromkeys(rows.languages):
        foreign, english = (np.flatnonzero((spoken == language) & (rows.english == side)) for side in (False, True))
        pools[language] = _Pool(
            foreign=_Side(ids=tuple(rows.ids[row] for row in foreign), vectors=vectors[torch.from_numpy(foreign)]),
            english=_Side(ids=tuple(rows.ids[row] for row in english), vectors=vectors[torch.from_numpy(english)]),
            matches=tuple(rows.matches[row] for row in foreign),
        )
    return pools


def _gold(pool: _Pool) -> list[metrics.Pair]:
    return [(one, match) for one, match in zip(pool.foreign.ids, pool.matches, strict=True) if match]


def _named(pool: _Pool, mined: dict[tuple[int, int], float]) -> dict[metrics.Pair, float]:
    return {(pool.foreign.ids[left], pool.english.ids[right]): score for (left, right), score in mined.items()}


def nearest_rows(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(left row,) The row of `right` with the highest cosine; both hold vectors of norm 1."""
    return torch.cat([(part @ right.T).argmax(1) for part in left.split(_CHUNK)])


def mine_pairs(left: torch.Tensor, right: torch.Tensor) -> dict[tuple[int, int], float]:
    """Pairs of rows by margin, each row in one pair at most, the best first: `mine_bitext` of LASER and XTREME.

    A pair's score is its cosine divided by the mean of both rows' cosines with their nearest neighbours. Candidates are
    the neighbours of either side; greedily, the best pair of rows not yet taken is kept.
    """
    there, there_mean, there_rows = _neighbours(left, right)
    back, back_mean, back_rows = _neighbours(right, left)
    forward = there / ((there_mean[:, None] + back_mean[there_rows]) / 2)
    backward = back / ((back_mean[:, None] + there_mean[back_rows]) / 2)
    best_right = there_rows.gather(1, forward.argmax(1, keepdim=True)).squeeze(1)
    best_left = back_rows.gather(1, backward.argmax(1, keepdim=True)).squeeze(1)
    lefts = torch.cat((torch.arange(len(left)), best_left)).tolist()
    rights = torch.cat((best_right, torch.arange(len(right)))).tolist()
    scores = torch.cat((forward.amax(1), backward.amax(1)))
    mined: dict[tuple[int, int], float] = {}
    taken_left: set[int] = set()
    taken_right: set[int] = set()
    for place in scores.argsort(descending=True, stable=True).tolist():
        one, other = lefts[place], rights[place]
        if one not in taken_left and other not in taken_right:
            taken_left.add(one)
            taken_right.add(other)
            mined[one, other] = float(scores[place])
    return mined


def _neighbours(left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(left row, neighbour) of cosines, (left row,) of their mean, and which rows of `right` they are."""
    found = [(part @ right.T).topk(min(NEIGHBOURS, len(right)), dim=1) for part in left.split(_CHUNK)]
    values = torch.cat([one.values for one in found])
    return values, values.mean(1), torch.cat([one.indices for one in found])
