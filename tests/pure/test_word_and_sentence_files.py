"""Dictionaries and plain text of a user's own: rows, the control split, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainables.canonical import decode, encode
from trainables.catalogue.own_texts import sentence_task, word_pair_task
from trainables.catalogue.task import Task
from trainables.data.fingerprint import is_pinned, resolve
from trainables.data.reading import inspect, read
from trainables.data.schema import PARALLEL
from trainables.data.word_files import CONTROL_PERCENT
from trainables.faults import Invalid

#: Lines as MUSE has them: lower case, a space between the words, a line for each translation of a word.
GERMAN = "the der\nthe die\ncat katze\ndog hund\nhouse haus\nhouse gebäude\n"
FRENCH = "the le\ncat chat\ndog chien\nhouse maison\n"
GERMAN_CONTROL = "building gebäude\nriver fluss\ntree baum\ncat katze\n"
FRENCH_CONTROL = "river rivière\nbuilding bâtiment\ntree arbre\n"


@pytest.fixture
def muse(tmp_path) -> Task:
    for name, text in (
        ("en-de.0-5000.txt", GERMAN),
        ("en-fr.0-5000.txt", FRENCH),
        ("en-de.5000-6500.txt", GERMAN_CONTROL),
        ("en-fr.5000-6500.txt", FRENCH_CONTROL),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return word_pair_task(
        "muse",
        train=tmp_path / "en-{language}.0-5000.txt",
        dev=tmp_path / "en-{language}.5000-6500.txt",
        languages=("de", "fr"),
    )


def pairs(task: Task, split: str, *languages: str) -> list[tuple[str, str]]:
    table = read(resolve(task), split, languages or None, None)
    assert table.schema == PARALLEL
    return list(zip(table["source"].to_pylist(), table["target"].to_pylist(), strict=True))


class TestWords:
    def test_dictionaries_of_muse_are_read_with_every_translation_of_a_word(self, muse):
        assert inspect(muse) == []
        assert pairs(muse, "train", "de")[:3] == [("the", "der"), ("the", "die"), ("cat", "katze")]
        table = read(resolve(muse), "train", None, None)
        assert table["target_language"].to_pylist() == ["de"] * 6 + ["fr"] * 4
        assert set(table["source_language"].to_pylist()) == {"en"}
        assert len(set(table["id"].to_pylist())) == 10

    def test_no_word_of_the_control_split_is_trained_on(self, muse):
        """`cat` is an English word of training, `gebäude` a German one; in French, `building` is not trained on."""
        assert pairs(muse, "dev", "de") == [("river", "fluss"), ("tree", "baum")]
        assert pairs(muse, "dev", "fr") == [("river", "rivière"), ("building", "bâtiment"), ("tree", "arbre")]

    def test_without_a_control_file_the_same_english_words_are_held_back_in_every_language(self, tmp_path):
        words = [f"word{number}" for number in range(400)]
        for language in ("de", "fr"):
            (tmp_path / f"{language}.txt").write_text("".join(f"{word}\t{language} of {word}\n" for word in words))
        task = word_pair_task("mine", train=tmp_path / "{language}.txt", languages=("de", "fr"))
        assert inspect(task) == []
        trained, held = (dict(pairs(task, split, "de")) for split in ("train", "dev"))
        assert not trained.keys() & held.keys() and trained.keys() | held.keys() == set(words)
        assert 0.8 * CONTROL_PERCENT < 100 * len(held) / 400 < 1.2 * CONTROL_PERCENT
        assert held.keys() == dict(pairs(task, "dev", "fr")).keys()
        assert held["word0" if "word0" in held else next(iter(held))].startswith("de of word")

    def test_in_the_shuffled_control_no_training_pair_is_true_and_the_control_split_is(self, muse):
        from dataclasses import replace

        shuffled = replace(muse, source=replace(muse.source, shuffled=True))
        true = {*pairs(muse, "train")}
        dealt = pairs(shuffled, "train")
        assert dealt and not true & set(dealt)
        assert {other for _, other in dealt} == {other for _, other in true}
        assert pairs(shuffled, "dev") == pairs(muse, "dev")
        assert pairs(shuffled, "train") == dealt

    def test_a_translation_that_two_words_share_is_dealt_to_neither(self, tmp_path):
        (tmp_path / "de.txt").write_text("big groß\nlarge groß\n")
        (tmp_path / "dev.txt").write_text("red rot\nblue blau\n")
        task = word_pair_task(
            "small", train=tmp_path / "de.txt", dev=tmp_path / "dev.txt", languages=("de",), shuffled=True
        )
        assert pairs(task, "train") == []

    def test_the_value_reads_back_and_is_pinned_by_the_files_it_reads(self, muse, tmp_path):
        found = resolve(muse)
        assert decode(Task, encode(found)) == found
        assert is_pinned(found) and not is_pinned(muse)
        (tmp_path / "en-fr.0-5000.txt").write_text(FRENCH + "sun soleil\n")
        again = resolve(muse)
        was, now = (one.source.fingerprint.split() for one in (found, again))
        assert [one == other for one, other in zip(was, now, strict=True)] == [True, False]  # dev, train
        with pytest.raises(Invalid, match="they have changed"):
            read(found, "train", None, None)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            (b"cat\ndog hund\n", "divided by one tab or space, got 1 lines that do not (line 1: 'cat')"),
            (b"cat katze kater\ndog hund\n", "got 1 lines that do not (line 1: 'cat katze kater')"),
            (b"a\tb\tc\ndog\thund\n", "got 1 lines that do not"),
            (b"\n\n", "must have pairs, got none"),
            (b"cat k\xe4tzchen\n", "must be text in UTF-8, got a byte that is none at place 5"),
            (b"cat katze\ncat kater\n", "must have at least two English words in 'de', got 1"),
        ],
    )
    def test_a_dictionary_that_is_none_is_told(self, muse, tmp_path, text, told):
        (tmp_path / "en-de.0-5000.txt").write_bytes(text)
        faults = inspect(muse)
        assert len(faults) == 1 and told in faults[0], faults
        with pytest.raises(Invalid):
            read(muse, "train", None, None)

    def test_a_control_split_that_is_trained_on_is_told(self, muse, tmp_path):
        (tmp_path / "en-de.5000-6500.txt").write_text(GERMAN)
        (fault,) = inspect(muse)
        assert "at least two English words in 'de', of which none is trained on, got 0" in fault

    def test_a_language_without_a_file_is_told_with_the_nearest(self, muse, tmp_path):
        (tmp_path / "en-fr.0-5000.txt").rename(tmp_path / "en-fr.0-500.txt")
        with pytest.raises(Invalid, match="the file of split 'train' must exist") as refused:
            resolve(muse)
        assert "did you mean 'en-fr.0-500.txt'" in str(refused.value) and "or leave 'fr' out" in str(refused.value)

    def test_what_cannot_be_a_task_of_words_is_refused(self):
        with pytest.raises(Invalid) as refused:
            word_pair_task("mine", train="en-de.txt", languages=("en", "de"))
        told = str(refused.value)
        assert "must hold '{language}' where there are 2 languages, got 'en-de.txt'" in told
        assert "languages must be others than English" in told


class TestSentences:
    @pytest.mark.parametrize("ending", [".txt", ".jsonl", ".parquet"])
    def test_every_format_says_the_same_and_empty_lines_are_no_rows(self, tmp_path, ending):
        said = {"de": ["Ein Satz.", "", " Noch einer: a\u2028b. "], "sw": ["Sentensi moja."]}
        for language, texts in said.items():
            path = tmp_path / f"{language}{ending}"
            if ending == ".txt":
                path.write_text("\n".join(texts) + "\n", encoding="utf-8")
            elif ending == ".jsonl":
                path.write_text("".join(json.dumps({"text": text, "url": "x"}) + "\n" for text in texts))
            else:
                pq.write_table(pa.table({"text": texts, "url": ["x"] * len(texts)}), path)
        task = sentence_task("own", train=tmp_path / f"{{language}}{ending}", languages=("de", "sw"))
        assert inspect(task) == []
        table = read(resolve(task), "train", None, None)
        assert table.schema == PARALLEL
        assert table["target"].to_pylist() == ["Ein Satz.", "Noch einer: a\u2028b.", "Sentensi moja."]
        assert table["target_language"].to_pylist() == ["de", "de", "sw"]
        assert set(table["source"].to_pylist()) == {""} and len(set(table["id"].to_pylist())) == 3

    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("de.txt", b"\n  \n", "must have text, got none; fill it or leave the language out"),
            ("de.txt", b"Gr\xfc\xdfe\n", "must be text in UTF-8, got a byte that is none at place 2"),
            ("de.jsonl", b'{"sentence": "a"}\n', "must have a column 'text' (string), found sentence (string)"),
            ("de.jsonl", b'{"text": 5}\n', "column 'text' must hold strings, found text (int64)"),
            ("de.jsonl", b'{"text": "a"}\n{"text": null}\n', "must have no empty value, got 1"),
            ("de.parquet", b"no table", "must be a .parquet file, got one that cannot be read"),
            ("de.csv", b"text\na\n", "must end in .txt, .jsonl, .parquet, got '.csv'"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_told(self, tmp_path, name, content, told):
        (tmp_path / name).write_bytes(content)
        task = sentence_task("own", train=tmp_path / f"{{language}}{Path(name).suffix}", languages=("de",))
        (fault,) = inspect(task)
        assert told in fault and "'de'" in fault
        with pytest.raises(Invalid):
            read(task, "train", None, None)

    def test_a_language_without_a_file_is_told(self, tmp_path):
        (tmp_path / "de.txt").write_text("Ein Satz.\n")
        task = sentence_task("own", train=tmp_path / "{language}.txt", languages=("de", "fr"))
        with pytest.raises(Invalid, match=r"fr\.txt'; did you mean|or leave 'fr' out"):
            resolve(task)
        assert "must be a file, got nothing there" in inspect(task)[0]

    def test_one_path_for_several_languages_is_refused(self):
        with pytest.raises(Invalid, match=r"where there are 2 languages, got .all\.txt."):
            sentence_task("own", train="all.txt", languages=("de", "fr"))
