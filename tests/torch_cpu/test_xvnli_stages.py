"""XVNLI through training and evaluation: items without gold labels, the oracle's half, one forward pass per item."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.pure.test_xvnli import hub
from tests.torch_cpu import tiny, towers
from trainables.catalogue import xtreme_m
from trainables.catalogue.development import with_oracle
from trainables.catalogue.task import Role
from trainables.data.fingerprint import resolve
from trainables.data.halves import is_oracle
from trainables.faults import Invalid
from trainables.model.reader import Reader
from trainables.settings import Alignment, Visible
from trainables.stages import StageKind
from trainables.training.evaluate import Answer, scores_of
from trainables.training.loop import run_stage

REAL = Path(__file__).parents[3] / "shared" / "real" / "xvnli"
LABELS = ("entailment", "contradiction", "-", "neutral")
TEST_ITEMS = 8


def write(path: Path, first: int, count: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "gold_label": LABELS[n % 4],
            "sentence1": "a caption",
            "sentence2": f"the circle is {'red' if n % 2 else 'blue'}",
            "pairID": f"pair{n}",
            "Flikr30kID": str(n // 2),
        }
        for n in range(first, first + count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("xvnli")
    (folder / "images").mkdir()
    for image in range(16):
        (folder / "images" / f"{image}.jpg").write_bytes(towers.picture(image))
    write(folder / "en" / "train.jsonl", 0, 16)
    write(folder / "en" / "dev.jsonl", 16, 8)
    for language in ("en", "fr"):
        write(folder / language / "test.jsonl", 24, TEST_ITEMS)
    files = {name: xtreme_m.iglue(folder, name, folder / "images") for name in ("train", "dev", "test")}
    return resolve(xtreme_m.xvnli(**files, languages=("en", "fr")))


@pytest.fixture(scope="module")
def trained(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    stage = tiny.training(task, steps=2)
    outcome = run_stage(stage, parent=None, output=folder, cache=folder / "cache")
    dev = [score for told in outcome.history for score in told.scores]
    assert [(score.metric, score.count) for score in dev] == [("accuracy", 6)]
    return stage, folder


def test_items_without_a_gold_label_count_as_wrong_by_iglues_definition_alone(task, trained, tmp_path):
    stage, folder = trained
    outcome = run_stage(
        tiny.evaluation(task, stage.digest, ("en", "fr")), parent=folder, output=tmp_path, cache=folder / "cache"
    )
    found = {(s.language, s.metric): s for s in outcome.scores}
    assert set(found) == {(code, name) for code in ("en", "fr") for name in ("accuracy", "accuracy_iglue")}
    ours, theirs = found["en", "accuracy"], found["en", "accuracy_iglue"]
    assert (ours.count, theirs.count) == (6, 8) and ours.correct == theirs.correct
    assert theirs.value == ours.correct / 8 and ours.value == ours.correct / 6
    table = pq.read_table(tmp_path / "predictions.parquet")
    assert table.num_rows == 16 and table["gold"].null_count == 4


def test_the_published_number_of_right_answers_gives_the_published_accuracy(task):
    pairs = [("neutral", "neutral")] * 654 + [("neutral", "entailment")] * 496 + [(None, "neutral")] * 14
    told = {"task": "xvnli", "language": "ar", "split": "test", "role": Role.REPORT, "step": 0}
    answers = [Answer(gold=gold, predicted=said, score=None, exact=gold == said) for gold, said in pairs]
    over_labelled, by_iglue = scores_of(task, answers, told)
    assert round(by_iglue.value, 5) == 0.56186 and over_labelled.value == 654 / 1150


def test_the_oracles_half_is_scored_beside_the_reported_one_and_its_answers_are_not_kept(task, trained, tmp_path):
    stage, folder = trained
    whole = tiny.evaluation(task, stage.digest, ("en", "fr"))
    halved = replace(whole, work=replace(whole.work, task=with_oracle(task)))
    assert halved.digest != whole.digest
    outcome = run_stage(halved, parent=folder, output=tmp_path, cache=folder / "cache")
    by_role = {role: [s for s in outcome.scores if s.role is role] for role in (Role.REPORT, Role.ORACLE)}
    assert {s.split for s in by_role[Role.ORACLE]} == {"oracle"}
    counts = [sum(s.count for s in scores if s.metric == "accuracy_iglue") for scores in by_role.values()]
    assert sum(counts) == 2 * TEST_ITEMS and all(counts)
    table = pq.read_table(tmp_path / "predictions.parquet")
    assert table.num_rows == counts[0] and not any(map(is_oracle, table["item_id"].to_pylist()))


def test_training_does_not_depend_on_what_is_tested(task):
    stage = tiny.training(task, steps=2)
    other = replace(task, splits=(*task.splits[:2], replace(task.splits[2], languages=("en",))))
    changed = replace(other.source, test=replace(other.source.test, fingerprint="other files"))
    assert tiny.training(replace(other, source=changed), steps=2).digest == stage.digest
    assert tiny.training(with_oracle(task), steps=2).digest == stage.digest
    changed = replace(other.source, train=replace(other.source.train, fingerprint="other files"))
    assert tiny.training(replace(other, source=changed), steps=2).digest != stage.digest


@pytest.mark.parametrize("checkpoints", [1, 3])
def test_all_languages_cost_one_forward_pass_per_item_and_checkpoint_and_one_for_their_average(
    task, tmp_path, monkeypatch, checkpoints
):
    kept = tuple(range(1, checkpoints))
    stage = tiny.training(task, steps=checkpoints, evaluation_interval_steps=1)
    stage = replace(stage, work=replace(stage.work, kept_steps=kept))
    run_stage(stage, parent=None, output=tmp_path / "trained", cache=tmp_path / "cache")
    passed, states = [], Reader.states
    monkeypatch.setattr(Reader, "states", lambda self, b, **more: passed.append(b.rows) or states(self, b, **more))
    asked = {"checkpoints": kept, "learned": task} if kept else {}
    outcome = run_stage(
        tiny.evaluation(task, stage.digest, ("en", "fr"), batch_size=5, **asked),
        parent=tmp_path / "trained",
        output=tmp_path / "scored",
        cache=tmp_path / "cache",
    )
    passes = checkpoints + 1 if kept else 1
    assert passed == [5, 5, 5, 1] * passes
    assert len(outcome.checkpoints) == (passes if kept else 0)


def test_a_text_proxy_trains_without_images_and_cannot_align_them(task, tmp_path):
    source = task.source
    bare = {name: replace(source.files(name), images="", fingerprint="") for name in ("train", "dev", "test")}
    proxy = resolve(xtreme_m.xvnli_text_proxy(**bare, languages=("en", "fr")))
    assert run_stage(tiny.training(proxy, steps=1), parent=None, output=tmp_path).steps_executed == 1
    aligned = tiny.training(proxy, steps=1, kind=StageKind.ALIGN_IMAGES, alignment=Alignment.CONTRASTIVE)
    with pytest.raises(Invalid, match="must have images for align_images, got a text proxy"):
        run_stage(aligned, parent=None, output=tmp_path / "no")


@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL}, real files of XVNLI, is not here")
def test_the_real_annotations_train_and_score_in_five_languages(tmp_path):
    shots, sample = xtreme_m.iglue(REAL, "train_48"), xtreme_m.iglue(REAL, "test_sample")
    proxy = resolve(xtreme_m.xvnli_text_proxy(train=shots, dev=shots, test=sample))
    stage = tiny.training(proxy, steps=2)
    run_stage(stage, parent=None, output=tmp_path / "trained")
    scored = tiny.evaluation(proxy, stage.digest, xtreme_m.XVNLI_LANGUAGES)
    scores = run_stage(scored, parent=tmp_path / "trained", output=tmp_path / "scored").scores
    assert {(s.metric, s.count) for s in scores} == {("accuracy", 59), ("accuracy_iglue", 63)}
    table = pq.read_table(tmp_path / "scored" / "predictions.parquet")
    assert pc.count_distinct(table["item_id"]).as_py() == 63 and table.num_rows == 5 * 63


@pytest.mark.parametrize("visible", [Visible.BOTH, Visible.IMAGE_ONLY])
def test_the_releases_of_the_hub_train_and_score_with_the_images_that_they_carry(tmp_path, visible):
    task = resolve(hub(tmp_path))
    stage = tiny.training(task, steps=2, visible=visible)
    run_stage(stage, parent=None, output=tmp_path / "trained", cache=tmp_path / "cache")
    scored = tiny.evaluation(task, stage.digest, ("en", "ar"), visible=visible)
    scores = run_stage(scored, parent=tmp_path / "trained", output=tmp_path / "scored", cache=tmp_path / "cache").scores
    assert {(s.language, s.metric, s.count) for s in scores} == {
        (language, *told) for language in ("en", "ar") for told in (("accuracy", 3), ("accuracy_iglue", 4))
    }
    kept = [path for path in (tmp_path / "cache" / "images").iterdir() if path.is_file()]
    assert len(kept) == 2, "each image once, whatever the file it stands in"
