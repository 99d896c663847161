"""Claims about reading a sweep from its storage: any sweep, at any time, with errors that name the nearest."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from sweep.cli import main
from sweep.export import journal
from sweep.export_hub import data_set
from sweep.ledger import Ledger
from sweep.plan import plan
from sweep.record_definition import described
from sweep.records import Phase, TrialKey
from sweep.results import Results
from sweep.simulation_commands import _measured
from sweep.tensorboard_pictures import examples
from tests.pure import fake_sweep as fake
from tests.pure.small_sweep import ALONE, BASELINE, small_sweep
from trainables.canonical import encode
from trainables.faults import NotThere
from trainables.sealed_files import SealedFiles


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("storage"))
    fake.write(folder)
    return folder


def test_the_only_sweep_of_a_storage_needs_no_name(storage):
    assert Results.open(storage).name == "fake"


def test_what_is_read_from_storage_is_what_the_run_left(storage):
    results = Results.open(storage, "fake")
    table = results.per_language(cells=["nli"], languages=["de", "mean"])
    assert table["accuracy"].null_count == 0
    assert len(results.trials()) == len(fake.standing().records)
    stages = results.stages(cells=["nli"]).to_pylist()
    assert {row["cell"] for row in stages} == {"nli"}, "the store has none of the trainings of this sweep"
    assert {row["absent_reason"] for row in stages} == {"the store has no results of it"}
    assert len(results.predictions()) == 9 * 3 * fake.ITEMS
    assert {row["role"] for row in results.scores().to_pylist()} == {"select", "report"}
    assert {cell: record.key.number for cell, record in results.winners().items()} == {
        "none": 0, "nli": 2, "image_only": 0,
    }  # fmt: skip


def test_an_export_goes_beside_the_ledger_and_repeats_to_the_byte(storage, tmp_path):
    results = Results.open(storage)
    own, other = results.export(), results.export(str(tmp_path))
    assert {Path(path).stem for path in own} == {
        *("mixtures", "per_language", "predictions", "scores", "selectors", "stages", "trials"),
    }
    assert own[0].startswith(f"{storage}/sweeps/fake/tables/")
    for a, b in zip(own, other, strict=True):
        assert Path(a).read_bytes() == Path(b).read_bytes(), a


def test_what_a_killed_export_or_report_has_left_in_a_folder_of_ones_own_goes_with_the_next(storage, tmp_path):
    results = Results.open(storage)
    inner = tmp_path / "page_files"
    inner.mkdir()
    for write, folders in (
        (lambda: results.export(str(tmp_path)), [tmp_path]),
        (lambda: results.report(str(tmp_path / "page.html")), [tmp_path, inner]),
    ):
        left = [folder / "scores.csv.0123abcd.partial" for folder in folders]
        for path in left:
            path.write_text("")
            os.utime(path, (0, 0))
        write()
        assert not [path for path in left if path.exists()]


SILENCE = OSError(errno.EIO, "the storage does not answer")


def kept_files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def unreadable(tmp_path, monkeypatch):
    """A sweep with its tables, whose storage then gives nothing of a part of what evaluations left."""
    fake.write(str(tmp_path))
    Results.open(str(tmp_path)).export()
    read = SealedFiles.read

    def begin(part: str, error: OSError = SILENCE) -> Results:
        def silent(self: SealedFiles, path: str) -> bytes:
            if "/results/" in path and path.endswith(part):
                raise error
            return read(self, path)

        monkeypatch.setattr(SealedFiles, "read", silent)
        return Results.open(str(tmp_path))

    return begin


TABLES = {
    "scores": Results.scores,
    "predictions": Results.predictions,
    "per_language": Results.per_language,
    "per_group": lambda results: results.per_group("family"),
    "findings": Results.findings,
    "unscored": lambda results: results.unscored,
    "export": Results.export,
    "export elsewhere": lambda results: results.export(f"{results.storage}/elsewhere", everything=True),
    "report": Results.report,
}


@pytest.mark.parametrize(("part", "what"), [("results.json", "results"), (".parquet", "answers")])
def test_a_table_of_evaluations_that_cannot_be_read_is_refused_and_nothing_is_written(unreadable, tmp_path, part, what):
    results, before = unreadable(part), kept_files(tmp_path)
    said = rf"the {what} of stage \w+ must be readable in .*, got .*does not answer; no table is made without them"
    for name, made in TABLES.items():
        if part == ".parquet" and name in ("scores", "unscored"):
            made(results)  # of no answers
            continue
        with pytest.raises(OSError, match=said):
            made(results)
    assert kept_files(tmp_path) == before


def test_a_storage_that_falls_silent_while_answers_are_written_leaves_every_table_as_it_was(
    unreadable, tmp_path, monkeypatch
):
    (tmp_path / "sweeps/fake/predictions.json").unlink()  # else they would not be written again
    for scores in (tmp_path / "sweeps/fake/tables").glob("scores.*"):
        scores.write_text("of another day")
    results, before = unreadable("none of them"), kept_files(tmp_path)
    read, seen = SealedFiles.read, set()

    def once(self: SealedFiles, path: str) -> bytes:
        if path.endswith(".parquet") and (path in seen or seen.add(path)):
            raise SILENCE
        return read(self, path)

    monkeypatch.setattr(SealedFiles, "read", once)
    with pytest.raises(OSError, match="the answers of stage"):
        results.export()
    assert kept_files(tmp_path) == before


def test_a_laptop_that_may_not_read_the_results_is_told_so_by_the_table_and_by_the_end_of_a_run(
    unreadable, tmp_path, monkeypatch, capsys
):
    results, before = unreadable("results.json", OSError("AWS Error ACCESS_DENIED")), kept_files(tmp_path)
    assert main(["table", "fake", "--storage", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "got AWS Error ACCESS_DENIED; no table is made without them" in said.err
    assert "with credentials that may read results/" in said.err
    monkeypatch.setattr("sweep.launch.run", lambda *_, **__: results)
    assert main(["run", "lab", "--storage", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "sweep: the tables could not be made (the results of stage " in said
    assert f"once they can be: sweep run lab --storage {tmp_path}" in said
    assert kept_files(tmp_path) == before


def test_scores_and_answers_that_are_gone_or_damaged_are_rows_without_a_value_as_ever(tmp_path):
    fake.write(str(tmp_path))
    damaged, gone = sorted((tmp_path / "results").iterdir())[:2]
    (damaged / "results.json").write_text("{}")
    shutil.rmtree(gone)
    assert not [
        r for r in Results.open(str(tmp_path)).scores().to_pylist() if r["role"] == "report" and r["value"] is None
    ]
    for one in (damaged, gone):  # whose manifest has said the same so far
        shutil.rmtree(tmp_path / "stages" / one.name)
    results = Results.open(str(tmp_path))
    assert {"the store has no score for it"} == {
        row["absent_reason"].partition(" under evaluation")[0]
        for row in results.scores().to_pylist()
        if row["role"] == "report" and row["value"] is None
    }
    assert results.export()


def test_a_storage_without_a_sweep_says_so(tmp_path):
    with pytest.raises(LookupError, match="no sweep has been run in"):
        Results.open(str(tmp_path))


def test_several_sweeps_are_listed_when_none_is_named(tmp_path):
    fake.write(str(tmp_path), "first")
    fake.write(str(tmp_path), "second")
    with pytest.raises(LookupError, match="holds several sweeps: first, second; say which one"):
        Results.open(str(tmp_path))
    with pytest.raises(LookupError, match=r"has no sweep 'frist'; did you mean 'first'\?"):
        Results.open(str(tmp_path), "frist")


def test_a_sweep_with_a_cell_that_failed_is_not_complete(storage):
    assert not Results.open(storage).complete
    assert {cell.name: fake.standing().complete(cell.name) for cell in fake.CELLS} == {
        "none": False,  # its search trial 1 failed
        "nli": True,
        "broken": False,
        "image_only": True,
    }


def test_a_sweep_without_a_score_in_a_test_language_is_not_complete_and_its_run_fails(tmp_path, monkeypatch, capsys):
    fake.write(str(tmp_path))
    path = tmp_path / "sweeps/fake/definition.json"
    stated = json.loads(path.read_text())
    stated["cells"] = [cell for cell in stated["cells"] if cell["name"] in ("nli", "image_only")]
    path.write_text(json.dumps(stated))
    assert Results.open(str(tmp_path)).complete
    path.write_text(json.dumps({**stated, "languages": [*stated["languages"], "sw"]}))
    results = Results.open(str(tmp_path))
    assert results.unscored == {"sw": "the store has no score of it"} and not results.complete
    monkeypatch.setattr("sweep.launch.run", lambda *_, **__: results)
    assert main(["run", "lab", "--storage", str(tmp_path)]) == 1
    assert "no score in sw: the store has no score of it" in capsys.readouterr().err


def test_the_folder_of_tensorboard_is_beside_the_tables(storage):
    assert Results.open(storage).tensorboard_directory == f"{storage}/sweeps/fake/tensorboard"


def test_an_unknown_cell_is_answered_with_the_nearest(storage):
    with pytest.raises(LookupError, match=r"no cell 'nonne'; did you mean 'none'\?"):
        Results.open(storage).per_language(cells=["nonne"])


def test_a_sweep_is_read_by_its_file_uri(storage):
    assert len(Results.open(f"file://{storage}").trials()) == len(fake.standing().records)


def test_naming_results_loads_no_heavy_library():
    heavy = ["numpy", "pyarrow", "rich", "scipy"]
    code = f"import sys, sweep.results, sweep.standing; print([name for name in {heavy} if name in sys.modules])"
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert found.stdout.strip() == "[]"


def test_a_command_that_prints_several_tables_reads_the_ledger_once(storage, monkeypatch, capsys):
    reads, real = [], Ledger.happenings
    monkeypatch.setattr(Ledger, "happenings", lambda ledger: reads.append(ledger.sweep) or real(ledger))
    assert main(["table", "fake", "--storage", storage]) == 0
    assert reads == ["fake"]
    assert "nli" in capsys.readouterr().out


def test_a_torn_ledger_is_told_and_no_table_that_was_written_before_is_replaced(tmp_path, capsys):
    fake.write(str(tmp_path))
    assert main(["table", "fake", "--storage", str(tmp_path)]) == 0
    before = {path: path.read_bytes() for path in tmp_path.glob("sweeps/fake/tables/*")}
    entry = next(path for path in sorted(tmp_path.glob("sweeps/fake/ledger/**/*.parquet")) if "nli" in path.name)
    entry.write_bytes(entry.read_bytes()[:50])
    capsys.readouterr()
    assert main(["table", "fake", "--storage", str(tmp_path)]) != 0
    assert f"must be whole before tables are written, got torn ones: {entry}" in capsys.readouterr().err
    assert before and {path: path.read_bytes() for path in tmp_path.glob("sweeps/fake/tables/*")} == before


def test_still_results_stay_as_they_were_and_others_follow_the_sweep(tmp_path):
    fake.write(str(tmp_path))
    results = Results.open(str(tmp_path), "fake")
    still = results.still()
    before = len(still.trials())
    key = TrialKey(cell="none", phase=Phase.SEARCH, number=2)
    ledger = Ledger(pafs.LocalFileSystem(), str(tmp_path), "fake").open()
    for entry in fake.trial(key, score=0.5, ending=None):
        ledger.record(entry)
    assert (len(still.trials()), len(results.trials())) == (before, before + 1)
    assert still.per_language().equals(results.per_language())


#: What a definition may hold that this version cannot read, each with what is said of it.
UNREAD = [
    (
        {"confirmation_seeds": [1, 1]},
        "since sweep 'fake' is refused by the rules of this version: confirmation_seeds must be different",
    ),
    ({"of_another_version": 1}, "since another version wrote it otherwise: Sweep has no fields ['of_another_version']"),
]


@pytest.fixture(scope="module")
def with_tables(tmp_path_factory) -> Path:
    """A finished sweep under a definition that can be read, with its tables and its report."""
    storage = tmp_path_factory.mktemp("with_tables")
    fake.write(str(storage))
    sweep = small_sweep(name="fake", cells=(BASELINE, ALONE))
    (storage / "sweeps/fake/definition.json").write_text(json.dumps({**described(sweep), "definition": encode(sweep)}))
    results = Results.open(str(storage))
    results.export(str(storage / "sweeps/fake/tables"), everything=True)
    results.report()
    return storage


@pytest.fixture(params=UNREAD, ids=["refused", "of another version"])
def unread(request, with_tables, tmp_path) -> tuple[Results, str]:
    """The same with a definition that cannot be read, and what is said of it."""
    change, told = request.param
    shutil.copytree(with_tables, tmp_path / "storage")
    file = tmp_path / "storage/sweeps/fake/definition.json"
    stated = json.loads(file.read_text())
    stated["definition"] |= change
    file.write_text(json.dumps(stated))
    return Results.open(str(tmp_path / "storage")), told


def test_what_needs_a_definition_that_cannot_be_read_is_not_made_and_is_said_to_be_missing(unread, tmp_path):
    results, told = unread
    assert results.definition() is None and told in results.unread()
    with pytest.raises(NotThere, match="the tables `selectors` and `importances` are not made without it"):
        results.selectors()
    with pytest.raises(NotThere, match="the definition of 'fake' cannot be read"):
        journal(str(tmp_path / "studies.log"), results)
    assert {"selectors", "importances"} & {*results.findings()} == set() and "comparisons" in results.findings()
    assert told in examples(results)
    data_set(results, str(tmp_path / "data"))
    assert f"Not in it: {results.unread()}." in (tmp_path / "data/README.md").read_text()


def test_no_table_is_emptied_because_a_definition_cannot_be_read(unread):
    results, told = unread
    folder = Path(results.storage) / "sweeps/fake"

    def files(pattern: str) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob(pattern) if path.is_file()}

    before = {name: data for kind in ("selectors", "importances") for name, data in files(f"*/**/{kind}.*").items()}
    assert {Path(name).name for name in before} >= {"selectors.csv", "selectors.tex", "importances.parquet"}
    assert before["tables/selectors.csv"].count(b"\n") > 10
    for name in ("scores.csv", "comparisons.csv"):
        (folder / "tables" / name).unlink()
    results.export(str(folder / "tables"), everything=True)
    results.export()
    results.report()
    after = files("*/**/*")
    assert {name: after[name] for name in before} == before
    assert {"tables/scores.csv", "tables/comparisons.csv"} <= after.keys()
    assert told in after["report/report.html"].decode().replace("&#x27;", "'")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["table", "fake"], 0),
        (["table", "fake", "--format", "csv"], 0),
        (["table", "fake", "--selectors"], 2),
        (["status", "fake"], 0),
        (["report", "fake"], 0),
        (["compare", "fake", "fake"], 0),
        (["export", "fake", "--tables", "DIR"], 0),
    ],
    ids=str,
)
def test_every_command_that_reads_results_says_that_the_definition_cannot_be_read(
    unread, tmp_path, words, code, capsys
):
    results, told = unread
    given = [str(tmp_path / "tables") if word == "DIR" else word for word in words]
    assert main([*given, "--storage", results.storage]) == code
    said = capsys.readouterr()
    assert told in said.out + said.err
    if words[-1] == "csv":
        assert told in said.err and said.out.startswith('"sweep","cell"')
    if words[0] in ("table", "status") and code == 0 and words[-1] != "csv":
        assert "what the plan says is not known" in said.out


def test_stage_times_of_a_storage_are_told_by_the_plan_where_its_definition_cannot_be_read(unread, capsys):
    results, told = unread
    _measured(plan(small_sweep(name="fake", cells=(BASELINE, ALONE))), results.storage)
    said = capsys.readouterr().err
    assert told in said and said.endswith("; stages are known by this plan instead\n")


def test_a_definition_that_can_be_read_is_no_matter(with_tables, capsys):
    results = Results.open(str(with_tables))
    assert results.unread() == "" and len(results.selectors()) and "importances" in results.findings()
    assert main(["table", "fake", "--storage", str(with_tables)]) == 0
    assert "cannot be read" not in capsys.readouterr().out
