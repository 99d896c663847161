"""How often the 95% interval of a gain holds the truth, over 528 settings of seeds, items and rest.

    python -m tests.benchmarks.bench_coverage          # about four minutes

Mean squares are drawn from their distributions (normal effects, `sweep/crossed.py`), so a layout costs a few numbers.
The rest spreads at most twice as much as the items; beside it stand the settings where it spreads more, and those where
so few items differ that the least half-width rules. The goal, 0.93 to 0.97 at three and at five seeds, allows for three
standard errors of the simulation. Exits 1 if it is missed. Means over several targets follow, in 336 settings, then
accuracies of right and wrong answers, in 120, and the interval of the largest of several equal gains.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy import optimize, special

from sweep import crossed
from sweep.statistics import accuracy_ends

DRAWS = 100_000
DRAWS_OF_TARGETS = 20_000
LEAST, MOST = 0.93, 0.97

Setting = tuple[int, float, float, float]


def settings() -> Iterator[Setting]:
    """Items, and the spreads of seeds, items and rest."""
    for items in (100, 300, 1164):
        for seed in (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3):
            for item in (0.0, 0.1, 0.2, 0.3, 0.5, 1.0):
                for rest in (0.05, 0.1, 0.2, 0.3, 0.5):
                    yield items, seed, item, rest


def coverage(random: np.random.Generator, seeds: int, setting: Setting) -> tuple[float, float]:
    """Of the interval without and with its least half-width."""
    items, *spreads = setting
    of_seed, of_item, rest = (spread**2 for spread in spreads)
    mean = random.normal(0, np.sqrt(of_seed / seeds + of_item / items + rest / (seeds * items)), DRAWS)

    def square(expected: float, degrees: int) -> np.ndarray:
        return expected * random.chisquare(degrees, DRAWS) / degrees

    layouts = crossed.of_mean_squares(
        mean,
        seeds,
        items,
        square(items * of_seed + rest, seeds - 1),
        square(seeds * of_item + rest, items - 1),
        square(rest, (seeds - 1) * (items - 1)),
    )
    half = layouts.half_width(0.05)
    return float((np.abs(mean) <= half).mean()), float(
        (np.abs(mean) <= np.maximum(half, 1 - 0.025 ** (1 / items))).mean()
    )


def settings_of_targets() -> Iterator[tuple[int, int, float, float, float, float]]:
    """Targets, items of each, and the variances of seeds over all targets and in one, of items and of the rest."""
    spreads = (0.0, 0.01**2, 0.03**2, 0.1**2), (0.0, 0.02**2, 0.1**2), (0.01, 0.1, 0.25), (0.01, 0.1, 0.25)
    for one in product((2, 9), (200, 1000), *spreads):
        if one[5] <= 4 * one[4]:
            yield one


def coverage_of_targets(random: np.random.Generator, seeds: int, setting: tuple) -> float:
    """Of the interval of a mean over targets, without its least half-width."""
    targets, items, common, of_target, of_item, rest = setting
    shape = (DRAWS_OF_TARGETS, seeds)
    by_seed = random.normal(0, np.sqrt(common), shape)
    item_part, rest_part = np.zeros(DRAWS_OF_TARGETS), np.zeros(DRAWS_OF_TARGETS)
    for _ in range(targets):
        by_items = random.normal(0, np.sqrt(of_item / items), (DRAWS_OF_TARGETS, 1))
        by_seed += (random.normal(0, np.sqrt(of_target + rest / items), shape) + by_items) / targets
        for part, expected, degrees in (
            (item_part, seeds * of_item + rest, items - 1),
            (rest_part, rest, (seeds - 1) * (items - 1)),
        ):
            part += expected * random.chisquare(degrees, DRAWS_OF_TARGETS) / degrees / (seeds * items * targets**2)
    found = replace(crossed.mean_of(by_seed, targets * items, item_part, rest_part), bounded=False)
    return float((np.abs(found.mean) <= found.half_width(0.05)).mean())


def settings_of_accuracies() -> Iterator[tuple[int, float, float, float]]:
    """Items, the true accuracy, and the spreads of seeds and items on the logit scale."""
    yield from product((300, 1164), (0.35, 0.6, 0.85, 0.95), (0.0, 0.1, 0.2, 0.5, 1.0), (0.5, 1.0, 2.0))


def coverage_of_an_accuracy(
    random: np.random.Generator, seeds: int, setting: tuple[int, float, float, float], runs: int = 2000
) -> float:
    """Of right and wrong answers whose logits are normal over seeds and over items."""
    items, truth, seed, item = setting
    points, weights = np.polynomial.hermite_e.hermegauss(101)
    spread = np.hypot(seed, item)

    def off(middle: float) -> float:
        return float((weights * special.expit(middle + spread * points)).sum() / weights.sum()) - truth

    middle = float(optimize.brentq(off, -30, 30))
    held = 0
    for _ in range(10):
        shape = (runs // 10, seeds, items)
        logits = middle + random.normal(0, seed, (*shape[:2], 1)) + random.normal(0, item, (shape[0], 1, items))
        right = random.random(shape, dtype=np.float32) < special.expit(logits.astype(np.float32))
        low, high = accuracy_ends(crossed.layouts(right))
        held += int(((low <= truth) & (truth <= high)).sum())
    return held / (runs // 10 * 10)


@dataclass(frozen=True)
class Largest:
    """How often the intervals of the largest gain of a sweep hold its truth."""

    plain: float
    simultaneous: float
    excess: float
    """How much the largest gain is above its truth on average."""


def coverage_of_the_largest(
    random: np.random.Generator,
    cells: int,
    *,
    seeds: int = 3,
    items: int = 300,
    sweeps: int = 1500,
    seed: float = 0.005,
    item: float = 0.3,
    rest: float = 0.3,
) -> Largest:
    """Of sweeps whose cells are all equally good and share a baseline: runs, items and luck spread alike in each."""
    plain, simultaneous, excess = [], [], []
    for _ in range(sweeps):
        of_cells = random.normal(0, seed, (cells, seeds, 1)) + random.normal(0, item / 2**0.5, (cells, 1, items))
        of_cells += random.normal(0, rest / 2**0.5, (cells, seeds, items))
        baseline = random.normal(0, seed, (seeds, 1)) + random.normal(0, item / 2**0.5, (1, items))
        found = crossed.gains(of_cells - baseline - random.normal(0, rest / 2**0.5, (seeds, items)))
        largest = found.at(int(np.argmax(found.mean)))
        excess.append(float(largest.mean))
        plain.append(abs(largest.mean) <= largest.half_width(0.05))
        simultaneous.append(abs(largest.mean) <= largest.cautious_half_width(0.05 / cells))
    return Largest(float(np.mean(plain)), float(np.mean(simultaneous)), float(np.mean(excess)))


def main() -> int:
    random, missed = np.random.default_rng(0), False
    for seeds in (3, 4, 5):
        usual = [coverage(random, seeds, one) for one in settings() if one[3] <= 2 * one[2]]
        noisy = [coverage(random, seeds, one)[0] for one in settings() if one[3] > 2 * one[2]]
        low, high = min(one for one, _ in usual), max(one for one, _ in usual)
        slack = 3 * np.sqrt(LEAST * (1 - LEAST) / DRAWS)
        good = low >= LEAST - slack and high <= MOST + slack
        missed |= not good
        print(
            f"{seeds} seeds: {low:.4f} to {high:.4f} over {len(usual)} settings, {'met' if good else 'MISSED'}; where "
            f"the rest spreads more {min(noisy):.3f} to {max(noisy):.3f}; with the least half-width up to "
            f"{max(one for _, one in usual):.3f}",
            flush=True,
        )
    for seeds in (3, 5):
        held = [coverage_of_targets(random, seeds, one) for one in settings_of_targets()]
        slack = 3 * np.sqrt(LEAST * (1 - LEAST) / DRAWS_OF_TARGETS)
        good = min(held) >= LEAST - slack and max(held) <= MOST + slack
        missed |= not good
        print(
            f"{seeds} seeds, mean over targets: {min(held):.4f} to {max(held):.4f} over {len(held)} settings, "
            f"{'met' if good else 'MISSED'}"
        )
    for seeds in (3, 5):
        held = {one: coverage_of_an_accuracy(random, seeds, one) for one in settings_of_accuracies()}
        slack = 3 * np.sqrt(LEAST * (1 - LEAST) / 2000)
        usual = [value for one, value in held.items() if one[2] >= 0.2]
        good = min(held.values()) >= LEAST - slack and max(usual) <= MOST + slack
        missed |= not good
        print(
            f"{seeds} seeds, accuracies: {min(held.values()):.3f} to {max(usual):.3f} over {len(held)} settings, up to "
            f"{max(held.values()):.3f} where seeds hardly differ, {'met' if good else 'MISSED'}",
            flush=True,
        )
    for cells, seeds, seed in product((1, 4, 10), (3, 5), (0.005, 0.05)):
        found = coverage_of_the_largest(random, cells, seeds=seeds, seed=seed)
        good = found.simultaneous >= LEAST
        missed |= not good
        print(
            f"largest of {cells} equal gains, {seeds} seeds that spread by {seed}: {found.excess:.3f} too large; its "
            f"own interval holds the truth in {found.plain:.3f}, the simultaneous one in {found.simultaneous:.3f}, "
            f"{'met' if good else 'MISSED'}",
            flush=True,
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
