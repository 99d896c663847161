"""Searching mixing weights on the simplex, against what is usually done instead, at the same number of trials.

    python -m tests.benchmarks.bench_simplex          # about five minutes

Three surrogates whose best shares are known:
- *recorded*: English development accuracy of real trials of the lab (`tests/fixtures/mixtures.csv`): mixtures of its
  four intermediate tasks, each trained once by `record_mixtures`, then visual NLI. A proposal is answered by the mean
  of a Gaussian process that is fitted to the table, over the square roots of the shares, with a squared-exponential
  kernel and a noise by maximum likelihood; how well it foretells a trial that it has not seen is printed. The optimum
  is that of this mean, by 200,000 draws and a climb from the best of them;
- *rehearsal*: nine tasks, `Σ usefulness × √share`, whose best shares are proportional to usefulness² (Cauchy, Schwarz);
- *mixing law*: seventeen domains, `-Σ weight × (c + k exp(t · shares))`, the form that Ye et al. 2024 (arXiv
  2403.16952) fitted to data mixtures; convex, and its optimum found by mirror descent. Its coefficients are drawn by a
  seed: RegMix's table is not part of this project.

Searched as `Simplex(minimum, sparse=True)`: a share that would be below one in twenty (one in fifty among seventeen
domains) is off, so that mixtures of fewer tasks are proposed too. That is what must beat the peers; a simplex without
`sparse`, on which every task keeps some share, is printed beside it.

Peers, with the same number of trials, the even mixture first, and Optuna's TPE with the same options: independent
numbers in 0..1 divided by their sum; and, without a model, uniform draws from the simplex (flat Dirichlet). Regret is
the share of what the even mixture leaves to be gained that the best trial has not. Exits 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from search_spaces import Cell, Simplex, Space
from sweep.search import NoPruning, RandomDraws, Search, Tpe
from tests.benchmarks.searched import interval, searched
from tests.pure.small_sweep import BASELINE, SETTINGS, small_sweep
from trainables.catalogue import lab

RECORDED = Path(__file__).parents[1] / "fixtures" / "mixtures.csv"

TRIALS, SEEDS = 50, 30
DENSE = Simplex(0.0)
SAMPLER = Tpe(startup_trials=10)


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    name: str
    tasks: int
    score: Callable[[np.ndarray], float]
    best: float

    def regret(self, scores: Sequence[float]) -> float:
        even = self.score(np.full(self.tasks, 1 / self.tasks))
        return (self.best - max(scores)) / (self.best - even)


def table() -> tuple[np.ndarray, np.ndarray]:
    """Shares, `(trial, task)`, and the English development accuracy of each trial."""
    with RECORDED.open() as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.startswith("share.")]
    shares = np.array([[float(row[name]) for name in names] for row in rows])
    return shares, np.array([float(row["english_dev"]) for row in rows])


def recorded() -> Surrogate:
    shares, scores = table()
    kernel = ConstantKernel() * RBF(0.5, (0.05, 5.0)) + WhiteKernel(0.1, (1e-4, 10.0))
    process = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=8, random_state=0)
    process.fit(np.sqrt(shares), scores)

    def mean(points: np.ndarray) -> np.ndarray:
        return process.predict(np.sqrt(np.clip(points, 0.0, 1.0)))

    count = shares.shape[1]
    random = np.random.default_rng(0)
    drawn = np.concatenate([random.dirichlet(np.full(count, flat), 100_000) for flat in (1.0, 0.3)])
    drawn = np.concatenate([drawn, np.eye(count), shares])
    found = mean(drawn)
    climbs = [
        minimize(
            lambda point: -float(mean(point[None])[0]),
            start,
            bounds=[(0.0, 1.0)] * count,
            constraints={"type": "eq", "fun": lambda point: point.sum() - 1.0},
        )
        for start in drawn[np.argsort(-found)[:10]]
    ]
    best = max(float(found.max()), *(-climb.fun for climb in climbs if abs(climb.x.sum() - 1) < 1e-6))
    print(
        f"recorded: {len(scores)} trials, {scores.min():.3f} to {scores.max():.3f}; leave-one-out R² of the process "
        f"{foretold(process, scores):.2f}; its mean is at most {best:.3f}, "
        f"{float(mean(np.full((1, count), 1 / count))[0]):.3f} for the even mixture"
    )
    name = f"recorded, {count} tasks"
    return Surrogate(name=name, tasks=count, score=lambda point: float(mean(point[None])[0]), best=best)


def foretold(process: GaussianProcessRegressor, scores: np.ndarray) -> float:
    """Leave-one-out R² of a process with the kernel that was fitted to all trials (Rasmussen and Williams, 5.12)."""
    inverse = np.linalg.inv(process.L_ @ process.L_.T)
    missed = (inverse @ process.y_train_) / np.diag(inverse) * scores.std()
    others = (scores.sum() - scores) / (len(scores) - 1)
    return 1.0 - float((missed**2).sum() / ((scores - others) ** 2).sum())


def rehearsed() -> Surrogate:
    usefulness = np.array([0.8, *0.3 * np.random.default_rng(0).random(8)])
    best = float(np.sqrt((usefulness**2).sum()))
    return Surrogate(name="rehearsal, 9 tasks", tasks=9, score=lambda s: float(usefulness @ np.sqrt(s)), best=best)


def mixing_law() -> Surrogate:
    random, count = np.random.default_rng(0), 17
    slope = -random.random((count, count))
    slope[np.arange(count), np.arange(count)] -= 3.0
    floor, scale = 1 + random.random(count), 1 + random.random(count)
    weight = random.dirichlet(np.full(count, 0.5))

    def score(shares: np.ndarray) -> float:
        return -float(weight @ (floor + scale * np.exp(slope @ shares)))

    shares = np.full(count, 1 / count)
    for _ in range(20_000):
        shares = shares * np.exp(-0.5 * slope.T @ (weight * scale * np.exp(slope @ shares)))
        shares /= shares.sum()
    return Surrogate(name="mixing law, 17 domains", tasks=count, score=score, best=score(shares))


def sparse(surrogate: Surrogate) -> Simplex:
    return Simplex(0.02 if surrogate.tasks > 9 else 0.05, sparse=True)


def ours(surrogate: Surrogate, seed: int, shares: Simplex, sampler: Tpe | RandomDraws = SAMPLER) -> float:
    tasks = tuple(replace(lab.NLI, name=f"task_{number:02d}") for number in range(surrogate.tasks))
    cell = Cell(name="mixed", intermediates=tasks)
    sweep = small_sweep(
        cells=(BASELINE, cell),
        space=Space(shares=shares),
        intermediate_settings=replace(SETTINGS, maximum_steps=100_000),
        search=Search(trials=TRIALS, seed=100 + seed, sampler=sampler, pruner=NoPruning()),
    )
    names = [f"share.{task.name}" for task in tasks]
    records = searched(
        sweep,
        cell,
        lambda values: surrogate.score(np.array([values[name] for name in names])),
        lambda done: len(done) == TRIALS,
    )
    return surrogate.regret([record.score for record in records if record.score is not None])


def renormalised(surrogate: Surrogate, seed: int) -> float:
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=SAMPLER.startup_trials, multivariate=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    unit = {f"w{number:02d}": optuna.distributions.FloatDistribution(0, 1) for number in range(surrogate.tasks)}
    study.enqueue_trial(dict.fromkeys(unit, 0.5))
    scores = []
    for _ in range(TRIALS):
        trial = study.ask(unit)
        weights = np.array([trial.params[name] for name in unit])
        scores.append(surrogate.score(weights / weights.sum()))
        study.tell(trial, scores[-1])
    return surrogate.regret(scores)


def dirichlet(surrogate: Surrogate, seed: int) -> float:
    return ours(surrogate, seed, DENSE, RandomDraws())


SURROGATES = {"recorded": recorded, "rehearsal": rehearsed, "mixing law": mixing_law}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SURROGATES, nargs="+", default=list(SURROGATES), help="which to search")
    wanted = parser.parse_args(arguments).only
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    missed = False
    print(f"regret after {TRIALS} trials, {SEEDS} seeds; differences with 95% bootstrap intervals\n")
    for surrogate in (SURROGATES[name]() for name in wanted):
        mine = [ours(surrogate, seed, sparse(surrogate)) for seed in range(SEEDS)]
        print(f"{surrogate.name}: simplex search {np.mean(mine):.3f} (sd {np.std(mine, ddof=1):.3f})")
        dense = [ours(surrogate, seed, DENSE) for seed in range(SEEDS)]
        mean, low, high = interval([a - b for a, b in zip(dense, mine, strict=True)])
        print(f"  without sparse (no goal): {np.mean(dense):.3f}; {mean:+.3f} [{low:+.3f}, {high:+.3f}] more")
        for name, peer in (("floats renormalised", renormalised), ("random Dirichlet", dirichlet)):
            theirs = [peer(surrogate, seed) for seed in range(SEEDS)]
            mean, low, high = interval([a - b for a, b in zip(theirs, mine, strict=True)])
            good = low > 0
            missed |= not good
            print(
                f"  {name}: {np.mean(theirs):.3f}; {mean:+.3f} [{low:+.3f}, {high:+.3f}] more"
                f"{'' if good else '  GOAL MISSED: the interval must lie above 0'}",
                flush=True,
            )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
