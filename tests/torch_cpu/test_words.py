"""Word alignment: what is compared and measured, and that unseen words come nearer to one another than random pairs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.torch_cpu import tiny
from trainables.catalogue import lab
from trainables.catalogue.own_texts import sentence_task, word_pair_task
from trainables.catalogue.task import Split
from trainables.data.batches import batch
from trainables.data.fingerprint import resolve
from trainables.data.reading import read
from trainables.data.rows import rows
from trainables.faults import Invalid
from trainables.model.encoder import build
from trainables.model.reader import Reader
from trainables.settings import LoRA, Part
from trainables.stages import Shape, StageKind
from trainables.training.loop import run_stage
from trainables.training.words import score_words

#: Enough for the layers to wear down what was planted, so that there is something to repair.
PRETRAINING_STEPS = 120

#: How far every language starts from English here: further than most of the lab's, or little is left to learn.
APART = 1.5

SEED = 2

SHAPE = Shape(workers=1, threads=1, precision="float32")


def words(task, languages=("de",)):
    """The task in fewer languages."""
    return replace(task, splits=tuple(replace(split, languages=languages) for split in task.splits))


def history(folder):
    """Step → metric → mean over languages."""
    found = {}
    for report in json.loads((folder / "scores.json").read_text())["history"]:
        by_metric = found.setdefault(report["step"], {})
        for score in report["scores"]:
            by_metric.setdefault(score["metric"], []).append(score["value"])
    return {step: {name: sum(all_) / len(all_) for name, all_ in mine.items()} for step, mine in found.items()}


def test_a_word_is_the_mean_of_its_own_tokens_at_the_layer():
    data = rows(words(lab.WORDS), "dev", None, tiny.ENCODER)
    reader = Reader(build(tiny.ENCODER, 0, 0.0), tiny.ENCODER, 0, 0.0).eval()
    some = batch(data, np.arange(5))
    with torch.no_grad():
        for layer, which in ((0, 0), (1, 1), (None, -1)):
            sources, targets = reader.word_vectors(some, layer)
            hidden = reader.trunk(
                inputs_embeds=reader.words(some.ids),
                attention_mask=(torch.arange(some.ids.shape[1]) < some.lengths[:, None]).long(),
                position_ids=torch.arange(some.ids.shape[1]).expand(some.ids.shape) + 2,
                output_hidden_states=True,
            ).hidden_states[which]
            for row in range(5):
                for side, found in ((0, sources[row, 0]), (1, targets[row])):
                    inner = hidden[2 * row + side, 1 : int(some.lengths[2 * row + side]) - 1].mean(0)
                    assert torch.allclose(found, inner / inner.norm(), atol=1e-5)


def test_retrieval_and_cosines_of_vectors_that_are_known(monkeypatch):
    data = rows(words(lab.WORDS), "dev", None, tiny.ENCODER)
    reader = Reader(build(tiny.ENCODER, 0, 0.0), tiny.ENCODER, 0, 0.0)
    assert data.image_numbers is not None
    count = int(data.image_numbers.max()) + 1
    each = torch.eye(max(count, 32))[torch.from_numpy(data.image_numbers)]

    def measured(targets):
        monkeypatch.setattr("trainables.training.words._vectors", lambda *_: (each, targets))
        found = score_words(reader, lab.WORDS, data, lab.WORDS.splits[1], 1, 7, SHAPE, torch.device("cpu"))
        assert {score.step for score in found} == {7} and {score.language for score in found} == {"de"}
        return {score.metric: score.value for score in found}

    perfect = measured(each)
    assert perfect["retrieval_accuracy"] == 1.0 == perfect["retrieval_accuracy_last_layer"]
    assert perfect["pair_cosine"] > perfect["random_pair_cosine"] >= 0
    same = measured(torch.ones_like(each) / each.shape[1] ** 0.5)
    assert same["pair_cosine"] == pytest.approx(same["random_pair_cosine"])
    assert same["retrieval_accuracy"] < 0.4
    assert 0 < same["retrieval_accuracy_random_pairs"] < 0.2


def test_no_word_of_the_control_split_is_trained_on():
    languages = lab.WORDS.splits[0].languages
    seen, held = (read(lab.WORDS, split, None, None).to_pylist() for split in ("train", "dev"))
    for language in languages:
        for side in ("source", "target"):
            trained, control = (
                {row[side] for row in rows if row["target_language"] == language} for rows in (seen, held)
            )
            assert trained and control and not trained & control


def test_words_of_other_concepts_stand_beside_english_ones_in_the_shuffled_control():
    true = {(row["source"], row["target"]) for row in read(words(lab.WORDS), "train", None, None).to_pylist()}
    shuffled = [
        (row["source"], row["target"]) for row in read(words(lab.WORDS_SHUFFLED), "train", None, None).to_pylist()
    ]
    assert shuffled and not true & set(shuffled)
    control = [read(words(task), "dev", None, None).to_pylist() for task in (lab.WORDS, lab.WORDS_SHUFFLED)]
    assert len(control[0]) == len(control[1]) > 10


@pytest.fixture(scope="module")
def aligned(tmp_path_factory):
    """A small encoder with some pre-training, aligned on translations and on random pairs: both histories."""
    folder = tmp_path_factory.mktemp("aligned")
    alignment = replace(lab.ALIGNMENT, distance=tuple((code, far and APART) for code, far in lab.ALIGNMENT.distance))
    encoder = replace(lab.ENCODER, text=replace(lab.ENCODER.text, width=64, feed_forward=128, alignment=alignment))
    parallel = replace(lab.PARALLEL, splits=(Split(name="train", languages=("en",), rows=1500),))
    frozen = (Part.WORD_EMBEDDINGS,)
    pretrained = tiny.training(
        parallel,
        kind=StageKind.PRETRAIN,
        steps=PRETRAINING_STEPS,
        encoder=encoder,
        dropout=0.0,
        learning_rate=3e-3,
        batch_size=32,
        warmup_steps=10,
        frozen=frozen,
        seed=SEED,
    )
    run_stage(pretrained, parent=None, output=folder / "pretrained")
    found = {}
    for task in (lab.WORDS, lab.WORDS_SHUFFLED):
        stage = tiny.training(
            task,
            kind=StageKind.ALIGN_WORDS,
            steps=40,
            parent=pretrained.digest,
            encoder=encoder,
            dropout=0.0,
            learning_rate=1e-2,
            batch_size=64,
            warmup_steps=4,
            evaluation_interval_steps=40,
            word_layer=3,
            lora=LoRA(rank=8, alpha=16.0, dropout=0.0),
            seed=SEED,
        )
        run_stage(stage, parent=folder / "pretrained", output=folder / task.name)
        found[task.name] = history(folder / task.name)
    return found


def test_training_on_translations_raises_retrieval_of_unseen_words_above_guessing(aligned):
    """Measured before and after, with seeds 1 to 3: 0.89, 0.93; 0.78, 0.94 (run here); 0.73, 0.89. Guessing finds 0.12.

    Nothing is claimed of random pairs: after them it is 0.70, 0.42 and 0.87, so less by 0.25 on average and by 0.02
    with seed 3. Here much is left to learn; of the lab's own encoder, aligned as `lab_full` aligns it, the three
    numbers are 0.92, 0.95 and 0.66 (seed 1).
    """
    true = aligned["lab_words"]
    assert true[0] == pytest.approx(aligned["lab_words_shuffled"][0], abs=1e-6)
    assert true[40]["retrieval_accuracy"] > true[0]["retrieval_accuracy"] + 0.03
    assert true[40]["retrieval_accuracy"] > 4 * true[40]["retrieval_accuracy_random_pairs"]


def test_a_pair_stands_out_from_random_pairs_after_training_on_translations_and_not_on_random_ones(aligned):
    """By how much before, after translations and after random pairs, with seeds 1 to 3: 0.07, 0.40, 0.15; 0.09, 0.41,
    0.04 (run here); 0.08, 0.41, 0.00.
    """

    def margin(found):
        return found["pair_cosine"] - found["random_pair_cosine"]

    true, random = (aligned[task] for task in ("lab_words", "lab_words_shuffled"))
    assert margin(true[40]) > max(margin(true[0]), margin(random[40])) + 0.2


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"task": tiny.PARALLEL}, "align_words, and no other stage, takes word pairs, got align_words of masked_lang"),
        ({"kind": StageKind.TRAIN}, "align_words, and no other stage, takes word pairs, got train of word_pairs"),
        ({"word_layer": 2}, "word_layer must be a layer of the trunk, 0 to 1, got 2"),
    ],
)
def test_a_stage_that_cannot_align_words_is_refused(tmp_path, changes, fault):
    given = {"kind": StageKind.ALIGN_WORDS, "word_layer": 1} | changes
    task = given.pop("task", tiny.WORDS)
    with pytest.raises(Invalid) as refused:
        run_stage(tiny.training(task, steps=1, **given), parent=None, output=tmp_path)
    assert fault in str(refused.value)


def test_a_users_dictionary_and_text_go_through_a_path_of_stages(tmp_path):
    """Words are aligned, then masked text is mixed with inference; the control split is measured all along."""
    pairs = read(words(lab.WORDS), "train", None, None).to_pylist()
    (tmp_path / "en-de.txt").write_text("".join(f"{row['source']}\t{row['target']}\n" for row in pairs))
    (tmp_path / "text-de.txt").write_text("der kreis ist rot\n\nder ring ist blau\n" * 8)
    dictionary = resolve(word_pair_task("own_words", train=tmp_path / "en-{language}.txt", languages=("de",)))
    text = resolve(sentence_task("own_text", train=tmp_path / "text-{language}.txt", languages=("de",)))
    stage = tiny.training(dictionary, kind=StageKind.ALIGN_WORDS, steps=2, word_layer=1, evaluation_interval_steps=1)
    run_stage(stage, parent=None, output=tmp_path / "aligned", cache=tmp_path / "cache")
    told = history(tmp_path / "aligned")
    assert set(told) == {0, 1, 2}
    assert {"retrieval_accuracy", "retrieval_accuracy_random_pairs", "pair_cosine"} <= set(told[2])
    mixed = tiny.training(tiny.NLI, text, steps=2, parent=stage.digest)
    outcome = run_stage(mixed, parent=tmp_path / "aligned", output=tmp_path / "mixed", cache=tmp_path / "cache")
    assert {score.task for progress in outcome.history for score in progress.scores} == {"nli"}
    assert list((tmp_path / "cache" / "tokens").glob("own_text-train-*.arrow"))
