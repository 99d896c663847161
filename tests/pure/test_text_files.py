import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainables.catalogue.development import with_oracle
from trainables.catalogue.task import NLI_LABELS, Split, Task
from trainables.catalogue.xtreme_m import text_pair_task
from trainables.data.fingerprint import resolve
from trainables.data.reading import inspect, read
from trainables.data.remarked import own_remarks, training_rows
from trainables.data.schema import PAIR
from trainables.faults import Invalid

REAL = Path(__file__).parents[2].parent / "shared" / "real" / "americasnli"

ROWS = [
    {"premise": 'He said "no".', "hypothesis": "null", "label": "contradiction", "id": "a"},
    {"premise": "A dog runs.", "hypothesis": "An animal, moving.", "label": "entailment", "id": "b"},
    {"premise": "A dog runs.", "hypothesis": "It is late.", "label": "neutral", "id": "c"},
]


def write(path: Path, rows: list[dict]) -> None:
    names = list(rows[0]) if rows else ["premise", "hypothesis", "label"]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({name: [row[name] for row in rows] for name in names}), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".tsv":
        path.write_text("\n".join(["\t".join(names), *("\t".join(str(row[n]) for n in names) for row in rows)]) + "\n")
    else:
        quoted = [",".join('"' + str(row[n]).replace('"', '""') + '"' for n in names) for row in rows]
        path.write_text("\n".join([",".join(names), *quoted]) + "\n")


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".jsonl", ".parquet"])
def test_every_format_says_the_same(tmp_path, ending):
    write(tmp_path / f"train{ending}", ROWS)
    task = text_pair_task("mine", train=tmp_path / f"train{ending}")
    assert inspect(task) == []
    table = read(resolve(task), "train", None, None)
    assert table.schema == PAIR
    assert table["premise"].to_pylist() == [row["premise"] for row in ROWS]
    assert table["hypothesis"].to_pylist()[:2] == ["null", "An animal, moving."]
    assert table["label"].to_pylist() == [2, 0, 1]
    assert set(table["language"].to_pylist()) == {"en"} and table["id"].to_pylist() == ["a", "b", "c"]


def test_rows_without_ids_are_numbered_and_labels_may_be_places(tmp_path):
    write(tmp_path / "train.tsv", [{"premise": "p", "hypothesis": "h", "label": place} for place in (2, 0)])
    table = read(text_pair_task("mine", train=tmp_path / "train.tsv"), "train", None, None)
    assert table["id"].to_pylist() == ["train-0", "train-1"] and table["label"].to_pylist() == [2, 0]


@pytest.mark.parametrize("ending", [".tsv", ".csv"])
@pytest.mark.parametrize("names", [("1", "0"), ("true", "false"), ("0", "1"), ("2", "10", "1")])
def test_labels_in_text_are_taken_by_name_also_where_names_are_numbers_or_truths(tmp_path, ending, names):
    rows = [{"premise": f"p{name}", "hypothesis": "h", "label": name} for name in reversed(names)]
    write(tmp_path / f"train{ending}", rows)
    task = text_pair_task("mine", train=tmp_path / f"train{ending}", labels=names)
    assert inspect(task) == []
    assert [names[label] for label in read(task, "train", None, None)["label"].to_pylist()] == list(reversed(names))


@pytest.mark.parametrize("separator", ["\t", ", "])
def test_spaces_beside_a_label_in_text_are_no_part_of_it(tmp_path, separator):
    path = tmp_path / ("train.csv" if separator == ", " else "train.tsv")
    lines = [separator.join(["p", f"h{row}", label]) for row, label in enumerate(["0 ", " 2", "1"])]
    path.write_text("\n".join(["premise,hypothesis,label".replace(",", separator.strip(" ")), *lines]) + "\n")
    assert inspect(text_pair_task("mine", train=path)) == []
    assert read(text_pair_task("mine", train=path), "train", None, None)["label"].to_pylist() == [0, 2, 1]


def test_a_label_in_text_whose_name_has_spaces_is_taken_as_it_stands(tmp_path):
    write(tmp_path / "train.tsv", [{"premise": "p", "hypothesis": label, "label": label} for label in ("0 ", " 1")])
    task = text_pair_task("mine", train=tmp_path / "train.tsv", labels=("1", "0 "))
    assert inspect(task) == [] and read(task, "train", None, None)["label"].to_pylist() == [1, 0]


@pytest.mark.parametrize("labels", [["neutral", "entailment"], [1, 0]])
def test_columns_that_store_equal_values_once_are_read(tmp_path, labels):
    columns = {"premise": ["p", "p"], "hypothesis": ["h", "g"], "label": labels, "language": ["en", "en"], "id": [4, 7]}
    encoded = {name: pa.array(column).dictionary_encode() for name, column in columns.items()}
    pq.write_table(pa.table(encoded), tmp_path / "train.parquet")
    task = text_pair_task("mine", train=tmp_path / "train.parquet")
    assert inspect(task) == [] and own_remarks(task) == ()
    table = read(task, "train", None, None)
    assert table.schema == PAIR and table["label"].to_pylist() == [1, 0] and table["id"].to_pylist() == ["4", "7"]


def test_a_place_is_no_label_in_text_where_names_are_numbers(tmp_path):
    write(tmp_path / "train.tsv", [{"premise": "p", "hypothesis": "h", "label": label} for label in (1, 0)])
    (fault,) = inspect(text_pair_task("mine", train=tmp_path / "train.tsv", labels=("1", "2")))
    assert "label must be '1', '2', got '0' in 1 rows (first row 1, id 'train-1')" in fault


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_integers_are_refused_where_a_label_is_named_by_another_number_than_its_place(tmp_path, ending):
    write(tmp_path / f"train{ending}", [{"premise": "p", "hypothesis": "h", "label": label} for label in (1, 0)])
    (fault,) = inspect(text_pair_task("mine", train=tmp_path / f"train{ending}", labels=("1", "0")))
    assert (
        "must hold strings where labels are named by numbers ('1' is label 0), got int64, places or names; cast it to "
        "strings" in fault
    )
    task = text_pair_task("mine", train=tmp_path / f"train{ending}", labels=("0", "1"))
    assert inspect(task) == [] and read(task, "train", None, None)["label"].to_pylist() == [1, 0]


ACROSS = [
    {"premise": f"p {code}", "hypothesis": f"h {code}", "label": label, "id": item, "language": code}
    for code in ("de", "fr")
    for item, label in (("a", "neutral"), ("b", "entailment"))
]


def across(folder: Path, rows: list[dict]) -> Task:
    write(folder / "train.tsv", ROWS)
    write(folder / "test.tsv", rows)
    return text_pair_task("mine", train=folder / "train.tsv", test=folder / "test.tsv", test_languages=("de", "fr"))


def test_an_item_that_is_asked_in_several_languages_has_one_label(tmp_path):
    assert inspect(across(tmp_path, ACROSS)) == []
    (fault,) = inspect(across(tmp_path, [*ACROSS[:3], {**ACROSS[3], "label": "neutral"}]))
    assert "must have the same label in every language, got 1 of 2 in 'fr' that differ from 'de' (b)" in fault
    assert fault.endswith("translates, or leave the column 'id' out where items are no translations")


def test_items_that_not_every_language_has_are_told_and_not_refused(tmp_path):
    own = across(tmp_path, [{**row, "id": f"{row['language']}-{row['id']}"} for row in ACROSS])
    assert inspect(own) == []
    assert own_remarks(own) == (
        "split 'test' has no id in two languages: its rows in de fr count as different items; give an item that is "
        "asked in several languages the same id in each",
    )
    assert read(own, "test", None, None)["id"].to_pylist() == ["de-a", "de-b", "fr-a", "fr-b"]
    part = across(tmp_path, ACROSS[:3])
    assert inspect(part) == []
    assert own_remarks(part) == (
        "split 'test': not all of its 2 items are in every language (1 in 'fr'); accuracies of its languages are of "
        "different items",
    )


def test_that_rows_without_ids_are_different_items_in_every_language_is_told(tmp_path):
    task = across(tmp_path, [{name: row[name] for name in row if name != "id"} for row in ACROSS])
    assert inspect(task) == []
    assert own_remarks(task) == (
        "split 'test' has no column 'id': its rows in de fr count as different items; give an item that is asked in "
        "several languages the same id in each",
    )
    assert own_remarks(across(tmp_path, ACROSS)) == ()


def test_rows_in_other_languages_and_empty_texts_are_told(tmp_path):
    rows = [{**row, "language": code} for row, code in zip(ROWS, ("en", "de", "en"), strict=True)]
    write(tmp_path / "train.tsv", [{**rows[0], "premise": " "}, {**rows[1], "premise": ""}, rows[2]])
    write(tmp_path / "dev.tsv", [{"premise": "p", "hypothesis": hypothesis, "label": 0} for hypothesis in ("", "h")])
    task = text_pair_task("mine", train=tmp_path / "train.tsv", dev=tmp_path / "dev.tsv")
    assert inspect(task) == []
    assert own_remarks(task) == (
        "split 'train' is read in en alone: 1 of its 3 rows are left out (1 in 'de')",
        "1 of 2 texts in 'premise' of train are empty",
        "1 of 2 texts in 'hypothesis' of dev are empty",
    )
    assert read(task, "train", None, None).num_rows == training_rows(task) == 2


def test_development_rows_that_an_oracle_is_shown_are_looked_at_too(tmp_path):
    task = across(tmp_path, ACROSS)
    rows = [{**row, "language": code, "hypothesis": f"of {code}"} for row in ROWS for code in ("en", "de", "fr")]
    write(tmp_path / "dev.tsv", [{**row, "premise": row["premise"] * (row["language"] != "fr")} for row in rows])
    task = replace(
        task,
        splits=(*task.splits, Split(name="dev", languages=("en",))),
        source=replace(task.source, dev=str(tmp_path / "dev.tsv")),
    )
    left_out = "split 'dev' is read in en alone: 6 of its 9 rows are left out (3 in 'de', 3 in 'fr')"
    assert [told.partition(";")[0] for told in own_remarks(task)] == [left_out]
    shown = with_oracle(task, development=["de", "fr"])
    assert inspect(shown) == [] and own_remarks(shown) == ("3 of 6 texts in 'premise' of oracle_dev are empty",)


def test_remarks_on_files_that_cannot_be_read_are_left_to_the_faults(tmp_path):
    write(tmp_path / "train.jsonl", [{**ROWS[0], "premise": ["a"]}])
    assert own_remarks(text_pair_task("mine", train=tmp_path / "train.jsonl", dev=tmp_path / "none.tsv")) == ()


@pytest.mark.parametrize("column", ["premise", "hypothesis", "label", "language", "id"])
@pytest.mark.parametrize("odd", [["x"], [], {"a": 1}, 0.5, True, b"\xff", None], ids=repr)
def test_values_of_any_type_are_a_fault_in_words(tmp_path, column, odd):
    rows = [{**row, "language": "en", column: odd} for row in ROWS]
    for ending in (".parquet", ".jsonl") if odd != b"\xff" else (".parquet",):
        write(tmp_path / f"train{ending}", rows)
        task = text_pair_task("mine", train=tmp_path / f"train{ending}")
        assert own_remarks(task) == ()
        assert any(f"column {column!r} must h" in fault for fault in inspect(task))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            [{"premise": "p", "hypotesis": "h", "label": 0}],
            "must have a column 'hypothesis', got 'premise', 'hypotesis'",
        ),
        ([{"premise": "p", "hypothesis": "h", "label": "maybe"}], "label must be 0 or 'entailment'"),
        ([{"premise": "p", "hypothesis": "h", "label": 3}], "got 3 in 1 rows (first row 0, id 'train-0')"),
        ([{"premise": "p", "hypothesis": "h", "label": 0.5}], "label must be 0 or 'entailment'"),
        ([{"premise": "p", "hypothesis": "h", "label": 0, "language": "de"}], "must have rows in 'en', got none"),
        ([dict(ROWS[0]), dict(ROWS[0])], "ids must differ within 'en', got 1 repeated"),
        ([], "must have rows, got none"),
    ],
)
def test_each_fault_says_what_must_hold_and_what_arrived(tmp_path, rows, words):
    write(tmp_path / "train.tsv", rows)
    faults = inspect(text_pair_task("mine", train=tmp_path / "train.tsv"))
    assert len(faults) == 1 and words in faults[0]


def test_files_that_are_absent_of_another_ending_or_broken_are_told_at_once(tmp_path):
    (tmp_path / "dev.parquet").write_text("no table")
    write(tmp_path / "trian.tsv", ROWS)
    task = text_pair_task("mine", train=tmp_path / "train.tsv", dev=tmp_path / "dev.parquet", test=tmp_path / "t.xlsx")
    faults = inspect(task)
    assert "got nothing there; did you mean 'trian.tsv'?" in faults[0]
    assert "must be a .parquet file, got one that cannot be read" in faults[1]
    assert "must end in .tsv, .csv, .jsonl, .parquet, got '.xlsx'" in faults[2]
    with pytest.raises(Invalid, match="the file of split 'train' must exist"):
        resolve(task)


def test_a_pair_in_two_splits_is_told(tmp_path):
    write(tmp_path / "train.tsv", ROWS)
    write(tmp_path / "dev.tsv", [{**ROWS[1], "id": "other"}])
    faults = inspect(text_pair_task("mine", train=tmp_path / "train.tsv", dev=tmp_path / "dev.tsv"))
    assert len(faults) == 1 and "'train' and 'dev' must share no pair, got 1 in both" in faults[0]


def test_files_that_changed_after_the_plan_are_refused(tmp_path):
    write(tmp_path / "train.tsv", ROWS)
    planned = resolve(text_pair_task("mine", train=tmp_path / "train.tsv"))
    write(tmp_path / "train.tsv", ROWS[:2])
    with pytest.raises(Invalid, match="they have changed"):
        read(planned, "train", None, None)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL}, real files in the format, is not here")
def test_real_files_are_read_whole(tmp_path):
    task = text_pair_task("gn", train=REAL / "gn.dev.tsv", test=REAL / "quy.dev.tsv", language="gn")
    task = replace(task, splits=(task.splits[0], replace(task.splits[1], languages=("quy",))))
    assert inspect(task) == []
    table = read(task, "train", None, None)
    labels = [NLI_LABELS[label] for label in table["label"].to_pylist()]
    assert [labels.count(name) for name in NLI_LABELS] == [248, 247, 248]
    assert 'hyapu "guis"' in " ".join(table["premise"].to_pylist())
    assert read(task, "test", None, None)["id"].to_pylist() == table["id"].to_pylist()
