"""Two sweeps side by side: the same cells, paired by seed and item, and what differs in how they were defined."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sweep.columns import COMPARED
from sweep.comparisons import adjusted, counted, family_of, gain_numbers
from sweep.outcomes import Answers, Outcome, aligned
from sweep.per_language import MEAN, groups, without
from sweep.record_definition import BEFORE_SELECTORS
from sweep.tables import sorted_table
from trainables.canonical import encode
from trainables.faults import refuse
from trainables.stages import as_read, without_places

if TYPE_CHECKING:
    from sweep.results import Results

#: Fields whose difference changes what a number is about and not only how it came about.
_SAME = ("target", "languages")

#: What of a target says which items its test holds and when an answer is right.
_OF_TEST = ("source", "splits", "labels", "metric", "unanswerable", "keeps_unlabelled")

_INSTEAD = "compare each with its own baseline (`sweep table`), or run one of them on the data of the other"


def compare(one: Results, other: Results) -> pa.Table:
    """One row per cell that both sweeps have and language: the accuracy of `one` minus that of `other`.

    Families are those of `sweep.comparisons`: the transfer cells in every language, or in one of the means; baselines,
    blind cells and controls are families of their own.

    Raises:
        Invalid: where the two were not tested on the same, or share no cell. Items are paired by their names, so data
            of another source, or with other right answers, must not meet here.
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
    if moved := _differing_test(one, other):
        faults.append(f"the target's test data must be the same in both sweeps, got {moved}; {_INSTEAD}")
    mine, theirs = one.answers(first), other.answers(second)
    if not faults:
        faults += _differing_gold(names, mine, theirs)
    refuse(f"a comparison of {one.name!r} with {other.name!r}", faults)
    rows: list[dict[str, Any]] = []
    for cell in names:
        role = first.cell(cell).role
        for language, languages in groups(first, mine, theirs).items():
            both = mine.by_seed(cell, languages), theirs.by_seed(cell, languages)
            about = {"sweep": one.name, "other": other.name, "cell": cell, "role": str(role), "language": language}
            found = _row(*both)
            if language.startswith(MEAN):
                found["remark"] = "; ".join(filter(None, (found["remark"], without(first, mine, theirs))))
            rows.append(about | {"family": family_of(role, language)} | found)
    for family in {row["family"] for row in rows}:
        adjusted([row for row in rows if row["family"] == family])
    keep = set(COMPARED.names)
    return sorted_table([{k: v for k, v in row.items() if k in keep} for row in rows], COMPARED, ("cell", "language"))


def _differing_test(one: Results, other: Results) -> str:
    """What the two definitions say differently of what the test holds; empty for nothing, or where one says nothing."""
    first, second = (_test_data(results) for results in (one, other))
    if not first or not second:
        return ""
    names = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
    return "; ".join(f"{name}: {first.get(name, 'nothing')} and {second.get(name, 'nothing')}" for name in names)


def _test_data(results: Results) -> dict[str, str]:
    definition = results.stated().get("definition", {})
    if "published" in definition:
        return flat({"items": definition.get("items")})
    target = definition.get("target")
    if not isinstance(target, Mapping) or "splits" not in target or "type" not in target.get("source", {}):
        return {}
    read = without_places(as_read(dict(target), ("test",)))
    return flat({name: read[name] for name in _OF_TEST if name in read})


def _differing_gold(cells: Sequence[str], mine: Answers, theirs: Answers) -> Iterator[str]:
    """A fault for the first two runs that are to be paired and were judged by different answers to one item."""
    seen: set[tuple[int, int]] = set()
    for cell in cells:
        runs = [{run.seed: run.evaluation for run in one.standing.confirmations(cell)} for one in (mine, theirs)]
        for seed in sorted(set(runs[0]) & set(runs[1])):
            golds = mine.gold(runs[0][seed]), theirs.gold(runs[1][seed])
            if golds[0] is None or golds[1] is None or (id(golds[0]), id(golds[1])) in seen:
                continue
            seen.add((id(golds[0]), id(golds[1])))
            first, second = golds[0].by_item(), golds[1].by_item()
            other = [name for name in first if name in second and first[name] != second[name]]
            if other:
                language, item = other[0]
                yield (
                    f"items of one name must have one right answer in both sweeps, got {len(other)} that differ, as "
                    f"{item!r} in {language}: {first[other[0]]!r} and {second[other[0]]!r}; {_INSTEAD}"
                )
                return


def _row(mine: Mapping[int, Outcome], theirs: Mapping[int, Outcome]) -> dict[str, Any]:
    seeds = sorted(set(mine) & set(theirs))
    row: dict[str, Any] = {"seeds": len(seeds)}
    for name, outcomes in (("accuracy", mine), ("other_accuracy", theirs)):
        row[name] = float(np.mean([outcome.value for outcome in outcomes.values()])) if outcomes else None
    together = aligned([mine[seed] for seed in seeds] + [theirs[seed] for seed in seeds]) if seeds else None
    differences = together[1][: len(seeds)] - together[1][len(seeds) :] if together else None
    values = tuple(mine[seed].value - theirs[seed].value for seed in seeds)
    counts = counted(mine, theirs, seeds)
    numbers = gain_numbers(differences, values, counts)
    if not seeds:
        numbers["absent_reason"] = "the two sweeps have no run of the same seed of this cell in this language"
    of_counts = "not paired by item: from counts alone" if counts and differences is None else ""
    return row | numbers | {"remark": of_counts or _remark(len(mine), len(theirs), len(seeds))}


def _remark(mine: int, theirs: int, shared: int) -> str:
    """Where the accuracies are over more seeds than the gain."""
    if mine == theirs == shared or not shared:
        return ""
    return f"the gain is over {shared} shared seeds, the accuracies over {mine} and {theirs}"


def differences(one: Results, other: Results) -> list[str]:
    """What the two definitions say differently, a line for each field, so that no difference goes unseen.

    A field that did not exist when one of them was written counts as what it was then, its default.
    """
    first, second = (flat(definition_of(results)) for results in (one, other))
    names = sorted(name for name in {*first, *second} if first.get(name) != second.get(name) and name != "name")
    return [f"{name}: {first.get(name, 'absent')} / {second.get(name, 'absent')}" for name in names]


def definition_of(results: Results) -> dict[str, Any]:
    """The definition with every field of this version, or as it was written where this version cannot read it."""
    stated, sweep = results.stated().get("definition", {}), results.definition()
    return stated if sweep is None else encode(sweep) | {k: v for k, v in BEFORE_SELECTORS.items() if k not in stated}


def flat(value: Any, name: str = "") -> dict[str, str]:
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
