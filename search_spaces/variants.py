"""Variants of a cell as further cells of the grid, each named after what differs; changes no setting.

Every function gives a cell to stand beside the one it is made from, so that a factor is crossed with a grid by
`tuple(with_masked_lm(cell, SENTENCES) for cell in grid if cell.intermediates)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from search_spaces.transfer_grid import Cell, CellRole, no_tasks
from trainables.catalogue.task import Kind, Task
from trainables.faults import refuse


def with_masked_lm(cell: Cell, sentences: Task, share: float = 0.5) -> Cell:
    """The cell with masked language modelling of `sentences` as one more task of its intermediate stage.

    `share` of the steps, above 0 and below 1, go to it; the others are divided as they were: fixed shares are scaled,
    those of one task become fixed. A mixture whose shares are searched has the new one searched with them. The stage is
    no longer than before, so its own tasks get as many steps less: half of them at 0.5. `Cell.intermediate_settings`
    with more steps leaves them as many as they had.

    Raises:
        Invalid: where there is no intermediate stage, or `sentences` are none.
    """
    faults = [*_no_cell(cell), *no_tasks("sentences", [sentences])]
    if isinstance(cell, Cell) and not cell.intermediates:
        faults.append(f"cell {cell.name!r} must have an intermediate stage to mix into, got none")
    if isinstance(sentences, Task) and sentences.kind is not Kind.MASKED_LM:
        faults.append(f"sentences must be of kind {Kind.MASKED_LM}, got {sentences.name!r} of kind {sentences.kind}")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        faults.append(f"share must be a number above 0 and below 1, got {share!r}")
    refuse("masked language modelling in a cell", faults)
    before = cell.shares or tuple((task.name, 1.0) for task in cell.intermediates[:1])
    shares = (*((name, part * (1 - share)) for name, part in before), (sentences.name, share))
    return replace(
        cell,
        name=f"{cell.name}+{sentences.name}",
        intermediates=(*cell.intermediates, sentences),
        shares=() if cell.searches_shares else shares,
    )


def with_aligned_words(cell: Cell, words: Task) -> Cell:
    """The cell with the encoder aligned on word pairs before its intermediate stage; from the baseline, instead of one.

    Made from the baseline with pairs that mean nothing, it is a control.

    Raises:
        Invalid: where the cell aligns words already, or `words` are no word pairs.
    """
    faults = [*_no_cell(cell), *no_tasks("words", [words])]
    if isinstance(cell, Cell) and cell.align_words is not None:
        faults.append(
            f"cell {cell.name!r} must align no words yet (a path aligns them once), got {cell.align_words.name!r}; "
            "make each alignment from the cell without any"
        )
    refuse("aligned words in a cell", faults)
    alone = cell.role is CellRole.BASELINE
    role = (CellRole.CONTROL if words.is_shuffled else CellRole.TRANSFER) if alone else cell.role
    return replace(cell, name=words.name if alone else f"{words.name}+{cell.name}", role=role, align_words=words)


def from_source(cell: Cell, task: Task) -> Cell:
    """The cell with its target learned from another task that trains the same head, such as the target's training set
    in another language (`trainables.catalogue.translated`).

    It is trained for as many steps of as many examples, whatever the task has: 100 rows are read 200 times as often as
    20,000. So a translation is compared with what was translated, and a publisher's own part, where it has another
    number of rows, by steps alone; plan, run and tables then say so. The other comparison is a target that has as few
    rows in English.

    Raises:
        Invalid: where the cell learns the target from another task already, or `task` is none.
    """
    faults = [*_no_cell(cell), *no_tasks("task", [task])]
    if isinstance(cell, Cell) and cell.learned_from is not None:
        faults.append(
            f"cell {cell.name!r} must still learn the target from its own training set, got "
            f"{cell.learned_from.name!r}; make each source from the cell without any"
        )
    refuse("a source in a cell", faults)
    role = CellRole.TRANSFER if cell.role is CellRole.BASELINE else cell.role
    return replace(cell, name=f"{cell.name}_from_{task.name}", role=role, learned_from=task)


def _no_cell(given: object) -> Iterator[str]:
    if not isinstance(given, Cell):
        yield f"cell must be a Cell, such as one of transfer_grid(…), got {given!r}"
