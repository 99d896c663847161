"""Every gain of a sweep as a test of no gain, corrected for how many there are; decides nothing from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from search_spaces.transfer_grid import CellRole
from sweep import crossed
from sweep.columns import COMPARISONS, MCNEMAR
from sweep.outcomes import Answers, Outcome, paired
from sweep.per_language import MEAN, groups, why_absent
from sweep.standing import CellInfo, Standing
from sweep.statistics import (
    CONFIDENCE,
    NO_SPREAD,
    Interval,
    counted_gain,
    false_discovery,
    holm,
    mcnemar,
    over_seeds,
)
from sweep.tables import sorted_table

#: The cells that gains are taken against.
AGAINST = (CellRole.BASELINE, CellRole.COMPUTE_MATCHED)

#: How often a gain of the `smallest_gain` would be found.
POWER = 0.8

#: What a row holds while its family is not known: the ends of its cautious interval at a stated rate of error.
_ENDS = "ends"


@dataclass(kw_only=True)
class _Comparison:
    cell: CellInfo
    against: CellInfo
    language: str
    family: str
    seeds: int = 0
    differences: np.ndarray | None = None
    """`(seed, item)`, where predictions are stored."""
    values: tuple[float, ...] = ()
    """Differences per seed, where they are not."""
    counted: tuple[tuple[float, int], ...] = ()
    """Accuracy and items of both, where one run of each is known by its counts alone."""
    absent: str = ""
    """Why there is nothing to compare."""


def comparisons(standing: Standing, answers: Answers) -> pa.Table:
    """One row per cell, baseline and language or mean: the gain, its p-value, and the corrected ones.

    A family holds what a reader looks at side by side: the transfer cells in every language, or in one of the means.
    Controls and blind baselines are families of their own, since nothing is claimed for them. What is corrected is
    `p_cautious`, of `crossed.Layouts.cautious_p_value`.
    """
    found = list(_compared(standing, answers))
    numbers = _numbers(found)
    for family in {(one.against.name, one.family) for one in found}:
        members = [place for place, one in enumerate(found) if (one.against.name, one.family) == family]
        adjusted([numbers[place] for place in members])
    rows = [
        {
            "sweep": standing.sweep,
            "cell": one.cell.name,
            "role": str(one.cell.role),
            "against": one.against.name,
            "against_role": str(one.against.role),
            "language": one.language,
            "seeds": one.seeds,
            "family": one.family,
            **{name: value for name, value in more.items() if name != _ENDS},
        }
        for one, more in zip(found, numbers, strict=True)
    ]
    return sorted_table(rows, COMPARISONS, ("cell", "against", "language"))


def family_of(role: CellRole, language: str) -> str:
    """The name of the family of a cell's comparison in a language or mean."""
    return f"{role}, {language if language.startswith(MEAN) else 'every language'}"


def _compared(standing: Standing, answers: Answers) -> Iterator[_Comparison]:
    for against in standing.cells:
        if against.role not in AGAINST:
            continue
        for cell in standing.cells:
            if cell == against or cell.role is CellRole.BASELINE:
                continue
            for name, languages in groups(standing, answers).items():
                mine, theirs = answers.by_seed(cell.name, languages), answers.by_seed(against.name, languages)
                seeds = sorted(set(mine) & set(theirs))
                both = paired(mine, theirs)
                yield _Comparison(
                    cell=cell,
                    against=against,
                    language=name,
                    family=family_of(cell.role, name),
                    seeds=len(seeds),
                    differences=both[0] - both[1] if both else None,
                    values=tuple(mine[seed].value - theirs[seed].value for seed in seeds),
                    counted=counted(mine, theirs, seeds),
                    absent="" if seeds else _why_none(standing, answers, (cell, against), languages),
                )


def _why_none(standing: Standing, answers: Answers, cells: Sequence[CellInfo], languages: Sequence[str]) -> str:
    """Why two cells have no run of the same seed that can be compared."""
    reasons = [(cell.name, why_absent(standing, cell, languages, answers)) for cell in cells]
    told = "; ".join(f"{name}: {reason}" for name, reason in reasons if reason)
    return told or "the two cells have no run of the same seed"


def counted(
    mine: Mapping[int, Outcome], theirs: Mapping[int, Outcome], seeds: Sequence[int]
) -> tuple[tuple[float, int], ...]:
    """Accuracy and items of both, where one run of each is shared and its items are counted; else empty."""
    if len(seeds) != 1 or not (mine[seeds[0]].count and theirs[seeds[0]].count):
        return ()
    return tuple((one.value, one.count) for one in (mine[seeds[0]], theirs[seeds[0]]))


def _numbers(found: Sequence[_Comparison]) -> list[dict[str, Any]]:
    """The columns of each comparison; those of one shape of layout are computed at once."""
    rows: list[dict[str, Any]] = [
        {"absent_reason": one.absent} if one.absent else _without_items(one.values, one.counted) for one in found
    ]
    shapes: dict[tuple[int, ...], list[int]] = {}
    for place, one in enumerate(found):
        if one.differences is not None:
            shapes.setdefault(one.differences.shape, []).append(place)
    for places in shapes.values():
        together = _of_layouts(np.stack([found[place].differences for place in places]))
        for place, row in zip(places, together, strict=True):
            rows[place] = row
    return rows


def gain_numbers(
    differences: np.ndarray | None, values: tuple[float, ...], counted: tuple[tuple[float, int], ...] = ()
) -> dict[str, Any]:
    """The numbers of one comparison: from `(seed, item)` differences, else from the differences per seed or counts."""
    if differences is not None:
        return next(_of_layouts(differences[None]))
    return _without_items(values, counted)


def _of_layouts(differences: np.ndarray) -> Iterator[dict[str, Any]]:
    layouts = crossed.gains(differences)
    half, p_values = layouts.half_width(1 - CONFIDENCE), layouts.p_value()
    cautious, smallest = layouts.cautious_p_value(), layouts.smallest_gain(1 - CONFIDENCE, POWER)
    for row in range(len(differences)):
        yield {
            "items": layouts.items,
            "gain": float(layouts.mean[row]),
            "gain_low": float(layouts.mean[row] - half[row]),
            "gain_high": float(layouts.mean[row] + half[row]),
            "p_value": float(p_values[row]),
            "smallest_gain": float(smallest[row]),
            "p_cautious": float(cautious[row]),
            _ENDS: partial(_ends, layouts.at(row)),
            "absent_reason": "",
        }


def _ends(layout: crossed.Layouts, error: float) -> tuple[float, float]:
    half = float(layout.cautious_half_width(error))
    return float(layout.mean) - half, float(layout.mean) + half


def _without_items(values: tuple[float, ...], counted: tuple[tuple[float, int], ...]) -> dict[str, Any]:
    """What can be said without stored predictions: over several seeds, or of one by its counts."""
    if not values:
        return {"absent_reason": "the two cells have no run of the same seed"}
    if len(values) == 1 and not counted:
        return {"gain": values[0], "absent_reason": "no interval: one run of each, and nothing tells their spread"}
    if len(values) == 1:
        return {
            "items": min(items for _, items in counted),
            **_at_errors(lambda rate: counted_gain(*counted, 1 - rate)),
        }
    interval = over_seeds(values)
    if interval.standard_error == 0:
        # No effect is no evidence of one; of an effect that never varies nothing says how sure it is.
        p_value = 1.0 if interval.mean == 0 else None
        return {"gain": interval.mean, "p_value": p_value, "p_cautious": p_value, "absent_reason": NO_SPREAD}
    return _at_errors(lambda rate: over_seeds(values, 1 - rate))


def _at_errors(interval: Callable[[float], Interval]) -> dict[str, Any]:
    """The columns of a gain whose interval is known at every rate of error."""

    def ends(rate: float) -> tuple[float, float]:
        found = interval(rate)
        return found.low, found.high

    def excludes(rate: np.ndarray) -> bool:
        low, high = ends(float(rate))
        return low > 0 or high < 0

    usual, p_value = interval(1 - CONFIDENCE), float(crossed.least_error(excludes))
    return {
        "gain": usual.mean,
        "gain_low": usual.low,
        "gain_high": usual.high,
        "p_value": p_value,
        "p_cautious": p_value,
        _ENDS: ends,
        "absent_reason": "",
    }


def adjusted(family: Sequence[dict[str, Any]]) -> None:
    """Put the corrected p-values and the simultaneous intervals of one family into its rows.

    All of the intervals together hold their truths in 95% of sweeps, so the one of the largest gain does too. They are
    Bonferroni's, of the same cautious quantile as the p-values: an interval excludes zero where even Bonferroni's
    correction leaves the p-value below 0.05. Holm's is never larger.
    """
    tested = [row for row in family if row.get("p_cautious") is not None]
    for row in family:
        row["family_size"] = len(tested)
    if not tested:
        return
    for row in tested:
        if _ENDS in row:
            row["simultaneous_low"], row["simultaneous_high"] = row[_ENDS]((1 - CONFIDENCE) / len(tested))
    p_values = [row["p_cautious"] for row in tested]
    for name, correct in (("p_holm", holm), ("q_value", false_discovery)):
        for row, value in zip(tested, correct(p_values), strict=True):
            row[name] = float(value)


def mcnemar_tests(standing: Standing, answers: Answers) -> pa.Table:
    """One row per cell, baseline, language and seed: McNemar's exact test of the two runs of that seed.

    It takes both runs as given, so it says nothing of other seeds; the table exists because reviewers ask for it.
    """
    rows = [row for pair in _pairs(standing) for row in _per_seed(standing, answers, *pair)]
    return sorted_table(rows, MCNEMAR, ("cell", "against", "language", "seed"))


def _pairs(standing: Standing) -> list[tuple[CellInfo, CellInfo]]:
    against = [cell for cell in standing.cells if cell.role in AGAINST]
    return [
        (cell, other)
        for other in against
        for cell in standing.cells
        if cell.role not in (CellRole.BASELINE, other.role)
    ]


def _per_seed(standing: Standing, answers: Answers, cell: CellInfo, against: CellInfo) -> Iterator[dict[str, Any]]:
    for language in standing.languages:
        mine, theirs = answers.by_seed(cell.name, (language,)), answers.by_seed(against.name, (language,))
        for seed in sorted(set(mine) & set(theirs)):
            both = paired({seed: mine[seed]}, {seed: theirs[seed]})
            if both is None:
                continue
            difference = both[0][0] - both[1][0]
            gained, lost = int((difference > 0).sum()), int((difference < 0).sum())
            yield {
                "sweep": standing.sweep,
                "cell": cell.name,
                "against": against.name,
                "language": language,
                "seed": seed,
                "items": len(difference),
                "only_cell": gained,
                "only_against": lost,
                "p_value": mcnemar(gained, lost),
            }
