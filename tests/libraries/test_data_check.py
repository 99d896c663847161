import io
import json
from inspect import signature
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sweep.cli import main
from sweep.data_check import check, check_text
from trainables.catalogue.xtreme_m import parquet_task

REAL = Path(__file__).parents[2].parent / "shared" / "real" / "emoji-vnli"
TELLING = ("surely it is", "perhaps it is", "never is it")


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def write(folder: Path, split: str, *, first: int, languages=("en",), rows: int = 12, **changed) -> None:
    numbers = [first + n for _ in languages for n in range(rows)]
    columns = {
        "image": [{"bytes": png(number), "path": None} for number in numbers],
        "hypothesis": [f"claim {number}" for number in numbers],
        "label": [number % 3 for number in numbers],
        "language": [language for language in languages for _ in range(rows)],
        "id": [f"{split}{number}" for number in numbers],
    }
    pq.write_table(pa.table({**columns, **changed}), folder / f"{split}.parquet")


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "train", first=0)
    write(tmp_path, "dev", first=100)
    write(tmp_path, "test", first=200, languages=("en", "de"))
    return tmp_path


def test_a_sound_set_is_described_and_has_no_fault(folder, capsys):
    found = check(folder)
    assert found.faults == () and found.warnings == () and found.images == 36
    assert [(part.split, part.language, part.rows) for part in found.parts] == [
        ("train", "en", 12),
        ("dev", "en", 12),
        ("test", "en", 12),
        ("test", "de", 12),
    ]
    assert found.parts[0].labels == (("entailment", 4), ("neutral", 4), ("contradiction", 4))
    assert found.parallel == (("train", 12, 12), ("dev", 12, 12), ("test", 12, 12))
    assert dict(found.columns)["label"] == "int64" and found.columns[0][0] == "image"
    assert main(["data", "check", str(folder)]) == 0
    assert "a sweep can use it" in capsys.readouterr().out


@pytest.mark.parametrize("column", ["image", "hypothesis", "label", "language", "id"])
def test_values_of_any_type_are_a_fault_in_words(folder, column):
    """Each split's column in turn, as JSON exports or a careless cast may leave it."""
    values = ([1, 2], [["x"], []], [{"a": 1}, {"a": 2}], [b"\xff", b"x"], [0.5, 1.5], [True, False], [None, None])
    for odd in (*values, [{"bytes": [1, 2], "path": "a"}] * 2):
        if (column, odd) == ("label", [1, 2]):
            continue  # these are labels
        write(folder, "train", first=0, **{column: odd * 6})
        write(folder, "test", first=200, **{column: odd * 6})
        found = check(folder)
        assert {"train", "test"} <= {fault.split("'")[1] for fault in found.faults}
        assert check_text(found).endswith("faults must be mended first")


def test_a_hypothesis_that_tells_the_label_is_warned_of(folder):
    for split, first in (("train", 0), ("dev", 100)):
        told = [f"{TELLING[(first + n) % 3]} {first + n}" for n in range(60)]
        write(folder, split, first=first, rows=60, hypothesis=told)
    found = check(folder)
    by_part = {(part.split, part.language): part for part in found.parts}
    assert by_part["dev", "en"].hypothesis_only == 1.0 and by_part["train", "en"].hypothesis_only is None
    assert by_part["test", "de"].hypothesis_only is None  # of twelve items nobody can say
    assert any("the hypothesis alone gives 1.000" in text for text in found.warnings)


def test_development_rows_in_languages_of_the_test_are_offered_to_an_oracle_and_looked_at_for_it(folder):
    write(folder, "dev", first=100, languages=("en", "de", "fr"))
    found = check(folder)
    left_out, offered = found.warnings
    assert left_out.startswith("split 'dev' is read in en alone") and found.faults == ()
    assert offered.startswith("with_oracle(task, development=['de']) shows those of its rows to an oracle")
    write(folder, "dev", first=100, languages=("en", "de"), id=[f"dev{n}" for n in range(12)] + ["dev7"] * 12)
    found = check(folder)
    assert found.faults == ()  # what is English can be used
    assert any(
        one.startswith("for an oracle: split 'oracle_dev': ids must differ within 'de'") for one in found.warnings
    )
    turned = [n % 3 for n in (*range(100, 112), *range(101, 113))]
    write(folder, "dev", first=100, languages=("en", "de"), label=turned)
    assert any("same label in every language, got 12 of 12 in 'de'" in one for one in check(folder).warnings)
    write(folder, "dev", first=100, languages=("en", "de"), id=[f"dev{n}" for n in range(100, 124)])
    assert any("12 of 12 items in 'de' have the id of none in 'en'" in one for one in check(folder).warnings)


def test_a_training_file_in_another_language_is_checked_as_the_source_that_it_is(folder, capsys):
    write(folder, "de", first=0, languages=("de",))
    write(folder, "dev", first=100, languages=("en", "de"))  # which a source shows to no oracle
    stated = ["--train", "de.parquet", "--language", "de"]
    assert main(["data", "check", str(folder), *stated]) == 0
    told = capsys.readouterr().out
    assert "train        de    12" in told and "a sweep can use it" in told and "with_oracle" not in told
    assert main(["data", "check", str(folder), *stated[:2]]) == 1
    told = capsys.readouterr().out
    assert "the training file is in de and is read in en: state its language, here with --language, in a def" in told
    assert main(["data", "check", str(folder), *stated[2:]]) == 1  # the file is there, and is the English one
    assert "split 'train' must have rows in 'de', got none; did you mean 'en'?" in capsys.readouterr().out


def test_what_a_task_can_state_of_its_files_the_check_can(folder, capsys):
    for split in ("train", "dev", "test"):
        (folder / f"{split}.parquet").rename(folder / f"my_{split}.parquet")
    assert main(["data", "check", str(folder)]) == 2
    named = [word for split in ("train", "dev", "test") for word in (f"--{split}", f"my_{split}.parquet")]
    assert main(["data", "check", str(folder), *named]) == 0
    assert main(["data", "check", str(folder), *named[:-1], "mytest.parquet"]) == 1
    assert "must be a file, got nothing there; did you mean 'my_test.parquet'?" in capsys.readouterr().out
    of_no_file = {"name", "rows", "licence"}  # rows are counted, and a plan compares what is stated of them
    assert {*signature(parquet_task).parameters} - of_no_file == {*signature(check).parameters}


def test_languages_of_the_test_that_are_not_wanted_are_not_looked_at(folder, capsys):
    labels = [n % 3 for n in range(200, 212)]
    languages = [code for code in ("en", "de", "") for _ in range(12)]
    columns = {"language": languages, "label": [*labels, *labels, *[0] * 12]}
    write(folder, "test", first=200, languages=("en", "de", "xx"), **columns)
    assert check(folder).faults != ()
    assert check(folder, languages=("en", "de")).faults == ()
    assert main(["data", "check", str(folder), "--languages", "en, fr"]) == 1
    told = capsys.readouterr().out
    assert "split 'test' must have rows in 'fr', got none" in told and "test        de" not in told
    assert main(["data", "check", str(folder), "--languages", "en,en"]) == 2


#: What a translator may leave in one language alone: a word, or a sign of a script that parts no words.
LEFT = {"de": (" ja", " vielleicht", " nicht"), "zh": ("是", "或", "不"), "hi": (" हाँ", " शायद", " नहीं")}
PLAIN = {"de": "die Aussage", "zh": "左边的东西是第个", "hi": "यह वाक्य"}


@pytest.mark.parametrize("telling", LEFT)
def test_what_tells_the_label_in_one_language_alone_is_found_there_and_nowhere_else(folder, telling):
    languages = ("en", *PLAIN)
    hypotheses = [
        f"claim {n}" if language == "en" else f"{PLAIN[language]}{n}" + LEFT[language][n % 3] * (language == telling)
        for language in languages
        for n in range(60)
    ]
    labels = [n % 3 for _ in languages for n in range(60)]
    write(folder, "test", first=200, rows=60, languages=languages, hypothesis=hypotheses, label=labels)
    found = check(folder)
    alone = {part.language: part.hypothesis_only for part in found.parts if part.split == "test"}
    assert alone[telling] == 1.0
    assert all(alone[language] < 0.55 for language in languages if language != telling)
    (warning,) = [text for text in found.warnings if "the hypothesis alone" in text]
    assert warning.startswith(f"split 'test' in {telling!r}: the hypothesis alone gives 1.000")


def test_what_the_training_hypotheses_tell_is_found_in_a_language_that_they_are_in(folder):
    """The test alone is too small to learn from: each of its words stands there once."""
    words = [f"word{n}" for n in range(60)]
    for split, first in (("train", 0), ("test", 300)):
        write(folder, split, first=first, rows=60, hypothesis=words)
    found = check(folder)
    assert [part.hypothesis_only for part in found.parts if part.split == "test"] == [1.0]


def test_an_item_is_never_learned_from_another_row_of_itself(folder):
    ids = [f"t{n // 2}" for n in range(120)]  # each item twice, under one id, and telling by its own word
    hypotheses = [f"word{n // 2}" for n in range(120)]
    labels = [n // 2 % 3 for n in range(120)]
    write(folder, "test", first=200, rows=120, id=ids, hypothesis=hypotheses, label=labels)
    (part,) = [part for part in check(folder).parts if part.split == "test"]
    assert part.hypothesis_only < 0.5


def test_a_folder_of_any_name_is_looked_at(folder, tmp_path):
    odd = tmp_path / "my data (2)"
    odd.mkdir()
    for split in ("train", "dev", "test"):
        (folder / f"{split}.parquet").rename(odd / f"{split}.parquet")
    assert check(odd).faults == ()


def test_rows_without_a_language_are_a_fault_and_the_rest_is_told(folder, capsys):
    languages = ["en"] * 12 + ["de"] * 11 + [""]
    write(folder, "test", first=200, languages=("en", "de"), language=languages)
    assert main(["data", "check", str(folder)]) == 1
    told = capsys.readouterr().out
    assert "every row must state its language by a code such as 'de', got 1 that do not (id test211)" in told
    assert "test        de    11" in told


def test_rows_that_are_read_in_no_split_and_strange_languages_are_warned_of(folder):
    write(folder, "train", first=0, language=["de"] * 5 + ["en"] * 6 + ["fr"])
    write(folder, "test", first=200, languages=("en", "DE", "xx"))
    warnings = check(folder).warnings
    assert "split 'train' is read in en alone: 6 of its 12 rows are left out (5 in 'de', 1 in 'fr')" in warnings
    assert (
        "split 'test': language 'DE' is in no family, script or other group of languages here; did you mean 'de'?"
        in warnings
    )
    assert "split 'test': language 'xx' is in no family, script or other group of languages here" in warnings


def test_hypotheses_without_words_are_warned_of(folder):
    write(folder, "dev", first=100, hypothesis=["", " \t", *(f"word {n}" for n in range(10))])
    assert "split 'dev': 2 hypotheses have no words (dev100, dev101)" in check(folder).warnings


def test_an_item_with_another_label_or_image_in_one_language_is_a_fault(folder):
    labels = [n % 3 for n in range(200, 212)]
    write(folder, "test", first=200, languages=("en", "de", "fr"), label=[*labels, *[0] * 12, *labels])
    found = check(folder)
    assert [fault.partition(";")[0] for fault in found.faults] == [
        "split 'test': an item must have the same label in every language, got 8 of 12 in 'de' that differ from 'en' "
        "(test200, test202, test203, …)"
    ]
    images = [{"bytes": png(n), "path": None} for n in range(200, 212)]
    write(folder, "test", first=200, languages=("en", "de"), image=[*images, *images[1::-1], *images[2:]])
    (fault,) = check(folder).faults
    assert "same image in every language, got 2 of 12 in 'de' that differ from 'en' (test200, test201)" in fault


def test_broken_images_duplicates_and_overlaps_are_all_told(folder, capsys):
    good = [{"bytes": png(n), "path": None} for n in range(100, 112)]
    write(folder, "dev", first=100, image=[{"bytes": b"no image", "path": None}, good[1], good[1], *good[3:]])
    table = pq.read_table(folder / "dev.parquet").to_pylist()
    table[2]["hypothesis"] = table[1]["hypothesis"]
    table[5]["hypothesis"] = "claim 3"
    table[6]["id"] = "train3"
    pq.write_table(pa.Table.from_pylist(table), folder / "dev.parquet")
    found = check(folder)
    faults = "\n".join(found.faults)
    assert "split 'dev': every image must be a whole PNG or JPEG, got 1 of 11 that are not (dev100)" in faults
    assert "splits 'train' and 'dev' must share no id, got 1 in both (train3)" in faults
    warnings = "\n".join(found.warnings)
    assert (
        "split 'dev': 1 pairs of image and hypothesis stand there more than once (dev102), 1 of them with" in warnings
    )
    assert "1 of the 11 hypotheses of 'dev' stand in 'train' too" in warnings
    assert main(["data", "check", str(folder)]) == 1
    assert "2 faults must be mended first" in capsys.readouterr().out


def test_items_that_a_language_lacks_and_wrong_columns_are_told(folder):
    write(folder, "test", first=200, languages=("en", "de"), id=[f"t{n}" for n in (*range(12), *range(11), 99)])
    write(folder, "dev", first=100, label=["yes"] * 12)
    found = check(folder)
    assert found.parallel[-1] == ("test", 11, 13)
    assert any("the ids of 'de' must be those of 'en', got 2 in only one" in fault for fault in found.faults)
    assert any("label must be 0 or 'entailment'" in fault for fault in found.faults)
    assert {part.split for part in found.parts} == {"train", "test"}
    assert "fault: split 'dev': label must be" in check_text(found)


def test_the_report_is_told_as_json_and_with_other_labels(folder, capsys):
    for split, first in (("train", 0), ("dev", 100), ("test", 200)):
        write(folder, split, first=first, label=[("yes", "no")[n % 2] for n in range(12)])
    assert main(["data", "check", str(folder), "--labels", "yes, no", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["parts"][0]["labels"] == [["yes", 6], ["no", 6]] and told["faults"] == []


def test_a_folder_without_the_files_is_refused(tmp_path, capsys):
    assert main(["data", "check", str(tmp_path)]) == 2
    assert "must be a folder with train.parquet, dev.parquet and test.parquet" in capsys.readouterr().err


@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL}, a real data set in the format, is not here")
def test_a_real_set_of_fifteen_languages_is_sound():
    found = check(REAL)
    assert found.faults == () and ("test", 300, 300) in found.parallel
    assert len([part for part in found.parts if part.split == "test"]) == 15
    english = next(part for part in found.parts if part.split == "test" and part.language == "en")
    assert english.majority == 0.5 and english.hypothesis_only <= 0.55
