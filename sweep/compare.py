"""Two sweeps side by side: the same cells, paired by seed and item, and what differs in how they were defined."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sweep.columns import COMPARED
from sweep.comparisons import adjusted, counted, family_of, gain_numbers
from sweep.outcomes import Outcome, aligned
from sweep.per_language import groups
from sweep.tables import sorted_table
from trainables.faults import Invalid

if TYPE_CHECKING:
    from sweep.results import Results

#: Fields whose difference changes what a number is about and not only how it came about.
_SAME = ("target", "languages")


def compare(one: Results, other: Results) -> pa.Table:
    """One row per cell that both sweeps have and language: the accuracy of `one` minus that of `other`.

    Families are those of `sweep.comparisons`: the transfer cells in every language, or in one of the means; baselines,
    blind cells and controls are families of their own.

    Raises:
        Invalid: where the two were not tested on the same, or share no cell.
    """
    first, second = one.standing(), other.standing()
    faults = [
        f"the {name} must be the same in both sweeps, got {_short(getattr(first, name))} and "
        f"{_short(getattr(second, name))}; their accuracies are of different things"
        for name in _SAME
        if getattr(first, name) != getattr(second, name)
    ]
    names = [cell.name for cell in first.cells if any(cell.name == mine.name for mine in second.cells)]
    if not names:
        faults.append(f"the sweeps must share a cell, got {_short([c.name for c in first.cells])} and others")
    if faults:
        raise Invalid(f"a comparison of {one.name!r} with {other.name!r}", faults)
    mine, theirs = one.answers(first), other.answers(second)
    rows: list[dict[str, Any]] = []
    for cell in names:
        role = first.cell(cell).role
        for language, languages in groups(first).items():
            both = mine.by_seed(cell, languages), theirs.by_seed(cell, languages)
            about = {"sweep": one.name, "other": other.name, "cell": cell, "role": str(role), "language": language}
            rows.append(about | {"family": family_of(role, language)} | _row(*both))
    for family in {row["family"] for row in rows}:
        adjusted([row for row in rows if row["family"] == family])
    keep = set(COMPARED.names)
    return sorted_table([{k: v for k, v in row.items() if k in keep} for row in rows], COMPARED, ("cell", "language"))


def _row(mine: Mapping[int, Outcome], theirs: Mapping[int, Outcome]) -> dict[str, Any]:
    seeds = sorted(set(mine) & set(theirs))
    row: dict[str, Any] = {"seeds": len(seeds)}
    for name, outcomes in (("accuracy", mine), ("other_accuracy", theirs)):
        row[name] = float(np.mean([outcome.value for outcome in outcomes.values()])) if outcomes else None
    together = aligned([mine[seed] for seed in seeds] + [theirs[seed] for seed in seeds]) if seeds else None
    differences = together[1][: len(seeds)] - together[1][len(seeds) :] if together else None
    values = tuple(mine[seed].value - theirs[seed].value for seed in seeds)
    numbers = gain_numbers(differences, values, counted(mine, theirs, seeds))
    if not seeds:
        numbers["absent_reason"] = "the two sweeps have no run of the same seed of this cell in this language"
    return row | numbers | {"remark": _remark(len(mine), len(theirs), len(seeds))}


def _remark(mine: int, theirs: int, shared: int) -> str:
    """Where the accuracies are over more seeds than the gain."""
    if mine == theirs == shared or not shared:
        return ""
    return f"the gain is over {shared} shared seeds, the accuracies over {mine} and {theirs}"


def differences(one: Results, other: Results) -> list[str]:
    """What the two definitions say differently, a line for each field, so that no difference goes unseen."""
    first, second = (_flat(results.stated().get("definition", {})) for results in (one, other))
    names = sorted(name for name in {*first, *second} if first.get(name) != second.get(name) and name != "name")
    return [f"{name}: {first.get(name, 'absent')} / {second.get(name, 'absent')}" for name in names]


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Leaves of a definition by their dotted names."""
    return dict(_leaves(value, name))


def _leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _leaves(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
        for place, part in enumerate(value):
            yield from _leaves(part, f"{name}[{part.get('name', place)}]")
    elif name:
        yield name, _short(value)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}…"
