"""Every task of the catalogue under its name; defines none."""

from __future__ import annotations

from collections.abc import Iterable

from trainables.catalogue import intermediate, lab, lab_twins, xtreme
from trainables.catalogue.task import Task
from trainables.catalogue.xtreme_m import mirrored_xvnli
from trainables.faults import NotThere, nearest


def gather(tasks: Iterable[Task]) -> dict[str, Task]:
    """Name → task.

    Raises:
        ValueError: for a name that two tasks have.
    """
    found: dict[str, Task] = {}
    for task in tasks:
        if task.name in found:
            raise ValueError(f"every task must have a name of its own, got {task.name!r} twice; rename one")
        found[task.name] = task
    return found


TASKS = gather((*lab.TASKS, *lab_twins.TASKS, *intermediate.INTERMEDIATE, *xtreme.TARGETS))


def all_tasks() -> dict[str, Task]:
    """`TASKS`, and XVNLI in the mirror folder of the moment."""
    return gather((*TASKS.values(), mirrored_xvnli()))


def task(name: str) -> Task:
    """The task of that name.

    Raises:
        NotThere: naming the nearest known one.
    """
    known = all_tasks()
    if name not in known:
        raise NotThere(f"a task must be one of the catalogue, got {name!r}; {nearest(name, known)}")
    return known[name]
