"""What to try next in a cell and what to stop, as functions of what the ledger holds; keeps no state of its own.

Every answer is made from a fresh in-memory Optuna study of the one cell, seeded by (sweep, cell, trial number): it
does not matter how many gangs run, what other cells did, or how often the process died in between.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from search_spaces.domains import Choice, Domain, LogRange
from search_spaces.transfer_grid import Cell
from sweep.definition import Pruner, Sweep
from sweep.paths import target_settings
from sweep.records import Phase, State, TrialRecord

_STATES = {State.FINISHED: TrialState.COMPLETE, State.PRUNED: TrialState.PRUNED, State.FAILED: TrialState.FAIL}


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """The next point of a cell: `draws` as the sampler made them, `values` as the stages will use them."""

    draws: dict[str, float]
    values: dict[str, float]


def propose(sweep: Sweep, cell: Cell, number: int, records: Iterable[TrialRecord]) -> Proposal:
    """The point of search trial `number`, given the ended trials of the cell.

    Trial 0 is the default configuration. The intermediate part of a point is drawn for the first trial of each
    fan-out group; the others of the group repeat it.
    """
    before = _search_trials(cell, records, below=number)
    default = sweep.space.default_draws(cell, sweep.intermediate_settings, sweep.target_settings)
    distributions = {name: _distribution(domain) for name, domain in sweep.space.parameters(cell).items()}
    fixed: dict[str, float] = {}
    if number == 0:
        fixed = default
    elif number % sweep.search.fan_out:
        first = before[number - number % sweep.search.fan_out]
        fixed = {name: value for name, value in first.draws.items() if not name.startswith("target.")}
    sampler: optuna.samplers.BaseSampler = optuna.samplers.TPESampler(
        seed=_seed(sweep, cell, number), n_startup_trials=sweep.search.startup_trials, multivariate=False
    )
    with _quiet():
        if fixed:
            sampler = optuna.samplers.PartialFixedSampler(fixed, sampler)
        drawn = _study(before.values(), distributions, sampler).ask(distributions)
    draws = {name: float(drawn.params[name]) for name in distributions}
    return Proposal(draws=draws, values=sweep.space.values(cell, draws))


def should_prune(
    sweep: Sweep, cell: Cell, number: int, scored: Sequence[tuple[int, float]], records: Iterable[TrialRecord]
) -> bool:
    """Whether search trial `number` is to stop after its last score.

    `scored` are its (target step, English dev score) so far, all of role `select`. It is compared with trials of the
    cell that were finished under a lower number, which one gang and many have alike.
    """
    last = target_settings(sweep, cell, {}).maximum_steps  # no value changes it: see `search_spaces.space.SEARCHABLE`
    if sweep.search.pruner is Pruner.NONE or not scored or scored[-1][0] >= last:
        return False
    before = _search_trials(cell, records, below=number)
    pruner = optuna.pruners.MedianPruner(
        n_startup_trials=sweep.search.trials_before_pruning, n_warmup_steps=sweep.search.steps_before_pruning + 1
    )
    study = _study(before.values(), {}, optuna.samplers.RandomSampler(seed=0))
    trial = optuna.trial.create_trial(
        state=TrialState.RUNNING, params={}, distributions={}, intermediate_values=dict(scored)
    )
    return pruner.prune(study, trial)


def winner(cell: Cell, records: Iterable[TrialRecord]) -> TrialRecord | None:
    """The finished search trial with the best English dev score; of equals the first; None where none finished."""
    finished = [
        (record.score, -record.key.number, record)
        for record in _search_trials(cell, records).values()
        if record.state is State.FINISHED and record.score is not None and math.isfinite(record.score)
    ]
    return max(finished, key=lambda found: found[:2])[2] if finished else None


def _search_trials(cell: Cell, records: Iterable[TrialRecord], below: int | None = None) -> dict[int, TrialRecord]:
    mine = (record for record in records if record.key.cell == cell.name and record.key.phase is Phase.SEARCH)
    return {record.key.number: record for record in mine if below is None or record.key.number < below}


def _study(
    records: Iterable[TrialRecord],
    distributions: Mapping[str, BaseDistribution],
    sampler: optuna.samplers.BaseSampler,
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for record in records:
        if record.state in _STATES:
            study.add_trial(_frozen(record, distributions))
    return study


def _frozen(record: TrialRecord, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """A finished or pruned trial with its scores; one without a finite score counts as failed, never as a zero."""
    state = _STATES[record.state]
    scored = {step: value for step, value in record.scored if math.isfinite(value)}
    score = record.score if record.score is not None and math.isfinite(record.score) else None
    if state is TrialState.COMPLETE and score is None:
        state = TrialState.FAIL
    known = {
        name: record.draws[name]
        for name, distribution in distributions.items()
        if name in record.draws and _holds(distribution, record.draws[name])
    }
    return optuna.trial.create_trial(
        state=state,
        value=score if state is TrialState.COMPLETE else None,
        params=known,
        distributions={name: distributions[name] for name in known},
        intermediate_values=scored,
    )


def _holds(distribution: BaseDistribution, value: float) -> bool:
    """Whether a value drawn earlier lies in a space that may have been edited since."""
    return distribution._contains(distribution.to_internal_repr(value))


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.options)
    return FloatDistribution(domain.low, domain.high, log=isinstance(domain, LogRange))


def _seed(sweep: Sweep, cell: Cell, number: int) -> int:
    text = f"{sweep.name}\n{sweep.search.seed}\n{cell.name}\n{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


class _quiet(warnings.catch_warnings):
    """Optuna calls `PartialFixedSampler` experimental at every use."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
