"""What the reported runs got right, item by item and language by language; judges none of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sweep.standing import Standing
from trainables.catalogue.task import Role
from trainables.scores import CheckpointScores, Progress, Score

if TYPE_CHECKING:
    from trainables.store import Results

Scores = Callable[[str], "tuple[Score, ...] | None"]
"""Scores of an `evaluate` stage by its digest, as `Store.scores`; None or empty where there are none."""
Predictions = Callable[[str], "pa.Table | None"]
"""Predictions by digest, as `Store.predictions`: columns task, language, item_id, gold, predicted."""
Stored = Callable[[str], "Results | None"]
"""All that is kept of a stage without its weights, as `Store.results`."""


#: The orders that are kept: one is usual, and another with each change of the test set while a sweep ran.
_ORDERS = 4


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one run did in one language, or on the average of several.

    With stored predictions, `ids` are sorted and `correct` has a number per item: of several languages its part in the
    mean of their own means (`_together`). Without, there is the `value` alone, and `count` is how many items it is of:
    0 where nobody said.
    """

    value: float
    ids: pa.Array | None = None
    correct: np.ndarray = field(default_factory=lambda: np.empty(0))
    count: int = 0
    is_mean: bool = True
    """Whether the value is a mean over items; an F1 over all answers at once is none."""
    parts: tuple[Outcome, ...] = ()
    """The outcomes of the single languages; empty for one language."""


@dataclass(frozen=True, kw_only=True)
class _Order:
    """How the answers of one test set are sorted by language and item: found once, since every run of it has them so.

    `languages` and `item_ids` are columns as they were stored, `places` where each sorted answer stands in them, and
    `parts` the languages with their first answer, the end of them and their items.
    """

    languages: pa.ChunkedArray
    item_ids: pa.ChunkedArray
    places: pa.Array
    parts: tuple[tuple[str, int, int, pa.Array], ...]

    def fits(self, table: pa.Table) -> bool:
        """Whether the answers of another run stand in the same places."""
        return self.languages.equals(table["language"]) and self.item_ids.equals(table["item_id"])


@dataclass(frozen=True, kw_only=True)
class Gold:
    """The right answers that a run was judged by, sorted by language and item; runs of one test set have one object."""

    languages: pa.ChunkedArray
    item_ids: pa.ChunkedArray
    answers: pa.ChunkedArray

    @staticmethod
    def of(order: _Order, answers: pa.ChunkedArray) -> Gold:
        """Those of a run whose answers are in that order."""
        languages, item_ids = order.languages.take(order.places), order.item_ids.take(order.places)
        return Gold(languages=languages, item_ids=item_ids, answers=answers)

    def by_item(self) -> dict[tuple[str, str], str]:
        """The right answer of each language and item."""
        names = zip(self.languages.to_pylist(), self.item_ids.to_pylist(), strict=True)
        return dict(zip(names, self.answers.to_pylist(), strict=True))


class Answers:
    """The outcomes of a sweep's runs, each run read once and only when it is asked for."""

    def __init__(
        self,
        standing: Standing,
        stored_scores: Scores,
        stored_predictions: Predictions,
        stored_results: Stored = lambda digest: None,
    ) -> None:
        self.standing = standing
        self.stored_scores = stored_scores
        self.stored_predictions = stored_predictions
        self.stored_results = stored_results
        self._read: dict[str, tuple[dict[str, Outcome], bool]] = {}
        self._averaged: dict[tuple[str, tuple[str, ...]], Outcome | None] = {}
        self._ids: list[pa.Array] = []
        self._orders: list[_Order] = []
        self._answered: set[str] = set()
        self._halves: dict[tuple[str, str], tuple[float, float] | None] = {}
        self._in_first: dict[int, np.ndarray] = {}
        self._golds: list[tuple[_Order, Gold]] = []
        self._gold_of: dict[str, Gold] = {}
        self._unions: Unions = {}

    @cached_property
    def scored_languages(self) -> tuple[str, ...]:
        """The test languages in which any reported run has a score; all of them before there is one."""
        runs = [run.evaluation for cell in self.standing.cells for run in self.standing.confirmations(cell.name)]
        found = {language for run in runs for language in self._of(run)[0]}
        return tuple(one for one in self.standing.languages if one in found) or self.standing.languages

    def by_seed(self, cell: str, languages: Sequence[str]) -> dict[int, Outcome]:
        """By seed, the outcomes of a cell's reported runs that have all these languages."""
        found = {run.seed: self.outcome(run.evaluation, languages) for run in self.standing.confirmations(cell)}
        return {seed: outcome for seed, outcome in found.items() if outcome is not None}

    def outcome(self, evaluation: str, languages: Sequence[str]) -> Outcome | None:
        """The outcome of a run, averaged over the languages; None where one of them is missing."""
        key = (evaluation, tuple(languages))
        if key not in self._averaged:
            self._averaged[key] = self._average(evaluation, languages)
        return self._averaged[key]

    def halves(self, evaluation: str, languages: Sequence[str]) -> tuple[float, float] | None:
        """The outcome of a run on either half of the items; None where no item's is known.

        Halves are drawn by a hash of the item's id, and not by the one that draws an oracle's half.
        """
        found = [self._half(evaluation, language) for language in languages]
        known = [one for one in found if one is not None]
        if not known or len(known) < len(found):
            return None
        first, second = np.mean(known, axis=0)
        return float(first), float(second)

    def _half(self, evaluation: str, language: str) -> tuple[float, float] | None:
        key = (evaluation, language)
        if key not in self._halves:
            outcome = self._of(evaluation)[0].get(language)
            self._halves[key] = None
            if outcome is not None and outcome.ids is not None:
                first = self._first_half(outcome.ids)
                if first.any() and not first.all():
                    self._halves[key] = float(outcome.correct[first].mean()), float(outcome.correct[~first].mean())
        return self._halves[key]

    def _first_half(self, ids: pa.Array) -> np.ndarray:
        """(item,) Whether an item is in the first half; lists of items are kept, so that each is hashed once."""
        if id(ids) not in self._in_first:
            found = [sha256(item.encode()).digest()[0] & 1 for item in ids.to_pylist()]
            self._in_first[id(ids)] = np.array(found, dtype=bool)
        return self._in_first[id(ids)]

    def checkpoints(self, evaluation: str) -> tuple[CheckpointScores, ...]:
        """What the checkpoints of a run scored; empty where its last step alone was."""
        kept = self.stored_results(evaluation)
        return kept.checkpoints if kept else ()

    def history(self, stage: str) -> tuple[Progress, ...]:
        """The reports with scores of a training stage."""
        kept = self.stored_results(stage)
        return kept.history if kept else ()

    def absence(self, evaluation: str, language: str) -> str:
        """Why a run has no outcome in a language; empty where it has one."""
        if language in self._of(evaluation)[0]:
            return ""
        reason = next((score.absent_reason for score in self._scored(evaluation) if score.language == language), "")
        return f"no score in {language}" + (f": {reason}" if reason else "")

    def answered(self, evaluation: str) -> bool:
        """Whether the answers of a run are stored and could be read."""
        self._of(evaluation)
        return evaluation in self._answered

    def gold(self, evaluation: str) -> Gold | None:
        """The right answers that a run was judged by; None where its answers are not stored."""
        self._of(evaluation)
        return self._gold_of.get(evaluation)

    def ignores_text(self, evaluation: str) -> bool:
        """Whether the run gave the same answers in every one of several languages."""
        return self._of(evaluation)[1]

    def _average(self, evaluation: str, languages: Sequence[str]) -> Outcome | None:
        by_language = self._of(evaluation)[0]
        outcomes = [by_language[language] for language in languages if language in by_language]
        if not outcomes or len(outcomes) < len(languages):
            return None
        if len(outcomes) == 1:
            return outcomes[0]
        return _together(tuple(outcomes), self._unions)

    def _of(self, evaluation: str) -> tuple[dict[str, Outcome], bool]:
        if evaluation not in self._read:
            self._read[evaluation] = self._fetch(evaluation)
        return self._read[evaluation]

    def _scored(self, evaluation: str) -> list[Score]:
        """The reported scores of a run; of several metrics the first."""
        found: dict[str, Score] = {}
        for score in self.stored_scores(evaluation) or ():
            if score.task == self.standing.target and score.role is Role.REPORT:
                found.setdefault(score.language, score)
        return list(found.values())

    def _fetch(self, evaluation: str) -> tuple[dict[str, Outcome], bool]:
        table = self.stored_predictions(evaluation)
        if table is None:
            found = (score for score in self._scored(evaluation) if score.value is not None)
            return {s.language: Outcome(value=s.value or 0.0, count=s.count) for s in found}, False
        self._answered.add(evaluation)
        kept = pc.and_(pc.equal(table["task"], self.standing.target), pc.is_valid(table["gold"]))
        table = table if pc.all(kept).as_py() else table.filter(kept)
        order = self._order(table)
        table = table.drop_columns(["task", "language", "item_id"]).take(order.places).combine_chunks()
        worth, predicted = _worth(table), table["predicted"]
        self._gold_of[evaluation] = self._known_gold(order, table["gold"])
        stored = {score.language: score.value for score in self._scored(evaluation)}
        outcomes = {}
        for language, start, end, ids in order.parts:
            mine = worth[start:end]
            if not np.isnan(mine).any():
                outcomes[language] = Outcome(value=float(mine.mean()), ids=ids, correct=mine, count=len(mine))
            elif stored.get(language) is not None:  # an F1 over all answers at once
                outcomes[language] = Outcome(value=stored[language] or 0.0, count=len(mine), is_mean=False)
        given = [(ids, predicted[start:end]) for _, start, end, ids in order.parts]
        same = len(given) > 1 and all(ids.equals(given[0][0]) and said.equals(given[0][1]) for ids, said in given)
        return outcomes, same

    def _known_gold(self, order: _Order, answers: pa.ChunkedArray) -> Gold:
        """One object for equal right answers."""
        found = next((gold for one, gold in self._golds if one is order and gold.answers.equals(answers)), None)
        if found is None:
            found = Gold.of(order, answers)
            self._golds = [(order, found), *self._golds[: _ORDERS - 1]]
        return found

    def _order(self, table: pa.Table) -> _Order:
        """The order of a run's answers; that of an earlier run where it fits."""
        found = next((order for order in self._orders if order.fits(table)), None)
        if found is None:
            found = self._sorted(table)
            self._orders = [found, *self._orders[: _ORDERS - 1]]
        return found

    def _sorted(self, table: pa.Table) -> _Order:
        places = pc.sort_indices(table, sort_keys=[("language", "ascending"), ("item_id", "ascending")])
        languages = table["language"].take(places).to_numpy()
        item_ids = table["item_id"].take(places).combine_chunks()
        starts = np.flatnonzero(np.r_[True, languages[1:] != languages[:-1]]) if len(table) else np.empty(0, int)
        ends = [*starts[1:], len(table)]
        parts = [
            (str(languages[start]), int(start), int(end), self._known(item_ids[start:end]))
            for start, end in zip(starts, ends, strict=True)
        ]
        return _Order(languages=table["language"], item_ids=table["item_id"], places=places, parts=tuple(parts))

    def _known(self, ids: pa.Array) -> pa.Array:
        """One array for equal lists of items, so that runs of one test set are told apart by a glance."""
        for known in self._ids:
            if known.equals(ids):
                return known
        self._ids.append(ids)
        return ids


def _worth(table: pa.Table) -> np.ndarray:
    """(answer,) What each answer is worth, 0 to 1: its own score, or right or wrong; not-a-number where it has none."""
    if "score" in table.column_names:
        return table["score"].to_numpy()
    return pc.equal(table["gold"], table["predicted"]).to_numpy().astype(float)


Unions = dict[tuple[int, ...], tuple[pa.Array, list[np.ndarray]]]
"""By the identities of some lists of items, all their items, sorted, and where in them each list's stand."""


def _together(parts: tuple[Outcome, ...], unions: Unions) -> Outcome:
    """The mean of several languages' own means, each language weighing the same, whichever items it holds.

    Where all hold the same items, an item's number is its mean over the languages. Where they do not, it is the mean of
    all plus the sum of its deviations from its languages' own means, scaled so that the numbers' mean is the mean of
    the means, and their variance is that of a stratified sample: for languages that share no item, the sum of each
    one's variance over the square of how many they are (Cochran, *Sampling Techniques*, 1977, chapter 5). An item that
    some languages share is one item.
    """
    value = float(np.mean([part.value for part in parts]))
    lists = [part.ids for part in parts if part.ids is not None]
    if len(lists) < len(parts) or min(map(len, lists)) < 2:
        counts = {part.count for part in parts}
        is_mean = all(part.is_mean for part in parts)
        return Outcome(value=value, count=counts.pop() if len(counts) == 1 else 0, is_mean=is_mean)
    if all(ids is lists[0] or ids.equals(lists[0]) for ids in lists):
        matrix = np.stack([part.correct for part in parts])
        return Outcome(
            value=float(matrix.mean()),
            ids=lists[0],
            correct=matrix.mean(axis=0),
            count=len(lists[0]),
            parts=parts,
        )
    ids, places = _union(lists, unions)
    correct = np.full(len(ids), value)
    for part, mine in zip(parts, places, strict=True):
        few, many = len(mine), len(ids)
        scale = math.sqrt(many / few * (many - 1) / (few - 1)) / len(parts)
        correct[mine] += scale * (part.correct - part.value)
    return Outcome(value=value, ids=ids, correct=correct, count=len(ids), parts=parts)


def _union(lists: Sequence[pa.Array], unions: Unions) -> tuple[pa.Array, list[np.ndarray]]:
    key = tuple(map(id, lists))
    if key not in unions:
        ids = pc.unique(pa.concat_arrays(lists)).sort()
        unions[key] = ids, [pc.index_in(one, ids).to_numpy() for one in lists]
    return unions[key]


def aligned(outcomes: Sequence[Outcome]) -> tuple[pa.Array, np.ndarray] | None:
    """Shared item ids and `(outcome, item)` right answers on them; None where an outcome knows no items."""
    known = [outcome.ids for outcome in outcomes if outcome.ids is not None]
    if not known or len(known) < len(outcomes):
        return None
    if all(ids is known[0] or ids.equals(known[0]) for ids in known):
        return (known[0], np.stack([outcome.correct for outcome in outcomes])) if len(known[0]) > 1 else None
    if outcomes[0].parts:
        return _on_shared(outcomes)
    shared = known[0]
    for ids in known[1:]:
        shared = shared.filter(pc.is_in(shared, ids))
    if len(shared) < 2:
        return None
    return shared, np.stack(
        [outcome.correct[pc.index_in(shared, ids).to_numpy()] for outcome, ids in zip(outcomes, known, strict=True)]
    )


def _on_shared(outcomes: Sequence[Outcome]) -> tuple[pa.Array, np.ndarray] | None:
    """As `aligned`, for means over languages: each language is cut to the items that all outcomes hold there."""
    cut = [aligned(of_language) for of_language in zip(*(outcome.parts for outcome in outcomes), strict=True)]
    kept = [one for one in cut if one is not None]
    if len(kept) < len(cut):
        return None
    unions: Unions = {}
    again = [
        _together(tuple(Outcome(value=float(row.mean()), ids=ids, correct=row) for ids, row in rows), unions)
        for rows in zip(*([(ids, row) for row in matrix] for ids, matrix in kept), strict=True)
    ]
    return aligned(again)


def paired(mine: Mapping[int, Outcome], theirs: Mapping[int, Outcome]) -> tuple[np.ndarray, np.ndarray] | None:
    """Both cells' `(seed, item)` right answers on their common seeds and items; None without stored predictions."""
    seeds = sorted(set(mine) & set(theirs))
    together = aligned([mine[seed] for seed in seeds] + [theirs[seed] for seed in seeds]) if seeds else None
    return (together[1][: len(seeds)], together[1][len(seeds) :]) if together else None
