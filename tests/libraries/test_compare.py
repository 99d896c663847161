"""Claims about two sweeps side by side and about choosing rows: paired, nothing averaged unseen, mistypes answered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from sweep import Results
from sweep.cli import main
from sweep.compare import compare, differences
from sweep.outcomes import Answers
from tests.pure import fake_sweep as fake
from tests.pure.small_sweep import small_sweep
from trainables.canonical import encode
from trainables.catalogue.development import with_oracle
from trainables.catalogue.task import ParquetSource, Split, Task
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


def _with_target(storage: Path, name: str, target: Task) -> Results:
    fake.write(str(storage), name)
    _edit(storage, name, definition={"target": encode(target)})
    return _open(storage, name)


def test_a_test_drawn_with_another_seed_is_no_pair_of_the_same_items(storage):
    same = _with_target(storage, "same", fake.TARGET)
    other = _with_target(storage, "redrawn", replace(fake.TARGET, source=replace(fake.TARGET.source, seed=99)))
    with pytest.raises(Invalid, match=r"test data must be the same .*, got source\.seed: 0 and 99; compare each with"):
        compare(same, other)
    trained = replace(fake.TARGET, splits=tuple(_longer(split) for split in fake.TARGET.splits))
    assert len(compare(same, _with_target(storage, "trained_on_more", trained))) > 0


def _longer(split: Split) -> Split:
    return replace(split, rows=500) if split.name == "train" else split


def test_a_file_that_lies_elsewhere_is_the_same_test_and_one_that_holds_something_else_is_not(storage):
    source = ParquetSource(train="a", dev="b", test="c", fingerprint="train:1 dev:2 test:3")
    here = _with_target(storage, "here", replace(fake.TARGET, source=source))
    moved = replace(source, test="elsewhere/c", fingerprint="train:9 dev:2 test:3")
    assert len(compare(here, _with_target(storage, "moved", replace(fake.TARGET, source=moved)))) > 0
    changed = replace(source, fingerprint="train:1 dev:2 test:4")
    with pytest.raises(Invalid, match=r"got source\.fingerprint: "):
        compare(here, _with_target(storage, "changed", replace(fake.TARGET, source=changed)))


def test_what_an_oracle_saw_beside_the_whole_test_makes_it_no_other_test(storage):
    dev = Split(name="dev", languages=("en",), rows=9)
    developed = replace(fake.TARGET, twin_of="xnli", splits=(*fake.TARGET.splits, dev))
    targets = {"asked": with_oracle(developed), "unasked": developed, "halved": with_oracle(fake.TARGET)}
    asked, unasked, halved = (_with_target(storage, name, target) for name, target in targets.items())
    assert compare(asked, unasked).num_rows
    with pytest.raises(Invalid, match=r"got splits\[oracle\]"):
        compare(halved, unasked)


def test_items_of_one_name_with_other_right_answers_are_not_paired(storage):
    class Relabelled(Results):
        def answers(self, standing):
            return Answers(standing, self.store.scores, relabelled)

    def relabelled(digest):
        table = fake.predictions(digest)
        gold = ["b" if gold == "a" else gold for gold in table["gold"].to_pylist()]
        return table.set_column(table.column_names.index("gold"), "gold", pa.array(gold))

    first = _open(storage, "first")
    wanted = r"must have one right answer in both sweeps, got \d+ that differ, as 'item-\d+' in de: 'a' and 'b'"
    with pytest.raises(Invalid, match=wanted):
        compare(first, Relabelled(first.storage, "second"))


def test_a_field_that_did_not_exist_when_a_definition_was_written_is_no_difference(storage):
    now = encode(small_sweep())
    before = {name: value for name, value in now.items() if name not in ("selector", "checkpoints", "retrieval_layer")}
    for name, definition in (("now", now), ("before", before)):
        fake.write(str(storage), name)
        _edit(storage, name, definition=definition)
    # The selector was the last step before there were selectors, and one checkpoint was kept.
    assert [line.split(":")[0] for line in differences(_open(storage, "now"), _open(storage, "before"))] == [
        "checkpoints",
        "selector",
    ]


def test_the_command_prints_the_comparison_and_what_differs(storage, capsys):
    where = ["--where", "language=de", "--where", "cell=nli,none"]
    assert main(["compare", "first", "second", "--storage", str(storage), "--format", "json", *where]) == 0
    said = capsys.readouterr()
    assert [(row["cell"], row["language"]) for row in json.loads(said.out)] == [("nli", "de"), ("none", "de")]
    assert "differs in target_settings.maximum_steps: absent / 90" in said.err
    capsys.readouterr()
    assert main(["compare", "first", "second", "--storage", str(storage), "--format", "markdown", *where]) == 0
    head, rule = capsys.readouterr().out.splitlines()[:2]
    assert head.startswith("| cell | language | accuracy | other accuracy | gain |") and rule.startswith(
        "| --- | --- |"
    )
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
