"""A suite's targets together: the mean of each cell over them, with and without retrieval; knows no single language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sweep import crossed
from sweep.columns import ACROSS
from sweep.compare import definition_of, flat
from sweep.outcomes import Answers, paired
from sweep.per_language import without
from sweep.standing import Standing
from sweep.statistics import CONFIDENCE, NO_SPREAD
from sweep.tables import sorted_table
from trainables.catalogue.task import Kind
from trainables.stages import without_places

if TYPE_CHECKING:
    from sweep.results import Results

#: Which targets a mean is over. Retrieval trains nothing, and its scores spread more than all others together.
ALL, WITHOUT_RETRIEVAL = "all", "without_retrieval"


@dataclass(frozen=True, kw_only=True)
class Target:
    """One sweep of a suite."""

    standing: Standing
    answers: Answers
    is_retrieval: bool = False
    definition: Mapping[str, Any] = field(default_factory=dict)
    """What a cell is made of must be the same in all of them: the definition of each as JSON data."""

    @staticmethod
    def of(results: Results) -> Target:
        """The target of a sweep that was run."""
        standing = results.standing()
        defined = definition_of(results)
        kind = defined.get("target", {}).get("kind")
        return Target(
            standing=standing,
            answers=results.answers(standing),
            is_retrieval=kind == Kind.RETRIEVAL,
            definition=defined,
        )


def across(suite: str, targets: Sequence[Target]) -> pa.Table:
    """One row per cell and choice of targets; each target weighs the same, with its own metric and all its languages.

    A language that no run of a target has is left out there, with a remark.

    A mean is absent as soon as one of its targets is, or where two of them made the cell differently. Gains are paired
    by seed, since one intermediate stage of a seed serves every target. Their intervals are for seeds and items drawn
    at random and for these targets, and made as that of one target: from the spread over seeds of the mean over
    targets, and the items' part of each target.
    """
    cells = list(dict.fromkeys(cell.name for target in targets for cell in target.standing.cells))
    kept = [target for target in targets if not target.is_retrieval]
    chosen = {ALL: targets, **({WITHOUT_RETRIEVAL: kept} if 0 < len(kept) < len(targets) else {})}
    rows = [
        {"sweep": suite, "cell": cell, "targets": name, "number": len(some), **_row(cell, some)}
        for cell in cells
        for name, some in chosen.items()
    ]
    return sorted_table(rows, ACROSS, ("cell", "targets"))


def _row(cell: str, targets: Sequence[Target]) -> dict[str, Any]:
    means = {target.standing.sweep: _by_seed(target, cell) for target in targets}
    missing = [sweep for sweep, values in means.items() if not values]
    if missing:
        return {"seeds": 0, "remark": "", "absent_reason": f"no accuracy over all languages in {', '.join(missing)}"}
    if made := _made_differently(cell, targets):
        return {"seeds": 0, "remark": "", "absent_reason": made}
    seeds = sorted(set.intersection(*(set(values) for values in means.values())))
    fewer = {target.standing.sweep: without(target.standing, target.answers) for target in targets}
    row: dict[str, Any] = {
        "seeds": len(seeds),
        "remark": "; ".join(f"{sweep}: {said}" for sweep, said in fewer.items() if said),
        "accuracy": float(np.mean([np.mean(list(values.values())) for values in means.values()])),
        "absent_reason": "",
    }
    parts = [_gain(target, cell) for target in targets]
    both = [seed for seed in seeds if all(part is not None and seed in part.by_seed for part in parts)]
    if not both:
        return row
    gains = [float(np.mean([part.by_seed[seed] for part in parts if part is not None])) for seed in both]
    row["gain"] = float(np.mean(gains))
    if len(both) < 2:
        return row
    known = [part for part in parts if part is not None]
    item_part, rest_part = (sum(getattr(part, name) for part in known) / len(parts) ** 2 for name in _PARTS)
    counted = [part.items for part in known if part.items]
    items = len(counted) * min(counted, default=0)  # as if every target had as few as the smallest
    layout = crossed.mean_of(gains, items, item_part, rest_part)
    half = float(layout.half_width(1 - CONFIDENCE))
    if half < 1e-9:  # no items, and seeds that all have the same gain
        return {**row, "absent_reason": NO_SPREAD}
    return {**row, "gain_low": row["gain"] - half, "gain_high": row["gain"] + half}


#: What decides how an encoder comes to be, before its target.
_BEFORE_THE_TARGET = (
    "encoder",
    "pretrain",
    "align_images",
    "align_after_intermediate",
    "intermediate_settings",
    "align_words_settings",
)


def _made_differently(cell: str, targets: Sequence[Target]) -> str:
    """How a cell, or the baseline that its gain is over, is another in one target than in the first; empty if none."""
    first, *others = (_making(cell, target) for target in targets)
    for place, other in enumerate(others, start=1):
        names = sorted(name for name in {*first, *other} if first.get(name) != other.get(name))
        if names:
            sweeps = f"{targets[0].standing.sweep} and {targets[place].standing.sweep}"
            said = "; ".join(f"{one}: {first.get(one, 'absent')} / {other.get(one, 'absent')}" for one in names[:3])
            return f"{sweeps} made it differently, so they are not averaged: {said}"
    return ""


def _making(cell: str, target: Target) -> dict[str, str]:
    defined = target.definition
    base = target.standing.baseline
    parts = {name: defined[name] for name in _BEFORE_THE_TARGET if name in defined}
    for role, name in (("cell", cell), ("baseline", base.name if base else "")):
        found = next((one for one in defined.get("cells", ()) if one.get("name") == name), None)
        # What a target is learned from is the target's own affair.
        parts[role] = {k: v for k, v in (found or {}).items() if k not in ("learned_from", "role")}
    return flat(without_places(parts))


@dataclass(frozen=True, kw_only=True)
class _Gain:
    by_seed: Mapping[int, float]
    items: int = 0
    item_part: float = 0.0
    rest_part: float = 0.0
    """Parts of the mean's variance as in `sweep.crossed`; 0 where no item's score is known."""


_PARTS = ("item_part", "rest_part")


def _gain(target: Target, cell: str) -> _Gain | None:
    baseline = target.standing.baseline
    if baseline is None or baseline.name == cell:
        return None
    languages = target.answers.scored_languages
    mine, theirs = target.answers.by_seed(cell, languages), target.answers.by_seed(baseline.name, languages)
    by_seed = {seed: mine[seed].value - theirs[seed].value for seed in sorted(set(mine) & set(theirs))}
    both = paired(mine, theirs)
    if both is None or both[0].shape[-1] < 2:
        return _Gain(by_seed=by_seed)
    layout = crossed.layouts(both[0] - both[1])
    return _Gain(
        by_seed=by_seed,
        items=layout.items,
        item_part=float(layout.item_part),
        rest_part=float(layout.rest_part),
    )


def _by_seed(target: Target, cell: str) -> dict[int, float]:
    found = target.answers.by_seed(cell, target.answers.scored_languages)
    return {seed: outcome.value for seed, outcome in found.items()}
