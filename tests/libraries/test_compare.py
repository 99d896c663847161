"""Claims about two sweeps side by side and about choosing rows: paired, nothing averaged unseen, mistypes answered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sweep import Results
from sweep.cli import main
from sweep.compare import compare, differences
from tests.pure import fake_sweep as fake
from trainables.faults import Invalid


@pytest.fixture(scope="module")
def storage(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    fake.write(str(folder), "first")
    fake.write(str(folder), "second")
    _edit(folder, "second", definition={"target_settings": {"maximum_steps": 90}, "name": "second"})
    fake.write(str(folder), "elsewhere")
    _edit(folder, "elsewhere", target="another", languages=["de"])
    return folder


def _edit(folder: Path, name: str, **changes: object) -> None:
    path = folder / "sweeps" / name / "definition.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _open(storage: Path, name: str) -> Results:
    return Results.open(str(storage), name)


def test_a_sweep_differs_from_itself_by_nothing_in_every_cell_and_language(storage):
    rows = compare(_open(storage, "first"), _open(storage, "second")).to_pylist()
    assert {row["cell"] for row in rows} == {"none", "nli", "broken", "image_only"}
    for row in rows:
        if row["cell"] == "broken":
            assert row["gain"] is None and "no run of the same seed" in row["absent_reason"]
        else:
            assert row["gain"] == 0 and row["gain_low"] < 0 < row["gain_high"] and row["p_value"] == pytest.approx(1)
            assert (row["seeds"], row["items"]) == (3, fake.ITEMS)


def test_corrections_are_within_the_families_of_a_sweeps_own_comparisons(storage):
    rows = compare(_open(storage, "first"), _open(storage, "second")).to_pylist()
    families = {(row["family"], row["family_size"]) for row in rows}
    assert families == {
        (f"{role}, {what}", size)
        for role in ("baseline", "transfer", "image_only")
        for what, size in (("every language", 3), ("mean", 1), ("mean_without_en", 1))
    }
    assert {row["role"] for row in rows if row["cell"] == "none"} == {"baseline"}
    own = {row["family"] for row in _open(storage, "first").findings()["comparisons"].to_pylist()}
    assert own < {family for family, _ in families}


def test_an_accuracy_over_more_seeds_than_the_gain_is_said_to_be(storage):
    one, other = _open(storage, "first"), _open(storage, "second")
    rows = compare(one, other).to_pylist()
    assert {row["remark"] for row in rows} == {""}
    fewer = Fewer(other.storage, other.name)
    row = next(row for row in compare(one, fewer).to_pylist() if row["cell"] == "none" and row["language"] == "de")
    assert row["seeds"] == 2
    assert row["remark"] == "the gain is over 2 shared seeds, the accuracies over 3 and 2"


class Fewer(Results):
    """A sweep whose baseline has no run of its last seed."""

    def standing(self):
        found = super().standing()
        last = {key for key, record in found.records.items() if key.cell == "none" and record.seed == fake.SEEDS[-1]}
        return replace(found, records={key: value for key, value in found.records.items() if key not in last})


def test_every_difference_of_the_definitions_is_said(storage):
    found = differences(_open(storage, "first"), _open(storage, "second"))
    assert found == ["target_settings.maximum_steps: absent / 90"]


def test_sweeps_of_different_targets_are_not_compared(storage):
    with pytest.raises(Invalid, match=r"(?s)the target must be the same.*the languages must be the same"):
        compare(_open(storage, "first"), _open(storage, "elsewhere"))


def test_the_command_prints_the_comparison_and_what_differs(storage, capsys):
    where = ["--where", "language=de", "--where", "cell=nli,none"]
    assert main(["compare", "first", "second", "--storage", str(storage), "--format", "json", *where]) == 0
    said = capsys.readouterr()
    assert [(row["cell"], row["language"]) for row in json.loads(said.out)] == [("nli", "de"), ("none", "de")]
    assert "differs in target_settings.maximum_steps: absent / 90" in said.err
    assert main(["compare", "first", "elsewhere", "--storage", str(storage)]) == 2


def test_a_mistyped_column_or_value_is_answered_with_the_nearest(storage, capsys):
    table = ["table", "first", "--storage", str(storage)]
    for words, answer in (
        (["--where", "langauge=de"], "no column 'langauge'; did you mean 'language'?"),
        (["--where", "cell=nil"], "no row has cell 'nil'; did you mean 'nli'?"),
        (["--where", "cell"], "a condition must be COLUMN=VALUE"),
        (["--group-by", "scirpt"], "cannot be grouped by 'scirpt'; did you mean 'script'?"),
    ):
        assert main([*table, *words]) == 2
        assert answer in capsys.readouterr().err


def test_rows_are_grouped_and_chosen_and_nothing_is_exported(storage, capsys):
    assert main(["table", "first", "--storage", str(storage), "--group-by", "script", "--where", "cell=nli"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[2:]] == [["nli", "Latin"], ["nli", "Thai"]]
    assert "[" in lines[2]
    asked = ["--group-by", "script", "--where", "cell=nli", "--format", "markdown"]
    assert main(["table", "first", "--storage", str(storage), *asked]) == 0
    marked = capsys.readouterr().out.splitlines()
    assert marked[0] == "| cell | group | languages | accuracy | gain | seeds | remark |"
    assert marked[1] == "| --- | --- | --- | ---: | ---: | ---: | --- |"
    assert marked[2].startswith("| nli | Latin | de | 0.") and len(marked) == 4
    assert not (storage / "sweeps" / "first" / "tables").exists()
