"""What came out of a sweep, read from its storage folder at any time; runs nothing and writes only exports."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from trainables.faults import Invalid, NotThere, nearest

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa
    import pyarrow.fs as pafs

    from sweep.definition import Sweep
    from sweep.outcomes import Answers
    from sweep.records import TrialRecord
    from sweep.standing import Standing
    from trainables.scores import Score
    from trainables.store import Store

T = TypeVar("T")

DEFINITION = "definition.json"

#: What the files of the table of answers were made of.
NOTE = "predictions.json"

#: Requests to the storage at a time: one after the other, those for three hundred runs take half a minute.
_LOOKS = 16


class Unanswered(OSError):
    """What a table is made of is in a storage that does not give it, and may be whole."""


class Results:
    """The tables of one sweep, as of the moment each is asked for; also while the sweep runs.

    Stated `cells` and `languages` narrow a table; an unknown one is a `NotThere` that names the nearest.
    """

    def __init__(self, storage: str, name: str) -> None:
        self.storage = str(storage)
        self.name = name
        self._moment: Standing | None = None
        self._answers: Answers | None = None
        self._per_language: pa.Table | None = None
        self.torn: tuple[str, ...] = ()
        """Files of the ledger that could not be read when it was last: what they said is missing in every table."""

    def still(self) -> Results:
        """The same results as of this moment: ledger and answers are read once, however many tables are asked for."""
        one = Results(self.storage, self.name)
        one._moment, one.torn = self.standing(), self.torn
        return one

    @staticmethod
    def open(storage: str, name: str | None = None) -> Results:
        """The results of the sweep `name` in a storage folder or URI; the name may be left out where there is one.

        Raises:
            NotThere: where there is no such sweep, or several to choose from.
        """
        filesystem, root = _place(str(storage))
        names = _sweeps(filesystem, root)
        if not names:
            raise NotThere(f"no sweep has been run in {storage}; give the storage that `sweep run` was given")
        if name is None and len(names) > 1:
            raise NotThere(f"{storage} holds several sweeps: {', '.join(names)}; say which one by its name")
        if name is not None and name not in names:
            raise NotThere(f"{storage} has no sweep {name!r}; {nearest(name, names)}")
        return Results(storage, name or names[0])

    def scores(self, *, cells: Sequence[str] | None = None, languages: Sequence[str] | None = None) -> pa.Table:
        """Every score, one per row; see `sweep.columns.SCORES`."""
        from sweep import tables

        standing = self.standing()
        found = tables.scores(standing, self.answers(standing).stored_scores)
        return tables.select(found, standing, cell=cells, language=languages)

    def predictions(self, *, cells: Sequence[str] | None = None, languages: Sequence[str] | None = None) -> pa.Table:
        """Every answer of the reported runs, one per row; see `sweep.columns.PREDICTIONS`."""
        from sweep import tables

        standing = self.standing()
        found = tables.predictions(standing, self.answers(standing).stored_predictions)
        return tables.select(found, standing, cell=cells, language=languages)

    def per_language(self, *, cells: Sequence[str] | None = None, languages: Sequence[str] | None = None) -> pa.Table:
        """Accuracy and gain per cell and language, with their intervals; see `sweep.columns.PER_LANGUAGE`."""
        from sweep import tables

        standing = self.standing()
        found = self._whole_per_language(standing, self.answers(standing))
        return tables.select(found, standing, cell=cells, language=languages)

    def trials(self, *, cells: Sequence[str] | None = None) -> pa.Table:
        """Every trial with its values and what became of it; see `sweep.columns.trials_schema`."""
        from sweep import tables

        standing = self.standing()
        return tables.select(tables.trials(standing), standing, cell=cells)

    def per_group(self, grouping: str) -> pa.Table:
        """Accuracy and gain per cell and group of languages; see `sweep.columns.PER_GROUP`.

        Raises:
            NotThere: for another grouping than family, script or pretraining, naming the nearest.
        """
        from sweep.languages import GROUPINGS
        from sweep.per_language import per_group

        if grouping not in GROUPINGS:
            raise NotThere(f"languages cannot be grouped by {grouping!r}; {nearest(grouping, GROUPINGS)}")
        standing = self.standing()
        return per_group(standing, self.answers(standing), grouping)

    def findings(self) -> dict[str, pa.Table]:
        """Every table that is computed from the sweep's scores and answers, by name, all of one moment.

        Where `unread` says why the definition cannot be read, `selectors` and `importances` are not among them.
        """
        from sweep.findings import findings

        standing = self.standing()
        return self.known(findings(standing, self.answers(standing), self.definition()))

    def definition(self) -> Sweep | None:
        """The sweep as it was defined; None where `unread` says why, and of imported numbers, which state none."""
        return self._decoded()[0]

    def unread(self) -> str:
        """Why the definition cannot be read, what is missing without it and what to do; empty where nothing is."""
        if not (why := self._decoded()[1]):
            return ""
        return (
            f"the definition of {self.name!r} cannot be read, since {why}; the tables `selectors` and `importances` "
            "are not made without it, and files of them stay as they are; use the version that ran the sweep for them"
        )

    def _decoded(self) -> tuple[Sweep | None, str]:
        """The sweep as it was defined, and where it is stated and cannot be read why not."""
        from sweep.definition import Sweep
        from trainables.canonical import decode

        stated = self.stated().get("definition")
        if not stated or "published" in stated:
            return None, ""
        try:
            return decode(Sweep, stated), ""
        except Invalid as error:
            return None, f"{error.what} is refused by the rules of this version: {'; '.join(error.faults)}"
        except (ValueError, TypeError, KeyError) as error:
            return None, f"another version wrote it otherwise: {textwrap.shorten(str(error), 160, placeholder=' …')}"

    def known(self, tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
        """The tables without those that need a definition which cannot be read: empty, they would replace full ones."""
        from sweep.findings import OF_DEFINITION

        missing = OF_DEFINITION if self.unread() else ()
        return {name: table for name, table in tables.items() if name not in missing}

    def stated(self) -> dict[str, Any]:
        """The sweep's `definition.json`."""
        from sweep import record_definition

        return record_definition.read(self._filesystem, f"{self._folder}/{DEFINITION}")

    def to_pandas(self) -> pandas.DataFrame:
        """`per_language` as a pandas data frame."""
        return self.per_language().to_pandas()

    def mixtures(self, *, cells: Sequence[str] | None = None) -> pa.Table:
        """Expected and actual examples per trial and task of its intermediate mixture; see `sweep.columns.MIXTURES`."""
        from sweep import tables

        standing = self.standing()
        return tables.select(tables.mixtures(standing), standing, cell=cells)

    def stages(self, *, cells: Sequence[str] | None = None, languages: Sequence[str] | None = None) -> pa.Table:
        """What every stage of the reported runs scored on development splits; see `sweep.columns.STAGES`."""
        from sweep import tables

        standing = self.standing()
        found = tables.stages(standing, self.answers(standing).stored_results)
        return tables.select(found, standing, cell=cells, language=languages)

    def selectors(self) -> pa.Table:
        """What each selector would have chosen of each reported run, and its cost; see `sweep.columns.SELECTORS`.

        Raises:
            NotThere: where the definition cannot be read.
        """
        from sweep.selectors import selectors

        if why := self.unread():
            raise NotThere(why)
        standing = self.standing()
        return selectors(standing, self.answers(standing), self.definition())

    def best_runs(self) -> dict[str, dict[str, float]]:
        """By cell, the scores per language, by the deciding metric, of the confirmation run with the best dev score.

        Of retrieval, which trains nothing that a development split could score, it is the first run.
        A quick look at very many trials, by the ledger alone; one run is no result: see `per_language`.
        """
        from sweep.ledger import Ledger, best_runs

        return best_runs(Ledger(self._filesystem, self._root, self.name).table())

    def winners(self) -> dict[str, TrialRecord]:
        """By cell, the search trial that leads it; a cell where none has finished is left out."""
        return self.standing().leaders()

    @property
    def complete(self) -> bool:
        """Whether every planned search trial has ended well and every confirmation is there with its scores."""
        return self.standing().whole and not self.unscored

    @property
    def unscored(self) -> dict[str, str]:
        """Test languages that a reported run has no score in, each with the reason."""
        standing = self.standing()
        stored_scores = self.answers(standing).stored_scores
        reasons: dict[str, str] = {}
        for cell in standing.cells:
            for run in standing.confirmations(cell.name):
                told = {
                    score.language: score.absent_reason if score.value is None else ""
                    for score in reversed(stored_scores(run.evaluation) or ())
                    if score.task == standing.target and score.role == "report"
                }
                for language in standing.languages:
                    if reason := told.get(language, "the store has no score of it"):
                        reasons.setdefault(language, reason)
        return reasons

    @property
    def unanswered(self) -> dict[str, str]:
        """Evaluations of reported runs that have scores but not their answers as written, each with the reason."""
        standing, store = self.standing(), self.store
        asked = [run.evaluation for cell in standing.cells for run in standing.confirmations(cell.name)]
        return {digest: why for digest, why in gone(asked, store).items() if store.results(digest) is not None}

    @property
    def ran_out(self) -> bool:
        """Whether all that is missing is what the sweep's budget does not pay for."""
        return self.standing().ran_out

    @property
    def tensorboard_directory(self) -> str:
        """The folder or URI for `tensorboard --logdir`."""
        return f"{self.storage.rstrip('/')}/sweeps/{self.name}/tensorboard"

    def export(self, directory: str | None = None, *, everything: bool = False) -> tuple[str, ...]:
        """Write the tables as Parquet and CSV, into the sweep's `tables` folder or another one, and give the paths.

        With `everything`, those of `findings` too. In the sweep's own folder, `predictions`, the largest by far, is
        written only where the answers have changed. Where `unread` says why the definition cannot be read, the files of
        `selectors` and `importances` stay as they were.

        Raises:
            Unanswered: where the storage gives no answer of a run; then every file stays as it was.
        """
        from sweep.lock import writing_tables

        if directory is not None:
            return self._export(*_place(directory), everything=everything, note="")
        with writing_tables(self._filesystem, self._folder):
            own = f"{self._folder}/tables"
            return self._export(self._filesystem, own, everything=everything, note=f"{self._folder}/{NOTE}")

    def _export(self, filesystem: pafs.FileSystem, folder: str, *, everything: bool, note: str) -> tuple[str, ...]:
        from sweep import streamed, tables
        from sweep.selectors import selectors
        from trainables.whole_files import clear_left

        standing = self.standing()
        answers = self.answers(standing)
        small = self.known(
            {
                "scores": tables.scores(standing, answers.stored_scores),
                "per_language": self._whole_per_language(standing, answers),
                "selectors": selectors(standing, answers, self.definition()),
                "trials": tables.trials(standing),
                "mixtures": tables.mixtures(standing),
                "stages": tables.stages(standing, answers.stored_results),
                **(self.findings() if everything else {}),
            }
        )
        filesystem.create_dir(folder, recursive=True)
        clear_left(filesystem, folder)
        large = tables.streamed_predictions(standing, answers)
        stem = f"{folder.rstrip('/')}/predictions"
        if note:
            paths = streamed.write_changed(filesystem, stem, large, note)
        else:
            paths = streamed.write(filesystem, stem, large)
        # What is read while it is written goes first: where the storage falls silent there, nothing else is written.
        paths = (*paths, *tables.export(filesystem, folder, small))
        return tuple(sorted(paths, key=lambda path: path.rpartition(".")[0]))

    def report(self, output: str | None = None, *, published: Sequence[Mapping[str, Any]] = ()) -> tuple[str, ...]:
        """Write the report as one HTML file, its figures and tables beside it, and give the paths, the page's first.

        `output` is a path or URI that ends in `.html`; without one the report lies in the sweep's own folder.
        `published` are rows of `model`, `language` and `accuracy` to show beside the sweep's.
        """
        from sweep.report.write import FILE, FOLDER, write_report

        own = (self._filesystem, f"{self._folder}/{FOLDER}/{FILE}")
        filesystem, path = own if output is None else _place(output)
        filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        return write_report(self, filesystem, path, published=published)

    def answers(self, standing: Standing) -> Answers:
        """What the reported runs of a standing got right, item by item."""
        if standing is not self._moment:
            return _answers(standing, self.store)
        if self._answers is None:
            self._answers = _answers(standing, self.store)
        return self._answers

    def _whole_per_language(self, standing: Standing, answers: Answers) -> pa.Table:
        """Every row of `per_language`; computed once where these results are `still`."""
        from sweep.per_language import per_language

        if standing is not self._moment:
            return per_language(standing, answers)
        if self._per_language is None:
            self._per_language = per_language(standing, answers)
        return self._per_language

    def standing(self) -> Standing:
        """The sweep's plan and its trials, read anew from the ledger unless these results are `still`."""
        if self._moment is not None:
            return self._moment
        from sweep.ledger import Ledger
        from sweep.purse import withheld
        from sweep.records import Phase, trial_records
        from sweep.standing import Standing

        stated = self.stated()
        ledger = Ledger(self._filesystem, self._root, self.name)
        happenings = ledger.happenings()
        self.torn = tuple(ledger.torn)
        records = trial_records(happenings)
        counts = Counter(key.cell for key in records if key.phase is Phase.SEARCH)
        identity = stated.get("budget", {}).get("identity", -1)
        return Standing.from_json(json.dumps(stated), records, withheld(happenings, counts, identity))

    @property
    def place(self) -> tuple[pafs.FileSystem, str]:
        """The filesystem of the storage, and the path of its root there."""
        return self._located

    @cached_property
    def _located(self) -> tuple[pafs.FileSystem, str]:
        return _place(self.storage)

    @property
    def _filesystem(self) -> pafs.FileSystem:
        return self._located[0]

    @property
    def _root(self) -> str:
        return self._located[1]

    @property
    def _folder(self) -> str:
        return f"{self._root}/sweeps/{self.name}"

    @cached_property
    def store(self) -> Store:
        """The outputs of the stages that the sweep ran."""
        from trainables.store import Store

        return Store(self.storage)


def gone(evaluations: Sequence[str], store: Store) -> dict[str, str]:
    """Those whose scores or answers are not in the store as they were written, each with the reason."""
    with ThreadPoolExecutor(_LOOKS) as looks:
        found = zip(evaluations, looks.map(store.whole_results, evaluations), strict=True)
        return {digest: store.damage.get(digest, "its scores are gone") for digest, kept in found if kept is None}


def _answers(standing: Standing, store: Store) -> Answers:
    """The answers in a store, which is asked once for what it keeps of a stage."""
    from sweep.outcomes import Answers

    kept = cache(lambda digest: _read(lambda: store.results(digest), f"the results of stage {digest}", store))

    def scores(digest: str) -> tuple[Score, ...] | None:
        found = kept(digest)
        return found.scores if found else None

    def predictions(digest: str) -> pa.Table | None:
        found = kept(digest)
        what = f"the answers of stage {digest}"
        return _read(lambda: store.predictions_of(found), what, store) if found else None

    return Answers(standing, scores, predictions, kept)


def _read(read: Callable[[], T], what: str, store: Store) -> T:
    try:
        return read()
    except OSError as error:
        raise Unanswered(
            f"{what} must be readable in {store.uri}, got {error}; no table is made without them, and those that were "
            "written before stay as they are. Ask again once the storage answers, with credentials that may read "
            "results/ there"
        ) from error


def _place(storage: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem and the path in it that a path or URI names."""
    from trainables.places import place_of

    return place_of(storage)


def _sweeps(filesystem: pafs.FileSystem, root: str) -> list[str]:
    import pyarrow.fs as pafs

    entries = filesystem.get_file_info(pafs.FileSelector(f"{root}/sweeps", allow_not_found=True))
    folders = sorted(entry.base_name for entry in entries if entry.type == pafs.FileType.Directory)
    files = filesystem.get_file_info([f"{root}/sweeps/{name}/{DEFINITION}" for name in folders])
    return [name for name, file in zip(folders, files, strict=True) if file.type == pafs.FileType.File]
