"""What a sweep would do, counted before anything starts: cells, trials, stages, steps; starts nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from search_spaces.transfer_grid import Cell
from sweep.budget import Allowance, allowance
from sweep.definition import Sweep
from sweep.paths import Path, path_of, target_place
from sweep.points import default_values, settings_of_trials
from sweep.records import Phase, TrialKey
from trainables.catalogue.encoder import Encoder, SmallEncoder
from trainables.catalogue.task import ORACLE_DEV, Kind, Split
from trainables.data.hub import local_copy
from trainables.stages import Evaluation, Stage, StageKind, Training

#: Products per second that one thread reaches on matrices this small, in GFLOP/s; measured on two server processors
#: (float32 about 90, bfloat16 with AMX about twice that) and halved for what is not a matrix product. Float16, which
#: is for GPUs, was not measured there.
GIGAFLOPS_PER_THREAD = {"float32": 40.0, "bfloat16": 80.0, "float16": 40.0}

#: Largest cost estimate per GPU: a third of the dense bfloat16 peak of an A100 (312 TFLOP/s). An H100 reached 94 TFLOP/s
#: with XLM-R large and 52 with base (`tests/benchmarks/bench_gpu.py --part 2`).
GIGAFLOPS_PER_GPU = 100_000.0


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """One trial to be run, with a path whose searched values are stood in for by the default configuration."""

    key: TrialKey
    seed: int
    stages: tuple[tuple[str, Stage], ...]
    """(name of the stage in this plan, stage): trials that will share a stage give it the same name."""


@dataclass(frozen=True, kw_only=True)
class CellPlan:
    """What one cell will cost."""

    cell: Cell
    parameters: tuple[str, ...]
    search_trials: int
    confirmation_trials: int
    steps: int
    """Optimiser steps of stages that no earlier cell of the plan has."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole sweep, counted. Steps are optimiser steps; pruning can only lessen them."""

    sweep: Sweep
    trials: tuple[PlannedTrial, ...]
    cells: tuple[CellPlan, ...]
    stages: int
    stages_without_sharing: int
    steps: int
    steps_without_sharing: int
    examples: int
    """Examples that those steps read, one for each row of a batch."""
    examples_without_sharing: int
    least_steps: int
    """The same, if the search of each cell used one intermediate setting: what the reuse factor is bounded by."""
    set_aside: float
    """Steps of a budget that are kept for confirmation and shared stages; 0 where steps are not limited."""
    seconds: float
    """A rough estimate over all gangs; see `GIGAFLOPS_PER_THREAD`."""

    @property
    def reuse_factor(self) -> float:
        """How many times more optimiser steps the same trials would take if none shared a stage."""
        return self.steps_without_sharing / max(1, self.steps)

    @property
    def reuse_bound(self) -> float:
        """What the factor would be if the search of each cell opened one intermediate setting and no other."""
        return self.steps_without_sharing / max(1, self.least_steps)


def plan(sweep: Sweep) -> Plan:
    """Count the sweep. Equal sweeps give equal plans.

    Raises:
        Invalid: where its budget does not pay for the least that it asks for.
    """
    affordable = allowance(sweep)
    trials = tuple(_planned(sweep, affordable))
    steps: dict[str, int] = {}
    seconds: dict[str, float] = {}
    examples: dict[str, int] = {}
    cells = []
    by_cell: dict[str, list[PlannedTrial]] = {cell.name: [] for cell in sweep.cells}
    for trial in trials:
        by_cell[trial.key.cell].append(trial)
    for cell in sweep.cells:
        mine = by_cell[cell.name]
        new = {name: stage for trial in mine for name, stage in trial.stages if name not in steps}
        estimated = {id(stage): estimated_seconds(stage) for stage in {id(one): one for one in new.values()}.values()}
        steps |= {name: stage.steps for name, stage in new.items()}
        seconds |= {name: estimated[id(stage)] for name, stage in new.items()}
        examples |= {name: _examples(stage) for name, stage in new.items()}
        cells.append(
            CellPlan(
                cell=cell,
                parameters=tuple(sweep.parameters(cell)),
                search_trials=sum(trial.key.phase is Phase.SEARCH for trial in mine),
                confirmation_trials=sum(trial.key.phase is Phase.CONFIRMATION for trial in mine),
                steps=sum(stage.steps for stage in new.values()),
            )
        )
    everything = [stage for trial in trials for _, stage in trial.stages]
    return Plan(
        sweep=sweep,
        trials=trials,
        cells=tuple(cells),
        stages=len(steps),
        stages_without_sharing=len(everything),
        steps=sum(steps.values()),
        steps_without_sharing=sum(stage.steps for stage in everything),
        examples=sum(examples.values()),
        examples_without_sharing=sum(map(_examples, everything)),
        least_steps=sum(steps.values()) - _steps_of_further_settings(trials),
        set_aside=affordable.set_aside,
        seconds=_schedule_seconds(seconds, sweep),
    )


def _planned(sweep: Sweep, affordable: Allowance) -> Iterator[PlannedTrial]:
    for cell in sweep.cells:
        values = default_values(sweep, cell)
        settings = settings_of_trials(sweep, cell)
        path = path_of(sweep, cell, values, phase=Phase.SEARCH, seed=sweep.search.seed)
        for number in range(affordable.trials[cell.name]):
            setting = f"setting {settings[number]}"
            yield _named(sweep, cell, Phase.SEARCH, number, sweep.search.seed, path, setting, f"trial {number}")
        for number, seed in enumerate(sweep.confirmation_seeds):
            path = path_of(sweep, cell, values, phase=Phase.CONFIRMATION, seed=seed)
            yield _named(sweep, cell, Phase.CONFIRMATION, number, seed, path, f"seed {seed}", f"seed {seed}")


def _steps_of_further_settings(trials: Iterable[PlannedTrial]) -> int:
    """Steps of intermediate settings of a cell's search beyond its first."""
    first: dict[tuple[str, int], str] = {}
    further: dict[str, int] = {}
    for trial in trials:
        if trial.key.phase is Phase.SEARCH:
            for place, (name, stage) in enumerate(trial.stages[:-1]):
                if first.setdefault((trial.key.cell, place), name) != name:
                    further[name] = stage.steps
    return sum(further.values())


def _named(
    sweep: Sweep, cell: Cell, phase: Phase, number: int, seed: int, path: Path, setting: str, leaf: str
) -> PlannedTrial:
    """Names by which trials share stages. What no searched number reaches is shared by all that reach its digest: the
    stages before the intermediate one, and all stages of a cell where nothing is searched. Otherwise an intermediate
    stage is shared by the trials of its setting, and whatever is trained after it belongs to one trial alone.
    """
    if not sweep.parameters(cell):
        stages = tuple((stage.digest, stage) for stage in path)
        return PlannedTrial(key=TrialKey(cell=cell.name, phase=phase, number=number), seed=seed, stages=stages)
    target = max(0, target_place(path))
    first = next((place for place, stage in enumerate(path) if stage.kind is StageKind.TRAIN), target)
    named = []
    for place, stage in enumerate(path):
        if place < first:
            name = stage.digest
        elif place < target:
            name = f"{cell.name} {phase} {setting} {place}"
        else:
            name = f"{cell.name} {phase} {leaf} {place}"
        named.append((name, stage))
    return PlannedTrial(key=TrialKey(cell=cell.name, phase=phase, number=number), seed=seed, stages=tuple(named))


def _examples(stage: Stage) -> int:
    return stage.steps * stage.work.settings.batch_size if isinstance(stage.work, Training) else 0


def estimated_seconds(stage: Stage, gigaflops: float = 0.0) -> float:
    """Six products per parameter and token, two of them forward (Kaplan et al. 2020, section 2.1).

    `gigaflops` are those that one GPU reaches, or one thread where the gangs have none; 0 for the usual ones.
    """
    tokens = stage.encoder.maximum_tokens * 0.6
    if isinstance(stage.work, Training):
        examples = stage.work.settings.maximum_steps * stage.work.settings.batch_size
        products = 6.0
    else:
        sides = 2 if stage.work.task.kind is Kind.RETRIEVAL else 1
        examples = sides * sum(
            split.rows * sum(language in split.languages for language in stage.work.languages)
            for split in _scored_splits(stage.work)
        )
        products = 2.0
    if stage.shape.device == "cuda":
        rate = (gigaflops or GIGAFLOPS_PER_GPU) * stage.shape.workers
    else:
        each = gigaflops or GIGAFLOPS_PER_THREAD[stage.shape.precision]
        rate = each * stage.shape.workers * stage.shape.threads
    return products * parameters(stage.encoder) * tokens * examples / (rate * 1e9)


def uncounted(stages: Iterable[Stage]) -> tuple[str, ...]:
    """The tasks whose evaluation takes time that nobody can tell, since the size of their test is not stated."""
    works = [stage.work for stage in stages if isinstance(stage.work, Evaluation)]
    unknown = {work.task.name for work in works if any(not split.rows for split in _scored_splits(work))}
    return tuple(sorted(unknown))


def _scored_splits(work: Evaluation) -> list[Split]:
    """The splits whose rows an evaluation reads: a half of the test for an oracle is counted with the test."""
    found = (work.task.split(name) for name in (work.split, ORACLE_DEV))
    return [split for split in found if split is not None]


def _schedule_seconds(seconds: dict[str, float], sweep: Sweep) -> float:
    """What every path shares runs alone; the rest divides over the gangs."""
    first = path_of(
        sweep, sweep.baseline, default_values(sweep, sweep.baseline), phase=Phase.SEARCH, seed=sweep.search.seed
    )
    alone = sum(seconds.get(stage.digest, 0.0) for stage in first)
    return alone + (sum(seconds.values()) - alone) / sweep.gangs.count


def parameters(encoder: Encoder) -> int:
    """Parameters of the trunk's layers, without word embeddings, which cost no products."""
    layers, width, _ = trunk_sizes(encoder)
    return layers * (4 * width * width + 2 * width * _sizes(encoder)["intermediate_size"])


def all_parameters(encoder: Encoder) -> int:
    """Parameters of the trunk with its word embeddings, which take memory."""
    _, width, _ = trunk_sizes(encoder)
    return parameters(encoder) + width * _sizes(encoder)["vocab_size"]


def trunk_sizes(encoder: Encoder) -> tuple[int, int, int]:
    """(layers, width, attention heads) of the trunk."""
    sizes = _sizes(encoder)
    return sizes["num_hidden_layers"], sizes["hidden_size"], sizes["num_attention_heads"]


#: Words of the lab's tokenizer, near enough for a memory estimate.
_LAB_VOCABULARY = 1_200


#: The sizes of XLM-R large.
_LARGE = {"num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096}


def _sizes(encoder: Encoder) -> dict[str, int]:
    """The sizes of the trunk by their names in a config.json.

    A Hugging Face directory is judged by that file, a large model of the hub that is not here by what is published of
    it; where both lack a size, XLM-R base's is assumed.
    """
    text = encoder.text
    if isinstance(text, SmallEncoder):
        return {
            "num_hidden_layers": text.layers,
            "hidden_size": text.width,
            "num_attention_heads": text.heads,
            "intermediate_size": text.feed_forward,
            "vocab_size": _LAB_VOCABULARY,
        }
    folder = local_copy(text)
    try:
        said = json.loads((folder / "config.json").read_text()) if folder else {}
    except (OSError, ValueError):
        said = {}
    config: dict[str, int] = said or (_LARGE if "large" in str(getattr(text, "repository", "")) else {})
    width = config.get("hidden_size", 768)
    usual = {
        "num_hidden_layers": 12,
        "hidden_size": width,
        "num_attention_heads": 12,
        "intermediate_size": 4 * width,
        "vocab_size": 250_002,
    }
    return {name: config.get(name, value) for name, value in usual.items()}
