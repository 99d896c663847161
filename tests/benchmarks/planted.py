"""Which truths planted in the lab come out of a sweep's table; runs nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from scipy.stats import binom, spearmanr

from search_spaces.transfer_grid import CellRole
from trainables.catalogue.lab import ALIGNMENT_GROUPS, NLI, NLI_SHUFFLED, UNALIGNED, WELL_ALIGNED

CHANCE = 1 / 3


@dataclass(frozen=True, kw_only=True)
class Truth:
    """One planted truth: what must hold, and what was found."""

    claim: str
    found: str
    holds: bool


def truths(per_language: pa.Table) -> tuple[Truth, ...]:
    """The planted truths, of a table `per_language` of the lab with at least the cells none, lab_nli and
    lab_nli_shuffled, all confirmed.
    """
    rows = {(row["cell"], row["language"]): row for row in per_language.to_pylist()}
    sighted = {row["cell"] for row in rows.values() if row["role"] in (CellRole.BASELINE, CellRole.TRANSFER)}
    best = max(sorted(sighted), key=lambda cell: rows[cell, "en"]["accuracy"])

    def mean(codes: tuple[str, ...]) -> float:
        return sum(rows[best, code]["accuracy"] for code in codes) / len(codes)

    english, well = rows[best, "en"]["accuracy"], mean(WELL_ALIGNED)
    groups = {name: mean(codes) for name, (_, codes) in ALIGNMENT_GROUPS.items()}
    planted = [-distance for distance, _ in ALIGNMENT_GROUPS.values()]
    order = round(float(spearmanr(planted, list(groups.values())).statistic), 6)  # one swap of five is 0.9, not less
    (alone,) = UNALIGNED
    items = rows[best, alone]["items"]
    low, high = (float(end) / items for end in binom.interval(0.95, items, CHANCE))
    apart = rows[best, alone]["accuracy"]
    text, shuffled = rows[NLI.name, "mean"], rows[NLI_SHUFFLED.name, "mean"]
    return (
        Truth(claim=f"English of the best cell ({best}) >= 0.75", found=f"{english:.3f}", holds=english >= 0.75),
        Truth(claim="mean over the well aligned >= 0.65", found=f"{well:.3f}", holds=well >= 0.65),
        Truth(
            claim="groups in planted order, rank correlation >= 0.9",
            found=f"{order:.2f} ({' '.join(f'{value:.2f}' for value in groups.values())})",
            holds=order >= 0.9,
        ),
        Truth(
            claim=f"unaligned language in its chance interval [{low:.3f}, {high:.3f}]",
            found=f"{apart:.3f}",
            holds=low <= apart <= high,
        ),
        Truth(
            claim="shuffled control: lower end of its gain <= 0", found=_gain(shuffled), holds=shuffled["gain_low"] <= 0
        ),
        Truth(claim="text NLI: lower end of its gain > 0", found=_gain(text), holds=text["gain_low"] > 0),
    )


def _gain(row: dict) -> str:
    return f"{row['gain']:+.3f} [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}]"
