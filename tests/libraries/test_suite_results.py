"""Claims about a suite's files: one page over all targets with theirs beside it, and no export overwrites another."""

from __future__ import annotations

import dataclasses
import json

import optuna
import pyarrow.parquet as pq
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweep.cli import main
from sweep.columns import ACROSS, PER_LANGUAGE
from sweep.outcomes import Answers
from sweep.per_language import per_language
from sweep.record_definition import described
from sweep.report.page import render
from sweep.report.suite import build_suite, suite_answer
from tests.pure import fake_sweep as fake
from tests.pure.small_sweep import ALONE, BASELINE, small_sweep
from trainables.canonical import encode

NAMES = ("phang2020-xnli", "phang2020-tatoeba")
ROLES = {"none": "baseline", "nli": "transfer", "qqp": "transfer", "image_only": "image_only"}


@pytest.fixture(scope="module")
def storage(tmp_path_factory) -> str:
    """Two of the nine sweeps of `phang2020`, as runs would leave them."""
    folder = tmp_path_factory.mktemp("suite")
    for name in NAMES:
        fake.write(str(folder), name)
        sweep = small_sweep(name=name, cells=(BASELINE, ALONE))
        path = folder / "sweeps" / name / "definition.json"
        path.write_text(json.dumps({**described(sweep), "languages": fake.LANGUAGES, "definition": encode(sweep)}))
    return str(folder)


def _rows(*sweeps: str) -> list[dict]:
    """Rows of `per_language` of several sweeps."""
    found = []
    for name in sweeps:
        standing = dataclasses.replace(fake.standing(), sweep=name)
        found += per_language(standing, Answers(standing, fake.scores, fake.predictions)).to_pylist()
    return found


def _mean(cell: str, gain: float | None, targets: str = "all", half: float | None = 0.02) -> dict:
    ends = {"gain_low": gain - half, "gain_high": gain + half} if gain is not None and half else {}
    empty = {"gain_low": None, "gain_high": None, "accuracy": None, "absent_reason": "", "seeds": 3}
    return {**empty, "sweep": "s", "cell": cell, "targets": targets, "number": 9, "gain": gain, **ends}


def test_a_suite_has_one_page_and_the_reports_of_its_sweeps_beside_it(storage, tmp_path, capsys):
    page = tmp_path / "x.html"
    assert main(["report", "phang2020", "--storage", storage, "--output", str(page)]) == 1
    said = capsys.readouterr()
    assert said.out == f"wrote {page}\n" and said.err.count("has not been run") == 7
    text = page.read_text("utf-8")
    assert "Over 2 targets, the largest mean gain of 1 kind of intermediate training is that of nli" in text
    assert 'id="table-across"' in text and 'id="figure-targets"' in text and "Not run: phang2020-pawsx" in text
    for name in NAMES:
        assert f'href="x_files/{name}.html"' in text
        assert "<h1>Sweep " + name in (tmp_path / "x_files" / f"{name}.html").read_text("utf-8")
    files = {file.name for file in (tmp_path / "x_files").iterdir()}
    assert {"across.parquet", "across.tex", "gains.tex", "targets.svg", "phang2020-xnli_files"} <= files


def test_a_suites_report_lies_in_its_own_folder_of_the_storage(storage, capsys):
    main(["report", "phang2020", "--storage", storage])
    assert capsys.readouterr().out == f"wrote {storage}/suites/phang2020/report.html\n"


def test_published_numbers_are_of_one_target(storage, capsys):
    assert main(["report", "phang2020", "--storage", storage, "--published", "x.csv"]) == 2
    assert "--published is of one target: report one sweep of phang2020" in capsys.readouterr().err


def test_an_export_of_a_suite_has_a_folder_for_each_sweep_and_the_means(storage, tmp_path):
    to = tmp_path
    asked = ["--tables", f"{to}/tables", "--hf-dataset", f"{to}/hub", "--optuna", f"{to}/studies.log"]
    assert main(["export", "phang2020", "--storage", storage, *asked]) == 1
    across = pq.read_table(to / "tables" / "across.parquet")
    assert across.schema.equals(ACROSS) and set(across["number"].to_pylist()) == {2}
    for name in NAMES:
        table = pq.read_table(to / "tables" / name / "per_language.parquet")
        assert table.schema.equals(PER_LANGUAGE) and set(table["sweep"].to_pylist()) == {name}
        assert (to / "hub" / name / "README.md").is_file()
    journal = JournalStorage(JournalFileBackend(f"{to}/studies.log"))
    assert set(optuna.get_all_study_names(journal)) == {f"{name}/{cell}" for name in NAMES for cell in ("none", "nli")}


def test_a_suite_of_which_nothing_was_run_is_told_so(tmp_path, capsys):
    assert main(["report", "phang2020", "--storage", str(tmp_path)]) == 2
    assert "has no sweep of the suite 'phang2020'; run one of: phang2020-xnli, " in capsys.readouterr().err


def test_the_matrix_of_a_suite_has_a_square_with_an_interval_for_every_target():
    page, (plot,) = build_suite("s", [_mean("nli", 0.1)], _rows("s-one", "s-two"))
    marks = {(mark.cell, mark.language) for mark in plot.marks.values()}
    assert marks == {("nli", "one"), ("nli", "two")}
    (gains,) = [table for section in page.sections for table in section.tables if table.name == "gains"]
    row = next(row for row in _rows("s-one") if (row["cell"], row["language"]) == ("nli", "mean"))
    assert gains.rows[0]["of nli"] == f"{row['gain']:+.3f} [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}]"
    assert '<label>target <select id="language">' in render(page)


def test_the_sentence_of_a_suite_names_the_largest_gain_and_how_many_are_sure():
    rows = [_mean("none", None), _mean("image_only", 0.9), _mean("nli", 0.05), _mean("qqp", -0.03)]
    said = suite_answer([*rows, _mean("nli", 0.01, "without_retrieval")], ROLES)
    assert said[0] == (
        "Over 9 targets, the largest mean gain of 2 kinds of intermediate training is that of nli, "
        "+0.050 [+0.030, +0.070]. Intervals of 1 lie above 0 and of 1 below; they are not corrected for their number, "
        "and the largest of several is too large on average."
    )
    assert said[1].startswith("Over the 9 without retrieval, the largest mean gain of 1 kind")
    assert "one seed cannot say" in suite_answer([_mean("nli", 0.05, half=None)], ROLES)[0]
    assert suite_answer([_mean("nli", None)], ROLES)[0].startswith("No answer yet")
    assert "(1 more lack a target)" in suite_answer([_mean("nli", 0.05), _mean("qqp", None)], ROLES)[0]
