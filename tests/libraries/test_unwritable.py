"""Claims about a run that a storage or a refusal stops: it says how to go on, and leaves what is there as it is."""

from __future__ import annotations

import errno
import threading
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from sweep import NoPruning, launch, patience, record_definition
from sweep.cli import main
from sweep.conduct import Conductor
from sweep.launch import Interrupted
from sweep.ledger import Ledger
from sweep.lock import held
from sweep.presets import SUITES
from sweep.published import load
from sweep.resolve import looked_up
from sweep.results import Results
from sweep.standing import Standing
from tests.libraries.test_budget import stored
from tests.libraries.test_conduct import World, conducted
from tests.pure import published_files as files
from tests.pure.small_sweep import ALONE, BASELINE, small_sweep
from trainables.catalogue.encoder import HubEncoder, LocalEncoder
from trainables.catalogue.task import Role, Split
from trainables.catalogue.xtreme import XNLI
from trainables.data import places
from trainables.faults import Invalid, refuse
from trainables.gangs import Gangs
from trainables.scores import Score
from trainables.store import PREDICTIONS, Store

SWEEP = replace(small_sweep(), name="unwritable")


def broken(*_, **__):
    raise OSError(errno.EIO, "Input/output error")


def test_a_sweep_that_is_stopped_while_its_storage_cannot_be_written_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "ROOM_SECONDS", 0.0)

    def conduct(conductor, *rest):
        rest[-1]()
        monkeypatch.setattr(Ledger, "record", broken)
        begun = threading.Timer(0.3, setattr, (conductor, "broken", "the sweep was stopped"))
        begun.start()
        try:
            conductor.next()
        except patience.GaveUp as error:  # Tune raises an error of its own
            raise RuntimeError("the tuner failed") from error

    monkeypatch.setattr(launch, "_conduct", conduct)
    with pytest.raises(Interrupted, match=r"the sweep was stopped, and the storage cannot .*run it again to go on"):
        launch.run(SWEEP, tmp_path)


def test_an_error_that_is_not_the_storages_is_raised_as_it_is(tmp_path, monkeypatch):
    def conduct(*_):
        raise RuntimeError("something else")

    monkeypatch.setattr(launch, "_conduct", conduct)
    with pytest.raises(RuntimeError, match="something else"):
        launch.run(SWEEP, tmp_path)


def test_a_definition_that_cannot_be_written_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setattr("sweep.record_definition.put_whole", broken)
    monkeypatch.setattr(launch, "_conduct", lambda *given: given[-1]())
    with pytest.raises(Invalid, match=r"must be written beside its ledger, got .*Input/output error"):
        launch.run(SWEEP, tmp_path)


def test_tables_that_cannot_be_written_are_one_message_and_the_command_to_go_on(tmp_path, monkeypatch, capsys):
    results = stored(SWEEP, str(tmp_path))
    monkeypatch.setattr("sweep.launch.run", lambda *_, **__: results)
    monkeypatch.setattr(Results, "export", broken)
    file = tmp_path / "mine.py"
    file.write_text("from sweep.presets import rehearsal\nsweep = rehearsal()\n")
    assert main(["run", str(file), "--storage", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "the tables could not be written ([Errno 5] Input/output error); once they can be: sweep run" in said


def test_the_command_to_go_on_says_again_what_the_first_was_told(tmp_path, monkeypatch, capsys):
    def stopped(*_, **__):
        raise Interrupted("the sweep was stopped")

    monkeypatch.setattr("sweep.launch.run", stopped)
    words = ["--storage", str(tmp_path), "--gangs", "3", "--mirror", "mlflow", "--retry-failed", "--renew"]
    assert main(["run", "lab", *words]) == 1
    again = capsys.readouterr().err.rstrip().partition("sweep run ")[2].split()
    assert again[0] == "lab" and sorted(again[1:]) == sorted(words)


PARTLY = replace(
    SWEEP, name="partly", cells=(BASELINE, ALONE), search=replace(SWEEP.search, trials=2, pruner=NoPruning())
)


def refuses(*_):
    refuse("the storage of sweep 'partly'", ["there must be room"])


@pytest.mark.parametrize("asked", [{"retry_failed": True}, {"renew": True}])
@pytest.mark.parametrize("last", ["_disk_faults", "_conduct"])
def test_a_refused_run_changes_neither_the_ledger_nor_the_definition(tmp_path, monkeypatch, asked, last):
    filesystem = pafs.LocalFileSystem()
    record_definition.keep(PARTLY, filesystem, str(tmp_path))
    ledger = Ledger(filesystem, str(tmp_path), PARTLY.name).open()
    conducted(PARTLY, World(fails=lambda stage: stage.tasks == ("lab_nli",)), ledger=ledger)
    monkeypatch.setattr("sweep.conduct.made_with", lambda sweep, path: {"torch": "of another day"})

    def kept():
        folder = tmp_path / "sweeps" / PARTLY.name
        files = [folder / "definition.json", *folder.glob("ledger/**/*.parquet")]
        return {path: path.read_bytes() for path in files}

    before = kept()
    assert len(before) > 10
    monkeypatch.setattr(launch, last, refuses)
    larger = replace(PARTLY, search=replace(PARTLY.search, trials=3))
    with pytest.raises(Invalid, match="there must be room"):
        launch.run(larger, tmp_path, **asked)
    assert kept() == before


def test_a_finished_sweep_is_done_also_on_a_machine_that_could_not_run_it_and_an_unfinished_one_is_refused(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(launch, "_conduct", lambda *_: pytest.fail("nothing may start"))
    monkeypatch.setattr(launch, "_connected", lambda: False)
    monkeypatch.setattr(launch, "graphics_processors", lambda: 0)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    large = replace(SWEEP, name="large", cells=(BASELINE,), gangs=Gangs(gpus_per_worker=1.0))
    with pytest.raises(Invalid, match="the gangs of this sweep"):
        launch.run(large, tmp_path)
    assert not list(tmp_path.iterdir())
    conducted(large, ledger=Ledger(pafs.LocalFileSystem(), str(tmp_path), large.name).open())
    record_definition.keep(large, pafs.LocalFileSystem(), str(tmp_path))
    monkeypatch.setattr(Results, "unscored", {})
    assert launch.run(large, tmp_path).standing().whole


def test_a_second_run_is_refused_before_it_has_read_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "with_rows_read", lambda *_: pytest.fail("nothing may be read"))
    monkeypatch.setattr("sweep.lock.LOOKED_AT_SECONDS", 0.1)
    (tmp_path / "sweeps" / SWEEP.name).mkdir(parents=True)
    with held(pafs.LocalFileSystem(), str(tmp_path), SWEEP.name), pytest.raises(Invalid, match="one process at a time"):
        launch.run(SWEEP, tmp_path)


def on_xnli(mirror, **labels: tuple[int, ...]):
    """A sweep with XNLI as its target and test files in some languages."""
    for split in ("train", "validation_matched"):
        files.nli(mirror / f"nyu-mll/glue/mnli/{split}-00000-of-00001.parquet", labels=labels.pop(split, (0, 1)))
    for language, numbers in labels.items():
        files.nli(mirror / f"facebook/xnli/{language}/test-00000-of-00001.parquet", labels=numbers)
    return replace(small_sweep(target=XNLI, cells=(BASELINE,), pretrain=None, align_images=None), name="on_xnli")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """An empty mirror folder, and an empty cache of the hub."""
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv(places.MIRROR, str(tmp_path / "mirror"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "mirror"


@pytest.mark.parametrize(("empty", "told"), [(True, "is absent"), (False, "must name a folder")])
def test_a_finished_sweep_is_done_also_where_its_data_are_not_any_more(mirror, tmp_path, monkeypatch, empty, told):
    monkeypatch.setattr(launch, "_conduct", lambda *_: pytest.fail("nothing may start"))
    monkeypatch.setattr(launch, "gone", lambda *_: {})
    sweep = on_xnli(mirror, de=(0, 1), en=(0, 1))
    found = looked_up(sweep, fetch=False).present
    record_definition.keep(found, pafs.LocalFileSystem(), str(tmp_path))
    conducted(found, ledger=Ledger(pafs.LocalFileSystem(), str(tmp_path), sweep.name).open())
    mirror.rename(tmp_path / "elsewhere")
    if empty:
        mirror.mkdir()
    monkeypatch.setattr(Results, "unscored", {"de": "the store has no score of it"})
    with pytest.raises(Invalid, match=told):
        launch.run(sweep, tmp_path)
    monkeypatch.setattr(Results, "unscored", {})
    assert launch.run(sweep, tmp_path).complete
    larger = replace(sweep, search=replace(sweep.search, trials=sweep.search.trials + 1))
    for asked, how in ((larger, {}), (sweep, {"renew": True}), (replace(sweep, name="other"), {})):
        with pytest.raises(Invalid, match=told):
            launch.run(asked, tmp_path, **how)


def with_source(sweep, **changes):
    return replace(sweep, target=replace(sweep.target, source=replace(sweep.target.source, **changes)))


def test_a_test_that_came_to_be_read_at_a_pinned_commit_refuses_no_sweep_and_is_scored_anew(
    mirror, tmp_path, monkeypatch
):
    left = []
    monkeypatch.setattr(
        launch,
        "_conduct",
        lambda conductor, *rest: left.append(conductor.remaining()) or rest[-1]() or dict.fromkeys(launch.COUNTS, 0),
    )
    pinned = on_xnli(mirror, de=(0, 1), en=(0, 1))
    before = looked_up(with_source(pinned, revisions=()), fetch=False).present
    filesystem = pafs.LocalFileSystem()
    record_definition.keep(before, filesystem, str(tmp_path))
    conducted(before, ledger=Ledger(filesystem, str(tmp_path), pinned.name).open())
    launch.run(pinned, tmp_path)
    assert left == [len(pinned.confirmation_seeds)]
    files.nli(mirror / "nyu-mll/glue/mnli/train-00000-of-00001.parquet", labels=(0, 1, 2))
    with pytest.raises(Invalid, match="must be what it was when this sweep began"):
        launch.run(pinned, tmp_path)


#: Sweeps of presets whose training reads nothing at the commits that came to be pinned.
GO_ON = {"phang2020-xnli", "phang2020-xquad", "phang2020-mlqa", "phang2020-bucc2018", "phang2020-tatoeba"}


@pytest.mark.parametrize("sweep", SUITES["phang2020"]().sweeps, ids=lambda sweep: sweep.name)
def test_of_the_suite_of_nine_those_go_on_whose_training_reads_nothing_that_came_to_be_pinned(sweep, tmp_path):
    filesystem = pafs.LocalFileSystem()
    record_definition.keep(with_source(sweep, revisions=()), filesystem, str(tmp_path))
    if sweep.name in GO_ON:
        record_definition.refuse_other(sweep, filesystem, str(tmp_path))
    else:
        with pytest.raises(Invalid, match=r"target\.source\.revisions must be what it was when this sweep began"):
            record_definition.refuse_other(sweep, filesystem, str(tmp_path))


@pytest.mark.parametrize(("pinned", "refused"), [("facebook/xnli", False), ("nyu-mll/glue", True)])
def test_of_a_target_with_training_data_of_its_own_a_pin_of_the_tests_repository_alone_refuses_nothing(
    tmp_path, pinned, refused
):
    learned = [replace(XNLI.source.parts[0], split=one, repository="nyu-mll/glue") for one in ("train", "dev")]
    source = replace(XNLI.source, parts=(*learned, *XNLI.source.parts), revisions=(), fingerprint="f")
    splits = (*(Split(name=one, languages=("en",)) for one in ("train", "dev")), *XNLI.splits)
    own = replace(XNLI, learned_from=None, splits=splits, source=source)
    sweep = replace(small_sweep(cells=(BASELINE,), pretrain=None, align_images=None), target=own)
    filesystem = pafs.LocalFileSystem()
    record_definition.keep(sweep, filesystem, str(tmp_path))
    now = with_source(sweep, revisions=((pinned, "1" * 40),))
    if refused:
        with pytest.raises(Invalid, match=r"target\.source\.revisions must be what it was when this sweep began"):
            record_definition.refuse_other(now, filesystem, str(tmp_path))
    else:
        record_definition.refuse_other(now, filesystem, str(tmp_path))
    with pytest.raises(Invalid, match=r"target\.source\.fingerprint must be what it was"):
        record_definition.refuse_other(with_source(sweep, fingerprint="g"), filesystem, str(tmp_path))


def answered(sweep, storage) -> tuple[Conductor, list[Path]]:
    """A finished sweep whose reported runs have scores and answers in the store, and the files of the answers."""
    store = Store(str(storage))
    record_definition.keep(sweep, store.filesystem, store.root)
    conductor, _ = conducted(sweep, ledger=Ledger(store.filesystem, store.root, sweep.name).open())
    for key, record in conductor.records.items():
        if record.evaluation in conductor.evaluations():
            stage = conductor._path(key, record.values, record.seed)[-1]
            scores = [
                Score(
                    task=sweep.target.name, language=language, split="test", role=Role.REPORT, metric="accuracy",
                    value=0.5, correct=1, count=2, step=0,
                )
                for language in stage.work.languages
            ]  # fmt: skip
            rows = [(language, item) for language in stage.work.languages for item in ("0", "1")]
            folder = store.workspace(stage.digest, "one-1")
            folder.mkdir(parents=True, exist_ok=True)
            columns = {"task": [sweep.target.name] * len(rows), "language": [language for language, _ in rows]}
            columns |= {"item_id": [item for _, item in rows], "gold": ["a"] * len(rows)}
            columns |= {"predicted": ["a" if item == "0" else "b" for _, item in rows]}
            pq.write_table(pa.table(columns), folder / PREDICTIONS)
            store.commit(stage, folder, "one-1", steps=0, seconds=1.0, scores=tuple(scores))
    return conductor, sorted((Path(storage) / "results").glob("*/*.parquet"))


def test_damaged_answers_of_a_finished_sweep_that_other_library_versions_made_are_told_and_no_success(
    tmp_path, monkeypatch, capsys, caplog
):
    monkeypatch.setattr(launch, "_conduct", lambda *_: pytest.fail("nothing may start"))
    monkeypatch.setattr("sweep.cli.load", lambda name: PARTLY)
    conductor, paths = answered(PARTLY, tmp_path)
    asked = ["run", "partly", "--storage", str(tmp_path)]
    assert len(paths) == len(conductor.evaluations()) and main(asked) == 0
    monkeypatch.setattr("sweep.paths.numeric_versions", lambda: (("numpy", "99.0"), ("torch", "99.1")))
    assert main(asked) == 0
    paths[0].unlink()
    capsys.readouterr()
    caplog.clear()
    assert main(asked) == 1
    (digest,) = launch.run(PARTLY, tmp_path).unanswered
    assert paths[0].parent.name == digest
    told = f"the evaluation {digest} of a reported run is damaged (its predictions {paths[0].name} are gone)"
    assert f"{told}; other library versions made it, and --renew makes its run anew" in caplog.text
    said = capsys.readouterr().err
    assert f"evaluation {digest}, are not whole: its predictions {paths[0].name} are gone." in said


ONE, OTHER = "1" * 40, "2" * 40


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        (LocalEncoder(path="/models/one", fingerprint="f"), LocalEncoder(path="/models/other")),
        (LocalEncoder(path="/models/one", fingerprint="f"), LocalEncoder(path="/models/one", fingerprint="g")),
        (HubEncoder(repository="x/y", revision=ONE, fingerprint="f"), HubEncoder(repository="x/y", revision=OTHER)),
        (HubEncoder(repository="x/y", revision=ONE, fingerprint="f"), HubEncoder(repository="x/z")),
    ],
)
def test_another_encoders_results_are_not_taken_for_those_of_a_finished_sweep(tmp_path, monkeypatch, stored, asked):
    monkeypatch.setattr(launch, "_conduct", lambda *_: pytest.fail("nothing may start"))
    monkeypatch.setattr(launch, "looked_up", lambda *_, **__: refuse("the encoder", ["its files must be here"]))
    monkeypatch.setattr(Results, "unscored", {})

    def of(text):
        bare = replace(SWEEP, cells=(BASELINE,), pretrain=None, align_images=None)
        return replace(bare, encoder=replace(bare.encoder, text=text))

    filesystem = pafs.LocalFileSystem()
    conducted(of(stored), ledger=Ledger(filesystem, str(tmp_path), SWEEP.name).open())
    record_definition.keep(of(stored), filesystem, str(tmp_path))
    left_open = replace(stored, fingerprint="")
    for same in (stored, left_open, *([replace(left_open, revision="main")] if isinstance(stored, HubEncoder) else [])):
        assert launch.run(of(same), tmp_path).complete
    with pytest.raises(Invalid, match="its files must be here"):
        launch.run(of(asked), tmp_path)


def test_a_sweep_that_cannot_run_under_the_name_of_imported_numbers_is_refused_for_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "_connected", lambda: False)
    monkeypatch.setattr(launch, "graphics_processors", lambda: 0)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    file = tmp_path / "numbers.csv"
    file.write_text("model,en,de\nours,80,70\n")
    load(file, storage=str(tmp_path), name=SWEEP.name, items=100, baseline="ours")
    with pytest.raises(Invalid, match="the gangs of this sweep"):
        launch.run(replace(SWEEP, gangs=Gangs(gpus_per_worker=1.0)), tmp_path)


def test_rows_that_cannot_be_trained_on_refuse_a_run_before_anything_starts(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "_conduct", lambda *_: pytest.fail("nothing may start"))
    sweep = on_xnli(mirror, train=(0, 7), de=(0, 1))
    with pytest.raises(Invalid, match=r"nyu-mll/glue mnli train .*got '7' in 1 rows \(first row 1\)"):
        launch.run(sweep, tmp_path / "sweeps")
    assert not list((tmp_path / "sweeps").rglob("definition.json"))


def test_a_run_keeps_with_its_definition_which_language_cannot_be_used_and_reads_rows_once(
    mirror, tmp_path, monkeypatch
):
    monkeypatch.setattr(launch, "_conduct", lambda *given: given[-1]() or dict.fromkeys(launch.COUNTS, 0))
    launch.run(on_xnli(mirror, de=(0, 1), sw=(3, 0)), tmp_path / "sweeps")
    (kept,) = (tmp_path / "sweeps").rglob(record_definition.FILE)
    told = "no test rows in 'sw', whose files cannot be used: facebook/xnli sw test"
    assert told in Standing.from_json(kept.read_text(), {}).cells[0].remark
    read = sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "sweeps/cache").glob("*.arrow"))
    assert read == ["mnli-dev", "mnli-train", "xnli-test"]
