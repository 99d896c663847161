"""Spans over windows, unanswerable questions, tags and retrieval: what rows become, and how answers are scored."""

from __future__ import annotations

import itertools
import string
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.torch_cpu import tiny
from trainables.catalogue.task import NLI_LABELS, Kind, LabSource, Metric, Role, Split, Task
from trainables.data import kept
from trainables.data.batches import ABSENT, NOWHERE, batch
from trainables.data.layouts import LONGEST_QUESTION
from trainables.data.rows import lay_out
from trainables.data.schema import ANSWERS, PAIR, RETRIEVAL, SPAN, TAGGING
from trainables.data.sequences import Rows, Sequences, answer_text
from trainables.data.tokens import Ragged, Template
from trainables.faults import Invalid
from trainables.model.encoder import build
from trainables.model.reader import Reader
from trainables.training import retrieval
from trainables.training.evaluate import over_rows, score
from trainables.training.ranks import Ranks
from trainables.training.retrieval import PAIRS_ALONE, mine_pairs, nearest_rows, score_retrieval

HOW = {"batch_size": 4, "precision": "float32", "device": torch.device("cpu"), "ranks": Ranks()}
WHAT = {"split": "test", "role": Role.REPORT}
LONG = (
    "on the left a small red circle, on the right a big blue ring, at the top a curtain, at the bottom a green cross, "
)


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(build(tiny.ENCODER, seed=3, dropout=0.0), tiny.ENCODER, seed=3, dropout=0.0).eval()


def task(kind: Kind, labels: tuple[str, ...] = (), **more) -> Task:
    splits = (Split(name="train", languages=("en",), rows=4), Split(name="test", languages=("en", "de"), rows=4))
    return Task(
        name="made", kind=kind, labels=labels, splits=splits, source=LabSource(generator="x"), licence="none", **more
    )


def spans(*told: tuple[str, str, str], language: str = "en") -> pa.Table:
    """(context, question, answer) rows; the answer's first place counts, and an empty one is none."""
    listed = [
        {
            "id": f"q{number}",
            "language": language,
            "context": context,
            "question": question,
            "answer_text": answer,
            "answer_start": context.find(answer) if answer else -1,
            "answers": [answer],
        }
        for number, (context, question, answer) in enumerate(told)
    ]
    return pa.Table.from_pylist(listed, schema=SPAN.append(ANSWERS))


MOCK = Path(__file__).parents[3] / "shared" / "real" / "xtreme-mock"
mock = pytest.mark.skipif(not MOCK.is_dir(), reason=f"{MOCK}, the benchmark's mock submission, is not here")


def mocked(kind: str, name: str, language: str) -> list[str]:
    return (MOCK / kind / name / f"test-{language}.tsv").read_text().split()


class Says:
    """A reader that answers as it is told: rows of `answers` in the order of the rows."""

    def __init__(self, reader: Reader, rows: Rows, answers: torch.Tensor) -> None:
        self.reader, self.answers = reader, answers
        self.by_tokens = {tuple(rows.sequences.tokens.row(row).tolist()): row for row in range(len(rows))}
        self.training, self.layers, self.width = False, reader.layers, answers.shape[-1]

    def _rows(self, part) -> list[int]:
        return [
            self.by_tokens[tuple(ids[:length].tolist())] for ids, length in zip(part.ids, part.lengths, strict=True)
        ]

    def predict(self, part, head, labels):
        return self.answers[self._rows(part)]

    def sentence_vectors(self, part, layer):
        return self.answers[self._rows(part)]

    def eval(self): ...
    def train(self, mode): ...


class TestWindows:
    def data(self) -> Rows:
        return lay_out(spans((LONG * 6, "what colour is the object at the bottom", "green")), Kind.SPAN, tiny.ENCODER)

    def test_a_long_context_is_seen_whole_in_overlapping_windows(self):
        data = self.data()
        places = data.places.row(0)
        seen = [
            set(range(start, start + int(length)))
            for start, length in zip(data.window_starts, data.sequences.second_lengths, strict=True)
        ]
        assert set().union(*seen) == set(range(len(places)))
        assert all(left & right for left, right in itertools.pairwise(seen))
        assert data.lengths.max() <= tiny.ENCODER.maximum_tokens
        assert data.items.tolist() == [0] * len(data) and len(data) > 2

    def test_windows_with_the_answer_point_at_it_and_the_others_at_the_first_token(self):
        data = self.data()
        assert data.may_be_nowhere
        answered = [row for row in range(len(data)) if data.labels[row, 0] != NOWHERE]
        assert 0 < len(answered) < len(data)
        for row in answered:
            assert answer_text(data, row, *map(int, data.labels[row])) == "green"

    def test_an_answer_that_only_ends_in_a_window_is_not_in_it(self):
        context = LONG * 6
        far = context.index("at the bottom a green cross")
        told = pa.Table.from_pylist(
            [
                {
                    **spans((context, "what is there", "at the bottom a green cross")).to_pylist()[0],
                    "answer_start": far,
                }
            ],
            schema=SPAN.append(ANSWERS),
        )
        data = lay_out(told, Kind.SPAN, tiny.ENCODER)
        for row in range(len(data)):
            first, last = map(int, data.labels[row])
            if first != NOWHERE:
                assert answer_text(data, row, first, last) == "at the bottom a green cross"

    def test_a_short_context_is_one_window_whose_first_token_is_no_answer(self):
        data = lay_out(spans((LONG, "what colour", "red")), Kind.SPAN, tiny.ENCODER)
        assert len(data) == 1 and not data.may_be_nowhere

    def test_an_answer_in_no_one_place_is_no_question_without_an_answer(self):
        (row,) = spans((LONG, "what colour", "red")).to_pylist()
        told = pa.Table.from_pylist([{**row, "answer_start": -1}], schema=SPAN.append(ANSWERS))
        data = lay_out(told, Kind.SPAN, tiny.ENCODER)
        assert not data.may_be_nowhere and data.labels.tolist() == [[ABSENT, ABSENT]]
        assert data.answers == (("red",),)

    def test_a_question_longer_than_the_context_leaves_room_for_it(self):
        data = lay_out(spans((LONG, "the " * 300, "red")), Kind.SPAN, tiny.ENCODER)
        assert data.lengths.max() <= tiny.ENCODER.maximum_tokens
        assert data.sequences.first_lengths.max() <= LONGEST_QUESTION
        assert any(first != NOWHERE for first in data.labels[:, 0])

    def test_the_best_window_is_believed(self, reader):
        data = self.data()
        said = torch.zeros(len(data), 4, dtype=torch.float64)
        said[:, 2] = torch.arange(len(data))
        best = len(data) - 1
        said[best, :2] = 3
        found = score(Says(reader, data, said), task(Kind.SPAN), data, step=0, languages=("en",), **WHAT, **HOW)
        (row,) = found.predictions.to_pylist()
        assert row["predicted"] == answer_text(data, best, 3, 3) and row["predicted"]

    def test_losses_count_windows_without_the_answer_too(self, reader):
        data = self.data()
        loss, labels = reader.loss(batch(data, np.arange(len(data))), "span", 0)
        assert labels == len(data) and torch.isfinite(loss)


class TestUnanswerable:
    TABLE = spans((LONG, "what colour", "red"), (LONG, "who sings", ""))

    def test_no_answer_is_learned_as_the_first_token(self, reader):
        data = lay_out(self.TABLE, Kind.SPAN, tiny.ENCODER)
        assert data.may_be_nowhere and data.labels[1].tolist() == [NOWHERE, NOWHERE]
        logits = reader.logits(batch(data, np.arange(2)), "span", 0)
        expected = -sum(logits[1, :, side].log_softmax(0)[0] for side in (0, 1)) / 2
        loss, labels = reader.loss(batch(data, np.array([1])), "span", 0)
        assert labels == 1 and torch.allclose(loss, expected, atol=1e-5)

    @pytest.mark.parametrize(("nowhere", "said", "f1"), [(1.0, "", 1.0), (-1.0, "red", 0.0)])
    def test_it_is_said_where_it_is_likelier_than_every_span(self, reader, nowhere, said, f1):
        data = lay_out(self.TABLE.slice(1), Kind.SPAN, tiny.ENCODER)
        red = next(n for n, place in enumerate(data.places.row(0)) if LONG[place >> 32 :].lstrip().startswith("red"))
        told = torch.tensor([[red, red, 0.0, nowhere]], dtype=torch.float64)
        asked = task(Kind.SPAN, unanswerable=True)
        found = score(Says(reader, data, told), asked, data, step=0, languages=("en",), **WHAT, **HOW)
        assert found.predictions["predicted"].to_pylist() == [said]
        assert [one.value for one in found.scores] == [f1, f1]
        always = score(Says(reader, data, told), task(Kind.SPAN), data, step=0, languages=("en",), **WHAT, **HOW)
        assert always.predictions["predicted"].to_pylist() == ["red"]

    def test_an_absent_language_has_no_score(self, reader):
        data = lay_out(self.TABLE, Kind.SPAN, tiny.ENCODER)
        told = torch.zeros(2, 4, dtype=torch.float64)
        found = score(Says(reader, data, told), task(Kind.SPAN), data, step=0, languages=("de",), **WHAT, **HOW)
        assert [(one.metric, one.value, one.count) for one in found.scores] == [
            ("f1", None, 0),
            ("exact_match", None, 0),
        ]


def test_a_language_whose_files_cannot_be_used_has_no_score_and_says_why(reader, tmp_path):
    """Through the file that laid-out rows are kept in, for labels and for retrieval."""
    wrong = {b"left out": b'{"de": ["label 3 in row 1", "no column"]}'}
    told = pa.table([["1"], ["en"], ["a"], ["b"], [0]], schema=PAIR).replace_schema_metadata(wrong)
    kept.keep(lay_out(told, Kind.PAIR, tiny.ENCODER), tmp_path / "rows.arrow")
    data = kept.fetch(tmp_path / "rows.arrow", (Rows, Sequences, Ragged, Template, Kind))
    found = score(
        Says(reader, data, torch.zeros(1)),
        task(Kind.PAIR, NLI_LABELS),
        data,
        step=0,
        languages=("en", "de"),
        **WHAT,
        **HOW,
    )
    english, german = found.scores
    assert english.value is not None and german.value is None
    assert german.absent_reason == "the test split of made has no row in 'de': label 3 in row 1; no column"
    pairs = sentences({"a": "x"}, ["x"], "fr").replace_schema_metadata(wrong)
    data = lay_out(pairs, Kind.RETRIEVAL, tiny.ENCODER)
    found = score_retrieval(reader, task(Kind.RETRIEVAL), data, None, layer=1, languages=("fr", "de"), **WHAT, **HOW)
    assert [one.absent_reason for one in found.scores] == ["", german.absent_reason]


TAGS = ("O", "B-LOC", "I-LOC")
SENTENCES = pa.Table.from_pylist(
    [
        {"id": "a", "language": "en", "tokens": ["the", "red", "circle"], "tags": [0, 1, 2]},
        {"id": "b", "language": "en", "tokens": ["zzyzx", "is"], "tags": [1, 0]},
        {"id": "c", "language": "en", "tokens": ["red"] * 200, "tags": [0, 1] * 100},
        {"id": "d", "language": "zh", "tokens": ["红色", "的", "圆形"], "tags": [0, 0, 1]},
    ],
    schema=TAGGING,
)


class TestTags:
    def data(self) -> Rows:
        return lay_out(SENTENCES, Kind.TAGGING, tiny.ENCODER)

    def test_only_the_first_token_of_a_word_is_labelled(self):
        data = self.data()
        made = batch(data, np.array([1]))
        labelled = (made.labels[0] != ABSENT).nonzero().flatten()
        assert made.labels[0, labelled].tolist() == [1, 0]
        assert labelled.tolist() == (1 + data.word_starts.row(1)).tolist()
        assert data.word_starts.row(1)[1] > 1  # the unknown word is spelled

    def test_a_long_sentence_is_cut_between_words_and_scored_whole(self, reader):
        data = self.data()
        pieces = [row for row in range(len(data)) if data.items[row] == 2]
        assert len(pieces) > 1 and sum(len(data.tags.row(row)) for row in pieces) == 200
        assert data.lengths.max() <= tiny.ENCODER.maximum_tokens
        said = torch.zeros(len(data), int(data.lengths.max()), dtype=torch.int64)
        for row in range(len(data)):
            said[row, 1 + data.word_starts.row(row)] = torch.from_numpy(data.tags.row(row))
        asked = task(Kind.TAGGING, TAGS, metric=Metric.ENTITIES)
        found = score(Says(reader, data, said), asked, data, step=0, languages=("en", "zh"), **WHAT, **HOW)
        assert [one.value for one in found.scores] == [1.0, 1.0] and [one.count for one in found.scores] == [3, 1]
        assert found.predictions["item_id"].to_pylist() == ["a", "b", "c", "d"]
        assert found.predictions["predicted"].to_pylist()[0] == "O B-LOC I-LOC"
        assert found.predictions["score"].null_count == 4  # an F1 over entities is no mean over sentences

    def test_accuracy_counts_words(self, reader):
        data = lay_out(SENTENCES.slice(0, 2), Kind.TAGGING, tiny.ENCODER)
        said = torch.zeros(len(data), int(data.lengths.max()), dtype=torch.int64)
        found = score(
            Says(reader, data, said), task(Kind.TAGGING, TAGS), data, step=0, languages=("en",), **WHAT, **HOW
        )
        assert [(one.metric, one.correct, one.count) for one in found.scores] == [("accuracy", 2, 5)]
        assert found.predictions["score"].to_pylist() == [pytest.approx(1 / 3), 0.5]

    def test_words_of_a_language_without_spaces_are_tokenised_as_written(self):
        data = self.data()
        written = data.sequences.second_lengths[list(data.items).index(3)]
        assert written == 3

    def test_the_loss_is_a_mean_over_words(self, reader):
        data = self.data()
        loss, labels = reader.loss(batch(data, np.array([0, 1])), "tags.x", len(TAGS))
        logits = reader.logits(batch(data, np.array([0])), "tags.x", len(TAGS))
        alone = torch.nn.functional.cross_entropy(logits[0, 1:4], torch.tensor([0, 1, 2]), reduction="sum")
        one, _ = reader.loss(batch(data, np.array([0])), "tags.x", len(TAGS))
        assert labels == 5 and loss > alone and torch.allclose(one, alone, atol=1e-5)


def sentences(matches: dict[str, str], english: list[str], language: str = "de") -> pa.Table:
    listed = [
        {"id": one, "language": language, "is_english": False, "text": f"{one} rot", "match": match}
        for one, match in matches.items()
    ]
    listed += [{"id": e, "language": language, "is_english": True, "text": f"{e} red", "match": ""} for e in english]
    return pa.Table.from_pylist(listed, schema=RETRIEVAL)


class TestRetrieval:
    MINING = task(Kind.RETRIEVAL, metric=Metric.MINING)

    def test_vectors_have_norm_one_and_do_not_depend_on_padding(self, reader):
        data = lay_out(sentences({"a": "x", "langes wort": ""}, ["x"]), Kind.RETRIEVAL, tiny.ENCODER)
        together = reader.sentence_vectors(batch(data, np.arange(3)), 1)
        alone = reader.sentence_vectors(batch(data, np.array([0])), 1)
        assert torch.allclose(together.norm(dim=1), torch.ones(3)) and torch.allclose(together[:1], alone, atol=1e-6)
        assert not torch.allclose(together, reader.sentence_vectors(batch(data, np.arange(3)), 0), atol=1e-3)

    def test_a_vector_is_the_mean_over_all_tokens_with_the_special_ones_around_the_text(self, reader):
        data = lay_out(sentences({"a": "x"}, ["x"]), Kind.RETRIEVAL, tiny.ENCODER)
        one = batch(data, np.array([0]))
        mean = reader.states(one, layer=1)[0, : int(one.lengths[0])].mean(0)
        vector = reader.sentence_vectors(one, 1)[0]
        assert torch.allclose(vector, torch.nn.functional.normalize(mean, dim=0), atol=1e-5)
        assert int(one.lengths[0]) == len(data.template.prefix) + int(one.second_lengths[0]) + len(data.template.suffix)

    def test_a_layer_that_the_trunk_has_not_is_refused(self, reader):
        data = lay_out(sentences({"a": "x"}, ["x"]), Kind.RETRIEVAL, tiny.ENCODER)
        with pytest.raises(Invalid, match="layer must be from 0 to the trunk's 1, got 9"):
            score_retrieval(reader, task(Kind.RETRIEVAL), data, None, layer=9, languages=("de",), **WHAT, **HOW)

    def found(self, reader, matches, english, vectors, languages=("de",)):
        data = lay_out(sentences(matches, english), Kind.RETRIEVAL, tiny.ENCODER)
        told = torch.nn.functional.normalize(torch.tensor(vectors), dim=1)
        asked = task(Kind.RETRIEVAL)
        return score_retrieval(Says(reader, data, told), asked, data, None, layer=0, languages=languages, **WHAT, **HOW)

    def test_each_english_sentence_finds_its_nearest(self, reader):
        vectors = [[1.0, 0.1], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
        found = self.found(reader, {"a": "x", "b": "y"}, ["x", "y"], vectors, ("de", "fr"))
        german, french = found.scores
        assert (german.metric, german.value, german.correct, german.count) == ("accuracy", 0.0, 0, 2)
        assert french.value is None and "no row in 'fr'" in french.absent_reason
        assert found.predictions["item_id"].to_pylist() == ["x", "y"]
        assert found.predictions["gold"].to_pylist() == ["a", "b"]
        assert found.predictions["predicted"].to_pylist() == ["b", "a"]

    def test_a_sentence_that_all_others_are_near_to_costs_what_it_costs_in_xtreme(self, reader):
        # English x, y and z find a, b and c; all of a, b and c would find x.
        vectors = [
            [1.0, 0.3, 0.0],
            [1.0, 0.0, 0.3],
            [1.0, 0.0, 0.0],
            [1.0, 0.3, 0.0],
            [0.2, 0.0, 1.0],
            [1.0, -0.4, 0.0],
        ]
        found = self.found(reader, {"a": "x", "b": "y", "c": "z"}, ["x", "y", "z"], vectors)
        assert found.predictions["predicted"].to_pylist() == ["a", "b", "c"]

    @mock
    @pytest.mark.parametrize(
        ("language", "accuracy"), [("ar", 0.3), ("de", 0.7), ("fr", 0.8), ("sw", 0.2), ("zh", 0.6)]
    )
    def test_tatoeba_is_scored_as_by_the_official_evaluator(self, reader, language, accuracy):
        gold, said = (list(map(int, mocked(kind, "tatoeba", language))) for kind in ("labels", "predictions"))
        foreign = sorted({*gold, *said})
        # (foreign, then English); an English sentence is where the one that was predicted for it is
        vectors = [*torch.eye(len(foreign)), *(torch.eye(len(foreign))[foreign.index(one)] for one in said)]
        names = string.ascii_lowercase
        english = list(names[: len(gold)])
        matches = {names[n]: english[gold.index(one)] if one in gold else "" for n, one in enumerate(foreign)}
        found = self.found(reader, matches, english, torch.stack(vectors).tolist())
        assert found.scores[0].value == pytest.approx(accuracy)

    def mined(self, reader, matches, english, vectors, dev):
        data = lay_out(sentences(matches, english), Kind.RETRIEVAL, tiny.ENCODER)
        tuning = lay_out(sentences(*dev), Kind.RETRIEVAL, tiny.ENCODER) if dev else None
        told = torch.nn.functional.normalize(torch.tensor(vectors), dim=1)
        return score_retrieval(
            Says(reader, data, told), self.MINING, data, tuning, layer=0, languages=("de",), **WHAT, **HOW
        )

    VECTORS = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.4, 0.4, 0.8], [1.0, 0.1, 0.0], [0.1, 1.0, 0.0], [0.3, -0.5, 0.8]]

    def test_mining_is_scored_above_a_threshold_that_the_dev_split_tunes(self, reader):
        told = ({"a": "x", "b": "y", "c": ""}, ["x", "y", "z"])
        found = self.mined(reader, *told, self.VECTORS, told)
        (scored,) = found.scores
        assert (scored.metric, scored.value, scored.correct) == ("f1", 1.0, None)
        assert found.predictions["predicted"].to_pylist() == ["x", "y", ""]

    def test_why_there_is_no_dev_split_to_tune_on_is_told_where_it_is_known(self, reader):
        data = lay_out(sentences({"a": "x", "b": ""}, ["x", "y"]), Kind.RETRIEVAL, tiny.ENCODER)
        wrong = {b"left out": b'{"de": ["no gold file", "no text"]}'}
        french = sentences({"a": "x", "b": ""}, ["x", "y"], "fr").replace_schema_metadata(wrong)
        dev = lay_out(french, Kind.RETRIEVAL, tiny.ENCODER)
        found = score_retrieval(reader, self.MINING, data, dev, layer=0, languages=("de",), **WHAT, **HOW)
        assert found.scores[0].absent_reason == (
            "the threshold must be tuned on a dev split with distractors in 'de', got none: no gold file; no text"
        )

    def test_without_distractors_the_score_has_another_name(self, reader):
        found = self.mined(reader, {"a": "x", "b": "y"}, ["x", "y"], [*self.VECTORS[:2], *self.VECTORS[3:5]], None)
        assert [(one.metric, one.value) for one in found.scores] == [(PAIRS_ALONE, 1.0)]

    def test_without_a_dev_split_mining_has_no_score(self, reader):
        found = self.mined(reader, {"a": "x", "b": "y", "c": ""}, ["x", "y", "z"], self.VECTORS, None)
        assert found.scores[0].value is None and "threshold must be tuned" in found.scores[0].absent_reason

    def test_a_pair_is_judged_against_the_neighbours_of_both(self):
        hub = torch.nn.functional.normalize(torch.tensor([[1.0, 1.0], [1.0, 0.0]]), dim=1)
        other = torch.nn.functional.normalize(torch.tensor([[1.0, 0.9], [0.9, -0.4]]), dim=1)
        mined = mine_pairs(hub, other)
        assert set(mined) == {(0, 0), (1, 1)}
        cosines = hub @ other.T
        assert mined[0, 0] == pytest.approx(float(cosines[0, 0] / ((cosines[0].mean() + cosines[:, 0].mean()) / 2)))


def test_mining_goes_piece_by_piece_with_a_sign_of_life_for_each_and_finds_the_same(monkeypatch):
    left, right = (
        torch.nn.functional.normalize(torch.randn(n, 8, generator=torch.manual_seed(n)), dim=1) for n in (23, 31)
    )
    whole, nearest = mine_pairs(left, right), nearest_rows(left, right)
    assert torch.equal(nearest, (left @ right.T).argmax(1))
    beats = []
    monkeypatch.setattr(retrieval.pulse, "beat", lambda: beats.append(1))
    monkeypatch.setattr(retrieval, "_CHUNK", 5)
    monkeypatch.setattr(retrieval, "_OTHERS", 7)
    again = mine_pairs(left, right)
    assert again.keys() == whole.keys() and list(again.values()) == pytest.approx(list(whole.values()))
    assert len(beats) == 5 * 5 + 7 * 4  # every piece of either side against every piece of the other
    assert torch.equal(nearest_rows(left, right), nearest)


def test_the_vectors_of_one_language_alone_are_held_at_once(reader, monkeypatch):
    tables = [sentences({"a": "x", "b": "y"}, ["x", "y"], language) for language in ("de", "fr", "ru")]
    data = lay_out(pa.concat_tables(tables), Kind.RETRIEVAL, tiny.ENCODER)
    held = []

    def counted(reader, rows, answer, found, **how):
        held.append(len(found))
        return over_rows(reader, rows, answer, found, **how)

    monkeypatch.setattr(retrieval, "over_rows", counted)
    found = score_retrieval(
        reader, task(Kind.RETRIEVAL), data, None, layer=1, languages=("de", "fr", "ru"), **WHAT, **HOW
    )
    assert held == [2] * 6 and [one.count for one in found.scores] == [2, 2, 2]


def test_a_sentence_that_stands_twice_is_mined_once_and_pairs_with_it_are_not_kept(reader):
    texts = [
        ("a", "rot", "x"),
        ("b", "gut", "y"),
        ("c", "gut", ""),
        ("x", "red", ""),
        ("y", "good", ""),
        ("z", "no", ""),
    ]
    table = pa.Table.from_pylist(
        [
            {"id": one, "language": "de", "is_english": one in "xyz", "text": text, "match": match}
            for one, text, match in texts
        ],
        schema=RETRIEVAL,
    )
    data = lay_out(table, Kind.RETRIEVAL, tiny.ENCODER)
    near = [[1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0], [1.0, 0.1, 0], [0.1, 1.0, 0], [0, 0, 1.0]]
    says = Says(reader, data, torch.nn.functional.normalize(torch.tensor(near), dim=1))
    asked = task(Kind.RETRIEVAL, metric=Metric.MINING)
    found = score_retrieval(says, asked, data, data, layer=0, languages=("de",), **WHAT, **HOW)
    assert found.predictions["predicted"].to_pylist() == [
        "x",
        "",
        "",
    ]  # XTREME drops y, which "gut" finds, and counts it
    assert found.scores[0].value == pytest.approx(2 / 3)


def test_a_retrieval_task_is_scored_from_an_encoder_that_nothing_was_trained_on(tmp_path, monkeypatch):
    from trainables.data import rows as module
    from trainables.training.loop import run_stage

    table = sentences({"a": "x", "b": "y"}, ["x", "y"])
    monkeypatch.setattr(module, "read", lambda *asked: table)
    asked = task(Kind.RETRIEVAL)
    stage = replace(tiny.evaluation(asked, "", languages=("de",), layer=1), parent="")
    outcome = run_stage(stage, parent=None, output=tmp_path / "out")
    assert [one.count for one in outcome.scores] == [2] and outcome.scores[0].value is not None


@mock
@pytest.mark.parametrize(
    ("name", "labels", "language", "accuracy"),
    [("pawsx", ("0", "1"), code, of) for code, of in {"de": 0.5, "en": 0.4, "fr": 0.6, "zh": 0.4}.items()]
    + [
        ("xnli", NLI_LABELS, code, of)
        for code, of in {"ar": 0.2, "de": 0.2, "en": 0.3, "fr": 0.3, "sw": 0.2, "zh": 0.1}.items()
    ],
)
def test_the_accuracy_of_a_classification_is_that_of_the_official_evaluator(reader, name, labels, language, accuracy):
    gold, said = (mocked(kind, name, language) for kind in ("labels", "predictions"))
    table = pa.Table.from_pylist(
        [
            {
                "id": f"{n}",
                "language": language,
                "premise": "red " * (n + 1),
                "hypothesis": "red",
                "label": labels.index(one),
            }
            for n, one in enumerate(gold)
        ],
        schema=PAIR,
    )
    data = lay_out(table, Kind.PAIR, tiny.ENCODER)
    answers = torch.tensor([labels.index(one) for one in said])
    asked = task(Kind.PAIR, labels)
    found = score(Says(reader, data, answers), asked, data, step=0, languages=(language,), **WHAT, **HOW)
    assert found.scores[0].value == pytest.approx(accuracy)
