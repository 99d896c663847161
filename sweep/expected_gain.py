"""Whether the next trial of a cell opens an intermediate setting or uses a trained one again, and where; runs none.

Both kinds of candidates are judged by one Gaussian process over all trials of the cell: expected improvement over the
best setting, divided by the optimiser steps still to be paid. A trained setting costs a target run alone. This is the
acquisition of EEIPU (arXiv 2411.03731) without its model of costs, since steps are known here.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import log_ndtr

from search_spaces.domains import Choice, Domain, Integers, LogRange
from search_spaces.transfer_grid import Cell
from sweep.definition import Sweep
from sweep.lessons import known_score, lessons, pays_to_compare
from sweep.points import draws_now, setting_of_group, shares_used, stage_costs, used_again
from sweep.records import TrialRecord
from sweep.search import ExpectedGain

#: Candidates that would open a setting, and those for each trained one; as many again lie near the best trial.
_OPENING, _REUSING = 512, 128
#: Spread of the candidates near the best trial, as a share of each range.
_NEAR = 0.1


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The draws of the next trial; or, while there is too little to go on, the intermediate ones to repeat, if any."""

    draws: dict[str, float] = field(default_factory=dict)
    intermediate: dict[str, float] = field(default_factory=dict)


def choose(
    sweep: Sweep, cell: Cell, how: ExpectedGain, before: Mapping[int, TrialRecord], seed: int, left: float = math.inf
) -> Chosen:
    """Where the next search trial of a cell with an intermediate stage is made, if `left` steps can be spent on it.

    Of a setting none of whose trials came to a score, as where it failed itself, nobody knows that it is trained.
    """
    number = max(before) + 1
    taught = lessons(before.values())
    ended = [replace(before[one], draws=draws_now(sweep, cell, before[one])) for one in taught]
    scored = [record for record in ended if known_score(record) is not None]
    if not pays_to_compare(how, number, before.values()):
        return Chosen(intermediate=setting_of_group(sweep, cell, before, number, how.fan_out))
    domains = sweep.parameters(cell)
    random = np.random.default_rng(seed)
    best = max(scored, key=lambda record: (known_score(record), -record.key.number)).draws
    trained = {tuple(sorted(setting.items())): setting for setting in (used_again(sweep, cell, one) for one in scored)}
    trained.pop((), None)  # of a space that was edited since
    candidates = list(_candidates(domains, {}, best, _OPENING, random))
    opening, target = stage_costs(sweep, cell)
    price = [opening + target] * len(candidates)
    for setting in trained.values():
        candidates += _candidates(domains, setting, best, _REUSING, random)
    price += [target] * (len(candidates) - len(price))
    gains = _log_expected_improvement(
        np.array([_features(domains, record.draws, shares_used(sweep, cell, record)) for record in ended]),
        np.array([taught[record.key.number] for record in ended], dtype=float),
        np.array([_features(domains, draws, sweep.space.values(cell, draws)) for draws in candidates]),
        seed,
    )
    worth = np.where(np.array(price) <= left, gains - np.log(price), -np.inf)
    return Chosen(draws=candidates[int(np.argmax(worth))])


def _candidates(
    domains: Mapping[str, Domain],
    fixed: Mapping[str, float],
    best: Mapping[str, float],
    count: int,
    random: np.random.Generator,
) -> Iterable[dict[str, float]]:
    """Draws from everywhere, then as many near the best trial; what is fixed is in all of them."""
    free = [name for name in domains if name not in fixed]
    middle = [_place(domains[name], best[name]) for name in free]
    everywhere = random.random((count, len(free)))
    near = np.clip(np.array(middle) + _NEAR * random.standard_normal((count, len(free))), 0.0, 1.0)
    for row in np.concatenate([everywhere, near]):
        drawn = {name: _at(domains[name], float(place)) for name, place in zip(free, row, strict=True)}
        yield {name: fixed.get(name, drawn.get(name, 0.0)) for name in domains}


def _place(domain: Domain, value: float) -> float:
    """Where a value lies in its domain, from 0 to 1 on the domain's scale."""
    if isinstance(domain, Choice):
        known = value in domain.options
        return (domain.options.index(value) + 0.5) / len(domain.options) if known else 0.5
    low, high = domain.low, domain.high
    if isinstance(domain, LogRange):
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _at(domain: Domain, place: float) -> float:
    """The value at a place from 0 to 1."""
    if isinstance(domain, Choice):
        return domain.options[min(int(place * len(domain.options)), len(domain.options) - 1)]
    low, high = domain.low, domain.high
    if isinstance(domain, Integers):
        return min(high, low + int(place * (high - low + 1)))
    value = low * (high / low) ** place if isinstance(domain, LogRange) else low + place * (high - low)
    return min(high, max(low, value))


def _features(domains: Mapping[str, Domain], draws: Mapping[str, float], shares: Mapping[str, float]) -> list[float]:
    """What the process sees of a point: places in 0..1, options as indicators, shares instead of their draws.

    A trial of a space that was wider lies where it lay: below 0 or above 1, or at no option.
    """
    found: list[float] = []
    for name, domain in domains.items():
        if name.startswith("share."):
            found.append(shares[name])
        elif isinstance(domain, Choice):
            found += [float(option == draws[name]) for option in domain.options]
        else:
            found.append(_place(domain, draws[name]))
    return found


def _log_expected_improvement(tried: np.ndarray, scores: np.ndarray, candidates: np.ndarray, seed: int) -> np.ndarray:
    """`tried`: (trial, feature), `scores`: (trial,), `candidates`: (candidate, feature) → (candidate,).

    The improvement is over the best mean at a tried point: over the best score, noise would pass for a gain.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
    from threadpoolctl import threadpool_limits

    scales = np.full(tried.shape[1], 0.5)
    kernel = ConstantKernel(1.0, (0.05, 20.0)) * Matern(scales, (0.05, 20.0), nu=2.5) + WhiteKernel(0.01, (1e-5, 1.0))
    spread = scores.std() or 1.0
    process = GaussianProcessRegressor(kernel, n_restarts_optimizer=1, random_state=seed)
    # On few numbers the threads of OpenBLAS cost ten times what they do; and one thread gives the same bits each time.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length scale at its bound is a parameter without effect
        process.fit(tried, (scores - scores.mean()) / spread)
        mean, deviation = _predicted(process, candidates)
        best = _predicted(process, tried)[0].max()
    return _log_improvement((mean - best) / deviation) + np.log(deviation)


def _predicted(process, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation without the noise of a single run."""
    mean, deviation = process.predict(points, return_std=True)
    noise = process.kernel_.k2.noise_level
    return mean, np.sqrt(np.maximum(deviation**2 - noise, 1e-12))


def _log_improvement(z: np.ndarray) -> np.ndarray:
    """log(φ(z) + z Φ(z)), in the far tail by its first term φ(z) / z²."""
    density = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    far = z < -5
    near = np.where(far, 0.0, z)
    inner = np.exp(np.where(far, 0.0, density)) + near * np.exp(log_ndtr(near))
    return np.where(far, density - 2 * np.log(np.maximum(-z, 1.0)), np.log(np.maximum(inner, 1e-300)))
