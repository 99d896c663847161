"""The grid of intermediate tasks, alone and mixed, with its baselines; trains none of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from search_spaces.proportions import Proportions
from trainables.catalogue.task import Kind, Task
from trainables.faults import refuse
from trainables.settings import Settings


class CellRole(StrEnum):
    """What a cell is for."""

    BASELINE = "baseline"
    """No intermediate task: every gain is against it."""
    COMPUTE_MATCHED = "compute_matched"
    """No intermediate task, but as many target steps as the others have in both stages."""
    TRANSFER = "transfer"
    CONTROL = "control"
    """An intermediate task that must not help, such as shuffled labels."""
    IMAGE_ONLY = "image_only"
    HYPOTHESIS_ONLY = "hypothesis_only"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One square of the grid: a set of intermediate tasks before the sweep's target.

    `shares` fixes the mixture, as (task name, share) summing to 1; empty, several tasks have their shares searched.
    `align_words` are word pairs that the encoder is aligned on before the intermediate tasks, or instead of them.
    `learned_from` is what the target is trained on in this cell, such as its training set in another language; None
    stands for the target's own.

    Raises:
        Invalid: naming every fault.
    """

    name: str
    role: CellRole = CellRole.TRANSFER
    intermediates: tuple[Task, ...] = ()
    shares: tuple[tuple[str, float], ...] = ()
    align_words: Task | None = None
    learned_from: Task | None = None
    intermediate_settings: Settings | None = None
    """Of the cell's intermediate stage, such as more steps for a larger task; None for the sweep's."""

    def __post_init__(self) -> None:
        refuse(f"cell {self.name!r}", self._faults())

    def _faults(self) -> Iterator[str]:
        if not self.name or not all(character.isalnum() or character in "_-+" for character in self.name):
            yield f"name must be letters, digits, '_', '-' and '+' (it becomes a file name), got {self.name!r}"
        wrong_types = tuple(self._type_faults())
        yield from wrong_types
        if wrong_types:
            return  # what follows looks inside the tasks
        names = [task.name for task in self.intermediates]
        if len(set(names)) != len(names):
            yield f"intermediate tasks must differ, got {names!r}"
        other = [task.name for task in (self.align_words, self.learned_from) if task]
        if self.role in (CellRole.TRANSFER, CellRole.CONTROL):
            if not names and not other:
                yield (
                    f"a cell of role {self.role} must have an intermediate task, align words or learn the target from "
                    "another task; for none of these, use CellRole.BASELINE"
                )
        elif names or other:
            yield f"a cell of role {self.role} must have no intermediate task nor other, got {names + other!r}"
        if self.align_words and self.align_words.kind is not Kind.WORDS:
            yield f"align_words must be a task of word pairs, got {self.align_words.name!r} of {self.align_words.kind}"
        for task in self.intermediates:
            if task.kind is Kind.WORDS:
                yield f"word pairs are aligned, not mixed: give {task.name!r} as align_words"
            else:
                yield from untrainable("an intermediate task", task)
        if self.shares:
            yield from self._share_faults(names)

    def _type_faults(self) -> Iterator[str]:
        if not isinstance(self.intermediates, tuple):
            yield f"intermediates must be a tuple of tasks, got {self.intermediates!r}; put them in (…,)"
        else:
            yield from no_tasks("intermediates", self.intermediates)
        for name in ("align_words", "learned_from"):
            one = getattr(self, name)
            if one is not None:
                yield from no_tasks(name, [one])
        pairs = self.shares if isinstance(self.shares, tuple) else (None,)
        if not all(isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
            yield f"shares must be pairs of a task's name and its share, got {self.shares!r}; write ((name, share), …)"

    def _share_faults(self, names: Sequence[str]) -> Iterator[str]:
        stated = [name for name, _ in self.shares]
        if sorted(stated) != sorted(names):
            yield f"shares must name each intermediate task once ({names!r}), got {stated!r}"
        values = [share for _, share in self.shares]
        if any(isinstance(share, bool) for share in values) or not all(
            isinstance(share, int | float) and math.isfinite(share) and share > 0 for share in values
        ):
            yield f"shares must be numbers above 0, got {values!r}; leave a task out instead of giving it 0"
        elif abs(math.fsum(values) - 1) > 1e-6:
            yield f"shares must sum to 1, got {math.fsum(values):.6g}; divide each by the sum"

    @property
    def searches_shares(self) -> bool:
        """Whether the mixing weights of this cell are to be searched."""
        return len(self.intermediates) > 1 and not self.shares


def untrainable(what: str, task: Task) -> Iterator[str]:
    """Why nothing can be trained on a task."""
    if task.kind is Kind.RETRIEVAL:
        yield f"{what} must be trained on, got {task.name!r} of kind {task.kind}, which only a target can be"
    elif task.split("train") is None:
        teacher = task.learned_from
        yield (
            f"{what} must have a train split, got {task.name!r} without one; "
            + (f"it is learned from {teacher.name!r}: take that one" if teacher else "add one to the task")
        )


def no_tasks(where: str, given: Iterable[object]) -> Iterator[str]:
    """What is given for a task and is none."""
    for one in given:
        if not isinstance(one, Task):
            named = f"use task({one!r}) of trainables.catalogue.registry" if isinstance(one, str) else "give a task"
            yield f"{where} must be Task values, got {one!r}; {named}"


def transfer_grid(
    tasks: Iterable[Task],
    *,
    mixtures: Iterable[Sequence[Task]] = (),
    controls: Iterable[Task] = (),
    image_only: bool = True,
    hypothesis_only: bool = True,
    compute_matched: bool = False,
    proportions: Proportions | None = None,
) -> tuple[Cell, ...]:
    """The cells of a transfer study: the baseline, each task alone, each mixture, each control, the blind baselines.

    The grid is enumerated, never sampled: every cell gets the same number of trials. The shares of the mixtures follow
    from the sizes of their tasks by `proportions`, and are searched where there are none.

    Raises:
        Invalid: naming everything that is no task, and proportions that are none.
    """
    faults = [*_list_faults(tasks=tasks, mixtures=mixtures, controls=controls)]
    if not isinstance(proportions, Proportions | None):
        faults.append(
            f"proportions must be a value of Proportions, such as PROPORTIONAL or UNIFORM, or None, got {proportions!r}"
        )
    refuse("the grid", faults)
    tasks, mixtures, controls = list(tasks), list(mixtures), list(controls)
    refuse("the grid", _grid_faults(tasks, mixtures, controls))
    cells = [Cell(name="none", role=CellRole.BASELINE)]
    cells += [Cell(name=task.name, intermediates=(task,)) for task in tasks]
    cells += [
        Cell(
            name="+".join(task.name for task in mixed),
            intermediates=tuple(mixed),
            shares=() if proportions is None else proportions.shares(mixed),
        )
        for mixed in mixtures
    ]
    cells += [Cell(name=task.name, role=CellRole.CONTROL, intermediates=(task,)) for task in controls]
    if compute_matched:
        cells.append(Cell(name="none_compute_matched", role=CellRole.COMPUTE_MATCHED))
    if image_only:
        cells.append(Cell(name="image_only", role=CellRole.IMAGE_ONLY))
    if hypothesis_only:
        cells.append(Cell(name="hypothesis_only", role=CellRole.HYPOTHESIS_ONLY))
    return tuple(cells)


def _list_faults(**given: object) -> Iterator[str]:
    """What is one where several are wanted."""
    for name, several in given.items():
        if isinstance(several, str) or not isinstance(several, Iterable):
            yield f"{name} must be a sequence, got {several!r}; put it in (…,)"


def _grid_faults(tasks: list[Task], mixtures: list[Sequence[Task]], controls: list[Task]) -> Iterator[str]:
    yield from no_tasks("tasks", tasks)
    yield from no_tasks("controls", controls)
    for mixed in mixtures:
        if isinstance(mixed, Sequence) and not isinstance(mixed, str):
            yield from no_tasks("mixtures", mixed)
        else:
            yield f"each of mixtures must be a sequence of tasks, got {mixed!r}; put them in (…,)"
