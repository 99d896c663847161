"""What to try next in a cell and what to stop, as functions of what the ledger holds; what it keeps changes no answer.

A point is drawn from a fresh in-memory Optuna study of the one cell, seeded by (sweep, cell, trial number), and a
pruner is asked in one: it does not matter how many gangs run, what other cells did, or how often the process died in
between. Only what a pruner with rungs left on earlier trials is kept for the process, and made anew from the first
trial on that the ledger has otherwise (`_Replay`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from search_spaces.domains import Choice, Domain, Integers, LogRange
from search_spaces.mixing import draws_of
from search_spaces.transfer_grid import Cell
from sweep import expected_gain
from sweep.definition import Sweep
from sweep.paths import path_of, target_settings
from sweep.points import default_draws, draws_now, seed_of, setting_of_group, shares_used
from sweep.records import Phase, State, TrialKey, TrialRecord
from sweep.search import (
    CmaEs,
    ExpectedGain,
    GaussianProcess,
    Grid,
    Hyperband,
    Median,
    NoPruning,
    Pruner,
    RandomDraws,
    Sampler,
    SuccessiveHalving,
    Tpe,
    Wilcoxon,
    sampler_for,
)
from sweep.selection_score import SelectionScore
from sweep.untried import next_of_grid, untried

#: What an ended trial is in the study that a user sees, and in what pruners are told.
_STATES = {State.FINISHED: TrialState.COMPLETE, State.PRUNED: TrialState.PRUNED, State.FAILED: TrialState.FAIL}

#: Failed trials that the tree-structured estimator is told of, for each that has a score. It takes a tenth of all
#: that it knows for good ones, the best first: with more, failures would be among them.
_FAILURES = 9

#: How often a point is drawn again that would train nothing new: in a small space of choices all may be tried already.
_REDRAWS = 16


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """The next point of a cell: `draws` as the sampler made them, `values` as the stages will use them."""

    draws: dict[str, float]
    values: dict[str, float]


def propose(
    sweep: Sweep, cell: Cell, number: int, records: Iterable[TrialRecord], *, left: float = math.inf
) -> Proposal:
    """The point of search trial `number`, given the ended trials of the cell.

    Trial 0 is the default configuration. With a fixed fan-out the intermediate part of a point is drawn for the first
    trial of each group, and the others of the group repeat it. A point whose stages are those of an earlier trial, as
    when two draws of shares give the same whole steps, is drawn again; where that does not help, the space is gone
    through. `left` are the optimiser steps that the cell may still spend; they matter where a setting is used again as
    it pays.
    """
    before = _search_trials(cell, records, below=number)
    if number == 0:
        return _proposal(sweep, cell, default_draws(sweep, cell))
    sampler = sampler_for(sweep.search, cell, sweep.parameters(cell).values())
    if isinstance(sampler, Grid):
        return _proposal(sweep, cell, next_of_grid(sweep, cell, sampler, before.values()))
    tried = {record.stages[-1] for record in before.values() if record.stages}
    found = _drawn(sweep, cell, number, before, sampler, 0, left)
    if not tried or not found.draws:
        return found
    for again in range(1, _REDRAWS):
        if _last_stage(sweep, cell, found) not in tried:
            return found
        # A sampler that learns may insist on a point that is tried already: the later half of the draws are free.
        found = _drawn(sweep, cell, number, before, sampler if again < _REDRAWS / 2 else RandomDraws(), again, left)
    if _last_stage(sweep, cell, found) not in tried:
        return found

    def is_new(draws: dict[str, float]) -> bool:
        return _last_stage(sweep, cell, _proposal(sweep, cell, draws)) not in tried

    another = untried(sweep, cell, number, before, is_new, left)
    return found if another is None else _proposal(sweep, cell, another)


def _last_stage(sweep: Sweep, cell: Cell, point: Proposal) -> str:
    return path_of(sweep, cell, point.values, phase=Phase.SEARCH, seed=sweep.search.seed)[-1].digest


def _proposal(sweep: Sweep, cell: Cell, draws: dict[str, float]) -> Proposal:
    return Proposal(draws=draws, values=sweep.space.values(cell, draws))


def _drawn(
    sweep: Sweep, cell: Cell, number: int, before: Mapping[int, TrialRecord], sampler: Sampler, again: int, left: float
) -> Proposal:
    domains = sweep.parameters(cell)
    seed = seed_of(sweep, cell, number, again)
    fan_out = sweep.search.fan_out
    fixed: dict[str, float] = {}
    if cell.intermediates and isinstance(fan_out, ExpectedGain):
        chosen = expected_gain.choose(sweep, cell, fan_out, before, seed, left)
        if chosen.draws:
            return _proposal(sweep, cell, chosen.draws)
        fixed = chosen.intermediate
    elif cell.intermediates and isinstance(fan_out, int):
        fixed = setting_of_group(sweep, cell, before, number, fan_out)
    told = {earlier: _told(sweep, cell, record) for earlier, record in before.items()}
    distributions = {name: _distribution(domain) for name, domain in domains.items()}
    drawn = _ask(sampler, told, distributions, seed, fixed, lambda earlier: seed_of(sweep, cell, earlier))
    return _proposal(sweep, cell, {name: _exact(domain, drawn[name]) for name, domain in domains.items()})


def _told(sweep: Sweep, cell: Cell, record: TrialRecord) -> TrialRecord:
    """The trial as the sampler is told of it: by what it used, in the space as it is now.

    A parameter that joined since stood at its default. Many draws make the same shares, and all of them are told as
    one: with K tasks there are K draws for K - 1 freedoms; told as they were drawn, their differences would be learned.
    """
    shares = draws_of(shares_used(sweep, cell, record), sweep.space.of(cell).shares)
    return replace(record, draws=draws_now(sweep, cell, record) | shares)


def _ask(
    sampler: Sampler,
    before: Mapping[int, TrialRecord],
    distributions: Mapping[str, BaseDistribution],
    seed: int,
    fixed: Mapping[str, float],
    seeds: Callable[[int], int],
) -> dict[str, float]:
    with _quiet():
        if isinstance(sampler, CmaEs):
            if not any(isinstance(one, IntDistribution) for one in distributions.values()):
                sampler = replace(sampler, margin=False)
            study = _replayed(before, distributions, sampler, seeds)
        else:
            study = _study(before.values(), distributions, sampler)
        study.sampler = _optuna_sampler(sampler, seed)
        if fixed:
            study.sampler = optuna.samplers.PartialFixedSampler(dict(fixed), study.sampler)
        return study.ask(dict(distributions)).params


def _optuna_sampler(sampler: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    if isinstance(sampler, Tpe):
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=sampler.startup_trials, n_ei_candidates=sampler.candidates, multivariate=True
        )
    if isinstance(sampler, GaussianProcess):
        return optuna.samplers.GPSampler(
            seed=seed, n_startup_trials=sampler.startup_trials, warn_independent_sampling=False
        )
    if isinstance(sampler, CmaEs):
        return optuna.samplers.CmaEsSampler(
            seed=seed,
            n_startup_trials=sampler.startup_trials,
            popsize=sampler.population or None,
            with_margin=sampler.margin,
            warn_independent_sampling=False,
        )
    assert isinstance(sampler, RandomDraws)
    return optuna.samplers.RandomSampler(seed=seed)


def should_prune(
    sweep: Sweep, cell: Cell, number: int, scored: Sequence[tuple[int, SelectionScore]], records: Iterable[TrialRecord]
) -> bool:
    """Whether search trial `number` is to stop after its last score.

    `scored` are its (target step, English dev score) so far, all of role `select`. It is compared with trials of the
    cell that were finished under a lower number, which one gang and many have alike.
    """
    last = target_settings(sweep, cell, {}).maximum_steps  # no value changes it: see `search_spaces.space.SEARCHABLE`
    pruner = sweep.search.pruner
    _refuse_others(score for _, score in scored)
    if isinstance(pruner, NoPruning) or not scored or scored[-1][0] >= last:
        return False
    before = _search_trials(cell, records, below=number)
    with _quiet():
        if isinstance(pruner, SuccessiveHalving | Hyperband):
            return _prunes_at_rungs(f"{sweep.name}/{cell.name}", number, scored, before, pruner, last)
        study = _study(before.values(), {}, RandomDraws())
        trial = optuna.trial.create_trial(
            state=TrialState.RUNNING, params={}, distributions={}, intermediate_values=dict(scored)
        )
        return _optuna_pruner(pruner, last).prune(study, trial)


def _optuna_pruner(pruner: Pruner, last: int) -> optuna.pruners.BasePruner:
    if isinstance(pruner, Median):
        return optuna.pruners.MedianPruner(
            n_startup_trials=pruner.trials_before, n_warmup_steps=pruner.steps_before + 1
        )
    if isinstance(pruner, Wilcoxon):
        return optuna.pruners.WilcoxonPruner(p_threshold=pruner.p, n_startup_steps=2)
    if isinstance(pruner, SuccessiveHalving):
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=pruner.first_rung, reduction_factor=pruner.reduction)
    assert isinstance(pruner, Hyperband)
    return optuna.pruners.HyperbandPruner(
        min_resource=pruner.first_rung, max_resource=last, reduction_factor=pruner.reduction
    )


def _prunes_at_rungs(
    name: str,
    number: int,
    scored: Sequence[tuple[int, SelectionScore]],
    before: Mapping[int, TrialRecord],
    pruner: Pruner,
    last: int,
) -> bool:
    """What a pruner with a memory says, after all that was reported to it before.

    The rungs that a trial has passed are attributes that Optuna sets as it is asked, so every score is reported again
    in its order. Hyperband draws a trial's bracket from the study's name and the trial's number: both are stated.
    """
    told = [before.get(earlier) for earlier in range(number)]
    study = _replay(name, pruner, last).study([None if one is None else _ended(one) for one in told])
    return _report(study.ask(), scored)


_Ended = tuple[State, tuple[tuple[int, SelectionScore], ...], SelectionScore | None]


def _ended(record: TrialRecord) -> _Ended | None:
    """All that a pruner with a memory is told of an ended trial; None for one that it is told of as failed."""
    known = record.state in (State.FINISHED, State.PRUNED)
    return (record.state, record.scored, record.score if record.state is State.FINISHED else None) if known else None


class _Replay:
    """Earlier trials of a cell as a pruner with a memory left them, so that each is reported to it once.

    What it left on a trial follows from that trial and those before it. So trials are taken as they were left as long
    as they and all before them are the same, and from the first that differs on all are reported anew: no answer
    depends on what was asked before.
    """

    def __init__(self, name: str, pruner: Pruner, last: int) -> None:
        self._name, self._pruner, self._last = name, pruner, last
        self._told: list[_Ended | None] = []
        self._left: list[FrozenTrial] = []

    def study(self, told: Sequence[_Ended | None]) -> optuna.Study:
        """A study of these trials, one for each number."""
        pairs = zip(self._told, told, strict=False)
        same = next((place for place, (mine, other) in enumerate(pairs) if mine != other), None)
        if same is None:
            same = min(len(self._told), len(told))
        study = optuna.create_study(
            study_name=self._name,
            direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=_optuna_pruner(self._pruner, self._last),
        )
        for trial in self._left[:same]:
            study.add_trial(trial)
        for one in told[same:]:
            trial = study.ask()
            if one is None:
                study.tell(trial, state=TrialState.FAIL)
            else:
                state, scored, score = one
                _report(trial, scored)
                study.tell(trial, score, state=_STATES[state])
        if same < len(told):
            self._told = list(told)
            self._left = study.get_trials(deepcopy=True)
            for trial in self._left:
                trial.__class__ = _OfOneStudy
        return study


@lru_cache(maxsize=1024)
def _replay(name: str, pruner: Pruner, last: int) -> _Replay:
    """One for each cell of a sweep of up to so many."""
    return _Replay(name, pruner, last)


def _report(trial: optuna.Trial, scored: Iterable[tuple[int, SelectionScore]]) -> bool:
    answer = False
    for step, value in scored:
        trial.report(value, step)
        answer = trial.should_prune()
    return answer


def winner(cell: Cell, records: Iterable[TrialRecord]) -> TrialRecord | None:
    """The finished search trial with the best English dev score; of equals the first; None where none finished."""
    finished = [
        (record.score, -record.key.number, record)
        for record in _search_trials(cell, records).values()
        if record.state is State.FINISHED and record.score is not None and math.isfinite(record.score)
    ]
    return max(finished, key=lambda found: found[:2])[2] if finished else None


def unsearched(sweep: Sweep, cell: Cell) -> TrialRecord:
    """What stands for the winner of a cell where nothing is searched: the default configuration, which is trial 0 of
    any search that may follow.
    """
    point = _proposal(sweep, cell, default_draws(sweep, cell))
    key = TrialKey(cell=cell.name, phase=Phase.SEARCH, number=0)
    return TrialRecord(key=key, values=point.values, draws=point.draws, seed=sweep.search.seed, stages=())


def _search_trials(cell: Cell, records: Iterable[TrialRecord], below: int | None = None) -> dict[int, TrialRecord]:
    mine = (record for record in records if record.key.cell == cell.name and record.key.phase is Phase.SEARCH)
    found = {record.key.number: record for record in mine if below is None or record.key.number < below}
    for record in found.values():
        _refuse_others(score for score in (record.score, *(score for _, score in record.scored)) if score is not None)
    return dict(sorted(found.items()))


def finished_study(sweep: Sweep, cell: Cell, records: Iterable[TrialRecord]) -> optuna.Study:
    """The ended trials of a cell as an Optuna study, for what Optuna can say of them; it samples nothing.

    Its parameters are the values that the stages used: a share, 0 to 1, says what was trained, where its draw says
    nothing without the others'. The draws are user attributes, `draw.<parameter>`.
    """
    distributions = {
        name: FloatDistribution(0.0, 1.0) if name.startswith("share.") else _distribution(domain)
        for name, domain in sweep.parameters(cell).items()
    }
    with _quiet():
        study = _study((), {}, RandomDraws())
        for record in records:
            if record.state in _STATES:
                trial = _frozen(replace(record, draws=record.values), distributions)
                trial.user_attrs = {
                    f"draw.{name}": record.draws[name] for name in record.draws if name.startswith("share.")
                }
                study.add_trial(trial)
        return study


def _refuse_others(scores: Iterable[float]) -> None:
    """Raise `TypeError` for a number that nobody has shown to be of role `select`."""
    for score in scores:
        if not isinstance(score, SelectionScore):
            raise TypeError(f"the search may be handed selection scores alone, got {score!r}")


def _study(
    records: Iterable[TrialRecord], distributions: Mapping[str, BaseDistribution], sampler: Sampler
) -> optuna.Study:
    """A study of the ended trials, for samplers and pruners that look at nothing else.

    A Gaussian process can be told only of trials that lie in the space as it is now.
    """
    whole = isinstance(sampler, GaussianProcess)
    trials = [_frozen(record, distributions, pruned_count=whole) for record in records if record.state in _STATES]
    trials = [trial for trial in trials if not whole or trial.params.keys() == distributions.keys()]
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for trial in _with_failures(trials, distributions, sampler):
        trial.__class__ = _OfOneStudy
        study.add_trial(trial)
    return study


def _with_failures(
    trials: Sequence[FrozenTrial], distributions: Mapping[str, BaseDistribution], sampler: Sampler
) -> list[FrozenTrial]:
    """The trials as a sampler that learns is told of them: what failed by its own fault is no better than any other.

    In the study that a user sees, and for pruners, such trials are failed. Optuna's samplers leave failed trials out,
    so that of a region where every trial fails, as above the learning rate that diverges, they know nothing and
    propose it for ever. None is told as a number of its own: the tree-structured estimator takes a pruned trial that
    was never scored for worse than all that were, the Gaussian process knows numbers alone and is told the worst that
    there is. While there is none, or where a failure lies outside the space as it is now, it stays a failure.
    """
    known = [trial for trial in trials if trial.state is not TrialState.FAIL]
    if not isinstance(sampler, Tpe | GaussianProcess) or not known:
        return list(trials)
    failed = [trial for trial in trials if trial.state is TrialState.FAIL]
    inside = [trial for trial in failed if trial.params.keys() == distributions.keys()]
    scores = [trial.value for trial in known if trial.value is not None]
    for trial in inside[-_FAILURES * len(known) :]:
        trial.intermediate_values = {}
        trial.state = TrialState.PRUNED
        if isinstance(sampler, GaussianProcess) and scores:
            trial.state, trial.value = TrialState.COMPLETE, min(scores)
    return list(trials)


class _OfOneStudy(FrozenTrial):
    """An ended trial that was made for one study, which may have it without a copy.

    Copying made two fifths of what the conductor computed for the last of a hundred trials (by a profile, once).
    """

    def __deepcopy__(self, memo: dict[int, object]) -> FrozenTrial:
        return self


def _replayed(
    before: Mapping[int, TrialRecord],
    distributions: Mapping[str, BaseDistribution],
    sampler: CmaEs,
    seeds: Callable[[int], int],
) -> optuna.Study:
    """A study for a sampler with a memory: each trial is asked for again with its recorded draws, then told.

    What CMA-ES has learned are attributes that it leaves on the trials as it is asked. With a margin it learns from
    where a draw lay before it became whole numbers, which is not recorded: it is drawn again from the trial's seed,
    and a trial that does not come out as it was recorded, as after an edit of the space, is told as failed.
    """
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for number, record in before.items():
        trial = _frozen(record, distributions) if record.state in _STATES else None
        if trial is None or trial.params.keys() != distributions.keys():
            continue
        study.enqueue_trial(trial.params)
        study.sampler = _optuna_sampler(sampler, seeds(number))
        asked = study.ask(dict(distributions))
        drawn = asked.relative_params  # given values are not drawn, and the memory is made by drawing: looking draws
        other = any(value != trial.params[name] for name, value in drawn.items() if not name.startswith("share."))
        if trial.state is TrialState.COMPLETE and not (sampler.margin and other):
            study.tell(asked, trial.value)
        else:
            study.tell(asked, state=TrialState.FAIL if trial.state is TrialState.COMPLETE else trial.state)
    return study


def _frozen(
    record: TrialRecord, distributions: Mapping[str, BaseDistribution], *, pruned_count: bool = False
) -> FrozenTrial:
    """An ended trial with its scores; one without a finite score counts as failed, never as a zero.

    With `pruned_count` a pruned trial has its last score: a sampler that looks at finished trials alone would propose
    the same point again.

    A draw that the space does not hold any more is left out, and a trial keeps the others. Optuna's TPE models
    together what all trials have, so a parameter that was narrowed is drawn by itself from then on. On a ridge of two
    learning rates nothing was the better for it: telling only the trials inside, or the draws cut to the narrower
    range, made the last ten of thirty trials worse by 0.16 and 0.06 on average (12 and 20 seeds, standard errors 0.02).
    """
    state = _STATES[record.state]
    scored = {step: float(value) for step, value in record.scored if math.isfinite(value)}
    score = float(record.score) if record.score is not None and math.isfinite(record.score) else None
    if pruned_count and state is TrialState.PRUNED and score is not None:
        state = TrialState.COMPLETE
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
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:  # an option that the choice no longer has
        return False


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.options)
    if isinstance(domain, Integers):
        return IntDistribution(domain.low, domain.high)
    return FloatDistribution(domain.low, domain.high, log=isinstance(domain, LogRange))


def _exact(domain: Domain, value: float) -> float:
    """A drawn number as JSON gives it back: a whole one of `Integers`, an option of a `Choice` as it was stated."""
    if isinstance(domain, Choice):
        return domain.options[domain.options.index(value)]
    return int(value) if isinstance(domain, Integers) else float(value)


class _quiet(warnings.catch_warnings):
    """Optuna calls `PartialFixedSampler` experimental at every use, and logs each draw that it makes by itself."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
