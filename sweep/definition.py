"""A sweep as a frozen value: what is compared, what may vary, how much may be spent; starts nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from search_spaces.domains import Domain
from search_spaces.space import Space
from search_spaces.transfer_grid import Cell, CellRole, no_tasks, untrainable
from sweep.fitting import Trunk, grid_faults, trunk_as_published, trunk_faults
from sweep.search import Budget, Hyperband, Search, SuccessiveHalving, Wilcoxon
from trainables.canonical import encode
from trainables.catalogue.encoder import Encoder
from trainables.catalogue.files import TextFiles, XvnliSource
from trainables.catalogue.task import Kind, ParquetSource, Task
from trainables.faults import nearest, refuse
from trainables.gangs import Gangs
from trainables.selectors import ENGLISH, Selector, has_oracle, source_dev, source_languages
from trainables.settings import Alignment, Part, Settings, Visible
from trainables.stages import as_read


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """A stage that every path shares.

    With tasks `beside`, each of them gets as many steps as `task`: aligning images on captions alone makes the trunk
    forget how to look a word up in a text, and parallel sentences beside them keep it.

    Raises:
        Invalid: naming every task that nothing can be trained on.
    """

    task: Task
    settings: Settings
    beside: tuple[Task, ...] = ()

    def __post_init__(self) -> None:
        refuse("a stage that every path shares", self._faults())

    def _faults(self) -> Iterator[str]:
        if not isinstance(self.beside, tuple):
            yield f"beside must be a tuple of tasks, got {self.beside!r}; put them in (…,)"
            return
        for name, task in (("task", self.task), *(("beside", one) for one in self.beside)):
            yield from no_tasks(name, [task])
            if isinstance(task, Task):
                yield from untrainable(name, task)
        if not isinstance(self.settings, Settings):
            yield f"settings must be a value of Settings, got {self.settings!r}"

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks of the stage."""
        return (self.task, *self.beside)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Everything that decides what a sweep does.

    A path is: `pretrain`, `align_images`, the cell's word alignment, its intermediate mixture, the target, and for
    confirmation runs the evaluation. The first two are optional and shared; `align_images` may be several stages, one
    after the other, and with `align_after_intermediate` the images are aligned anew after each intermediate stage. A
    retrieval target is not trained on.

    Raises:
        Invalid: naming every fault at once.
    """

    name: str
    target: Task
    encoder: Encoder
    cells: tuple[Cell, ...]
    target_settings: Settings
    intermediate_settings: Settings | None = None
    align_words_settings: Settings | None = None
    pretrain: Preparation | None = None
    align_images: Preparation | tuple[Preparation, ...] | None = None
    align_after_intermediate: bool = False
    retrieval_layer: int = 0
    """Of a retrieval target: the trunk's layer, counted from 1, whose mean states are a sentence's vector; 0 its word
    embeddings. XTREME and jiant take 14 of XLM-R large's 24 for Tatoeba; XTREME's scripts call it 13, counting from 0
    without the embeddings, and its 7 for BUCC is 8 here."""
    space: Space = field(default_factory=Space)
    search: Search = field(default_factory=lambda: Search(trials=4))
    confirmation_seeds: tuple[int, ...] = (1, 2, 3)
    selector: Selector = Selector.ENGLISH_DEV
    """Which of a confirmation's own checkpoints is reported. Every selector's choice is in the table `selectors`."""
    checkpoints: int = 3
    """How many of a target training's last evaluated steps it is chosen among, its end included; each is scored on the
    test once more, and so is their average. With 1 the last step is all there is."""
    budget: Budget = field(default_factory=Budget)
    gangs: Gangs = field(default_factory=Gangs)
    storage_limit_bytes: float = math.inf
    """What weights and checkpoints of this sweep may take together. Near it, those that are cheapest to make again per
    byte are deleted, and never one that open work needs."""

    def __post_init__(self) -> None:
        refuse(f"sweep {self.name!r}", self._faults())

    @property
    def image_alignments(self) -> tuple[Preparation, ...]:
        """The stages of `align_images`, in their order."""
        if self.align_images is None:
            return ()
        return self.align_images if isinstance(self.align_images, tuple) else (self.align_images,)

    @property
    def preparations(self) -> tuple[Preparation, ...]:
        """The stages that every path shares, in their order."""
        return (*([self.pretrain] if self.pretrain else []), *self.image_alignments)

    def _faults(self) -> Iterator[str]:
        if not self.name or not all(character.isalnum() or character in "_-" for character in self.name):
            yield f"name must be letters, digits, '_' and '-' (it becomes a folder), got {self.name!r}"
        wrong_types = tuple(self._type_faults())
        yield from wrong_types
        if wrong_types:
            return  # what follows looks inside the values
        yield from self._target_faults()
        yield from self._layer_faults()
        yield from self._cell_faults()
        yield from self._space_faults()
        yield from self._seed_faults()
        yield from self._selector_faults()
        if math.isfinite(self.budget.gpu_hours) and not self.gangs.gpus_per_worker:
            yield f"budget.gpu_hours needs gangs with GPUs, got {self.budget.gpu_hours:g} and gpus_per_worker=0"

    def _type_faults(self) -> Iterator[str]:
        for name, kind in (
            ("target", Task),
            ("encoder", Encoder),
            ("target_settings", Settings),
            ("space", Space),
            ("search", Search),
            ("budget", Budget),
            ("gangs", Gangs),
            ("selector", Selector),
        ):
            if not isinstance(getattr(self, name), kind):
                yield f"{name} must be a value of {kind.__name__}, got {getattr(self, name)!r}"
        for name, kind in (
            ("intermediate_settings", Settings),
            ("align_words_settings", Settings),
            ("pretrain", Preparation),
        ):
            if not isinstance(getattr(self, name), kind | None):
                yield f"{name} must be a value of {kind.__name__} or None, got {getattr(self, name)!r}"
        if not all(isinstance(one, Preparation) for one in self.image_alignments):
            yield f"align_images must be a Preparation, a tuple of them or None, got {self.align_images!r}"
        if not isinstance(self.cells, tuple) or not all(isinstance(cell, Cell) for cell in self.cells):
            yield f"cells must be a tuple of Cell values, got {self.cells!r}"
        limit = self.storage_limit_bytes
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0:
            yield f"storage_limit_bytes must be a number above 0, got {limit!r}; float('inf') sets no limit"
        if not isinstance(self.confirmation_seeds, tuple):
            yield f"confirmation_seeds must be a tuple of whole numbers, got {self.confirmation_seeds!r}"

    def _target_faults(self) -> Iterator[str]:
        if not self.target.score_names:
            yield f"target must be a task that is scored, got {self.target.name!r} of kind {self.target.kind}"
        if self.target.split("test") is None:
            yield f"target {self.target.name!r} must have a test split; add one to the task"
        if self.target.kind is Kind.RETRIEVAL:
            if self.search.trials:
                yield f"nothing of retrieval target {self.target.name!r} can be searched by; use Search(trials=0)"
            for cell in self.cells:
                if cell.learned_from is not None:
                    yield (
                        f"in cell {cell.name!r}, learned_from must be None: nothing is trained for a retrieval target, "
                        f"and the cell would be the one without it, got {cell.learned_from.name!r}; drop the cell"
                    )
            return
        yield from self._teacher_faults("target", self.target.teacher, ("train", "dev"))
        for cell in self.cells:
            if cell.learned_from is None:
                continue
            yield from self._teacher_faults(f"in cell {cell.name!r}, learned_from", cell.learned_from, ("dev",))
            if cell.learned_from.head != self.target.head:
                yield (
                    f"in cell {cell.name!r}, learned_from must train the head of the target, {self.target.head!r}, got "
                    f"{cell.learned_from.head!r}"
                )
            own = {task.name: task for task in (self.target.teacher, self.target)}
            if not _is_learned_alike(cell.learned_from, own.get(cell.learned_from.name, cell.learned_from)):
                yield (
                    f"in cell {cell.name!r}, learned_from must have a name of its own, since scores are told by name, "
                    f"got other training or development data under {cell.learned_from.name!r} than the target's; "
                    "rename it"
                )

    def _layer_faults(self) -> Iterator[str]:
        layer, trunk = self.retrieval_layer, trunk_as_published(self.encoder.text)
        if isinstance(layer, bool) or not isinstance(layer, int) or layer < 0:
            yield f"retrieval_layer must be a whole number of at least 0, got {layer!r}"
        elif trunk:
            yield from self.faults_in(trunk)
        yield from grid_faults(self.encoder, here=False)

    def faults_in(self, trunk: Trunk) -> Iterator[str]:
        """Layers and modules that the settings name and the trunk has not."""
        aligned = self.align_words_settings if any(cell.align_words for cell in self.cells) else None
        return trunk_faults(
            self.encoder.name,
            trunk,
            self.stage_settings,
            word_layer=aligned.word_layer if aligned else 0,
            retrieval_layer=self.retrieval_layer,
        )

    def _teacher_faults(self, where: str, task: Task, english: tuple[str, ...]) -> Iterator[str]:
        for split in ("train", "dev"):
            part = task.split(split)
            if part is None:
                yield f"{where} {task.name!r} must have a {split} split; add one to the task"
            elif split in english and part.languages != ("en",):
                yield (
                    f"the {split} split of {where} {task.name!r} must be English alone (the study is of transfer "
                    f"from English, and no other label may reach the search), got {' '.join(part.languages)}"
                )

    def _cell_faults(self) -> Iterator[str]:
        for name, times in Counter(cell.name for cell in self.cells).items():
            if times > 1:
                yield f"cells must have different names, got {name!r} {times} times"
        baselines = [cell.name for cell in self.cells if cell.role is CellRole.BASELINE]
        if len(baselines) != 1:
            yield f"exactly one cell must be the baseline (every gain is against it), got {baselines!r}"
        mixing = [cell for cell in self.cells if cell.intermediates]
        unset = [cell for cell in mixing if self.settings_before(cell) is None]
        if unset:
            yield f"intermediate_settings must be given, because {unset[0].name!r} has an intermediate stage"
        for cell in mixing:
            if any(task.name == self.target.name for task in cell.intermediates):
                yield f"the target {self.target.name!r} must not be an intermediate task too, in cell {cell.name!r}"
        source = self.target.source
        if isinstance(source, XvnliSource) and source.text_proxy:
            for cell in self.cells:
                if cell.role is CellRole.IMAGE_ONLY:
                    yield f"the target must have images for image-only cells, got a text proxy; drop {cell.name!r}"
        aligning = [cell for cell in self.cells if cell.align_words]
        if aligning and self.align_words_settings is None:
            yield f"align_words_settings must be given, because {aligning[0].name!r} aligns words"
        elif aligning and self.align_words_settings:
            yield from _word_layer_faults(self.align_words_settings)
        yield from self._matched_faults()
        blind = {CellRole.IMAGE_ONLY, CellRole.HYPOTHESIS_ONLY}
        if self.target.kind is not Kind.IMAGE_TEXT and any(cell.role in blind for cell in self.cells):
            yield f"image-only and hypothesis-only cells need an image-text target, got kind {self.target.kind}"

    def _matched_faults(self) -> Iterator[str]:
        """Why a compute-matched cell could not be trained for as long as every other."""
        matched = [cell.name for cell in self.cells if cell.role is CellRole.COMPUTE_MATCHED]
        if matched and self.target.kind is Kind.RETRIEVAL:
            yield f"the compute-matched cell {matched[0]!r} needs a target that is trained; drop it"
        elif matched and len(steps := self._intermediate_steps) != 1:
            got = ", ".join(f"{count:,} in {name!r}" for count, name in sorted(steps.items())) or "none"
            yield (
                f"the compute-matched cell {matched[0]!r} needs intermediate stages of one number of steps, got {got}; "
                "give the cells one, or drop it"
            )

    def _space_faults(self) -> Iterator[str]:
        if self.target_settings.visible is not Visible.BOTH:
            yield "target_settings.visible must be Visible.BOTH; the image-only and hypothesis-only cells change it"
        if not self.search.trials and (self.space.intermediate or self.space.target):
            named = sorted({*self.space.intermediate, *self.space.target})
            yield f"space must be empty where nothing is searched, got {', '.join(named)}; raise search.trials above 0"
        yield from self._searched_faults()
        workers = self.gangs.workers
        for name, settings in self.stage_settings.items():
            if settings.batch_size % (workers * settings.accumulation_steps):
                yield (
                    f"{name}: batch_size must be a multiple of workers × accumulation_steps "
                    f"({workers} × {settings.accumulation_steps}), got {settings.batch_size}; change it "
                    "or the workers of a gang"
                )

    def _searched_faults(self) -> Iterator[str]:
        cells = [cell.name for cell in self.cells]
        for name in self.space.overrides:
            if name not in cells:
                yield f"space.overrides must name cells of the sweep, got {name!r}; {nearest(str(name), cells)}"
        told: dict[str, str] = {}
        for cell in self.cells:
            for fault in self.space.faults_for(cell, self.settings_before(cell), self.target_settings):
                told.setdefault(fault, cell.name)
        for fault, cell in told.items():
            yield f"{fault} (cell {cell!r})"
        yield from self._pruner_faults()

    def _pruner_faults(self) -> Iterator[str]:
        """Why the pruner could never stop a trial."""
        pruner = self.search.pruner
        scored = (0, *self.target_settings.evaluated_steps())[:-1]
        if isinstance(pruner, SuccessiveHalving | Hyperband) and pruner.first_rung > scored[-1]:
            yield (
                f"first_rung must be at most {scored[-1]}, the last step at which a target is scored before its end, "
                f"got {pruner.first_rung}; evaluate more often, lower it, or use NoPruning()"
            )
        before_last = len(scored) - 1
        if isinstance(pruner, Wilcoxon) and before_last < pruner.least_scores:
            yield (
                f"pruner Wilcoxon(p={pruner.p:g}) needs {pruner.least_scores} scores of a target before its last step, "
                f"got {before_last}; evaluate more often, raise p, or choose another pruner"
            )

    def _seed_faults(self) -> Iterator[str]:
        seeds = self.confirmation_seeds
        whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds)
        if not whole or len(set(seeds)) != len(seeds):
            yield f"confirmation_seeds must be different whole numbers of at least 0, got {seeds!r}"
        if not seeds:
            yield "confirmation_seeds must hold at least one seed: only confirmation runs are reported"
        if self.search.seed in seeds:
            yield f"confirmation_seeds must be fresh: the search's seed {self.search.seed} must not be among {seeds!r}"

    def _selector_faults(self) -> Iterator[str]:
        """Why the selector could not choose among a run's checkpoints."""
        count = self.checkpoints
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            yield f"checkpoints must be a whole number of at least 1, got {count!r}"
        if self.selector is Selector.ORACLE and not has_oracle(self.target):
            yield (
                f"selector must not be Selector.ORACLE where the target {self.target.name!r} keeps no target-language "
                "labels apart from those reported; use with_oracle(target)"
            )
        for cell in self.cells if self.selector is Selector.SOURCE_DEV else ():
            learned = cell.learned_from
            languages = source_languages(learned) if learned else (ENGLISH,)
            if learned and languages != (ENGLISH,) and source_dev(learned) is None:
                yield (
                    f"selector Selector.SOURCE_DEV needs a development split in {' '.join(languages)} for cell "
                    f"{cell.name!r}, and of {learned.name!r} none is read; choose another"
                )

    @property
    def stage_settings(self) -> dict[str, Settings]:
        """The settings of every stage, by what a definition calls them."""
        given = {
            "target_settings": self.target_settings,
            "intermediate_settings": self.intermediate_settings,
            "align_words_settings": self.align_words_settings,
            **{f"intermediate_settings of {cell.name!r}": cell.intermediate_settings for cell in self.cells},
            "pretrain": self.pretrain and self.pretrain.settings,
            **{f"align_images[{nth}]": one.settings for nth, one in enumerate(self.image_alignments)},
        }
        return {name: settings for name, settings in given.items() if settings}

    @property
    def masked_stages(self) -> list[str]:
        """What a definition calls the stages that predict masked words."""
        found = ["pretrain"] if self.pretrain else []
        for nth, one in enumerate(self.image_alignments):
            if one.settings.alignment is Alignment.MASKED or any(task.kind is Kind.MASKED_LM for task in one.tasks):
                found.append(f"align_images[{nth}]")
        mixing = [cell for cell in self.cells if any(task.kind is Kind.MASKED_LM for task in cell.intermediates)]
        return found + [f"the intermediate stage of {cell.name!r}" for cell in mixing]

    def settings_before(self, cell: Cell) -> Settings | None:
        """The settings of a cell's intermediate stage."""
        return cell.intermediate_settings or self.intermediate_settings

    def parameters(self, cell: Cell) -> dict[str, Domain]:
        """What is searched in a cell: name → domain of the numbers drawn for one trial, in a fixed order."""
        return self.space.parameters(cell, self.settings_before(cell), self.target_settings)

    @property
    def matched_steps(self) -> int:
        """How many steps a compute-matched cell's target training has more than the others': those of one stage."""
        return max(self._intermediate_steps, default=0)

    @property
    def _intermediate_steps(self) -> dict[int, str]:
        """The numbers of steps that intermediate stages have, each with a cell that has it."""
        found: dict[int, str] = {}
        for cell in self.cells:
            if cell.intermediates and (settings := self.settings_before(cell)):
                found.setdefault(settings.maximum_steps, cell.name)
        if not found and self.intermediate_settings:
            found[self.intermediate_settings.maximum_steps] = "intermediate_settings"
        return found

    @property
    def baseline(self) -> Cell:
        """The cell without intermediate tasks that every gain is against."""
        return next(cell for cell in self.cells if cell.role is CellRole.BASELINE)


#: What of a source says how its files are found, and what a look at them has found.
_OF_LOOKING = frozenset({"download", "fingerprint", "folders"})


def _is_learned_alike(one: Task, other: Task) -> bool:
    """Whether the training and development data of two tasks are stated alike, whatever is tested or was found here."""
    return one == other or _as_learned(one) == _as_learned(other)


def _as_learned(task: Task) -> Any:
    form = _as_stated(encode(task))
    if isinstance(task.source, ParquetSource | TextFiles):
        del form["source"]["test"]
    return as_read(form, ("train", "dev"))


def _as_stated(form: Any) -> Any:
    """A JSON form without how files are found and what a look at them has found."""
    if isinstance(form, dict):
        return {name: _as_stated(value) for name, value in form.items() if name not in _OF_LOOKING}
    return [_as_stated(item) for item in form] if isinstance(form, list) else form


def _word_layer_faults(settings: Settings) -> Iterator[str]:
    """Why no weight below the layer that stands for a word would be trained."""
    lowest = min(settings.lora.layers, default=0) if settings.lora else 0
    if Part.TRUNK in settings.frozen:
        yield (
            "align_words_settings: frozen must leave Part.TRUNK out, whose layers and word embeddings are all that "
            f"aligning words trains, got {settings.frozen!r}"
        )
    elif Part.WORD_EMBEDDINGS in settings.frozen and not settings.word_layer:
        yield (
            "align_words_settings: word_layer must be at least 1 where the word embeddings, which are layer 0, are "
            f"frozen, got {settings.word_layer}; raise it or leave Part.WORD_EMBEDDINGS out of frozen"
        )
    if settings.lora and lowest >= settings.word_layer:
        yield (
            f"align_words_settings: adapters must lie below the output of layer word_layer={settings.word_layer} to be "
            f"trained, that is in layers 0 to {settings.word_layer - 1}, got none below {lowest}; raise word_layer"
        )
