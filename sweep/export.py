"""A sweep in the formats of other tools; adds nothing to what its ledger says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sweep.records import Phase
from trainables.faults import NotThere

if TYPE_CHECKING:
    from sweep.definition import Sweep
    from sweep.results import Results


def journal(path: str, *sweeps: Results) -> None:
    """Write an Optuna journal file that `optuna-dashboard` and Optuna open: of every cell a study, `<sweep>/<cell>`.

    Every ended search trial is in it with its values and its scores, pruned and failed ones too; what the shares of a
    mixture were drawn from are user attributes. The file is a copy: what is done to it does not reach the sweep.

    Raises:
        NotThere: where the file is there already, or this version cannot read a definition.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from sweep.study import finished_study

    if Path(path).exists():
        raise NotThere(f"the journal must be a new file, got {path!r}; name another, or delete it")
    definitions = [(results, _definition(results)) for results in sweeps]
    storage = JournalStorage(JournalFileBackend(path))
    for results, sweep in definitions:
        standing = results.standing()
        for cell in sweep.cells:
            of_cell = [r for r in standing.records.values() if r.key.cell == cell.name and r.key.phase is Phase.SEARCH]
            study = optuna.create_study(study_name=f"{results.name}/{cell.name}", storage=storage, direction="maximize")
            study.set_user_attr("role", str(cell.role))
            for trial in finished_study(sweep, cell, of_cell).get_trials(deepcopy=False):
                study.add_trial(trial)


def _definition(results: Results) -> Sweep:
    sweep = results.definition()
    if sweep is None:
        raise NotThere(results.unread() or f"{results.name!r} states no definition, which studies are made of")
    return sweep
