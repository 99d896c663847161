"""Scoring retrieval: sentence vectors of one layer, and which sentence each English one finds; trains nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import torch

from trainables import pulse
from trainables.catalogue.task import Metric, Role, Task
from trainables.data.sequences import Rows
from trainables.faults import Invalid
from trainables.model.reader import Reader
from trainables.scores import Score
from trainables.training import metrics
from trainables.training.evaluate import PREDICTIONS, Scored, absent, over_rows
from trainables.training.ranks import Ranks

#: Neighbours whose mean similarity a pair's own is divided by (Artetxe and Schwenk 2019; XTREME's default).
NEIGHBOURS = 4

#: Sentences of either side that are compared at once: it bounds memory, and changes no number but which of equally near
#: ones is found.
_CHUNK, _OTHERS = 1024, 65_536

#: What mining is scored as where no sentence is without a translation: an F1 would mean nothing there.
PAIRS_ALONE = "pair_retrieval_accuracy"

Vectors = Callable[[Rows, np.ndarray], torch.Tensor]
"""(row, width) of norm 1, on the device where they are to be compared: those of some rows."""


@dataclass(frozen=True, kw_only=True)
class _Side:
    """The sentences of one language: their ids, and which rows they are."""

    ids: tuple[str, ...]
    rows: np.ndarray


@dataclass(frozen=True, kw_only=True)
class _Pool:
    """One language's sentences, the English ones, and the id of the English one that each of the first translates."""

    source: Rows
    foreign: _Side
    english: _Side
    matches: tuple[str, ...]

    @property
    def has_distractors(self) -> bool:
        """Whether any sentence of either side translates none of the other."""
        return "" in self.matches or len(self.english.ids) > len(set(self.matches))

    @property
    def gold(self) -> list[metrics.Pair]:
        """The ids of the sentences that translate one another."""
        return [(one, match) for one, match in zip(self.foreign.ids, self.matches, strict=True) if match]


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
    """Score every language against English, one after the other. `dev` tunes the threshold of mining.

    Raises:
        Invalid: where the trunk has no such layer.
    """
    if not 0 <= layer <= reader.layers:
        raise Invalid(
            f"task {task.name!r}", [f"layer must be from 0 to the trunk's {reader.layers}, got {layer}; choose another"]
        )
    how = {"batch_size": batch_size, "precision": precision, "device": device, "ranks": ranks}

    def vectors(part: Rows, asked: np.ndarray) -> torch.Tensor:
        found = torch.zeros(len(asked), reader.width, dtype=torch.float32)
        answer = partial(reader.sentence_vectors, layer=layer)
        return over_rows(reader, part, answer, found, asked=asked, **how).to(device)

    pools, tuned = _pools(rows), _pools(dev) if dev is not None else {}
    unusable, untuned = dict(rows.left_out), dict(dev.left_out) if dev is not None else {}
    scores: list[Score] = []
    predictions = []
    for language in languages:
        told = {"task": task.name, "language": language, "split": split, "role": role, "step": 0}
        if language not in pools:
            scores += absent(task.score_names, told, unusable.get(language, ""))
            continue
        score, found = _scored(
            task, pools[language], tuned.get(language), told, vectors, untuned=untuned.get(language, "")
        )
        scores.append(score)
        predictions += [
            (task.name, language, one, match, guess, float(match == guess) if score.correct is not None else None)
            for one, match, guess in found
        ]
    columns = list(zip(*predictions, strict=True)) or [()] * len(PREDICTIONS)
    return Scored(scores=tuple(scores), predictions=pa.table([list(column) for column in columns], schema=PREDICTIONS))


_Answer = tuple[str, str, str]
"""The id of a sentence, that of its translation, and that of what was found for it; each empty where there is none."""


def _scored(
    task: Task, pool: _Pool, dev: _Pool | None, told: dict, vectors: Vectors, *, untuned: str
) -> tuple[Score, list[_Answer]]:
    """The score of a language and its answers: mined for each of its own sentences, or else found for each English one.

    The second is the direction of `similarity_search` in XTREME and jiant: where many sentences have one neighbour, the
    other direction gives other numbers. `untuned` is why there is no `dev`, where that is known.
    """
    count = len(pool.matches)
    if task.measured_by is Metric.MINING and pool.has_distractors:
        if dev is None or not dev.has_distractors:
            reason = f"the threshold must be tuned on a dev split with distractors in {told['language']!r}, got none"
            reason += f": {untuned}" if untuned else ""
            score = Score(metric="f1", value=None, correct=None, count=count, absent_reason=reason, **told)
            return score, [(*pair, "") for pair in zip(pool.foreign.ids, pool.matches, strict=True)]
        threshold = metrics.best_threshold(_mined(dev, vectors), dev.gold)
        kept = [pair for pair, score in _mined(pool, vectors).items() if score >= threshold]
        value = metrics.pair_f1(pool.gold, kept)
        partner = dict(kept)
        answers = [
            (one, match, partner.get(one, "")) for one, match in zip(pool.foreign.ids, pool.matches, strict=True)
        ]
        return Score(metric="f1", value=value, correct=None, count=count, **told), answers
    translated = {match: one for one, match in pool.gold}
    asked = [place for place, one in enumerate(pool.english.ids) if one in translated]
    queries = vectors(pool.source, pool.english.rows[asked])
    nearest = nearest_rows(queries, vectors(pool.source, pool.foreign.rows)).tolist()
    answers = [
        (one, translated[one], pool.foreign.ids[place])
        for one, place in zip((pool.english.ids[place] for place in asked), nearest, strict=True)
    ]
    right = sum(guess == match for _, match, guess in answers)
    metric = PAIRS_ALONE if task.measured_by is Metric.MINING else "accuracy"
    return Score(metric=metric, value=right / len(asked), correct=right, count=len(asked), **told), answers


def _pools(rows: Rows) -> dict[str, _Pool]:
    assert rows.english is not None
    spoken = np.array(rows.languages)
    pools = {}
    for language in dict.fromkeys(rows.languages):
        foreign, english = (np.flatnonzero((spoken == language) & (rows.english == side)) for side in (False, True))
        pools[language] = _Pool(
            source=rows,
            foreign=_Side(ids=tuple(rows.ids[row] for row in foreign), rows=foreign),
            english=_Side(ids=tuple(rows.ids[row] for row in english), rows=english),
            matches=tuple(rows.matches[row] for row in foreign),
        )
    return pools


def _mined(pool: _Pool, vectors: Vectors) -> dict[metrics.Pair, float]:
    """Mined pairs of ids with their scores.

    As in XTREME, a sentence that stands several times is one when pairs are mined, and no pair with it is kept, since
    none of its ids is meant more than another. Sentences are told apart by their tokens.
    """
    (left, lefts), (right, rights) = (_distinct(pool.source, side) for side in (pool.foreign, pool.english))
    mined = mine_pairs(vectors(pool.source, left), vectors(pool.source, right))
    return {
        (pool.source.ids[left[one]], pool.source.ids[right[other]]): score
        for (one, other), score in mined.items()
        if lefts[one] == 1 == rights[other]
    }


def _distinct(source: Rows, side: _Side) -> tuple[np.ndarray, list[int]]:
    """(sentence,) The first row of each different sentence, and how often it stands there."""
    first: dict[bytes, int] = {}
    times: Counter[int] = Counter()
    for row in side.rows.tolist():
        times[first.setdefault(source.sequences.tokens.row(row).tobytes(), row)] += 1
    rows = list(first.values())
    return np.array(rows, dtype=np.int64), [times[row] for row in rows]


def nearest_rows(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(left row,) The row of `right` with the highest cosine; both hold vectors of norm 1."""
    return _neighbours(left, right, 1)[1].squeeze(1)


def mine_pairs(left: torch.Tensor, right: torch.Tensor) -> dict[tuple[int, int], float]:
    """Pairs of rows by margin, each row in one pair at most, the best first: `mine_bitext` of LASER and XTREME.

    A pair's score is its cosine divided by the mean of both rows' cosines with their nearest neighbours. Candidates are
    the neighbours of either side; greedily, the best pair of rows not yet taken is kept.
    """
    (there, there_rows), (back, back_rows) = _neighbours(left, right), _neighbours(right, left)
    there_mean, back_mean = there.mean(1), back.mean(1)
    forward = there / ((there_mean[:, None] + back_mean[there_rows]) / 2)
    backward = back / ((back_mean[:, None] + there_mean[back_rows]) / 2)
    best_right = there_rows.gather(1, forward.argmax(1, keepdim=True)).squeeze(1)
    best_left = back_rows.gather(1, backward.argmax(1, keepdim=True)).squeeze(1)
    lefts = [*range(len(left)), *best_left.tolist()]
    rights = [*best_right.tolist(), *range(len(right))]
    scores = torch.cat((forward.amax(1), backward.amax(1))).cpu()
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


def _neighbours(left: torch.Tensor, right: torch.Tensor, count: int = NEIGHBOURS) -> tuple[torch.Tensor, torch.Tensor]:
    """(left row, neighbour) The highest cosines of each row, highest first, and which rows of `right` they are."""
    found = [_nearest(part, right, min(count, len(right))) for part in left.split(_CHUNK)]
    return torch.cat([cosines for cosines, _ in found]), torch.cat([rows for _, rows in found])


def _nearest(some: torch.Tensor, right: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of some rows, from one part of `right` after the other."""
    cosines, rows = some.new_zeros(len(some), 0), torch.zeros(len(some), 0, dtype=torch.long, device=some.device)
    for number, part in enumerate(right.split(_OTHERS)):
        pulse.beat()
        best = (some @ part.T).topk(min(count, len(part)), dim=1)
        cosines = torch.cat((cosines, best.values), dim=1)
        rows = torch.cat((rows, best.indices + number * _OTHERS), dim=1)
        kept = cosines.topk(min(count, cosines.shape[1]), dim=1)
        cosines, rows = kept.values, rows.gather(1, kept.indices)
    return cosines, rows
