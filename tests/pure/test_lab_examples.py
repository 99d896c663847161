"""The lab's tasks as tables: schemas, determinism, truth, and nothing to be learnt from one side alone."""

from collections import Counter, defaultdict
from itertools import pairwise
from math import log

import numpy as np
import pyarrow.compute as pc
import pytest

from trainables.data.schema import IMAGE_TEXT, PARALLEL
from trainables.lab.examples import TASKS, examples
from trainables.lab.sentences import LANGUAGES, forms, words

CHANCE_BOUND = 0.40


@pytest.fixture(scope="module")
def nli():
    return {split: examples("nli", split, ("en",), count, 0) for split, count in (("train", 3000), ("test", 1500))}


def naive_bayes(train: list[tuple[list, int]], test: list[tuple[list, int]]) -> float:
    """Accuracy of a Bernoulli-count classifier with add-one smoothing; the plainest thing that could cheat."""
    seen: dict[int, Counter] = defaultdict(Counter)
    totals = Counter(label for _, label in train)
    for features, label in train:
        seen[label].update(set(features))
    right = 0
    for features, label in test:
        scores = {
            guess: log(total) + sum(log((seen[guess][f] + 1) / (total + 2)) for f in set(features))
            for guess, total in totals.items()
        }
        right += max(scores, key=scores.get) == label
    return right / len(test)


def words_and_pairs(text: str) -> list:
    known = words(text, "en")
    return [*known, *pairwise(known), " ".join(known[:4])]


def what_is_seen(premise: str) -> list:
    """The hidden place, everything at every place, and how often every colour, shape and size occurs."""
    concepts = [[forms("en")[word] for word in words(clause, "en")] for clause in premise.split(", ")]
    placed = [(clause[2], value) for clause in concepts for value in clause[4:]]
    counted = Counter(value for _, value in placed)
    return [*placed, *counted.items(), max(n for v, n in counted.items()), ("kinds", len(counted))]


def test_the_hypothesis_alone_says_nothing_about_the_label(nli):
    rows = {
        split: [(words_and_pairs(row["hypothesis"]), row["label"]) for row in table.to_pylist()]
        for split, table in nli.items()
    }
    assert naive_bayes(rows["train"], rows["test"]) <= CHANCE_BOUND


def test_the_scene_alone_says_next_to_nothing_about_the_label(nli):
    """A description tells everything an image shows, and both tasks draw their scenes alike."""
    rows = {
        split: [(what_is_seen(row["premise"]), row["label"]) for row in table.to_pylist()]
        for split, table in nli.items()
    }
    assert naive_bayes(rows["train"], rows["test"]) <= CHANCE_BOUND


def test_a_classifier_that_is_told_the_label_would_be_caught(nli):
    rows = [([row["label"]], row["label"]) for row in nli["test"].to_pylist()]
    assert naive_bayes(rows, rows) == 1.0


#: Those that are made of scenes; word pairs are taken from the lexicons.
OF_SCENES = [task for task in TASKS if not task.startswith("words")]


@pytest.mark.parametrize("task", OF_SCENES)
class TestEachTask:
    def test_has_its_schema_and_is_deterministic(self, task):
        table = examples(task, "dev", ("en",), 30, 5)
        assert table.schema == TASKS[task][0]
        assert table == examples(task, "dev", ("en",), 30, 5)
        assert len(set(table["id"].to_pylist())) == 30
        assert table["id"][7].as_py() == f"{task}-dev-000007"

    def test_gives_other_examples_for_another_seed(self, task):
        first, second = (examples(task, "dev", ("en",), 30, seed).drop(["id"]) for seed in (0, 1))
        few_meanings = ("qqp", "translations")  # pairs of statements, of which there are a few thousand
        assert not set(map(str, first.to_pylist())) & set(map(str, second.to_pylist())) or task in few_meanings
        assert first != second

    def test_only_grows_at_the_end_when_more_is_asked_for(self, task):
        assert examples(task, "test", ("en",), 31, 0).slice(0, 10) == examples(task, "test", ("en",), 10, 0)


@pytest.mark.parametrize(
    "task", [task for task in OF_SCENES if task not in ("parallel", "translations", "sentences", "squad")]
)
def test_examples_are_the_same_in_every_language(task):
    table = examples(task, "test", LANGUAGES, 12, 3)
    per_language = [table.filter(pc.field("language") == language) for language in LANGUAGES]
    shared = [name for name in ("id", "label", "image") if name in table.schema.names]
    for other in per_language:
        assert other.select(shared) == per_language[0].select(shared)
    assert per_language[0] == examples(task, "test", ("en",), 12, 3)


@pytest.mark.parametrize("task", ["nli", "nli_shuffled", "visual_nli"])
def test_labels_are_balanced(task):
    assert Counter(examples(task, "train", ("en",), 300, 0)["label"].to_pylist()) == {0: 100, 1: 100, 2: 100}


def test_shuffled_labels_agree_with_true_ones_only_by_chance():
    from trainables.lab import examples as module

    rng = np.random.default_rng
    true = list(module._nli(module.Draw(rng(0)), "train", 900, ("en", "de"), "x", 0))
    dealt = list(module._nli_shuffled(module.Draw(rng(0)), "train", 900, ("en", "de"), "x", 0))
    assert [row["hypothesis"] for row in dealt] == [row["hypothesis"] for row in true]
    agreed = np.mean([one["label"] == other["label"] for one, other in zip(true, dealt, strict=True)])
    assert 0.28 < agreed < 0.39
    assert [row["label"] for row in dealt[::2]] == [row["label"] for row in dealt[1::2]]


def test_no_premise_of_nli_or_caption_occurs_in_two_splits():
    def premises(task: str, column: str, split: str) -> set[frozenset[str]]:
        return {frozenset(text.split(", ")) for text in examples(task, split, ("en",), 500, 0)[column].to_pylist()}

    for train_task, column in (("nli", "premise"), ("captions", "caption"), ("squad", "context")):
        assert not premises(train_task, column, "train") & premises("nli", "premise", "test")


def test_questions_are_answered_by_the_span_that_is_named():
    for row in examples("squad", "train", ("en",), 300, 0).to_pylist():
        start, answer = row["answer_start"], row["answer_text"]
        assert row["context"][start : start + len(answer)] == answer
        place = row["question"].split("object ")[1]
        clause = next(clause for clause in row["context"].split(", ") if clause.startswith(place))
        assert answer in clause.split()


def test_two_questions_that_are_duplicates_are_worded_differently():
    table = examples("qqp", "train", ("en",), 400, 0).to_pylist()
    assert all(row["premise"] != row["hypothesis"] for row in table)
    assert Counter(row["label"] for row in table) == {0: 200, 1: 200}


def test_the_right_ending_cannot_be_told_without_the_context():
    def rows(split: str, count: int):
        return [
            (words_and_pairs(ending), int(index == row["label"]))
            for row in examples("hellaswag", split, ("en",), count, 0).to_pylist()
            for index, ending in enumerate(row["endings"])
        ]

    train, test = rows("train", 600), rows("test", 400)
    seen: dict[int, Counter] = {0: Counter(), 1: Counter()}
    for features, right in train:
        seen[right].update(set(features))
    right = 0
    for start in range(0, len(test), 4):
        scores = [
            sum(log((seen[1][f] + 1) / (seen[0][f] / 3 + 1)) for f in set(features))
            for features, _ in test[start : start + 4]
        ]
        right += test[start + int(np.argmax(scores))][1]
    assert right / (len(test) / 4) <= CHANCE_BOUND


def test_parallel_text_uses_only_the_languages_it_is_given():
    table = examples("parallel", "train", ("en", "tr", "zh"), 200, 0)
    assert table.schema == PARALLEL
    pairs = set(zip(table["source_language"].to_pylist(), table["target_language"].to_pylist(), strict=True))
    assert pairs == {(a, b) for a in ("en", "tr", "zh") for b in ("en", "tr", "zh")}


def test_translations_have_english_first():
    table = examples("translations", "train", ("en", "tr", "zh"), 200, 0)
    assert set(table["source_language"].to_pylist()) == {"en"}
    assert set(table["target_language"].to_pylist()) == {"en", "tr", "zh"}


def test_statements_are_true_of_their_images_and_the_same_in_every_language(monkeypatch):
    from trainables.lab import examples as made
    from trainables.lab.world import Label, label

    asked = []
    draw_scene_for = made.draw_scene_for

    def spy(formula, wanted, split, draw):
        scene = draw_scene_for(formula, wanted, split, draw)
        asked.append((formula, scene))
        return scene

    monkeypatch.setattr(made, "draw_scene_for", spy)
    rows = examples("statements", "train", ("en", "de"), 30, 0).to_pylist()
    assert len(rows) == 60 and len(asked) == 30
    for (formula, scene), english, german in zip(asked, rows[:30], rows[30:], strict=True):
        assert label(formula, scene) is Label.entailment
        assert english["caption"] == made.say(formula, "en") and german["caption"] == made.say(formula, "de")
        assert english["image"] == german["image"] and english["id"] == german["id"]


def test_an_image_has_a_name_and_png_bytes():
    row = examples("visual_nli", "train", ("en",), 1, 0).to_pylist()[0]
    assert row["image"]["path"] == "visual_nli-train-000000.png"
    assert row["image"]["bytes"].startswith(b"\x89PNG")
    assert examples("visual_nli", "train", ("en",), 0, 0).schema == IMAGE_TEXT


def test_unknown_tasks_and_splits_are_refused_with_what_there_is():
    with pytest.raises(LookupError, match="'visual-nli' arrived; nearest is 'visual_nli'"):
        examples("visual-nli", "train", ("en",), 1, 0)
    with pytest.raises(LookupError, match="splits train, dev, test; 'valid' arrived"):
        examples("nli", "valid", ("en",), 1, 0)
