"""What gains a design can show before it is run: from its seeds, its items and stated assumptions; runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from search_spaces.transfer_grid import CellRole
from sweep import crossed
from sweep.statistics import CONFIDENCE
from trainables.catalogue.task import ORACLE_HALF, Metric

if TYPE_CHECKING:
    from sweep.definition import Sweep

#: How often the gain spoken of would be found.
POWER = 0.8

#: Standard deviations over seeds of the accuracy of one run. Two runs of XLM-R base on XNLI that differ in the seed
#: alone are 0.001 to 0.011 apart in a language (logs of abteen/americasnli): one spreads by about 0.005. Runs that are
#: trained on little data spread by ten times as much: those of the lab's demo (20 target steps on 300 rows, seeds 1, 2
#: and 3) by 0.067 without intermediate training, 0.052 after all four tasks, 0.048 after text NLI, mean over languages.
SEED_SPREADS = (0.005, 0.05)

#: The share of items that two models judge differently, half of it for good and half of it by the luck of a run.
DISAGREEMENT = 0.3

#: What the gains stated rest on.
_ASSUMED = (
    f"if runs of a cell spread by {SEED_SPREADS[0]} (much data) or {SEED_SPREADS[1]} (the lab's demo) and two cells "
    f"disagree on {DISAGREEMENT:.0%} of the items"
)

_NO_MEAN_OVER_ITEMS = (Metric.ENTITIES, Metric.TAGS, Metric.MINING)


def smallest_gain(seeds: int, items: int, spread_of_runs: float = SEED_SPREADS[0], *, claimed_of: int = 0) -> float:
    """The true gain in one language that a share `POWER` of such designs would show, as a difference of shares.

    `spread_of_runs` is the standard deviation of one cell's accuracy over seeds; a gain is a difference of two. It is
    shown by an interval of its own, or, with `claimed_of`, by one of so many that all hold together, as a report's
    verdict asks.
    """
    spread = (DISAGREEMENT / 2) ** 0.5
    of_gains = spread_of_runs * 2**0.5
    design = crossed.expected(seeds, items, seed_spread=of_gains, item_spread=spread, rest_spread=spread)
    error = (1 - CONFIDENCE) / max(1, claimed_of)
    return float(design.smallest_gain(error, POWER, cautious=claimed_of > 0))


def reported_items(sweep: Sweep) -> int:
    """Test items of one language behind a reported score, their mean where languages differ; 0 where nobody said.

    Where a half of the test is kept for the oracle, the other is reported. A metric that is no mean over
    items has none.
    """
    test = sweep.target.split("test")
    if test is None or sweep.target.measured_by in _NO_MEAN_OVER_ITEMS:
        return 0
    return test.rows // 2 if sweep.target.split(ORACLE_HALF) is not None else test.rows


def power_text(sweep: Sweep) -> str:
    """A sentence for the plan; empty where the target does not say how many test items it has."""
    shown = _shown(sweep)
    return f"Power: {shown} in one language {POWER:.0%} of the time, {_ASSUMED}." if shown else ""


def suite_power_text(sweeps: Sequence[Sweep]) -> str:
    """Lines for the plan of a suite, one for each target."""
    width = max(len(sweep.name) for sweep in sweeps)
    lines = [f"power    the smallest gain in one language that is found {POWER:.0%} of the time, {_ASSUMED}"]
    for sweep in sweeps:
        lines.append(f"  {sweep.name:<{width}}  {_shown(sweep) or _unknown(sweep)}")
    return "\n".join(lines)


def _shown(sweep: Sweep) -> str:
    seeds, items = len(sweep.confirmation_seeds), reported_items(sweep)
    if items < 2:
        return ""
    shown = f"{seeds} seed{'s' * (seeds > 1)} and {items:,} items show a gain of {_gains(seeds, items)}"
    cells = sum(cell.role is CellRole.TRANSFER for cell in sweep.cells)
    if not cells:
        return shown
    of = f"on {cells} cells together" if cells > 1 else "on one cell"
    return f"{shown}, and the report's verdict {of} claims one of {_gains(seeds, items, claimed_of=cells)}"


def _gains(seeds: int, items: int, *, claimed_of: int = 0) -> str:
    """The smallest gain at either spread, and with five seeds where there are fewer; one seed sees no spread."""

    def at(count: int) -> str:
        spreads = SEED_SPREADS if count > 1 else SEED_SPREADS[:1]
        return " or ".join(f"{smallest_gain(count, items, spread, claimed_of=claimed_of):.3f}" for spread in spreads)

    return at(seeds) + (f" ({at(5)} with five seeds)" if seeds < 5 else "")


def _unknown(sweep: Sweep) -> str:
    if sweep.target.measured_by in _NO_MEAN_OVER_ITEMS:
        return "not stated: its F1 is no mean over items"
    return "not stated: the target does not say how many test items it has"
