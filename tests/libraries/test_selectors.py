"""Which checkpoint each selector chooses, what it may see, and what the table says of it."""

from dataclasses import replace

import pytest

from search_spaces.variants import from_source
from sweep.outcomes import Answers
from sweep.paths import path_of
from sweep.points import default_values
from sweep.records import Phase
from sweep.search import NoPruning, Search
from sweep.selected import selected_score
from sweep.selectors import by_selector, selector_text, selectors
from tests.libraries.test_conduct import World, conducted
from tests.pure.small_sweep import ALONE, BASELINE, SETTINGS, selected, small_sweep
from trainables.canonical import digest, encode
from trainables.catalogue import lab
from trainables.catalogue.development import with_oracle
from trainables.catalogue.task import Role
from trainables.catalogue.translated import translated
from trainables.catalogue.xtreme import XNLI
from trainables.faults import Invalid
from trainables.scores import CheckpointScores, Progress, Score
from trainables.selectors import DevScore, OracleScore, Seen, Selector, chosen, seen_of, source_dev
from trainables.stages import VERSIONS, Evaluation, Training, as_read, without_places
from trainables.store import Results

TARGET = lab.VISUAL_NLI
RUSSIAN = translated(TARGET, "ru")


def score(language, value, role=Role.REPORT, split="test", task=TARGET):
    return Score(
        task=task.name,
        language=language,
        split=split,
        role=role,
        metric="accuracy",
        value=value,
        correct=None,
        count=10,
        step=0,
    )


def seen(english=None, source=None, oracle=None):
    def made(kind, values):
        return {step: kind(value) for step, value in (values or {}).items()}

    return Seen(
        last=30,
        steps=(10, 20, 30),
        english_dev=made(DevScore, english),
        source_dev=made(DevScore, source),
        oracle=made(OracleScore, oracle),
    )


def test_each_selector_goes_by_what_it_may_see_and_of_equals_takes_the_later():
    shown = seen({10: 0.5, 20: 0.7, 30: 0.7}, {10: 0.9, 20: 0.1, 30: 0.1}, {10: 0.1, 20: 0.8, 30: 0.2})
    assert {selector: chosen(selector, shown) for selector in Selector} == {
        Selector.ENGLISH_DEV: (30,),
        Selector.LAST_STEP: (30,),
        Selector.AVERAGE: (10, 20, 30),
        Selector.SOURCE_DEV: (10,),
        Selector.ORACLE: (20,),
    }
    assert chosen(Selector.ORACLE, seen()) == ()


def test_development_scores_are_of_role_select_and_the_oracles_of_role_oracle():
    with pytest.raises(ValueError, match="must be of role 'select' to choose by it, got oracle"):
        DevScore.of(TARGET, [score("en", 0.5, Role.ORACLE, "dev")], ("en",))
    with pytest.raises(ValueError, match="must be of role 'oracle' or 'report', got select"):
        OracleScore.of([], "accuracy", Role.SELECT)
    assert OracleScore.of([score("de", 0.9), score("en", 0.1)], "accuracy") is None
    assert OracleScore.of([score("de", 0.9, Role.ORACLE), score("en", 0.1, Role.ORACLE)], "accuracy") == 0.9


def test_english_dev_never_sees_another_language_and_a_source_without_a_split_has_no_score():
    history = [Progress(digest="d", step=10, scores=(score("en", 0.4, Role.SELECT, "dev"),))]
    spoken = score("ru", 0.8, Role.SELECT, "dev", RUSSIAN)
    evaluated = [CheckpointScores(steps=(10,), scores=(score("de", 0.7), spoken))]
    plain = seen_of(TARGET, TARGET, None, history, evaluated)
    assert (plain.english_dev, plain.source_dev, plain.oracle) == ({10: 0.4}, {10: 0.4}, {})
    russian = [replace(one, scores=(score("en", 0.3, Role.SELECT, "dev", RUSSIAN),)) for one in history]
    learned = seen_of(TARGET, RUSSIAN, source_dev(RUSSIAN), russian, evaluated)
    assert (learned.english_dev, learned.source_dev) == ({10: 0.3}, {10: 0.8})
    assert seen_of(TARGET, RUSSIAN, None, russian, evaluated).source_dev == {}
    dev = source_dev(RUSSIAN)
    assert source_dev(TARGET) is None and dev is not None
    assert [split.languages for split in dev.splits if split.name == "dev"] == [("ru",)]


def test_development_data_in_other_languages_reach_no_selector_but_the_oracle():
    learned = replace(TARGET, twin_of="xnli")
    shown = [
        Progress(digest="d", step=step, scores=(score("de", value, Role.ORACLE, "oracle_dev"),))
        for step, value in ((10, 0.9), (20, 0.1))
    ]
    evaluated = [CheckpointScores(steps=(one.step,), scores=one.scores) for one in shown]
    told = seen_of(with_oracle(learned), learned, source_dev(learned), shown, evaluated)
    assert told.english_dev == told.source_dev == {} and told.oracle == {10: 0.9, 20: 0.1}
    russian = score("ru", 0.9, Role.ORACLE, "oracle_dev", RUSSIAN)  # the language and the task that it is learned from
    spoken = [replace(one, scores=(russian,)) for one in evaluated]
    assert seen_of(TARGET, RUSSIAN, source_dev(RUSSIAN), shown, spoken).source_dev == {}
    measured = seen_of(TARGET, learned, None, shown, evaluated, oracle=Role.REPORT)
    assert measured.oracle == {}


def test_a_definition_names_the_oracle_only_where_labels_are_kept_apart_and_a_source_only_where_it_is_scored():
    with pytest.raises(Invalid, match=r"selector must not be Selector.ORACLE .* use with_oracle\(target\)"):
        small_sweep(selector=Selector.ORACLE)
    assert small_sweep(selector=Selector.ORACLE, target=with_oracle(TARGET)).selector is Selector.ORACLE
    with pytest.raises(Invalid, match="checkpoints must be a whole number of at least 1, got 0"):
        small_sweep(checkpoints=0)
    german = translated(XNLI.teacher, "de")
    cells = (BASELINE, from_source(BASELINE, german))
    given = {"target": XNLI, "cells": cells, "search": Search(trials=0), "align_images": None, "pretrain": None}
    given["space"] = replace(small_sweep().space, intermediate={}, target={})
    told = r"Selector.SOURCE_DEV needs a development split in de for cell '.*', and of 'mnli_de' none is read; choose"
    with pytest.raises(Invalid, match=told):
        small_sweep(selector=Selector.SOURCE_DEV, **given)


def path(sweep, phase):
    return path_of(sweep, ALONE, default_values(sweep, ALONE), phase=phase, seed=1)


def test_only_confirmations_keep_checkpoints_and_with_one_every_stage_is_named_as_before():
    sweep = small_sweep()
    trained, evaluated = (stage.work for stage in path(sweep, Phase.CONFIRMATION)[-2:])
    assert isinstance(trained, Training) and isinstance(evaluated, Evaluation)
    assert trained.kept_steps == evaluated.checkpoints == (10,)
    assert [stage.work.kept_steps for stage in path(sweep, Phase.SEARCH)] == [()] * 4
    one = path(replace(sweep, checkpoints=1), Phase.CONFIRMATION)
    for stage in one:  # what a digest was made of before there were selectors
        value = without_places(encode(stage))
        for name in ("kept_steps", "checkpoints", "selector", "learned", "source", "role"):
            value["work"].pop(name, None)
        named = [value["work"]["task"]] if "task" in value["work"] else [p["task"] for p in value["work"]["portions"]]
        read = ("test",) if "task" in value["work"] else ("train", "dev")
        read_as = [as_read(task, read) for task in named]
        if "task" in value["work"]:
            value["work"]["task"] = read_as[0]
            for split in read_as[0]["splits"]:
                del split["languages"]
        else:
            for portion, task in zip(value["work"]["portions"], read_as, strict=True):
                portion["task"] = task
        assert stage.digest == digest([VERSIONS[stage.kind], value])
    longer = replace(sweep, target_settings=replace(SETTINGS, maximum_steps=50))
    assert path(longer, Phase.CONFIRMATION)[-1].work.checkpoints == (30, 40)


def test_a_run_is_judged_by_the_checkpoint_that_would_be_reported():
    sweep = small_sweep(target_settings=replace(SETTINGS, maximum_steps=50))
    scored = [(10, selected(0.9)), (30, selected(0.6)), (40, selected(0.7)), (50, selected(0.5))]
    assert selected_score(sweep, sweep.target_settings, scored) == 0.7
    assert selected_score(replace(sweep, selector=Selector.AVERAGE), sweep.target_settings, scored) == 0.5


DEV = {10: 0.8, 20: 0.6}
#: By the steps averaged, accuracy in English and in German; German is best at the end, English dev at step 10.
TEST = {(10,): (0.7, 0.4), (20,): (0.6, 0.5), (10, 20): (0.65, 0.55)}


def table_of(sweep, checkpoints=True, shown=lambda steps: ()):
    conductor, _ = conducted(sweep, World(lambda stage, step: DEV.get(step, 0.5)))
    standing = replace(conductor.standing(), languages=("de", "en"))
    learned = Progress(digest="t", step=10, scores=(score("en", DEV[10], Role.SELECT, "dev"),))
    history = (learned, replace(learned, step=20, scores=(score("en", DEV[20], Role.SELECT, "dev"),)))
    found = tuple(
        CheckpointScores(steps=steps, scores=(score("en", english), score("de", german), *shown(steps)))
        for steps, (english, german) in sorted(TEST.items())
    )

    def stored(digest):
        return Results(digest=digest, steps=20, seconds=1.0, history=history, checkpoints=found if checkpoints else ())

    answers = Answers(standing, lambda digest: None, lambda digest: None, stored)
    return standing, selectors(standing, answers, sweep).to_pylist()


def test_the_table_says_what_each_selector_would_have_chosen_and_its_gap_to_the_oracle():
    standing, rows = table_of(small_sweep(cells=(BASELINE, ALONE)))
    mine = {
        row["selector"]: (row["steps"], row["accuracy"], round(row["oracle_gap"], 9), row["is_reported"])
        for row in rows
        if (row["cell"], row["seed"], row["language"]) == ("none", 1, "de")
    }
    assert mine == {
        "english_dev": ("10", 0.4, 0.1, True),
        "last_step": ("20", 0.5, 0.0, False),
        "average": ("10+20", 0.55, -0.05, False),
        "source_dev": ("10", 0.4, 0.1, False),
        "oracle": ("20", 0.5, 0.0, False),
    }
    assert {(row["cell"], row["seed"]) for row in rows} == {("none", 1), ("none", 2), ("nli", 1), ("nli", 2)}
    assert {row["oracle_sees"] for row in rows} == {"report"} and not any(row["absent_reason"] for row in rows)
    assert [row["accuracy"] for row in by_selector(standing, rows)] == pytest.approx([0.4, 0.5, 0.55, 0.4, 0.5])
    assert "english_dev 0.400 (+0.100) reported, last_step 0.500 (+0.000)" in selector_text(standing, rows)


@pytest.mark.parametrize(("twin_of", "split"), [("", "oracle"), ("xnli", "oracle_dev")])
def test_the_table_says_what_the_oracle_saw_and_its_gap_is_on_what_is_reported(twin_of, split):
    sweep = small_sweep(cells=(BASELINE, ALONE), target=with_oracle(replace(TARGET, twin_of=twin_of)))

    def shown(steps):  # the labels that are kept for it like the first checkpoint best, and the test does not
        return (score("de", 0.9 if steps == (10,) else 0.2, Role.ORACLE, split),)

    standing, rows = table_of(sweep, shown=shown)
    assert {row["oracle_sees"] for row in rows} == {split}
    mine = {
        row["selector"]: (row["steps"], row["accuracy"], round(row["oracle_gap"], 9))
        for row in rows
        if (row["cell"], row["seed"], row["language"]) == ("none", 1, "de")
    }
    assert mine["oracle"] == ("10", 0.4, 0.0) and mine["last_step"] == ("20", 0.5, -0.1)
    text = selector_text(standing, rows)
    assert "saw the test" not in text and ("half" in text) == (split == "oracle")


def test_where_one_checkpoint_was_kept_every_row_says_so_and_no_sentence_is_made():
    standing, rows = table_of(small_sweep(cells=(BASELINE, ALONE), checkpoints=1), checkpoints=False)
    assert {row["absent_reason"].partition(",")[0] for row in rows} == {"one checkpoint was kept"}
    assert {row["accuracy"] for row in rows} == {None}
    assert selector_text(standing, rows) == ""


def test_the_winner_of_a_cell_is_the_trial_whose_reported_checkpoint_is_best():
    def accuracy(stage, step):
        rate = stage.work.settings.learning_rate
        return rate * 10 if step == 10 else 0.5  # the last step tells no trial from another

    sweep = small_sweep(cells=(BASELINE,), search=Search(trials=4, pruner=NoPruning()))
    conductor, _ = conducted(sweep, World(accuracy))
    search = [record for record in conductor.records.values() if record.key.phase is Phase.SEARCH]
    best = max(search, key=lambda record: record.values["target.learning_rate"])
    assert {record.winner for record in conductor.records.values() if record.winner is not None} == {
        max(search, key=lambda record: (record.score, -record.key.number)).key.number
    }
    assert best.score == max(0.5, best.values["target.learning_rate"] * 10)
