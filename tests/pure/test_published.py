"""Published tasks from files in their publishers' schemas, and from the real samples: rows, refusals, places."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from huggingface_hub import errors

from tests.pure import published_files as files
from trainables.catalogue.intermediate import (
    ANLI_PLUS,
    CCG,
    COMMONSENSE_QA,
    COSMOS_QA,
    HELLASWAG,
    INTERMEDIATE,
    MNLI,
    QQP,
    SQUAD_V1,
    SQUAD_V2,
)
from trainables.catalogue.registry import TASKS
from trainables.catalogue.task import Kind, Layout, PublishedSource, Task
from trainables.catalogue.translated import RELEASED, translated
from trainables.catalogue.xtreme import (
    BUCC,
    MLQA,
    NER,
    PANX_TAGS,
    PAWSX,
    POS,
    TARGETS,
    TATOEBA,
    TYDIQA,
    UPOS,
    XNLI,
    XQUAD,
)
from trainables.data import places
from trainables.data.counted import remarks, usable_rows
from trainables.data.fingerprint import resolve
from trainables.data.looking import look
from trainables.data.published import PUBLISHED, inspect_published, left_out
from trainables.data.reading import read
from trainables.faults import Invalid

REAL = Path(__file__).parents[3] / "shared" / "real"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL}, small real samples, is not here")


@pytest.fixture
def mirror(tmp_path, monkeypatch) -> Path:
    """An empty mirror folder, and an empty cache of the hub."""
    monkeypatch.setenv(places.MIRROR, str(tmp_path / "mirror"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "mirror"


def rows(task: Task, split: str, *languages: str) -> list[dict]:
    table = read(resolve(task), split, languages or None, None)
    assert table.schema.remove_metadata() == PUBLISHED[task.kind]
    return table.to_pylist()


def glue(mirror: Path, config: str, split: str) -> Path:
    return mirror / "nyu-mll" / "glue" / config / f"{split}-00000-of-00001.parquet"


def refusal(task: Task, split: str, *languages: str) -> str:
    with pytest.raises(Invalid) as caught:
        read(resolve(task), split, languages or None, None)
    return str(caught.value)


class TestEachTask:
    def test_mnli_and_what_has_no_gold_label_is_left_out(self, mirror):
        files.nli(glue(mirror, "mnli", "train"), labels=(0, -1, 2))
        read_ = rows(MNLI, "train")
        assert [MNLI.labels[row["label"]] for row in read_] == ["entailment", "contradiction"]
        assert [row["id"] for row in read_] == ["glue-train-000000", "glue-train-000002"]

    def test_labels_are_taken_by_name_where_the_publisher_renumbers_them(self, mirror):
        files.nli(glue(mirror, "mnli", "train"), labels=(0, 1), names=("contradiction", "neutral", "entailment"))
        assert [MNLI.labels[row["label"]] for row in rows(MNLI, "train")] == ["contradiction", "neutral"]

    def test_anli_plus_joins_three_data_sets_and_is_judged_on_anli(self, mirror):
        files.nli(glue(mirror, "mnli", "train"))
        files.nli(mirror / "stanfordnlp/snli/plain_text/train-00000-of-00001.parquet", labels=(0, -1))
        for split in ("train_r1", "train_r2", "train_r3", "dev_r1", "dev_r2", "dev_r3"):
            files.nli(mirror / f"facebook/anli/plain_text/{split}-00000-of-00001.parquet", labels=(2,), uid=True)
        assert len(rows(ANLI_PLUS, "train")) == 4 + 1 + 3
        assert len({row["id"] for row in rows(ANLI_PLUS, "train")}) == 8
        assert {row["id"] for row in rows(ANLI_PLUS, "dev")} == {f"anli-dev_r{n}-000000" for n in (1, 2, 3)}

    def test_qqp(self, mirror):
        columns = {name: (["a", "b"], pa.string()) for name in ("question1", "question2")}
        columns |= {"label": ([1, 0], pa.int64()), "idx": ([5, 6], pa.int32())}
        files.parquet(glue(mirror, "qqp", "train"), columns, {"label": ("not_duplicate", "duplicate")})
        assert [QQP.labels[row["label"]] for row in rows(QQP, "train")] == ["duplicate", "not_duplicate"]

    def test_squad_keeps_every_accepted_answer(self, mirror):
        asked = files.question("one", answers=(("red circle", 2), ("circle", 6), ("red circle", 2)))
        files.questions(mirror / "rajpurkar/squad/plain_text/train-00000-of-00001.parquet", [asked])
        (row,) = rows(SQUAD_V1, "train")
        assert (row["answer_text"], row["answer_start"], row["answers"]) == ("red circle", 2, ["red circle", "circle"])

    def test_a_question_of_squad_v2_may_have_no_answer(self, mirror):
        asked = [files.question("one"), files.question("two", answers=())]
        files.questions(mirror / "rajpurkar/squad_v2/squad_v2/train-00000-of-00001.parquet", asked)
        assert [(row["answer_text"], row["answer_start"]) for row in rows(SQUAD_V2, "train")] == [
            ("red circle", 2),
            ("", -1),
        ]

    def test_hellaswag_has_labels_that_are_strings(self, mirror):
        columns = {
            "ind": ([1, 2], pa.int32()),
            "activity_label": (["x", "y"], pa.string()),
            "ctx": (["a man", "a dog"], pa.string()),
            "endings": ([list("abcd"), list("efgh")], pa.list_(pa.string())),
            "label": (["3", ""], pa.string()),
        }
        files.parquet(mirror / "Rowan/hellaswag/data/train-00000-of-00001.parquet", columns)
        (row,) = rows(HELLASWAG, "train")
        assert (row["context"], row["endings"][row["label"]]) == ("a man", "d")

    def test_commonsense_qa(self, mirror):
        choices = {"label": list("ABCDE"), "text": ["one", "two", "three", "four", "five"]}
        columns = {
            "id": (["x"], pa.string()),
            "question": (["how many?"], pa.string()),
            "question_concept": (["number"], pa.string()),
            "choices": ([choices], files.CHOICES),
            "answerKey": (["C"], pa.string()),
        }
        files.parquet(mirror / "tau/commonsense_qa/data/train-00000-of-00001.parquet", columns)
        (row,) = rows(COMMONSENSE_QA, "train")
        assert (row["context"], row["endings"][row["label"]], len(row["endings"])) == ("how many?", "three", 5)

    def test_ccgbank_takes_its_labels_from_the_training_sections(self, mirror):
        for section in range(22):
            folder = mirror / "LDC2005T13" / "data" / "AUTO" / f"{section:02d}"
            folder.mkdir(parents=True)
            (folder / "wsj_0201.auto").write_text(files.AUTO)
        task = resolve(CCG)
        assert task.labels == ("(S[dcl]\\NP)/NP", "NP", "S[dcl]\\NP", "other")
        read_ = read(task, "dev", None, None).to_pylist()
        assert read_[0]["tokens"] == ["Pierre", "reads", "books"]
        assert [task.labels[tag] for tag in read_[0]["tags"]] == ["NP", "(S[dcl]\\NP)/NP", "NP"]
        assert len(read(task, "train", None, None)) == 20 * 2

    def test_xnli_has_the_same_ids_in_every_language(self, mirror):
        for language in ("de", "sw"):
            files.nli(mirror / f"facebook/xnli/{language}/test-00000-of-00001.parquet")
        read_ = rows(XNLI, "test", "de", "sw")
        assert [row["id"] for row in read_ if row["language"] == "de"] == [
            row["id"] for row in read_ if row["language"] == "sw"
        ]

    def test_a_language_whose_files_are_absent_has_no_rows(self, mirror):
        files.nli(mirror / "facebook/xnli/de/test-00000-of-00001.parquet")
        assert {row["language"] for row in rows(XNLI, "test")} == {"de"}

    def test_pawsx(self, mirror):
        columns = {"id": ([7], pa.int32()), "label": ([1], pa.int64())}
        columns |= {name: (["a"], pa.string()) for name in ("sentence1", "sentence2")}
        files.parquet(
            mirror / "google-research-datasets/paws-x/ko/test-00000-of-00001.parquet", columns, {"label": ("0", "1")}
        )
        (row,) = rows(PAWSX, "test", "ko")
        assert (row["id"], PAWSX.labels[row["label"]], row["language"]) == ("paws-x-test-7", "same", "ko")

    def test_tags_are_taken_by_name_whatever_their_order(self, mirror):
        turned = tuple(reversed(UPOS))
        where = mirror / "google/xtreme/udpos.German/test-00000-of-00001.parquet"
        files.tagged(where, "pos_tags", [[turned.index("NOUN"), turned.index("X")]], turned)
        (row,) = rows(POS, "test", "de")
        assert [UPOS[tag] for tag in row["tags"]] == ["NOUN", "X"]

    def test_panx(self, mirror):
        where = mirror / "google/xtreme/PAN-X.yo/test-00000-of-00001.parquet"
        files.tagged(where, "ner_tags", [[1, 2, 0]], PANX_TAGS)
        (row,) = rows(NER, "test", "yo")
        assert [PANX_TAGS[tag] for tag in row["tags"]] == ["B-PER", "I-PER", "O"]

    def test_sentences_of_two_languages_are_two_items(self, mirror):
        for language in ("en", "jv"):
            where = mirror / f"google/xtreme/PAN-X.{language}/test-00000-of-00001.parquet"
            files.tagged(where, "ner_tags", [[1], [0]], PANX_TAGS)
        assert [row["id"] for row in rows(NER, "test")] == [
            "en-xtreme-test-000000",
            "en-xtreme-test-000001",
            "jv-xtreme-test-000000",
            "jv-xtreme-test-000001",
        ]

    def test_tydiqa_knows_the_language_by_the_id(self, mirror):
        asked = [files.question("swahili--1-0"), files.question("english--2-1")]
        files.questions(
            mirror / "google-research-datasets/tydiqa/secondary_task/validation-00000-of-00001.parquet", asked
        )
        assert [row["id"] for row in rows(TYDIQA, "test", "sw")] == ["swahili--1-0"]

    def test_mlqa_reads_context_and_question_of_one_language(self, mirror):
        files.questions(mirror / "google/xtreme/MLQA.hi.hi/test-00000-of-00001.parquet", [files.question("one")])
        files.questions(mirror / "google/xtreme/MLQA.hi.de/test-00000-of-00001.parquet", [files.question("two")])
        assert [row["id"] for row in rows(MLQA, "test")] == ["one"]

    def test_tatoeba_pairs_each_sentence_with_its_own(self, mirror):
        files.translations(
            mirror / "google/xtreme/tatoeba.deu/validation-00000-of-00001.parquet", [("eins", "one"), ("zwei", "two")]
        )
        read_ = rows(TATOEBA, "test", "de")
        assert [(row["text"], row["is_english"], row["match"]) for row in read_] == [
            ("eins", False, "de-000000"),
            ("zwei", False, "de-000001"),
            ("one", True, ""),
            ("two", True, ""),
        ]

    def test_bucc_has_sentences_without_a_translation(self, mirror):
        folder = mirror / "bucc2018" / "de-en"
        folder.mkdir(parents=True)
        (folder / "de-en.sample.de").write_text("de-1\teins\nde-2\tHund\n")
        (folder / "de-en.sample.en").write_text("en-1\tcat\nen-2\tone\n")
        (folder / "de-en.sample.gold").write_text("de-1\ten-2\n")
        read_ = rows(BUCC, "dev", "de")
        assert [(row["id"], row["match"]) for row in read_ if not row["is_english"]] == [("de-1", "en-2"), ("de-2", "")]
        assert [row["text"] for row in read_ if row["is_english"]] == ["cat", "one"]

    def test_bucc_falls_back_on_the_aligned_pairs_of_the_hub(self, mirror):
        files.translations(mirror / "google/xtreme/bucc18.fr/test-00000-of-00001.parquet", [("un", "one")])
        assert [row["match"] for row in rows(BUCC, "test", "fr")] == ["fr-000000", ""]


@real
class TestRealSamples:
    def test_cosmos_qa_with_line_breaks_and_commas_in_its_texts(self, mirror):
        (mirror / "wilburOne/cosmosqa/data").mkdir(parents=True)
        for name in ("train.csv", "valid.csv"):
            shutil.copy(REAL / "cosmosqa" / "valid_sample.csv", mirror / "wilburOne/cosmosqa/data" / name)
        read_ = rows(COSMOS_QA, "dev")
        assert len(read_) == 200 and {row["label"] for row in read_} == {0, 1, 2, 3}
        assert all(len(row["endings"]) == 4 for row in read_)
        first = read_[0]
        assert first["endings"][first["label"]].endswith("He wants to get married to a different person .")

    def test_xquad_as_its_authors_publish_it(self, mirror):
        (mirror / "deepmind/xquad").mkdir(parents=True)
        for language in ("ar", "de", "en", "zh"):
            sample = REAL / "xquad" / f"xquad.{language}.sample.json"
            shutil.copy(sample, mirror / "deepmind/xquad" / f"xquad.{language}.json")
        read_ = rows(XQUAD, "test")
        ids = {language: [r["id"] for r in read_ if r["language"] == language] for language in ("ar", "de", "en", "zh")}
        assert all(len(one) == 105 and one == ids["en"] for one in ids.values())
        for row in read_:
            start = row["answer_start"]
            assert row["context"][start : start + len(row["answer_text"])] == row["answer_text"]

    def test_tatoeba_as_laser_publishes_it(self, mirror):
        folder = mirror / "facebookresearch/LASER/data/tatoeba/v1"
        folder.mkdir(parents=True)
        for path in (REAL / "tatoeba").iterdir():
            shutil.copy(path, folder)
        read_ = rows(TATOEBA, "test", "ar", "de", "sw")
        for language in ("ar", "de", "sw"):
            mine = [row for row in read_ if row["language"] == language]
            english = {row["id"]: row["text"] for row in mine if row["is_english"]}
            assert len(english) == 390 and all(row["match"] in english for row in mine if not row["is_english"])
        assert next(row["text"] for row in read_ if row["language"] == "sw") == "Alinileta kahawa."


class TestBadInput:
    def test_a_renamed_column_names_what_was_expected_and_found(self, mirror):
        columns = {"sentence1": (["a"], pa.string()), "hypothesis": (["b"], pa.string()), "label": ([0], pa.int64())}
        files.parquet(glue(mirror, "mnli", "train"), columns)
        told = refusal(MNLI, "train")
        assert "must have a column 'premise'" in told
        assert "expected premise (strings), hypothesis (strings), label (integers)" in told
        assert "found sentence1 (string), hypothesis (string), label (int64)" in told
        (fault,), _ = inspect_published(resolve(MNLI))
        assert "'premise'" in fault

    def test_a_column_of_another_type(self, mirror):
        columns = {"premise": ([1], pa.int64()), "hypothesis": (["b"], pa.string()), "label": ([0], pa.int64())}
        files.parquet(glue(mirror, "mnli", "train"), columns)
        assert "column 'premise' must hold strings, got int64" in refusal(MNLI, "train")

    def test_a_label_outside_the_set(self, mirror):
        files.nli(glue(mirror, "mnli", "train"), labels=(0, 7, 2))
        assert "column 'label' must hold one of 0, 1, 2" in refusal(MNLI, "train")
        assert "got '7' in 1 rows (first row 1)" in refusal(MNLI, "train")

    def test_labels_of_another_task(self, mirror):
        files.nli(glue(mirror, "mnli", "train"), names=("negative", "neutral", "positive"))
        assert "must be contradiction, entailment, neutral, got negative, neutral, positive" in refusal(MNLI, "train")

    def test_empty_values(self, mirror):
        columns = {"premise": ([None], pa.string()), "hypothesis": (["b"], pa.string()), "label": ([0], pa.int64())}
        files.parquet(glue(mirror, "mnli", "train"), columns)
        assert "column 'premise' must have no empty value, got 1" in refusal(MNLI, "train")

    def test_an_empty_language(self, mirror):
        files.questions(
            mirror / "google-research-datasets/tydiqa/secondary_task/validation-00000-of-00001.parquet",
            [files.question("swahili--1-0")],
        )
        assert "must have rows in 'te', got none" in refusal(TYDIQA, "test", "te")

    def test_training_whose_answers_do_not_stand_in_their_contexts(self, mirror):
        squad(mirror, *(files.question(f"{number}", answers=(("green", 2),)) for number in range(2)), sound=17)
        told = refusal(SQUAD_V1, "train")
        assert "every answer must stand in its context where answer_start says, or elsewhere in it, got 2 of" in told
        assert "got 2 of 19 that do not (0: 'green' at 2, 1: 'green' at 2); at most 10% of training" in told

    def test_a_question_without_an_answer_where_all_have_one(self, mirror):
        where = mirror / "rajpurkar/squad/plain_text/train-00000-of-00001.parquet"
        files.questions(where, [files.question("one", answers=())])
        assert "every question must have answers" in refusal(SQUAD_V1, "train")

    def test_tags_and_tokens_of_different_length(self, mirror):
        where = mirror / "google/xtreme/PAN-X.de/test-00000-of-00001.parquet"
        files.tagged(where, "ner_tags", [[0, 1]], PANX_TAGS, tokens=[["one", "two", "three"]])
        told = refusal(NER, "test", "de")
        assert "as many tags as tokens" in told and "first row 0: 3 tokens, 2 tags" in told

    def test_an_id_that_stands_twice_in_a_test(self, mirror):
        asked = [files.question("same"), files.question("other"), files.question("same")]
        files.questions(mirror / "google/xtreme/XQuAD.de/validation-00000-of-00001.parquet", asked)
        assert "ids of a test split must differ, got 'same' 2 times and 1 such ids" in refusal(XQUAD, "test", "de")
        files.questions(mirror / "rajpurkar/squad/plain_text/train-00000-of-00001.parquet", asked)
        assert len(rows(SQUAD_V1, "train")) == 3  # nothing is paired by the ids of what is trained on

    def test_a_tag_outside_the_set(self, mirror):
        where = mirror / "google/xtreme/PAN-X.de/test-00000-of-00001.parquet"
        files.tagged(where, "ner_tags", [[0, 9]], PANX_TAGS)
        assert "tags must be of O, B-PER" in refusal(NER, "test", "de") and "got 9" in refusal(NER, "test", "de")

    def test_choices_that_are_too_few(self, mirror):
        columns = {
            "ctx": (["a"], pa.string()),
            "endings": ([["x", "y"]], pa.list_(pa.string())),
            "label": (["1"], pa.string()),
        }
        files.parquet(mirror / "Rowan/hellaswag/data/train-00000-of-00001.parquet", columns)
        assert "every row must have 4 endings, got 2" in refusal(HELLASWAG, "train")

    @pytest.mark.parametrize(
        ("letters", "answer", "told"),
        [
            ("ABCDF", "C", "choices must be lettered A B C D E, got 1 rows that are not"),
            ("ABCDE", "F", "column 'answerKey' must hold one of A, B, C, D, E, got 'F' in 1 rows"),
        ],
    )
    def test_choices_lettered_otherwise_or_an_answer_that_is_none_of_them(self, mirror, letters, answer, told):
        choices = {"label": list(letters), "text": ["one", "two", "three", "four", "five"]}
        columns = {
            "id": (["x"], pa.string()),
            "question": (["how many?"], pa.string()),
            "choices": ([choices], files.CHOICES),
            "answerKey": ([answer], pa.string()),
        }
        files.parquet(mirror / "tau/commonsense_qa/data/train-00000-of-00001.parquet", columns)
        assert told in refusal(COMMONSENSE_QA, "train")

    def test_the_number_of_an_ending_that_there_is_not(self, mirror):
        columns = {
            "ctx": (["a"], pa.string()),
            "endings": ([["w", "x", "y", "z"]], pa.list_(pa.string())),
            "label": (["4"], pa.string()),
        }
        files.parquet(mirror / "Rowan/hellaswag/data/train-00000-of-00001.parquet", columns)
        assert "column 'label' must hold one of 0, 1, 2, 3, got '4' in 1 rows" in refusal(HELLASWAG, "train")

    @pytest.mark.parametrize(
        ("head", "row", "told"),
        [
            ("answer3,label", "d,7", "column 'label' must hold one of 0, 1, 2, 3, got '7' in 1 rows"),
            ("answer4,label", "d,1", "must have a column 'answer3', did you mean 'answer"),
        ],
    )
    def test_a_table_of_cosmos_qa_with_another_label_or_column(self, mirror, head, row, told):
        (mirror / "wilburOne/cosmosqa/data").mkdir(parents=True)
        text = f"id,context,question,answer0,answer1,answer2,{head}\n1,it rains,why?,a,b,c,{row}\n"
        (mirror / "wilburOne/cosmosqa/data/train.csv").write_text(text)
        assert told in refusal(COSMOS_QA, "train")

    def test_a_line_without_a_tab(self, mirror):
        folder = mirror / "bucc2018" / "de-en"
        folder.mkdir(parents=True)
        for side, text in (("de", "de-1\teins\nde-2 zwei\n"), ("en", "en-1\tone\n"), ("gold", "de-1\ten-1\n")):
            (folder / f"de-en.training.{side}").write_text(text)
        assert "lines must be id, tab, sentence, got line 2 of de-en.training.de without" in refusal(BUCC, "test", "de")

    def test_texts_that_are_not_parallel(self, mirror):
        folder = mirror / "facebookresearch/LASER/data/tatoeba/v1"
        folder.mkdir(parents=True)
        (folder / "tatoeba.deu-eng.deu").write_text("eins\nzwei\n")
        (folder / "tatoeba.deu-eng.eng").write_text("one\n")
        assert "as many lines, got 2 and 1" in refusal(TATOEBA, "test", "de")

    def test_gold_pairs_of_other_texts(self, mirror):
        folder = mirror / "bucc2018" / "de-en"
        folder.mkdir(parents=True)
        for side, text in (("de", "de-1\teins\n"), ("en", "en-1\tone\n"), ("gold", "de-1\ten-9\n")):
            (folder / f"de-en.training.{side}").write_text(text)
        assert "gold pairs must name a sentence of each text" in refusal(BUCC, "test", "de")

    def test_a_broken_file(self, mirror):
        path = glue(mirror, "mnli", "train")
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no parquet")
        assert "fetch it again" in refusal(MNLI, "train")

    def test_a_file_of_several_that_is_missing(self, mirror):
        for number in (0, 2):
            files.nli(mirror / f"nyu-mll/glue/mnli/train-{number:05d}-of-00003.parquet")
        (fault,), _ = inspect_published(resolve(MNLI))
        assert fault.startswith("nyu-mll/glue mnli train must be here in all of its 3 files, got train-00000-of-00003")
        files.nli(mirror / "nyu-mll/glue/mnli/train-00001-of-00003.parquet")
        assert inspect_published(resolve(MNLI)) == ([], {})
        files.nli(mirror / "nyu-mll/glue/mnli/train-00000-of-00001.parquet")
        assert "all of its 1 or 3 files" in inspect_published(resolve(MNLI))[0][0]

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (
                {"version": "1.1", "documents": []},
                "it must hold 'data' where SQuAD 1.1 has it, found version, documents",
            ),
            ({"data": [{"paragraphs": [{"context": "a", "questions": []}]}]}, "hold 'qas' .* found context, questions"),
            ({"data": [["a"]]}, "must hold 'paragraphs' where SQuAD 1.1 has it, found list"),
        ],
    )
    def test_questions_in_another_json(self, mirror, content, told):
        (mirror / "deepmind/xquad").mkdir(parents=True)
        (mirror / "deepmind/xquad/xquad.de.json").write_text(json.dumps(content))
        with pytest.raises(Invalid, match=told):
            read(resolve(XQUAD), "test", ("de",), None)

    def test_two_sentences_of_one_id(self, mirror):
        folder = mirror / "bucc2018" / "de-en"
        folder.mkdir(parents=True)
        for side, text in (("de", "de-1\teins\nde-1\tzwei\n"), ("en", "en-1\tone\n"), ("gold", "de-1\ten-1\n")):
            (folder / f"de-en.training.{side}").write_text(text)
        assert "ids must differ, got 'de-1' 2 times in de-en.training.de" in refusal(BUCC, "test", "de")

    def test_an_answer_of_no_words(self, mirror):
        where = mirror / "rajpurkar/squad_v2/squad_v2/train-00000-of-00001.parquet"
        files.questions(where, [files.question("one", answers=(("", 2),))])
        assert "every question must have answers, each with its place, got 1 without" in refusal(SQUAD_V2, "train")

    def test_a_treebank_in_another_format(self, mirror):
        for section in range(22):
            folder = mirror / "LDC2005T13" / "data" / "AUTO" / f"{section:02d}"
            folder.mkdir(parents=True)
            (folder / "wsj.auto").write_text("(S (NP Pierre) (VP sleeps))\n")
        with pytest.raises(Invalid, match="is it a CCGbank"):
            resolve(CCG)

    def test_files_that_changed_since_they_were_planned(self, mirror):
        files.nli(glue(mirror, "mnli", "train"))
        planned = resolve(MNLI)
        files.nli(glue(mirror, "mnli", "train"), labels=(1, 1, 1))
        with pytest.raises(Invalid, match="must be those that were planned"):
            read(planned, "train", None, None)


def xnli(mirror: Path, **labels: tuple[int, ...]) -> None:
    for language, numbers in labels.items():
        files.nli(mirror / f"facebook/xnli/{language}/test-00000-of-00001.parquet", labels=numbers)


class TestALanguageThatCannotBeUsed:
    """It is left out with its reason, and the others stay."""

    def test_a_label_outside_the_set_in_one_language_takes_no_other_with_it(self, mirror):
        xnli(mirror, de=(0, 1), sw=(0, 3), ur=(2,))
        table = read(resolve(XNLI), "test", None, None)
        assert pc.unique(table["language"]).to_pylist() == ["de", "ur"]
        assert list(left_out(table)) == ["sw"]
        assert "column 'label' must hold one of 0, 1, 2, contradiction" in left_out(table)["sw"][0]
        assert "got '3' in 1 rows (first row 1)" in left_out(table)["sw"][0]

    def test_a_language_without_rows_takes_no_other_with_it(self, mirror):
        where = mirror / "google-research-datasets/tydiqa/secondary_task/validation-00000-of-00001.parquet"
        files.questions(where, [files.question("swahili--1-0"), files.question("english--2-1")])
        table = read(resolve(TYDIQA), "test", None, None)
        assert pc.unique(table["language"]).to_pylist() == ["en", "sw"]
        assert len(left_out(table)) == 7 and "must have rows in 'fi', got none" in left_out(table)["fi"][0]

    def test_where_none_can_be_used_the_task_is_refused_with_the_faults_of_all(self, mirror):
        xnli(mirror, de=(3,), sw=(4,))
        told = refusal(XNLI, "test")
        assert "got '3'" in told and "got '4'" in told
        assert "cannot be used" in told and "got '3'" in look(resolve(XNLI), None).faults[0]

    def test_a_part_that_cannot_be_used_takes_the_parts_of_its_language_with_it(self, mirror):
        for number, label in enumerate((0, 0, 7)):
            files.nli(mirror / f"facebook/anli/plain_text/dev_r{number + 1}-00000-of-00001.parquet", labels=(label,))
        assert "got '7' in 1 rows" in refusal(ANLI_PLUS, "dev")

    def test_what_was_left_out_is_known_of_kept_rows_too(self, mirror, tmp_path):
        xnli(mirror, de=(0,), sw=(3,))
        for _ in range(2):
            assert list(left_out(read(resolve(XNLI), "test", None, tmp_path / "kept"))) == ["sw"]

    def test_the_reason_does_not_say_where_the_files_lie(self, mirror):
        """It is stored beside scores, which are the same wherever they were made."""
        xnli(mirror, de=(0,), sw=(0,))
        (mirror / "facebook/xnli/sw/test-00000-of-00001.parquet").write_bytes(b"no parquet")
        (told,) = left_out(read(resolve(XNLI), "test", None, None))["sw"]
        assert "cannot be read as hub files say" in told and str(mirror) not in told
        folder = mirror / "facebookresearch/LASER/data/tatoeba/v1"
        folder.mkdir(parents=True)
        for name, text in (("deu", b"eins\n"), ("fra", b"\xe9\n")):
            (folder / f"tatoeba.{name}-eng.{name}").write_bytes(text)
            (folder / f"tatoeba.{name}-eng.eng").write_text("one\n")
        (told,) = left_out(read(resolve(TATOEBA), "test", None, None))["fr"]
        assert "tatoeba.fra-eng.fra: it must be text in UTF-8" in told and str(mirror) not in told

    def test_a_missing_file_of_several_leaves_its_language_out(self, mirror):
        xnli(mirror, de=(0,))
        files.nli(mirror / "facebook/xnli/sw/test-00000-of-00002.parquet")
        assert "all of its 2 files" in left_out(read(resolve(XNLI), "test", None, None))["sw"][0]
        faults, without = inspect_published(resolve(XNLI))
        assert faults == [] and "all of its 2 files" in without["test"]["sw"][0]

    def test_a_look_at_all_rows_tells_faults_languages_and_empty_texts(self, mirror, tmp_path):
        files.nli(glue(mirror, "mnli", "train"), labels=(0, 7))
        files.nli(glue(mirror, "mnli", "validation_matched"), labels=(8,))
        assert ["got '7'" in fault or "got '8'" in fault for fault in look(resolve(MNLI), None).faults] == [True, True]
        columns = {name: (["a", " "], pa.string()) for name in ("question1", "question2")}
        columns |= {"label": ([1, 0], pa.int64()), "idx": ([5, 6], pa.int32())}
        files.parquet(glue(mirror, "qqp", "train"), columns)
        assert look(resolve(QQP), tmp_path).remarks == (
            "1 of 2 texts in 'premise' of train are empty",
            "1 of 2 texts in 'hypothesis' of train are empty",
        )
        assert len(list(tmp_path.glob("qqp-train-*.arrow"))) == 1  # and whoever trains on it finds it there
        xnli(mirror, de=(0,), sw=(3,))
        (told,) = look(resolve(XNLI), None).remarks
        assert told.startswith(
            "no test rows in 'sw', whose files cannot be used: facebook/xnli sw test (test-00000-of-"
        )
        assert look(MNLI, None) == look(resolve(CCG), None)  # nothing is here


TWICE = "a ring, which is blue, and beside it one more ring"


def squad(mirror: Path, *asked: dict, sound: int = 0, split: str = "train") -> None:
    """Questions of SQuAD, after `sound` whose answers stand where they are said to."""
    where = mirror / f"rajpurkar/squad/plain_text/{split}-00000-of-00001.parquet"
    files.questions(where, [*(files.question(f"sound {number}") for number in range(sound)), *asked])


class TestAnswersInTheWrongPlace:
    """One whose text stands in its context is read at the nearest place; others train nothing, and are scored by it."""

    def test_a_few_characters_are_nothing_to_tell(self, mirror):
        squad(mirror, files.question("one", answers=(("red circle", 5),)))
        assert rows(SQUAD_V1, "train")[0]["answer_start"] == 2
        assert look(resolve(SQUAD_V1), None).remarks == ()

    def test_one_that_stands_once_in_its_context_is_learned_there_and_counted(self, mirror):
        squad(mirror, files.question("far", answers=(("red circle", 15),)), sound=2)
        assert [row["answer_start"] for row in rows(SQUAD_V1, "train")] == [2, 2, 2]
        assert look(resolve(SQUAD_V1), None).remarks == (
            "1 of 3 answers of train in 'en' do not stand where answer_start says (far: 'red circle' at 15): 1 are "
            "read where they stand nearest in their context",
        )

    @pytest.mark.parametrize(
        ("said", "place"), [(0, 2), (2, 2), (3, 2), (20, 2), (24, 2), (25, 46), (44, 46), (46, 46), (900, 46), (-1, 2)]
    )
    def test_of_two_places_the_nearest_is_learned(self, mirror, said, place):
        squad(mirror, files.question("twice", context=TWICE, answers=(("ring", said),)))
        (row,) = rows(SQUAD_V1, "train")
        assert row["answer_start"] == place and TWICE[place:].startswith("ring")
        told = look(resolve(SQUAD_V1), None).remarks
        assert len(told) == (abs(said - place) > 8)

    def test_of_training_one_that_stands_nowhere_is_left_out_and_counted(self, mirror, tmp_path):
        squad(mirror, *(files.question(name, answers=(("green", 2),)) for name in "ab"), sound=18)
        told = (
            "2 of 20 answers of train in 'en' do not stand where answer_start says (a: 'green' at 2): 2 are left out, "
            "since they stand nowhere in their context"
        )
        for _ in range(2):  # made, and then kept
            table = read(resolve(SQUAD_V1), "train", None, tmp_path)
            assert len(table) == 18 and set(table["answer_start"].to_pylist()) == {2}
            assert look(resolve(SQUAD_V1), tmp_path).remarks == (told,)
            look.cache_clear()

    def test_of_development_data_it_stays_since_its_text_is_what_is_scored(self, mirror):
        squad(mirror, files.question("nowhere", answers=(("green", 2),)), split="validation")
        (row,) = rows(SQUAD_V1, "dev")
        assert (row["answer_text"], row["answer_start"], row["answers"]) == ("green", -1, ["green"])

    def test_of_a_test_it_takes_no_language_with_it(self, mirror):
        files.questions(mirror / "google/xtreme/MLQA.en.en/test-00000-of-00001.parquet", [files.question("a")])
        asked = [files.question(f"q{number}") for number in range(3)]
        asked += [files.question("far", context="x" * 40 + " red circle"), files.question("no", context="nothing")]
        files.questions(mirror / "google/xtreme/MLQA.ar.ar/test-00000-of-00001.parquet", asked)
        table = read(resolve(MLQA), "test", None, None)
        assert left_out(table) == {} and len(table) == 6
        assert table["answer_start"].to_pylist() == [2, 2, 2, 41, -1, 2]
        assert look(resolve(MLQA), None).remarks == (
            "2 of 5 answers of test in 'ar' do not stand where answer_start says (far: 'red circle' at 2): 1 are read "
            "where they stand nearest in their context; 1 are scored by their text alone",
        )


class TestNullsAndBytes:
    """What lists lack is found as what columns lack is, and text that is no UTF-8 is told with file and line."""

    @pytest.mark.parametrize(
        "answers",
        [
            {"text": ["red circle"], "answer_start": [None]},
            {"text": [None], "answer_start": [2]},
            {"text": None, "answer_start": None},
            None,
        ],
    )
    def test_an_answer_that_lacks_a_part(self, mirror, answers):
        asked = [files.question("one"), {**files.question("two"), "answers": answers}]
        files.questions(mirror / "rajpurkar/squad/plain_text/train-00000-of-00001.parquet", asked)
        told = refusal(SQUAD_V1, "train")
        assert "column 'answers' must have no empty value, got 1 rows with one (first row 1: " in told

    def test_an_ending_a_choice_and_a_token_that_are_missing(self, mirror):
        columns = {
            "ctx": (["a"], pa.string()),
            "endings": ([["w", "x", None, "z"]], pa.list_(pa.string())),
            "label": (["1"], pa.string()),
        }
        files.parquet(mirror / "Rowan/hellaswag/data/train-00000-of-00001.parquet", columns)
        assert "column 'endings' must have no empty value, got 1 rows" in refusal(HELLASWAG, "train")
        columns = {
            "id": (["x"], pa.string()),
            "question": (["how many?"], pa.string()),
            "choices": ([{"label": list("ABCDE"), "text": ["one", None, "three", "four", "five"]}], files.CHOICES),
            "answerKey": (["A"], pa.string()),
        }
        files.parquet(mirror / "tau/commonsense_qa/data/train-00000-of-00001.parquet", columns)
        assert "column 'choices' must have no empty value, got 1 rows" in refusal(COMMONSENSE_QA, "train")
        where = mirror / "google/xtreme/PAN-X.de/test-00000-of-00001.parquet"
        files.tagged(where, "ner_tags", [[0, 1], [0, 0]], PANX_TAGS, tokens=[["a", "b"], ["c", None]])
        assert "column 'tokens' must have no empty value, got 1 rows with one (first row 1" in refusal(
            NER, "test", "de"
        )

    def test_bucc_in_another_encoding(self, mirror):
        folder = mirror / "bucc2018" / "de-en"
        folder.mkdir(parents=True)
        for side, data in (("de", b"de-1\teins\nde-2\th\xe9\n"), ("en", b"en-1\tone\n"), ("gold", b"de-1\ten-1\n")):
            (folder / f"de-en.training.{side}").write_bytes(data)
        told = refusal(BUCC, "test", "de")
        assert "de-en.training.de: it must be text in UTF-8, got the byte 0xe9 in line 2" in told

    def test_a_treebank_in_another_encoding_or_without_derivations(self, mirror):
        for section in range(22):
            folder = mirror / "LDC2005T13" / "data" / "AUTO" / f"{section:02d}"
            folder.mkdir(parents=True)
            (folder / "wsj.auto").write_text(files.AUTO)
        (mirror / "LDC2005T13/data/AUTO/00/wsj.auto").write_text("hello\n")
        assert "must have rows in 'en', got none" in refusal(CCG, "dev")
        (mirror / "LDC2005T13/data/AUTO/05/wsj.auto").write_bytes(b"ID=x\n(<L NP N N B\xe9b NP>)\n")
        with pytest.raises(Invalid, match=r"05/wsj.auto: it must be text in UTF-8, got .*0xe9 in line 2"):
            resolve(CCG)
        assert "it must be text in UTF-8" in places.absence(CCG)

    def test_a_file_without_questions(self, mirror):
        (mirror / "deepmind/xquad").mkdir(parents=True)
        (mirror / "deepmind/xquad/xquad.de.json").write_text('{"data": []}')
        assert "must have rows in 'de', got none" in refusal(XQUAD, "test", "de")


class TestWhatAPlanLooksAt:
    """Columns, the names of labels, and first lines: of every layout."""

    def test_every_one_of_several_files(self, mirror):
        files.nli(mirror / "nyu-mll/glue/mnli/train-00000-of-00003.parquet")
        (mirror / "nyu-mll/glue/mnli/train-00001-of-00003.parquet").write_bytes(b"no parquet")
        files.nli(mirror / "nyu-mll/glue/mnli/train-00002-of-00003.parquet", names=("negative", "neutral", "positive"))
        faults, _ = inspect_published(resolve(MNLI))
        assert ["train-00001-of" in fault or "train-00002-of" in fault for fault in faults] == [True, True]
        assert "cannot be read as hub files say" in faults[0] and "got negative, neutral, positive" in faults[1]

    def test_columns_of_cosmos_qa(self, mirror):
        (mirror / "wilburOne/cosmosqa/data").mkdir(parents=True)
        text = "id,context,question,answer0,answer1,answer2,answr3,label\n1,it rains,why?,a,b,c,d,1\n"
        (mirror / "wilburOne/cosmosqa/data/train.csv").write_text(text)
        (fault,), _ = inspect_published(resolve(COSMOS_QA))
        assert "must have a column 'answer3', did you mean 'answr3'?" in fault

    def test_questions_and_sentences_and_lines(self, mirror):
        (mirror / "deepmind/xquad").mkdir(parents=True)
        (mirror / "deepmind/xquad/xquad.de.json").write_text('{"data": [{"paragraphs": [{"context": "a"}]}]}')
        (fault,), _ = inspect_published(resolve(XQUAD))
        assert "must hold 'qas' where SQuAD 1.1 has it" in fault
        folder = mirror / "facebookresearch/LASER/data/tatoeba/v1"
        folder.mkdir(parents=True)
        (folder / "tatoeba.deu-eng.deu").write_text("eins\nzwei\n")
        (folder / "tatoeba.deu-eng.eng").write_text("one\n")
        (fault,), _ = inspect_published(resolve(TATOEBA))
        assert "as many lines, got 2 and 1" in fault
        folder = mirror / "bucc2018" / "de-en"
        folder.mkdir(parents=True)
        for side, text in (("de", "de-1 eins\n" + "x" * 70_000), ("en", "en-1\tone\n"), ("gold", "de-1\ten-1\n")):
            (folder / f"de-en.training.{side}").write_text(text)
        (fault,), _ = inspect_published(resolve(BUCC))
        assert "lines must be id, tab, sentence, got line 1 of de-en.training.de" in fault

    def test_derivations(self, mirror):
        for section in range(22):
            folder = mirror / "LDC2005T13" / "data" / "AUTO" / f"{section:02d}"
            folder.mkdir(parents=True)
            (folder / "wsj.auto").write_text(files.AUTO)
        (mirror / "LDC2005T13/data/AUTO/00/wsj.auto").write_text("(S (NP Pierre) (VP sleeps))\n")
        (fault,), _ = inspect_published(resolve(CCG))
        assert "is it a CCGbank .auto file?" in fault

    def test_the_names_of_labels(self, mirror):
        where = "google/xtreme/udpos.{}/test-00000-of-00001.parquet"
        files.tagged(mirror / where.format("German"), "pos_tags", [[0]], ("ADJ", "NOUN"))
        (fault,), _ = inspect_published(resolve(POS))
        assert "the labels of 'pos_tags' must be ADJ, ADP" in fault and "got ADJ, NOUN" in fault
        files.tagged(mirror / where.format("Basque"), "pos_tags", [[0]], UPOS)
        faults, without = inspect_published(resolve(POS))
        assert faults == [] and list(without["test"]) == ["de"]

    def test_tags_are_refused_as_numbers_without_names_and_read_as_names(self, mirror):
        where = mirror / "google/xtreme/udpos.German/test-00000-of-00001.parquet"
        files.tagged(where, "pos_tags", [[0]], ())
        (fault,), _ = inspect_published(resolve(POS))
        assert "column 'pos_tags' must hold names, or numbers whose names the file carries, got list<" in fault
        assert "without names" in refusal(POS, "test", "de")
        stated = replace(
            POS, source=replace(POS.source, codes=(("0", "X"), *((str(n), t) for n, t in enumerate(UPOS) if n)))
        )
        assert [UPOS[tag] for tag in rows(stated, "test", "de")[0]["tags"]] == ["X"]
        columns = {"tokens": ([["a"]], pa.list_(pa.string())), "pos_tags": ([["NOUN"]], pa.list_(pa.string()))}
        files.parquet(where, columns)
        assert [UPOS[tag] for tag in rows(POS, "test", "de")[0]["tags"]] == ["NOUN"]


class TestTrainingInOtherLanguages:
    """Read where the publisher has them; a translation of one's own is of the English rows."""

    TYDIQA_TRAIN = "google-research-datasets/tydiqa/secondary_task/train-00000-of-00001.parquet"

    @pytest.mark.parametrize(
        ("task", "language", "repository", "config", "rows"),
        [
            (MNLI, "sw", "facebook/xnli", "sw", 392_702),
            (PAWSX, "de", "google-research-datasets/paws-x", "de", 49_401),
            (NER, "yo", "google/xtreme", "PAN-X.yo", 100),
            (NER, "de", "google/xtreme", "PAN-X.de", 20_000),
            (POS, "ru", "google/xtreme", "udpos.Russian", 67_435),
            (POS, "th", "translated/th/google/xtreme", "udpos.English", 21_253),
            (TYDIQA, "ru", "google-research-datasets/tydiqa", "secondary_task", 6_490),
            (TYDIQA, "de", "translated/de/google-research-datasets/tydiqa", "secondary_task", 3_696),
            (QQP, "de", "translated/de/nyu-mll/glue", "qqp", 363_846),
        ],
    )
    def test_the_part_that_is_read(self, task, language, repository, config, rows):
        made = translated(task, language)
        (part,) = (part for part in made.source.parts if part.split == "train")
        assert (part.language, part.repository, part.config, part.origin) == (language, repository, config, "train")
        assert part.rows == rows == made.split("train").rows and made.split("train").languages == (language,)
        others = [part for part in task.source.parts if part.split != "train"]
        assert [part for part in made.source.parts if part.split != "train"] == others

    def test_the_counts_of_the_languages_add_up_to_what_is_published(self):
        counted = {task.name: sum(part.rows for part in parts.values()) for task, parts in RELEASED}
        assert counted["tydiqa"] + 3_696 == 49_881
        assert set(dict(RELEASED)[NER]) == set(NER.split("test").languages) - {"en"}
        assert set(POS.split("test").languages) - set(dict(RELEASED)[POS]) == {"en", "tl", "th", "yo"}

    def test_paws_x_and_tags_in_german_as_their_publishers_have_them(self, mirror):
        columns = {"id": ([7], pa.int32()), "label": ([1], pa.int64())}
        columns |= {name: (["a"], pa.string()) for name in ("sentence1", "sentence2")}
        folder = mirror / "google-research-datasets/paws-x"
        files.parquet(folder / "de/train-00000-of-00001.parquet", columns)
        german = translated(PAWSX, "de")
        assert [row["language"] for row in rows(german, "train")] == ["de"]
        assert "hf download google-research-datasets/paws-x" in places.absence(german)
        assert "translate" not in places.absence(german)
        files.tagged(mirror / "google/xtreme/PAN-X.de/train-00000-of-00001.parquet", "ner_tags", [[1, 2, 0]], PANX_TAGS)
        assert [row["language"] for row in rows(translated(NER, "de"), "train")] == ["de"]
        files.tagged(mirror / "google/xtreme/udpos.German/train-00000-of-00001.parquet", "pos_tags", [[1]], UPOS)
        assert [row["language"] for row in rows(translated(POS, "de"), "train")] == ["de"]

    def test_a_translation_of_ones_own_says_where_it_must_lie(self, mirror):
        told = places.absence(translated(QQP, "de"))
        assert "translate nyu-mll/glue into 'de' and put it, laid out alike, in DIR/translated/de/nyu-mll/glue" in told

    def test_tydiqa_in_russian_has_the_russian_questions_alone(self, mirror):
        asked = [files.question(f"{name}--1-{n}") for n, name in enumerate(("russian", "english", "swahili"))]
        files.questions(mirror / self.TYDIQA_TRAIN, asked)
        (row,) = rows(translated(TYDIQA, "ru"), "train")
        assert (row["id"], row["language"]) == ("russian--1-0", "ru")
        assert [row["id"] for row in rows(TYDIQA, "train")] == ["english--1-1"]

    def test_a_translation_of_tydiqa_has_the_english_questions_alone_and_no_test_language(self, mirror):
        asked = [files.question(f"{name}--1-{n}") for n, name in enumerate(("russian", "english", "swahili"))]
        files.questions(mirror / "translated/de" / self.TYDIQA_TRAIN, asked)
        german = translated(TYDIQA, "de")
        (row,) = rows(german, "train")
        assert (row["id"], row["language"]) == ("english--1-1", "de")
        part = german.source.parts[0]
        assert usable_rows(german.source, part, (mirror / "translated/de" / self.TYDIQA_TRAIN,)) == 1


class TestCounts:
    """Against what the catalogue states."""

    def test_rows_without_a_gold_label_and_of_other_languages_do_not_count(self, mirror):
        files.nli(glue(mirror, "mnli", "train"), labels=(0, -1, 2))
        asked = [files.question("swahili--1-0"), files.question("swahili--1-1"), files.question("telugu--2-1")]
        where = mirror / "google-research-datasets/tydiqa/secondary_task/validation-00000-of-00001.parquet"
        files.questions(where, asked)
        (told,) = remarks(resolve(MNLI))
        assert told == ("not the published size: 2 rows of nyu-mll/glue mnli train in 'en', published 392,702")
        counts = {
            part.language: usable_rows(TYDIQA.source, part, (where,))
            for part in TYDIQA.source.parts
            if part.split == "test"
        }
        assert (counts["sw"], counts["te"], counts["ko"]) == (2, 1, 0)

    def test_answers_in_letters_and_raw_files_count_too(self, mirror):
        choices = {"label": list("ABCDE"), "text": ["one", "two", "three", "four", "five"]}
        columns = {
            "id": (["x", "y"], pa.string()),
            "question": (["how many?"] * 2, pa.string()),
            "choices": ([choices] * 2, files.CHOICES),
            "answerKey": (["C", ""], pa.string()),
        }
        files.parquet(mirror / "tau/commonsense_qa/data/train-00000-of-00001.parquet", columns)
        assert "1 rows of tau/commonsense_qa default train" in remarks(resolve(COMMONSENSE_QA))[0]
        (mirror / "wilburOne/cosmosqa/data").mkdir(parents=True)
        header = "id,context,question,answer0,answer1,answer2,answer3,label\n"
        (mirror / "wilburOne/cosmosqa/data/valid.csv").write_text(header + "a,c,q,1,2,3,4,0\nb,c,q,1,2,3,4,-1\n")
        assert "1 rows of wilburOne/cosmosqa data valid in 'en', published 2,985" in remarks(resolve(COSMOS_QA))[0]

    def test_many_parts_are_told_by_the_first_three(self, mirror):
        for language in ("de", "sw", "ar", "fr"):
            files.nli(mirror / f"facebook/xnli/{language}/test-00000-of-00001.parquet")
        missing, told = remarks(resolve(XNLI))
        assert missing.startswith("no test files in 11 of 15 languages (bg el")
        assert told.count("published 5,010") == 3 and told.endswith("and 1 more")

    def test_what_is_not_here_or_cannot_be_read_has_no_remark(self, mirror):
        assert remarks(resolve(MNLI)) == () and remarks(MNLI) == ()
        glue(mirror, "mnli", "train").parent.mkdir(parents=True)
        glue(mirror, "mnli", "train").write_bytes(b"no parquet")
        assert usable_rows(MNLI.source, MNLI.source.parts[0], (glue(mirror, "mnli", "train"),)) is None

    @real
    def test_real_samples_count_as_what_they_are(self, mirror):
        folder = mirror / "facebookresearch/LASER/data/tatoeba/v1"
        folder.mkdir(parents=True)
        for path in (REAL / "tatoeba").iterdir():
            shutil.copy(path, folder)
        _, told = remarks(resolve(TATOEBA))
        # Swahili is whole
        assert told.startswith("not the published size: 390 rows of facebookresearch/LASER ara test in 'ar', published")
        assert "'de'" in told and "'sw'" not in told


class TestPlaces:
    def test_the_hubs_cache_is_read_like_a_mirror(self, mirror, tmp_path):
        revision = dict(MNLI.source.revisions)["nyu-mll/glue"]
        folder = tmp_path / "cache" / "datasets--nyu-mll--glue" / "snapshots" / revision
        files.nli(folder / "mnli" / "train-00000-of-00001.parquet")
        cached = resolve(MNLI)
        assert read(cached, "train", None, None).num_rows == 4
        files.nli(glue(mirror, "mnli", "train"))
        assert dict(resolve(MNLI).source.folders)["nyu-mll/glue"] == str(mirror.resolve() / "nyu-mll/glue")
        assert resolve(MNLI).source.fingerprint == cached.source.fingerprint

    def test_what_the_mirror_lacks_is_looked_for_in_the_hubs_cache(self, mirror, tmp_path):
        revision = dict(MNLI.source.revisions)["nyu-mll/glue"]
        folder = tmp_path / "cache" / "datasets--nyu-mll--glue" / "snapshots" / revision
        for split in ("train", "validation_matched"):
            files.nli(folder / "mnli" / f"{split}-00000-of-00001.parquet")
        files.nli(glue(mirror, "mnli", "train"), labels=(1,))
        assert places.absence(MNLI) == ""
        assert len(rows(MNLI, "train")) == 1 and len(rows(MNLI, "dev")) == 4  # the mirror comes first
        assert len(remarks(resolve(MNLI))) == 1

    def test_one_language_in_the_mirror_hides_none_of_the_cache(self, mirror, tmp_path):
        folder = tmp_path / "cache/datasets--google--xtreme/snapshots" / dict(XQUAD.source.revisions)["google/xtreme"]
        asked = [files.question("one")]
        for language in ("de", "en", "sw"):
            files.questions(folder / f"XQuAD.{language}/validation-00000-of-00001.parquet", asked)
        files.questions(mirror / "google/xtreme/XQuAD.en/validation-00000-of-00001.parquet", asked)
        assert [row["language"] for row in rows(XQUAD, "test")] == ["de", "en"]

    def test_what_a_mirror_has_in_part_is_downloaded_for_the_rest(self, mirror, monkeypatch):
        wanted = []

        def snapshot(repository, *, local_files_only=False, allow_patterns=(), **_):
            if local_files_only:
                raise errors.LocalEntryNotFoundError("not in the cache")
            wanted.append((repository, allow_patterns))
            files.nli(mirror.parent / "fetched" / "plain_text" / "train-00000-of-00001.parquet")
            return str(mirror.parent / "fetched")

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
        for split in ("train_r1", "train_r2", "train_r3", "dev_r1", "dev_r2", "dev_r3"):
            files.nli(mirror / f"facebook/anli/plain_text/{split}-00000-of-00001.parquet", labels=(2,))
        files.nli(glue(mirror, "mnli", "train"))
        willing = replace(ANLI_PLUS, source=replace(ANLI_PLUS.source, download=True))
        assert len(rows(willing, "train")) == 4 + 4 + 3
        assert wanted == [("stanfordnlp/snli", ["plain_text/train*"])]

    def test_a_cache_of_another_commit_is_named(self, mirror, tmp_path):
        commit = "01234567" * 5
        files.nli(tmp_path / f"cache/datasets--nyu-mll--glue/snapshots/{commit}/mnli/train-00000-of-00001.parquet")
        told = places.absence(MNLI)
        pinned = dict(MNLI.source.revisions)["nyu-mll/glue"]
        assert (
            f"the hub's cache has nyu-mll/glue at {commit}, and {pinned} is read: fetch that, or state another" in told
        )
        assert "the hub's cache has" not in places.absence(QQP)  # that commit has no file of it
        files.nli(tmp_path / f"cache/datasets--google-research-datasets--paws-x/snapshots/{commit}/en/train.parquet")
        pinned = dict(PAWSX.source.revisions)["google-research-datasets/paws-x"]
        assert f"has google-research-datasets/paws-x at {commit}, and {pinned} is read" in places.absence(PAWSX)
        unpinned = replace(PAWSX, source=replace(PAWSX.source, revisions=()))
        assert f"has google-research-datasets/paws-x at {commit}, and main is read" in places.absence(unpinned)
        refs = tmp_path / "cache/datasets--google-research-datasets--paws-x/refs"
        refs.mkdir()
        (refs / "main").write_text(commit)  # that one is main, and lacks the files of other splits
        assert "no dev or test files of pawsx in" in places.absence(unpinned)
        assert "the hub's cache has" not in places.absence(unpinned)
        stated = replace(MNLI, source=replace(MNLI.source, revisions=(("nyu-mll/glue", commit),)))
        assert len(rows(stated, "train")) == 4

    def test_an_absent_part_of_several_repositories_is_named_alone(self, mirror):
        files.nli(glue(mirror, "mnli", "train"))
        for split in ("train_r1", "train_r2", "train_r3", "dev_r1", "dev_r2", "dev_r3"):
            files.nli(mirror / f"facebook/anli/plain_text/{split}-00000-of-00001.parquet", labels=(2,))
        told = places.absence(ANLI_PLUS)
        place = "in the mirror folder or the hub's cache"
        assert told.startswith(f"no train files of anli_plus {place} (lacking: stanfordnlp/snli); hf download")
        assert told.count("hf download") == 1 and "hf download stanfordnlp/snli " in told

    def test_the_converted_branch_and_the_plain_names_are_found_too(self, mirror):
        files.nli(mirror / "nyu-mll/glue/mnli/train/0000.parquet")
        files.nli(mirror / "nyu-mll/glue/mnli/validation_matched.parquet")
        assert len(rows(MNLI, "train")) == len(rows(MNLI, "dev")) == 4

    def test_nothing_is_downloaded_unless_the_source_says_so(self, mirror, monkeypatch):
        asked = []

        def snapshot(repository, *, local_files_only=False, revision=None, **_):
            asked.append((repository, revision, local_files_only))
            if local_files_only:
                raise errors.LocalEntryNotFoundError("not in the cache")
            for split in ("train", "validation_matched"):
                files.nli(mirror.parent / "fetched" / "mnli" / f"{split}-00000-of-00001.parquet")
            return str(mirror.parent / "fetched")

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
        assert places.absence(MNLI) and all(local for _, _, local in asked)
        willing = replace(MNLI, source=replace(MNLI.source, download=True))
        assert read(resolve(willing), "train", None, None).num_rows == 4
        assert asked[-1] == ("nyu-mll/glue", dict(MNLI.source.revisions)["nyu-mll/glue"], False)

    @pytest.mark.parametrize("task", [task for task in TASKS.values() if isinstance(task.source, PublishedSource)])
    def test_an_absent_task_says_how_to_get_it(self, mirror, task):
        told = places.absence(task)
        assert task.name in told and "--data DIR" in told
        assert resolve(task).source.fingerprint == "" and resolve(task).source.folders == ()
        assert "must be here" in refusal(task, "test" if task.split("test") else "train")

    def test_where_a_file_lies_does_not_matter_for_what_it_is(self, mirror, tmp_path, monkeypatch):
        files.nli(glue(mirror, "mnli", "train"))
        first = resolve(MNLI)
        shutil.copytree(mirror, tmp_path / "elsewhere")
        monkeypatch.setenv(places.MIRROR, str(tmp_path / "elsewhere"))
        assert resolve(MNLI).source.fingerprint == first.source.fingerprint
        assert resolve(MNLI).source.folders != first.source.folders

    def test_rows_are_kept_in_the_cache_and_read_from_there(self, mirror, tmp_path):
        files.nli(glue(mirror, "mnli", "train"))
        task = resolve(MNLI)
        first = read(task, "train", None, tmp_path / "kept")
        assert [path.suffix for path in (tmp_path / "kept").iterdir()] == [".arrow"]
        assert read(task, "train", None, tmp_path / "kept").equals(first)


class TestCatalogue:
    def test_has_the_nine_intermediate_tasks_and_the_nine_targets(self):
        assert len(INTERMEDIATE) == len(TARGETS) == 9
        assert all(TASKS[task.name] is task for task in (*INTERMEDIATE, *TARGETS))

    def test_anli_plus_counts_as_its_three_parts(self):
        assert ANLI_PLUS.split("train").rows == 1_104_934 and ANLI_PLUS.split("dev").rows == 3_200

    @pytest.mark.parametrize("task", [task for task in TASKS.values() if isinstance(task.source, PublishedSource)])
    def test_every_repository_of_the_hub_is_read_at_one_commit(self, task):
        hub = {part.repository for part in (*task.source.parts, *task.source.instead) if part.layout is Layout.HUB}
        pinned = dict(task.source.revisions)
        assert hub == {name for name in pinned if len(pinned[name]) == 40}

    def test_targets_that_learn_the_same_share_their_teacher(self):
        assert XQUAD.teacher is MLQA.teacher is SQUAD_V1 and XNLI.teacher is MNLI and PAWSX.teacher is PAWSX

    def test_targets_have_the_languages_of_the_benchmark(self):
        counts = {task.name: len(task.split("test").languages) for task in TARGETS}
        assert counts == {
            **{"xnli": 15, "pawsx": 7, "udpos": 33, "panx": 40, "xquad": 11},
            **{"mlqa": 7, "tydiqa": 9, "bucc2018": 4, "tatoeba": 36},
        }

    def test_retrieval_has_nothing_to_train_on(self):
        assert all(task.split("train") is None for task in TARGETS if task.kind is Kind.RETRIEVAL)

    def test_every_task_states_licence_columns_and_a_split_for_every_part(self):
        for task in (*INTERMEDIATE, *TARGETS):
            assert task.licence and task.source.columns
            for part in (*task.source.parts, *task.source.instead):
                assert part.language in task.split(part.split).languages

    def test_what_is_stored_of_a_task_reads_back(self):
        from trainables.canonical import canonical, decode

        for task in TASKS.values():
            assert decode(Task, json.loads(canonical(task))) == task


def test_all_languages_of_a_split_are_read_together(mirror):
    for language in ("de", "sw"):
        files.nli(mirror / f"facebook/xnli/{language}/test-00000-of-00001.parquet")
    table = read(resolve(XNLI), "test", ("sw", "de", "fr"), None)
    assert pc.unique(table["language"]).to_pylist() == ["sw", "de"]
    spoken = XNLI.split("test").languages
    assert places.missing(resolve(XNLI)) == {"test": tuple(code for code in spoken if code not in ("de", "sw"))}
