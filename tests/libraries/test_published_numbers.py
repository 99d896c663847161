"""Published numbers go through the same tables; IGLUE's own say what its authors found of XVNLI."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from sweep import Results
from sweep.cli import main
from sweep.compare import compare
from sweep.comparisons import gain_numbers
from sweep.published import load, read
from sweep.record_definition import keep, refuse_other
from sweep.statistics import counted_gain
from tests.pure.small_sweep import small_sweep
from trainables.faults import Invalid
from trainables.store import Store

IGLUE = Path(__file__).parents[2] / ".." / "shared" / "real" / "iglue-results"
needs_iglue = pytest.mark.skipif(not IGLUE.is_dir(), reason="IGLUE's result files are not beside the repository")

SMALL = "model,en,de,avg\nours,70.0,60.0,65\ntheirs,71.5,-1.0,-1\nthird,50,,50\n"

#: Items of XVNLI's test set in each language, fourteen of them without a gold label and so always wrong in IGLUE.
ITEMS = 1164


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "small.csv"
    path.write_text(SMALL)
    return path


def _rows(path: Path, storage: Path, baseline: str, name: str = "published") -> dict[tuple[str, str], dict]:
    load(path, storage=str(storage), name=name, items=ITEMS, baseline=baseline)
    table = Results.open(str(storage), name).per_language()
    return {(row["cell"], row["language"]): row for row in table.to_pylist()}


def test_percent_and_shares_are_read_alike_and_a_stated_mean_is_not_read(file, tmp_path):
    found = {(row["model"], row["language"]): row["accuracy"] for row in read(file)}
    assert found["ours", "en"] == pytest.approx(0.7)
    assert found["third", "en"] == 0.5
    shares = tmp_path / "shares.csv"
    shares.write_text("model,en,de\nours,0.7,0.6\ntheirs,1.0,-1\n")
    assert [row["accuracy"] for row in read(shares)] == [0.7, 0.6, 1.0, None]
    assert {language for _, language in found} == {"en", "de"}


def test_a_file_is_percent_as_a_whole(tmp_path):
    path = tmp_path / "low.csv"
    path.write_text("model,en,sw\nours,71.5,0.86\n")
    assert [row["accuracy"] for row in read(path)] == pytest.approx([0.715, 0.0086])
    assert {row["file"] for row in read(path)} == {"low.csv"}


def test_minus_one_is_an_absence_and_never_enters_a_mean(file, tmp_path):
    rows = _rows(file, tmp_path, "ours")
    assert rows["theirs", "de"]["accuracy"] is None
    assert rows["theirs", "mean"]["absent_reason"] == "no score in de: the published file has no number"


def test_an_accuracy_of_one_run_has_an_interval_over_items_and_says_so(file, tmp_path):
    row = _rows(file, tmp_path, "ours")["theirs", "en"]
    assert 0.715 - row["accuracy_low"] == pytest.approx(1.96 * (0.715 * 0.285 / ITEMS) ** 0.5, rel=0.05)
    assert "interval over items only, one seed" in row["remark"]
    assert "gain not paired by item" in row["remark"]
    assert row["gain_low"] < 0 < row["gain_high"]


def test_what_is_no_accuracy_is_refused_with_its_place(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("model,en\na,many\nb,123\n")
    with pytest.raises(Invalid, match=r"(?s)'a' in 'en' must be a number up to 100, got 'many'.*'b' in 'en'"):
        read(path)
    path.write_text("name,en\na,1\n")
    with pytest.raises(Invalid, match="must name the columns, 'model'"):
        read(path)


def test_an_unknown_baseline_is_answered_with_the_nearest(file, tmp_path):
    with pytest.raises(LookupError, match=r"no model 'our' to be the baseline; did you mean 'ours'\?"):
        load(file, storage=str(tmp_path), name="x", items=10, baseline="our")


def _reported(file: Path, storage: Path, *more: str) -> str:
    there = ["--storage", str(storage)]
    assert main(["import", str(file), "--name", "mine", "--items", "1000", "--baseline", "ours", *there]) == 0
    assert main(["report", "mine", *more, *there]) == 0
    return (storage / "sweeps" / "mine" / "report" / "report.html").read_text()


def test_the_command_imports_and_the_report_claims_no_training(file, tmp_path, capsys):
    file.write_text("model,en,de\nours,70,60\ntheirs,71,62\n")
    page = _reported(file, tmp_path, "--published", str(file))
    assert "Published numbers: the model with the highest accuracy in" not in page
    assert "is theirs, above ours by +0.020" in page
    assert "intermediate training on" not in page
    assert "Accuracy beside the published numbers of small.csv; of this sweep ours alone" in page
    storage = ["--storage", str(tmp_path)]
    assert main(["report", "mine", "--output", str(tmp_path / "x.pdf"), *storage]) == 2
    assert "must end in .html" in capsys.readouterr().err


def test_the_report_of_published_numbers_says_nothing_that_holds_of_runs_alone(file, tmp_path):
    file.write_text("model,en,de\nours,72,63\ntheirs,71,62\nthird,50,40\n")
    page = _reported(file, tmp_path)
    assert (
        "none is above ours in mean accuracy over the languages other than English; the nearest is theirs, by −0.010"
        in page
    )
    for word in (
        "ntermediate training",
        "same seeds",
        "over seeds and items",
        "paired test",
        ">transfer<",
        "transfer,",
        "The search",
    ):
        assert word not in _spoken(page), word
    assert "Which model is better in which language" in page
    assert "one run of each, not paired by item" in page


def _spoken(page: str) -> str:
    """What a page says outside its JSON, its styles and its script."""
    return re.sub(
        r"(?s)<style>.*?</style>|<script>.*?</script>|<details><summary>The definition.*?</details>|id=\"[^\"]*\"",
        "",
        page,
    )


def test_a_p_value_from_counts_is_below_its_level_just_where_the_interval_excludes_zero():
    disagree = 0
    for right in range(0, 301, 3):
        for other in range(0, right, 7):
            mine, theirs = (right / 300, 300), (other / 300, 300)
            interval, p_value = counted_gain(mine, theirs), _p_value(mine, theirs)
            assert (p_value < 0.05) == (interval.low > 0), (right, other)
            wald = abs(interval.mean) / interval.standard_error if interval.standard_error else math.inf
            disagree += (wald > 1.959964) != (interval.low > 0)
    assert disagree > 0, "the old p-value said something else somewhere"
    assert _p_value((0.5, 100), (0.5, 100)) == pytest.approx(1)


def _p_value(mine: tuple[float, int], theirs: tuple[float, int]) -> float:
    return gain_numbers(None, (mine[0] - theirs[0],), (mine, theirs))["p_value"]


def test_two_files_of_published_numbers_are_compared_by_their_counts(file, tmp_path, capsys):
    file.write_text("model,en,de\nours,70,60\n")
    for name, text in (("one", "model,en,de\nours,70,60\n"), ("two", "model,en,de\nours,71,70\n")):
        file.write_text(text)
        load(file, storage=str(tmp_path), name=name, items=1000, baseline="ours")
    one, two = (Results.open(str(tmp_path), name) for name in ("one", "two"))
    rows = {row["language"]: row for row in compare(one, two).to_pylist()}
    interval = counted_gain((0.6, 1000), (0.7, 1000))
    assert [rows["de"][name] for name in ("gain_low", "gain_high")] == pytest.approx([interval.low, interval.high])
    assert rows["de"]["p_value"] < 0.001 and rows["de"]["items"] == 1000
    assert rows["de"]["remark"] == "not paired by item: from counts alone"
    load(file, storage=str(tmp_path), name="three", items=500, baseline="ours")
    with pytest.raises(Invalid, match="got items: 1000 and 500"):
        compare(one, Results.open(str(tmp_path), "three"))


@needs_iglue
def test_iglue_english_hardly_tells_the_models_apart_and_zero_shot_does(tmp_path):
    rows = _rows(IGLUE / "XVNLI_0.csv", tmp_path, "ctrl_muniter")
    models = sorted({cell for cell, _ in rows})
    english = [rows[model, "en"]["accuracy"] for model in models]
    zero_shot = [rows[model, "mean_without_en"]["accuracy"] for model in models]
    assert max(english) - min(english) == pytest.approx(0.011, abs=0.001)
    assert max(zero_shot) - min(zero_shot) == pytest.approx(0.0836, abs=0.001)
    for model in models[1:]:
        gain = rows[model, "en"]
        assert gain["gain_low"] < 0 < gain["gain_high"], "no English difference is beyond its interval"
    assert rows["uc2", "mean_without_en"]["accuracy"] == pytest.approx(0.6204925)  # the file's own mean
    assert rows["uc2", "mean_without_en"]["gain_low"] > 0.03


@needs_iglue
def test_iglue_translating_the_test_beats_zero_shot_for_every_model_and_language(tmp_path):
    zero_shot = _rows(IGLUE / "XVNLI_0.csv", tmp_path, "uc2", "zero_shot")
    translated = _rows(IGLUE / "XVNLI_0.mt.csv", tmp_path, "uc2", "translated")
    for (model, language), row in zero_shot.items():
        if language not in ("en", "mean"):
            other = translated[model, language]
            assert other["accuracy_low"] > row["accuracy_high"], (model, language)


@needs_iglue
def test_iglue_few_shots_add_no_more_than_chance_on_the_mean(tmp_path):
    zero_shot = _rows(IGLUE / "XVNLI_0.csv", tmp_path, "uc2", "zero_shot")
    few = _rows(IGLUE / "XVNLI_48.csv", tmp_path, "uc2", "few_shot")
    for model in ("ctrl_muniter", "ctrl_xuniter", "uc2", "m3p"):
        gain = few[model, "mean"]["accuracy"] - zero_shot[model, "mean_without_en"]["accuracy"]
        assert 0 < gain < 0.022
        assert few[model, "mean"]["accuracy_low"] < zero_shot[model, "mean_without_en"]["accuracy"]


@needs_iglue
def test_a_report_of_iglues_own_file_answers_with_its_best_model(tmp_path):
    load(IGLUE / "XVNLI_0.csv", storage=str(tmp_path), name="iglue", items=ITEMS, baseline="ctrl_muniter")
    results = Results.open(str(tmp_path), "iglue")
    page = Path(results.report()[0]).read_text()
    means = {r["cell"]: r["accuracy"] for r in results.per_language().to_pylist() if r["language"] == "mean_without_en"}
    best = max(means, key=lambda cell: means[cell])
    said = (
        f"the model with the highest mean accuracy over the languages other than English is {best}, above ctrl_muniter"
    )
    assert best == "uc2" and said in page


def test_an_import_never_touches_a_sweep_of_its_name_that_is_anything_else(file, tmp_path):
    """Neither a sweep that was run, nor an earlier import of other numbers; the very same import changes nothing."""
    storage = str(tmp_path / "storage")
    load(file, storage=storage, name="numbers", items=ITEMS, baseline="ours")
    before = {path: path.read_bytes() for path in (tmp_path / "storage").rglob("*") if path.is_file()}
    load(file, storage=storage, name="numbers", items=ITEMS, baseline="ours")
    with pytest.raises(Invalid, match="the storage holds another sweep of it; import under another --name"):
        load(file, storage=storage, name="numbers", items=500, baseline="ours")
    file.write_text(SMALL.replace("71.5", "91.5"))
    with pytest.raises(Invalid, match="the storage holds another sweep of it"):
        load(file, storage=storage, name="numbers", items=ITEMS, baseline="ours")
    assert {path: path.read_bytes() for path in (tmp_path / "storage").rglob("*") if path.is_file()} == before


def test_an_import_of_before_there_was_a_hash_of_its_file_is_known_by_its_numbers(file, tmp_path):
    storage = tmp_path / "storage"
    given = {"storage": str(storage), "name": "numbers", "items": ITEMS, "baseline": "ours"}
    load(file, **given)
    stated = storage / "sweeps/numbers/definition.json"
    whole = stated.read_bytes()
    before = json.loads(whole)
    del before["definition"]["sha256"]
    stated.write_text(json.dumps(before, sort_keys=True, indent=1, ensure_ascii=False))
    old = stated.read_bytes()
    for text, changed in ((SMALL.replace("71.5", "91.5"), {}), (SMALL, {"items": 500}), (SMALL, {"baseline": "third"})):
        file.write_text(text)
        with pytest.raises(Invalid, match="the storage holds another sweep of it"):
            load(file, **{**given, **changed})
        assert stated.read_bytes() == old
    file.write_text(SMALL)
    others = {path: path.read_bytes() for path in storage.rglob("*") if path.is_file() and path != stated}
    load(file, **given)
    assert stated.read_bytes() == whole
    found = {path: path.read_bytes() for path in storage.rglob("*") if path.is_file() and path != stated}
    assert found == others


def test_no_sweep_runs_under_the_name_of_imported_numbers(file, tmp_path):
    sweep = small_sweep()
    load(file, storage=str(tmp_path), name=sweep.name, items=ITEMS, baseline="ours")
    store = Store(str(tmp_path))
    with pytest.raises(Invalid, match=r"got that of numbers imported from small\.csv; name it otherwise"):
        refuse_other(sweep, store.filesystem, store.root)


def test_numbers_are_not_imported_over_a_sweep_that_was_run(file, tmp_path):
    sweep = small_sweep()
    store = Store(str(tmp_path))
    keep(sweep, store.filesystem, store.root)
    with pytest.raises(Invalid, match="the storage holds another sweep of it"):
        load(file, storage=str(tmp_path), name=sweep.name, items=ITEMS, baseline="ours")
    assert Results(str(tmp_path), sweep.name).stated()["target"] == sweep.target.name
