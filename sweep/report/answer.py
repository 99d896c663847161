"""The answer to the question of a sweep in a few sentences, as the comparisons allow; claims nothing more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from search_spaces.transfer_grid import CellRole
from sweep.per_language import MEAN, MEAN_WITHOUT_SOURCE
from sweep.report.words import INTERMEDIATE

#: A p-value below this is spoken of; a claim is made where the simultaneous 95% interval excludes zero.
ERROR = 0.05

Row = Mapping[str, Any]


def of_published(comparisons: pa.Table) -> tuple[str, ...]:
    """What published numbers of several models say, without a word on why they differ."""
    rows = comparisons.to_pylist()
    spoken = _spoken_of({row["language"] for row in rows})
    rows = [row for row in rows if row["language"] == spoken and row["gain"] is not None]
    if not rows:
        return ("Published numbers; nothing to compare.",)
    best = max(rows, key=lambda row: row["gain"])
    tested = f", Holm-corrected p {p_text(best['p_holm'])} of {len(rows)}" if best["p_holm"] is not None else ""
    first = (
        f"the model with the highest {_name(spoken)} is {best['cell']}, above {best['against']} by"
        if best["gain"] > 0
        else f"none is above {best['against']} in {_name(spoken)}; the nearest is {best['cell']}, by"
    )
    return (
        f"Published numbers: {first} {simultaneous(best)}{tested}. They are of one run each and not paired by item.",
    )


def answer(comparisons: pa.Table, kind: str = INTERMEDIATE) -> tuple[str, ...]:
    """Sentences: whether intermediate training helps, what a longer baseline says of it, what the control says.

    The gain spoken of is that of the mean over the languages other than English, or of the mean or the one language
    where there is no such mean. Its interval is the simultaneous one of its family: the largest of several gains is too
    large on average, and its own interval would hold the truth too seldom. That interval decides what is claimed, so
    that no claim has an interval with zero in it; what Holm's correction, which has no intervals, finds beyond it is
    said to be Holm's. All sentences are about one cell: the one with the largest gain among those that help, else the
    one with the largest gain. `kind` is what the cells differ by.
    """
    rows = comparisons.to_pylist()
    spoken = _spoken_of({row["language"] for row in rows})
    rows = [row for row in rows if row["language"] == spoken]
    against = [row for row in rows if row["against_role"] == CellRole.BASELINE]
    transfer = [row for row in against if row["role"] == CellRole.TRANSFER and row["gain"] is not None]
    if not transfer:
        missing = [row["absent_reason"] for row in against if row["role"] == CellRole.TRANSFER]
        return (f"No answer yet: {missing[0] if missing else 'the sweep has no cell with ' + kind}.",)
    spoken_of = max(_helping(transfer) or transfer, key=lambda row: row["gain"])
    sentences = [_verdict(transfer, spoken_of, _name(spoken), kind)]
    longer = [row for row in rows if row["against_role"] == CellRole.COMPUTE_MATCHED and row["gain"] is not None]
    sentences += _against_longer(spoken_of, longer)
    sentences += _control([row for row in against if row["role"] == CellRole.CONTROL])
    return tuple(sentences)


def _spoken_of(languages: set[str]) -> str:
    return next((name for name in (MEAN_WITHOUT_SOURCE, MEAN) if name in languages), min(languages, default=""))


def _name(language: str) -> str:
    names = {MEAN_WITHOUT_SOURCE: "mean accuracy over the languages other than English", MEAN: "mean accuracy"}
    return names.get(language, f"accuracy in {language}")


def _helping(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["simultaneous_low"] is not None and row["simultaneous_low"] > 0]


def _verdict(rows: Sequence[Row], best: Row, what: str, kind: str) -> str:
    if all(row["p_holm"] is None for row in rows):
        few = "one run of each cell" if best["seeds"] < 2 else "seeds that all gain the same"
        return (
            f"The largest gain in {what} is that of {best['cell']}, {interval(best)}; {few} cannot say whether it "
            "would be there again."
        )
    helped = _helping(rows)
    harmed = [row for row in rows if row["simultaneous_high"] is not None and row["simultaneous_high"] < 0]
    number = f"{len(rows)} kind{'s' if len(rows) > 1 else ''} of {kind}"
    training = f"{kind} on {best['cell']}" if kind == INTERMEDIATE else f"the {kind} of cell {best['cell']}"
    also = _also([row["cell"] for row in harmed])
    also += _of_holm_alone([r for r in rows if r not in helped + harmed], more=bool(helped or harmed))
    if helped:
        others = [row["cell"] for row in sorted(helped, key=lambda row: -row["gain"]) if row is not best]
        so = f" (so do{'es' if len(others) == 1 else ''} {listed(others)})" if others else ""
        return (
            f"Yes: {training} raises the {what} by {simultaneous(best)}, over none, "
            f"Holm-corrected p {p_text(best['p_holm'])} of {number}{so}.{also}"
        )
    if len(harmed) == len(rows):
        if len(rows) == 1:
            return f"No: {training} lowers the {what}, by {simultaneous(best)}."
        return f"No: each of {number} lowers the {what}. The best is {best['cell']}, {simultaneous(best)}."
    holm = f", Holm-corrected p {p_text(best['p_holm'])}" if best["p_holm"] is not None else ""
    done = "to raise" if harmed else "to change"
    return (
        f"Not shown: of {number} none has an interval that shows it {done} the {what}.{also} The best is "
        f"{best['cell']}, {simultaneous(best)}{holm}.{_reach(best)}"
    )


def _reach(best: Row) -> str:
    """What such a comparison would be likely to claim: `smallest_gain` is of an interval of its own."""
    if not best["smallest_gain"] or best["simultaneous_low"] is None:
        return ""
    wider = (best["simultaneous_high"] - best["simultaneous_low"] - best["gain_high"] + best["gain_low"]) / 2
    return (
        f" At this spread of seeds and items, gains below {best['smallest_gain'] + wider:.3f} are missed so more than "
        "once in five times."
    )


def _also(harmed: Sequence[str]) -> str:
    return f" {listed(harmed)} lower{'s' if len(harmed) == 1 else ''} it." if harmed else ""


def _of_holm_alone(rows: Sequence[Row], *, more: bool) -> str:
    """Cells that Holm's correction calls, and whose simultaneous interval has zero in it; `more` than was said."""
    found = [
        f"a {'gain' if row['gain'] > 0 else 'loss'} of {row['cell']} (p {p_text(row['p_holm'])})"
        for row in rows
        if row["p_holm"] is not None and row["p_holm"] < ERROR
    ]
    return f" Holm's correction alone, which has no interval, finds {listed(found)}{' too' * more}." if found else ""


def _against_longer(row: Row, longer: Sequence[Row]) -> list[str]:
    """What a longer baseline says of the same cell."""
    return [
        f"Over a baseline whose target training is as long as both stages, {row['cell']} gains {simultaneous(same)}."
        for same in longer
        if same["cell"] == row["cell"]
    ]


def _control(rows: Sequence[Row]) -> list[str]:
    found = [row["cell"] for row in rows if row["p_value"] is not None and row["p_value"] < ERROR and row["gain"] > 0]
    if not found:
        return []
    return [f"Beware: the control {listed(found)}, which must not help, shows a gain too."]


def interval(row: Row) -> str:
    """As `+0.012 [-0.034, +0.058]`."""
    if row["gain_low"] is None:
        return f"{row['gain']:+.3f}"
    return f"{row['gain']:+.3f} [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}]"


def simultaneous(row: Row) -> str:
    """As `+0.012, simultaneous 95% interval of 4 [-0.034, +0.058]`: for the largest gain of a family, not any one."""
    low, high = row["simultaneous_low"], row["simultaneous_high"]
    if low is None:
        return interval(row)
    size = row["family_size"]
    of = f"simultaneous 95% interval of {size}" if size > 1 else "95% interval as cautious as the p-value"
    return f"{row['gain']:+.3f}, {of} [{low:+.3f}, {high:+.3f}]"


def p_text(value: float) -> str:
    """A p-value as papers print it after the letter: `= 0.031`, `< 0.001`."""
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def listed(names: Sequence[str]) -> str:
    """As `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
