"""A plan as text for a terminal; counts nothing itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from sweep.budget import limits
from sweep.disk import disk_need, spoken
from sweep.plan import Plan, uncounted
from sweep.points import search_trials, untrained_shares
from sweep.search import ExpectedGain, NoPruning, searched_by
from trainables.catalogue.task import ORACLE_DEV, ORACLE_HALF, Task
from trainables.data.places import missing
from trainables.gangs import Gangs
from trainables.selectors import ENGLISH


def plan_text(plan: Plan) -> str:
    """The plan as lines of at most 120 characters for names as long as the lab's, ending in what pruning may save."""
    sweep = plan.sweep
    searched = sum(cell.search_trials for cell in plan.cells)
    confirmed = sum(cell.confirmation_trials for cell in plan.cells)
    width = max(len(cell.cell.name) for cell in plan.cells)
    lines = [
        f"sweep {sweep.name}: target {sweep.target.name}, encoder {sweep.encoder.name}",
        "",
        f"{'cell':<{width}} {'role':<16} {'search':>6} {'confirm':>7} {'new steps':>9}  searched parameters",
    ]
    for cell in plan.cells:
        lines.append(
            f"{cell.cell.name:<{width}} {cell.cell.role:<16} {cell.search_trials:>6} {cell.confirmation_trials:>7} "
            f"{cell.steps:>9,}  {_searched(cell.parameters)}"
        )
    gangs = sweep.gangs
    lines += [
        "",
        f"search   {_search(plan)}",
        f"trials   {searched} in the search, {confirmed} to confirm the winners on seeds "
        f"{', '.join(map(str, sweep.confirmation_seeds))}",
        f"stages   {plan.stages} to run, {plan.stages_without_sharing} if none were shared",
        f"steps    {plan.steps:,} optimiser steps, {plan.steps_without_sharing:,} if no stage were shared "
        f"({plan.reuse_factor:.2f} times as many"
        + (f"; at most {plan.reuse_bound:.2f})" if plan.reuse_bound > plan.reuse_factor else ")"),
        f"examples {plan.examples:,} read in training, {plan.examples_without_sharing:,} if no stage were shared",
        f"gangs    {gangs.count} of {gangs.workers} worker(s), {gangs.threads} thread(s) each"
        + (f", {gangs.gpus_per_worker:g} GPU per worker" if gangs.gpus_per_worker else ""),
        *_ceiling(gangs),
        f"cost     about {duration(plan.seconds)} of training, a rough estimate from parameters and tokens",
    ]
    lines += _unsearched(plan)
    lines += untrained_lines([plan])
    lines += uncounted_lines([plan])
    if sweep.target.oracle is not None:
        lines.append(f"oracle   {_oracle(sweep.target)}")
    if limits(sweep):
        lines.append(f"budget   {_budget(plan)}")
    need = disk_need(plan)
    least, limit = f"it can work with {spoken(need.least_bytes)}", sweep.storage_limit_bytes
    lines.append(
        f"disk     at most about {spoken(min(need.most_bytes, limit))}; "
        + (f"{least} as storage_limit_bytes" if limit == float("inf") else f"its limit, and {least}")
    )
    if not isinstance(sweep.search.pruner, NoPruning):
        lines.append(
            f"pruning  {sweep.search.pruner.name}: can only lessen the steps; the ledger counts those not asked for"
        )
    return "\n".join(lines)


def _oracle(target: Task) -> str:
    """What an oracle is shown of a target, and what is reported beside it."""
    shown, test = target.oracle, target.split("test")
    if shown is None or test is None or shown.name == ORACLE_HALF:
        return "half of the test, by a hash of the item's id; the other half is reported"
    gone = missing(target).get(ORACLE_DEV, ())
    if len(gone) == len(shown.languages):  # absent, which is told below: the plan counts what the catalogue states
        gone = ()
    count = len(shown.languages) - len(gone)
    told = f"development data in {count} language{'s' * (count > 1)}; the whole test is reported"
    without = [code for code in test.languages if code not in shown.languages and code != ENGLISH]
    if without:
        told += f", in {' '.join(without)} too, which have none and no say"
    return f"{told}\n         no files of {len(gone)} more are here: these have no say either" if gone else told


def uncounted_lines(plans: Iterable[Plan]) -> list[str]:
    """What the estimate of the cost leaves out; no line where it is whole."""
    names = uncounted(stage for plan in plans for trial in plan.trials for _, stage in trial.stages)
    return [f"         without evaluating {', '.join(names)}, whose sizes are not stated"] if names else []


def untrained_lines(plans: Iterable[Plan]) -> list[str]:
    """Tasks whose stated share comes to no step, by cell; no line where every one gets a step."""
    told = {
        f"{cell.name}: {text}"
        for plan in plans
        for cell in plan.sweep.cells
        if (text := untrained_shares(plan.sweep, cell))
    }
    return [f"note     {text}" for text in sorted(told)]


def absent_text(absent: Mapping[str, str], looked_in: str = "") -> str:
    """What is not on this machine, how to get it, and where it was looked for; the plan counts it by the catalogue's
    sizes.
    """
    lines = ["absent   (counted above; a run leaves it out)", *(f"  {name}: {why}" for name, why in absent.items())]
    return "\n".join([*lines, f"  ({looked_in})"] if looked_in else lines)


def remarks_text(remarks: Mapping[str, str]) -> str:
    """What is to be known of the data that are here; every table says it too."""
    return "\n".join(
        ["data     (counted above as published)", *(f"  {name}: {told}" for name, told in remarks.items())]
    )


def _search(plan: Plan) -> str:
    """What proposes where, and when an intermediate setting is used again."""
    search = plan.sweep.search
    used: dict[str, list[str]] = {}
    for cell in plan.cells:
        domains = plan.sweep.parameters(cell.cell).values()
        used.setdefault(searched_by(search, cell.cell, domains), []).append(cell.cell.name)
    by_most = sorted(used, key=lambda name: -len(used[name]))
    words = [by_most[0], *(f"{name} in {', '.join(used[name])}" for name in by_most[1:])]
    if isinstance(search.fan_out, ExpectedGain):
        aside = "an intermediate setting is used again as it pays: steps are counted as if it never did"
        return "; ".join(words) + f"\n         {aside}"
    elif any(cell.cell.intermediates for cell in plan.cells):
        words.append(f"each intermediate setting serves {search.fan_out} trial{'s' * (search.fan_out > 1)}")
    return "; ".join(words)


def _unsearched(plan: Plan) -> list[str]:
    """What the space says of adapters that no stage trains."""
    spaces = (plan.sweep.space, *plan.sweep.space.overrides.values())
    stated = {f"intermediate.{name}" for space in spaces for name in space.intermediate}
    stated |= {f"target.{name}" for space in spaces for name in space.target}
    searched = {name for cell in plan.cells for name in cell.parameters}
    return [
        f"note     {name} is searched in no cell: no stage that it speaks of trains adapters"
        for name in sorted(stated - searched)
        if ".lora." in name
    ]


def _budget(plan: Plan) -> str:
    """The limits, what is set aside, and how many of the trials asked for they pay for."""
    words = [limits(plan.sweep), "confirmation is paid for first"]
    if plan.set_aside:
        asked = [search_trials(plan.sweep, cell.cell) for cell in plan.cells]
        paid = [cell.search_trials for cell in plan.cells]
        words.append(f"{plan.set_aside:,.0f} steps are set aside for it and for shared stages")
        more = "some are pruned"
        if isinstance(plan.sweep.search.fan_out, ExpectedGain):
            more += " or settings used again, so that a cell may have more trials than the baseline, as tables say then"
        words.append(f"the rest pays for {max(paid)} of {max(asked)} trials of each cell, more where {more}")
    return "; ".join(words)


def _ceiling(gangs: Gangs) -> list[str]:
    """What the definition allows the gangs to spend, where it says so."""
    stated = ((gangs.gang_hours, "gang-hours"), (gangs.node_hours, "node-hours of all machines while it runs"))
    words = [f"{hours:g} {what}" for hours, what in stated if hours != math.inf]
    if gangs.price != math.inf:
        words.append(
            f"a price of {gangs.price:g} for all machines while it runs, at {gangs.price_per_node_hour:g} an hour"
        )
    if not words:
        return []
    return [f"ceiling  {', '.join(words)}, over all runs; at it the sweep stops, and what is open stays open"]


def _searched(parameters: tuple[str, ...]) -> str:
    """The parameters of a cell; shares are counted, since there is one for each task of the mixture."""
    shares = sum(name.startswith("share.") for name in parameters)
    names = [name for name in parameters if not name.startswith("share.")]
    return ", ".join([*names, *([f"{shares} shares"] if shares else [])]) or "none"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
