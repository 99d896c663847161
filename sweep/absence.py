"""What of a sweep's data is not on this machine, how to get it, and which cells cannot run without it; fetches none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from search_spaces.transfer_grid import Cell
from sweep.definition import Preparation, Sweep
from sweep.fitting import encoder_faults, grid_faults, tower_faults, trunk_here
from sweep.languages import strangeness
from trainables.catalogue.encoder import HubEncoder
from trainables.catalogue.files import TextFiles, XvnliSource
from trainables.catalogue.task import ParquetSource, PublishedSource, Task
from trainables.data import fingerprint
from trainables.faults import Invalid, refuse


@dataclass(frozen=True, kw_only=True)
class Found:
    """A sweep with the fingerprints of all that is here, and by name what is not, with the way to get it."""

    sweep: Sweep
    absent: Mapping[str, str] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)
    """Task → what a reader of the results should know of its files, such as another size than the published one."""
    looked_in: str = ""
    """Where published tasks were looked for; empty where there are none."""

    @property
    def unable(self) -> tuple[str, ...]:
        """Why no cell at all can run: what every path needs is absent."""
        sweep = self.sweep
        needed = [sweep.encoder.name, sweep.target.name]
        needed += [task.name for made in sweep.preparations for task in made.tasks]
        if sweep.target.learned_from is not None:
            needed.append(sweep.target.teacher.name)
        return tuple(f"{name} is absent: {self.absent[name]}" for name in dict.fromkeys(needed) if name in self.absent)

    @property
    def absent_cells(self) -> dict[str, str]:
        """Cell → why it cannot run, where the others can."""
        if self.unable:
            return {cell.name: "; ".join(self.unable) for cell in self.sweep.cells}
        reasons = {
            cell.name: [task.name for task in _tasks(cell) if task.name in self.absent] for cell in self.sweep.cells
        }
        return {
            cell: "; ".join(f"{name} is absent: {self.absent[name]}" for name in names)
            for cell, names in reasons.items()
            if names
        }

    @property
    def cell_remarks(self) -> dict[str, str]:
        """Cell → the remarks on the data that it reads, those of the target among them."""
        shared = [task.name for task in _shared_tasks(self.sweep)]
        told = {}
        for cell in self.sweep.cells:
            names = dict.fromkeys((*shared, *(task.name for task in _tasks(cell))))
            told[cell.name] = "; ".join(f"{name}: {self.remarks[name]}" for name in names if name in self.remarks)
        return {cell: text for cell, text in told.items() if text}

    @property
    def present(self) -> Sweep:
        """The sweep without its absent cells."""
        gone = self.absent_cells
        return replace(self.sweep, cells=tuple(cell for cell in self.sweep.cells if cell.name not in gone))


def find(sweep: Sweep, *, fetch: bool) -> Found:
    """Look for all the data and the encoder of a sweep.

    With `fetch` an encoder of the hub is fetched where this machine has no copy, and published tasks whose source
    allows it are downloaded; without, nothing leaves this machine.

    Raises:
        Invalid: where the mirror folder is none, where the encoder's directory cannot be used, or with `fetch` not be
            fetched, and where it cannot do what settings ask of it, or has not the layers and modules that they name.
            With `fetch` its tokenizer is loaded for that.
    """
    absent: dict[str, str] = {}
    looked_in = ""
    if any(isinstance(task.source, PublishedSource) for task in tasks_of(sweep)):
        from trainables.data import places  # only published tasks need it

        refuse("the mirror folder", places.mirror_faults())
        looked_in = places.looked_in()

    def look(task: Task) -> Task:
        try:
            found = fingerprint.resolve(task if fetch else _offline(task))
        except Invalid as error:
            absent[task.name] = "; ".join(error.faults)
            return task
        for one, asked in ((found, task), (found.learned_from, task.learned_from)):
            if one is not None and asked is not None and (reason := _absence(one)):
                absent[one.name] = reason + ("" if fetch or not _is_fetched(asked) else ", or let `sweep run` fetch it")
        return found

    def prepared(preparation: Preparation) -> Preparation:
        return replace(preparation, task=look(preparation.task), beside=tuple(map(look, preparation.beside)))

    def cell(one: Cell) -> Cell:
        return replace(
            one,
            intermediates=tuple(map(look, one.intermediates)),
            align_words=one.align_words and look(one.align_words),
            learned_from=one.learned_from and look(one.learned_from),
        )

    alignments = sweep.align_images  # in the form they were given in
    if alignments is not None:
        alignments = tuple(map(prepared, alignments)) if isinstance(alignments, tuple) else prepared(alignments)
    whole = replace(
        sweep,
        target=look(sweep.target),
        cells=tuple(map(cell, sweep.cells)),
        pretrain=sweep.pretrain and prepared(sweep.pretrain),
        align_images=alignments,
    )
    if not fetch and (gone := _models_not_here(sweep)):
        absent[sweep.encoder.name] = gone
    else:
        whole = replace(whole, encoder=fingerprint.resolve_encoder(sweep.encoder))
        trunk = trunk_here(whole.encoder.text)
        faults = [*(whole.faults_in(trunk) if trunk else ()), *grid_faults(whole.encoder, here=True)]
        faults += encoder_faults(whole.encoder, whole.stage_settings, whole.masked_stages, loaded=fetch)
        faults += tower_faults(whole.encoder)
        refuse(f"sweep {sweep.name!r}", faults)
    return Found(sweep=whole, absent=absent, remarks=_remarks(whole), looked_in=looked_in)


def _remarks(sweep: Sweep) -> dict[str, str]:
    """What is to be said of files, a user's own or XVNLI's."""
    looked_at = ParquetSource | TextFiles | XvnliSource
    own = {name: task for name, task in tasks_by_name(sweep).items() if isinstance(task.source, looked_at)}
    if not own:
        return {}
    from trainables.data.remarked import own_remarks  # it reads rows, and only these tasks need it

    told = {
        name: "; ".join((*own_remarks(task), *filter(None, map(strangeness, _languages(task)))))
        for name, task in own.items()
    }
    return {name: text for name, text in told.items() if text}


def _languages(task: Task) -> list[str]:
    return list(dict.fromkeys(code for split in task.splits for code in split.languages))


def _offline(task: Task) -> Task:
    """The task, to be looked for on this machine alone."""
    learned_from = task.learned_from and _offline(task.learned_from)
    if isinstance(task.source, PublishedSource):
        return replace(task, source=replace(task.source, download=False), learned_from=learned_from)
    return replace(task, learned_from=learned_from)


def _is_fetched(task: Task) -> bool:
    return isinstance(task.source, PublishedSource) and task.source.download


def _absence(task: Task) -> str:
    if not isinstance(task.source, PublishedSource):
        return ""
    from trainables.data.places import absence  # only published tasks need it

    return absence(task)


def _models_not_here(sweep: Sweep) -> str:
    """Which models of the hub this machine has no whole copy of, and how to get them."""
    from trainables.data.hub import local_copy

    models = [sweep.encoder.text, getattr(sweep.encoder.patches, "model", None)]
    hub = [model for model in models if isinstance(model, HubEncoder)]
    return "; ".join(_not_here(model) for model in hub if local_copy(model) is None)


def _not_here(model: HubEncoder) -> str:
    from trainables.data.hub import lacking

    again = f"hf download {model.repository} --revision {model.revision}"
    if lacks := "; ".join(lacking(model)):
        return (
            f"the copy of {model.repository} on this machine cannot be used: {lacks}; or where the hub has more than "
            f"this copy, {again} completes it, as `sweep run` does"
        )
    return f"no copy of {model.repository} on this machine; {again}, or let `sweep run` fetch it"


def tasks_of(sweep: Sweep) -> Iterator[Task]:
    """Every task that a sweep reads, some more than once."""
    yield from _shared_tasks(sweep)
    for cell in sweep.cells:
        yield from _tasks(cell)


def tasks_by_name(sweep: Sweep) -> dict[str, Task]:
    """The tasks that a sweep reads, by name: of several the target, which has the test and what an oracle is shown."""
    return {task.name: task for task in (*tasks_of(sweep), sweep.target)}


def _shared_tasks(sweep: Sweep) -> Iterator[Task]:
    """The tasks that every cell needs."""
    for preparation in sweep.preparations:
        yield from preparation.tasks
    yield sweep.target
    if sweep.target.learned_from is not None:
        yield sweep.target.learned_from


def _tasks(cell: Cell) -> Iterator[Task]:
    """The tasks that a cell needs beside those of the sweep."""
    for task in (*cell.intermediates, cell.align_words, cell.learned_from):
        if task is not None:
            yield task
            if task.learned_from is not None:
                yield task.learned_from
