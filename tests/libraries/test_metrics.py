"""Scores of answers: known cases, and what the official evaluators say of XTREME's mock submission."""

import json
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.training.metrics import (
    best_answer,
    best_threshold,
    entity_f1,
    exact_match,
    mlqa_normalised,
    normalised,
    pair_f1,
    tag_f1,
    token_f1,
)

words = st.lists(st.sampled_from(["red", "the", "blue", "circle", "An", "ring."]), max_size=6).map(" ".join)


def test_answers_are_compared_as_in_squad():
    assert normalised("  The  red, a   Circle! ") == "red circle"
    assert exact_match("the red circle", "Red circle.")
    assert not exact_match("red circle", "red")


def test_f1_of_known_answers():
    assert token_f1("red circle", "the red ring") == pytest.approx(0.5)
    assert token_f1("red circle", "blue ring") == 0.0
    assert token_f1("red red", "red") == pytest.approx(2 / 3)
    assert token_f1("red", "") == 0.0 == token_f1("the", "a")  # SQuAD 1.1: no word is shared
    assert exact_match("the", "a")
    assert token_f1("", "", may_be_empty=True) == 1.0  # SQuAD 2.0
    assert token_f1("the", "a", may_be_empty=True) == 1.0 and token_f1("red", "", may_be_empty=True) == 0.0


@given(words, words)
def test_f1_is_symmetric_in_range_and_one_for_a_match(left, right):
    for may in (False, True):
        assert 0 <= token_f1(left, right, may_be_empty=may) == token_f1(right, left, may_be_empty=may) <= 1
    assert token_f1(left, left, may_be_empty=True) == 1.0
    if exact_match(left, right):
        assert token_f1(left, right) == float(bool(normalised(left)))


# In percent, as google-research/xtreme's evaluate.py (commit 09182488) computes them: with seqeval 0.0.12, the newest
# when the benchmark appeared, and with the published evaluators of SQuAD 1.1 and MLQA.
OFFICIAL_TAGS = [
    ("panx", "ar", 0.0),
    ("panx", "de", 57.14285714285715),
    ("panx", "en", 100.0),
    ("panx", "fr", 50.0),
    ("panx", "sw", 28.571428571428577),
    ("panx", "zh", 33.33333333333333),
    ("udpos", "ar", 53.09734513274336),
    ("udpos", "de", 82.05128205128204),
    ("udpos", "en", 100.0),
    ("udpos", "fr", 70.58823529411765),
    ("udpos", "zh", 61.11111111111113),
]
OFFICIAL_SPANS = [
    ("xquad", "ar", 100.0, 100.0),
    ("xquad", "de", 100.0, 100.0),
    ("xquad", "en", 100.0, 100.0),
    ("xquad", "zh", 25.0, 0.0),
    ("mlqa", "ar", 100.0, 100.0),
    ("mlqa", "de", 85.71428571428571, 0.0),
    ("mlqa", "en", 60.0, 0.0),
    ("mlqa", "zh", 100.0, 100.0),
    ("tydiqa", "ar", 100.0, 100.0),
    ("tydiqa", "en", 100.0, 100.0),
    ("tydiqa", "sw", 100.0, 100.0),
]
OFFICIAL_PAIRS = [("de", 50.0), ("fr", 50.0), ("zh", 70.0)]

MOCK = Path(__file__).parents[3] / "shared" / "real" / "xtreme-mock"
mock = pytest.mark.skipif(not MOCK.is_dir(), reason=f"{MOCK}, the benchmark's mock submission, is not here")


def lines(kind, task, language):
    return (MOCK / kind / task / f"test-{language}.tsv").read_text().splitlines()


def sentences(kind, task, language):
    return [block.split() for block in "\n".join(lines(kind, task, language)).split("\n\n")]


def questions(task, language):
    """Accepted answers and the predicted one, question by question."""
    gold = json.loads((MOCK / "labels" / task / f"test-{language}.json").read_text())["data"]
    predicted = json.loads((MOCK / "predictions" / task / f"test-{language}.json").read_text())
    return [
        ([answer["text"] for answer in question["answers"]], predicted[question["id"]])
        for document in gold
        for paragraph in document["paragraphs"]
        for question in paragraph["qas"]
    ]


def span_scores(task, language, normalise):
    scored = [best_answer(accepted, predicted, normalise) for accepted, predicted in questions(task, language)]
    return [100 * sum(score[part] for score in scored) / len(scored) for part in (1, 2)]


@mock
@pytest.mark.parametrize(("task", "language", "f1"), OFFICIAL_TAGS)
def test_tag_scores_are_those_of_the_official_evaluator(task, language, f1):
    scored = (entity_f1 if task == "panx" else tag_f1)(
        sentences("labels", task, language), sentences("predictions", task, language)
    )
    assert 100 * scored == pytest.approx(f1, abs=1e-9)


@mock
@pytest.mark.parametrize(("task", "language", "f1", "exact"), OFFICIAL_SPANS)
def test_span_scores_are_those_of_the_official_evaluator(task, language, f1, exact):
    normalise = partial(mlqa_normalised, language=language) if task == "mlqa" else normalised
    assert span_scores(task, language, normalise) == pytest.approx([f1, exact], abs=1e-9)


@mock
@pytest.mark.parametrize(("language", "f1"), OFFICIAL_PAIRS)
def test_mined_pairs_score_as_by_the_official_evaluator(language, f1):
    gold, found = (
        [tuple(line.split("\t")) for line in lines(k, "bucc2018", language)] for k in ("labels", "predictions")
    )
    assert 100 * pair_f1(gold, found) == pytest.approx(f1, abs=1e-9)


def test_entities_are_whole_or_wrong():
    gold = [["B-PER", "I-PER", "O", "B-LOC"]]
    assert entity_f1(gold, gold) == 1.0
    assert entity_f1(gold, [["B-PER", "O", "O", "B-LOC"]]) == 0.5
    assert entity_f1(gold, [["O", "O", "O", "O"]]) == 0.0


def test_the_benchmark_counts_runs_of_equal_parts_of_speech_not_words():
    assert tag_f1([["NOUN", "NOUN", "VERB"]], [["NOUN", "VERB", "VERB"]]) == 0.0
    assert tag_f1([["DET", "NOUN", "NOUN"]], [["DET", "NOUN", "ADJ"]]) == pytest.approx(0.4)


def test_two_kinds_of_conjunction_are_not_one_tag():
    assert tag_f1([["CCONJ"]], [["SCONJ"]]) == 0.0


def test_mlqa_knows_the_articles_of_each_language():
    assert mlqa_normalised("Der Hund!", "de") == "hund"
    assert mlqa_normalised("the Dog", "de") == "the dog"
    assert mlqa_normalised("电化，电池 cell", "zh") == "电 化 电 池 cell"
    assert mlqa_normalised("Los perros", "es") == "perros"
    assert mlqa_normalised("その犬", "ja") == "その犬"


def test_the_nearest_of_several_accepted_answers_counts():
    assert best_answer(["red ring", "a red circle"], "red circle") == ("a red circle", 1.0, True)
    assert best_answer(["", "red"], "", may_be_empty=True) == ("", 1.0, True)


def test_the_threshold_is_where_mining_is_best():
    scores = {("a", "x"): 1.4, ("b", "y"): 1.2, ("c", "w"): 1.0, ("d", "z"): 0.8}
    gold = [("a", "x"), ("b", "y"), ("d", "z")]
    assert best_threshold(scores, gold) == 0.8  # with the last pair: 6/7; half-way below it there is none
    assert best_threshold(scores, gold[:2]) == pytest.approx(1.1)
    assert best_threshold(scores, [("q", "q")]) == 1.4
    assert best_threshold({}, gold) == 0.0
    kept = [pair for pair, score in scores.items() if score >= 1.1]
    assert pair_f1(gold[:2], kept) == 1.0
