"""How often the 95% intervals of gains and of accuracies hold the truth, in simulation.

    python -m tests.benchmarks.bench_coverage          # 2 min 11 s of one core

Mean squares of gains are drawn from their distributions (normal effects, `sweep/crossed.py`), so a layout costs a few
numbers; right and wrong answers as the counts of their patterns over seeds, so 15,000 items cost no more than 200. The
goal, 0.93 to 0.97 at three and at five seeds, allows for three standard errors of the simulation; it is missed where an
accuracy of 0.95 has seeds that spread by 0.06 and more, which is told apart. Exits 1 if it is missed elsewhere. Last,
what no interval of three seeds can know, runs that now and then fail altogether, and the largest of equal gains.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy import optimize, special

from sweep import crossed
from sweep.statistics import accuracy_ends

DRAWS = 50_000
DRAWS_OF_TARGETS = 20_000
RUNS = 8_000
RUNS_OF_LANGUAGES = 2_000
LEAST, MOST = 0.93, 0.97
SMALL = 0.01, 0.001

Setting = tuple[int, float, float, float]


def settings() -> Iterator[Setting]:
    """Items, and the spreads of seeds, items and rest."""
    for items in (100, 300, 1164):
        for seed in (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3):
            for item in (0.0, 0.1, 0.2, 0.3, 0.5, 1.0):
                for rest in (0.05, 0.1, 0.2, 0.3, 0.5):
                    yield items, seed, item, rest


def gains(random: np.random.Generator, seeds: int, setting: Setting, draws: int = DRAWS) -> crossed.Layouts:
    """Layouts of gains whose truth is zero, without a least half-width."""
    items, *spreads = setting
    of_seed, of_item, rest = (spread**2 for spread in spreads)
    mean = random.normal(0, np.sqrt(of_seed / seeds + of_item / items + rest / (seeds * items)), draws)

    def square(expected: float, degrees: int) -> np.ndarray:
        return expected * random.chisquare(degrees, draws) / degrees

    return crossed.of_mean_squares(
        mean,
        seeds,
        items,
        square(items * of_seed + rest, seeds - 1),
        square(seeds * of_item + rest, items - 1),
        square(rest, (seeds - 1) * (items - 1)),
    )


@dataclass(frozen=True)
class Coverage:
    """How often intervals of gains hold the truth, and how often a gain of zero is called one."""

    held: float
    with_least: float
    called: tuple[float, ...]
    """At 0.01 and 0.001, by the plain p-value."""
    called_cautiously: tuple[float, ...]


def coverage(random: np.random.Generator, seeds: int, setting: Setting, draws: int = DRAWS) -> Coverage:
    """Of the interval without and with its least half-width, and of the p-values without it."""
    found = gains(random, seeds, setting, draws)
    distance, half, least = np.abs(found.mean), found.half_width(0.05), 1 - 0.025 ** (1 / setting[0])
    return Coverage(
        held=float((distance <= half).mean()),
        with_least=float((distance <= np.maximum(half, least)).mean()),
        called=tuple(float((distance > found.half_width(rate)).mean()) for rate in SMALL),
        called_cautiously=tuple(float((distance > found.cautious_half_width(rate)).mean()) for rate in SMALL),
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
    """Items, the true accuracy, the spread of seeds' accuracies, and that of items on the logit scale."""
    spreads = (0.0, 0.003, 0.01, 0.03, 0.06, 0.1)
    yield from product((200, 1000, 5000, 15000), (0.35, 0.5, 0.7, 0.8, 0.9, 0.95), spreads, (0.5, 2.0))


def is_out_of_reach(setting: tuple[int, float, float, float]) -> bool:
    """Whether seeds spread by more than the accuracy is away from 1: three of so skewed a law do not show its tail."""
    return setting[1] >= 0.95 and setting[2] >= 0.06


_POINTS, _WEIGHTS = np.polynomial.hermite_e.hermegauss(61)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def _logits(accuracy: float, seed_spread: float, item: float) -> tuple[float, float]:
    """The middle and the spread over seeds of logits whose accuracies have this mean and spread."""

    def middle(of_seeds: float) -> float:
        def off(at: float) -> float:
            return float((_WEIGHTS * special.expit(at + np.hypot(of_seeds, item) * _POINTS)).sum()) - accuracy

        return float(optimize.brentq(off, -40, 40))

    def spread(of_seeds: float) -> float:
        logits = middle(of_seeds) + of_seeds * _POINTS[:, None] + item * _POINTS
        found = (_WEIGHTS * special.expit(logits)).sum(axis=1)
        return float(np.sqrt((_WEIGHTS * found**2).sum() - (_WEIGHTS * found).sum() ** 2))

    of_seeds = float(optimize.brentq(lambda s: spread(s) - seed_spread, 1e-4, 12)) if seed_spread else 0.0
    return middle(of_seeds), of_seeds


def right_answers(random: np.random.Generator, logits: np.ndarray, items: int, item: float) -> crossed.Layouts:
    """The layouts of right (1) and wrong answers of runs `(layout, seed)` with these logits, normal over items.

    Exact: an item's answers over S seeds are one of 2^S patterns, and their counts are multinomial.
    """
    seeds = logits.shape[1]
    patterns = np.array(list(product((0.0, 1.0), repeat=seeds)))[:, ::-1]  # the first seed's answers change fastest
    shares = np.broadcast_to(_WEIGHTS.astype(np.float32), (len(logits), 1, len(_POINTS)))
    for seed in range(seeds):
        right = special.expit((logits[:, seed, None, None] + item * _POINTS).astype(np.float32))
        shares = np.concatenate([shares * (1 - right), shares * right], axis=1)  # (layout, pattern, point)
    chances = shares.sum(axis=2, dtype=float)
    counts = random.multinomial(items, chances / chances.sum(axis=1, keepdims=True))
    by_seed, by_pattern = counts @ patterns / items, patterns.mean(axis=1)
    mean = by_seed.mean(axis=1)
    between_seeds = items * ((by_seed - mean[:, None]) ** 2).sum(axis=1)
    between_items = seeds * (counts * (by_pattern - mean[:, None]) ** 2).sum(axis=1)
    rest = np.maximum(0.0, seeds * items * mean * (1 - mean) - between_seeds - between_items)
    squares = between_seeds / (seeds - 1), between_items / (items - 1), rest / ((seeds - 1) * (items - 1))
    return crossed.of_mean_squares(mean, seeds, items, *squares)


def coverage_of_an_accuracy(
    random: np.random.Generator, seeds: int, setting: tuple[int, float, float, float], runs: int = RUNS
) -> float:
    """Of right and wrong answers whose logits are normal over seeds and over items."""
    items, truth, seed_spread, item = setting
    middle, of_seeds = _logits(truth, seed_spread, item)
    logits = middle + random.normal(0, of_seeds, (runs, seeds))
    return _held(accuracy_ends(right_answers(random, logits, items, item)), truth)


def _held(ends: tuple[np.ndarray, np.ndarray], truth: float) -> float:
    return float(((ends[0] <= truth) & (truth <= ends[1])).mean())


def settings_of_languages() -> Iterator[tuple[int, int, float, float, float]]:
    """Items that all languages share, languages, and on the logit scale the middle and the spreads of seeds, items."""
    yield from product((300,), (5, 15), (0.4, 2.5), (0.0, 0.2, 0.6), (0.5, 2.0))


def coverage_of_languages(random: np.random.Generator, seeds: int, setting: tuple, runs: int) -> float:
    """Of the mean accuracy over parallel languages, each with effects of seeds and items of its own."""
    items, languages, middle, seed, item = setting
    own, of_languages, held = (0.1 if seed else 0.0), np.linspace(-0.6, 0.6, languages), 0
    spread = np.sqrt(seed**2 + own**2 + item**2 + 0.5**2)
    truth = (special.expit(middle + of_languages[:, None] + spread * _POINTS) @ _WEIGHTS).mean()
    at_once = max(1, 4_000_000 // (seeds * items * languages))

    def drawn(spread: float, *shape: int) -> np.ndarray:
        return np.float32(spread) * random.standard_normal(shape, dtype=np.float32)

    for begin in range(0, runs, at_once):
        count = min(at_once, runs - begin)
        logits = middle + of_languages.astype(np.float32) + drawn(seed, count, seeds, 1, 1)
        logits = logits + drawn(own, count, seeds, 1, languages) + drawn(item, count, 1, items, 1)
        logits = logits + drawn(0.5, count, 1, items, languages)
        right = random.random(logits.shape, dtype=np.float32) < special.expit(logits)
        held += _held(accuracy_ends(crossed.layouts(right.mean(axis=3))), truth) * count
    return held / runs


#: One run in six is a failure; the spread of all runs is what is stated.
_FAILING = 1 / 6


def _failing(random: np.random.Generator, shape: tuple[int, int], spread: float) -> np.ndarray:
    """Effects of seeds of mean zero and this spread, of which one in six is far below the others."""
    gap = spread / np.sqrt(_FAILING * (1 - _FAILING))
    return gap * _FAILING - gap * (random.random(shape) < _FAILING)


def coverage_of_failing_accuracies(
    random: np.random.Generator, seeds: int, items: int, truth: float, spread: float, runs: int = RUNS
) -> float:
    """As `coverage_of_an_accuracy`, where one run in six fails."""
    wanted = truth + _failing(random, (runs, seeds), spread)
    known = np.linspace(-12, 12, 4001)
    accuracies = special.expit(known[:, None] + _POINTS) @ _WEIGHTS
    return _held(accuracy_ends(right_answers(random, np.interp(wanted, accuracies, known), items, 1.0)), truth)


def coverage_of_failing_gains(random: np.random.Generator, seeds: int, items: int, spread: float) -> float:
    """Of gains with the usual items and rest (0.3), where one run in six of the cell, not of the baseline, fails."""
    found = gains(random, seeds, (items, 0.0, 0.3, 0.3))
    by_seed = _failing(random, (DRAWS, seeds), spread) + random.normal(0, 0.3 / items**0.5, (DRAWS, seeds))
    by_seed += random.normal(0, 0.3 / items**0.5, (DRAWS, 1))
    failing = replace(found, mean=by_seed.mean(axis=1), seed_part=by_seed.var(axis=1, ddof=1) / seeds)
    return float((np.abs(failing.mean) <= failing.half_width(0.05)).mean())


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

    def judged(held: Sequence[float], draws: int, *, goal: bool = True) -> str:
        nonlocal missed
        slack = 3 * np.sqrt(LEAST * (1 - LEAST) / draws)
        good = min(held) >= LEAST - slack and max(held) <= MOST + slack
        missed |= goal and not good
        verdict = ("met" if good else "MISSED") if goal else "no goal"
        return f"{min(held):.4f} to {max(held):.4f} over {len(held)} settings, {verdict}"

    for seeds in (2, 3, 4, 5):
        usual = [coverage(random, seeds, one) for one in settings() if one[3] <= 2 * one[2]]
        noisy = [coverage(random, seeds, one) for one in settings() if one[3] > 2 * one[2]]
        print(
            f"{seeds} seeds, gains: {judged([one.held for one in usual], DRAWS, goal=seeds > 2)}; where the rest "
            f"spreads more {judged([one.held for one in noisy], DRAWS, goal=seeds > 2)}; with the least half-width up "
            f"to {max(one.with_least for one in usual):.3f}"
        )
        for place, rate in enumerate(SMALL):
            plain, cautious = (max(getattr(one, by)[place] for one in usual) for by in ("called", "called_cautiously"))
            print(f"    of gains of zero, called at {rate}: up to {plain:.4f}, cautiously {cautious:.4f}", flush=True)
    for seeds in (3, 5):
        held = [coverage_of_targets(random, seeds, one) for one in settings_of_targets()]
        print(f"{seeds} seeds, gain over targets: {judged(held, DRAWS_OF_TARGETS)}", flush=True)
    for seeds in (3, 5):
        found = {one: coverage_of_an_accuracy(random, seeds, one) for one in settings_of_accuracies()}
        inside = [value for one, value in found.items() if not is_out_of_reach(one)]
        print(f"{seeds} seeds, accuracies: {judged(inside, RUNS)}", flush=True)
        for spread in (0.06, 0.1):
            outside = [value for one, value in found.items() if is_out_of_reach(one) and one[2] == spread]
            print(f"{seeds} seeds, accuracies of 0.95 +- {spread}: {min(outside):.3f} to {max(outside):.3f}")
        few = [coverage_of_an_accuracy(random, seeds, (30, *one[1:])) for one in found if one[0] == 200]
        print(f"{seeds} seeds, accuracies over 30 items: {min(few):.3f} to {max(few):.3f}", flush=True)
    for seeds in (3, 5):
        held = [coverage_of_languages(random, seeds, one, RUNS_OF_LANGUAGES) for one in settings_of_languages()]
        print(f"{seeds} seeds, accuracy over languages: {judged(held, RUNS_OF_LANGUAGES)}", flush=True)
    for seeds in (3, 5):
        sizes, spreads = (200, 1164, 15000), (0.005, 0.02, 0.05)
        held = [
            coverage_of_failing_accuracies(random, seeds, items, truth, spread)
            for items, truth, spread in product(sizes, (0.35, 0.6, 0.85), spreads)
        ]
        of_gains = [coverage_of_failing_gains(random, seeds, *one) for one in product(sizes, spreads)]
        print(
            f"{seeds} seeds of which one in six fails: accuracies {min(held):.3f} to {max(held):.3f}, gains "
            f"{min(of_gains):.3f} to {max(of_gains):.3f}",
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
