"""Claims about variants as factors of the grid: their names, their stages, and what they share with other cells."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from search_spaces import Cell, CellRole, Space, transfer_grid
from search_spaces.variants import from_source, with_aligned_words, with_masked_lm
from sweep.definition import Search, Sweep
from sweep.paths import path_of
from sweep.plan import default_values, plan
from sweep.records import Phase, State
from sweep.resolve import looked_up
from tests.libraries.test_conduct import conducted
from tests.pure.small_sweep import ALONE, BASELINE, FIXED, MATCHED, MIXED, SETTINGS, small_sweep
from tests.pure.visual_parquet import write_visual
from trainables.catalogue import lab, lab_twins, xtreme
from trainables.catalogue.intermediate import CCG, COSMOS_QA, MNLI, QQP
from trainables.catalogue.own_texts import word_pair_task
from trainables.catalogue.translated import sources, translated
from trainables.catalogue.xtreme import TATOEBA, XNLI
from trainables.catalogue.xtreme_m import parquet_task, text_pair_task
from trainables.data import places
from trainables.data.reading import read
from trainables.faults import Invalid
from trainables.stages import StageKind

VISUAL_DE = translated(lab.VISUAL_NLI, "de")


def path(cell: Cell, **changes):
    sweep = small_sweep(
        cells=(BASELINE, *(() if cell == BASELINE else (cell,))), align_words_settings=SETTINGS, **changes
    )
    return path_of(sweep, cell, default_values(sweep, cell), phase=Phase.SEARCH, seed=0)


def steps_of(stage) -> dict[str, int]:
    return {portion.task.name: portion.steps for portion in stage.work.portions}


def test_masked_language_modelling_is_one_more_task_of_the_intermediate_stage():
    cell = with_masked_lm(ALONE, lab.SENTENCES, 0.25)
    assert cell.name == "nli+lab_sentences"
    assert steps_of(path(cell)[2]) == {"lab_nli": 30, "lab_sentences": 10}
    fixed = with_masked_lm(FIXED, lab.SENTENCES, 0.5)
    assert dict(fixed.shares) == {"lab_nli": 0.125, "lab_qqp": 0.375, "lab_sentences": 0.5}
    searched = with_masked_lm(MIXED, lab.SENTENCES)
    assert searched.searches_shares and len(searched.intermediates) == 3


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ((BASELINE, lab.SENTENCES), "cell 'none' must have an intermediate stage to mix into, got none"),
        ((ALONE, lab.WORDS), "sentences must be of kind masked_language_modelling, got 'lab_words' of kind word_pairs"),
        ((ALONE, lab.SENTENCES, 1.0), "share must be a number above 0 and below 1, got 1.0"),
        ((ALONE, lab.SENTENCES, "a"), "share must be a number above 0 and below 1, got 'a'"),
        ((ALONE, lab.SENTENCES, True), "share must be a number above 0 and below 1, got True"),
        (
            (ALONE, "lab_sentences"),
            "sentences must be Task values, got 'lab_sentences'; use task('lab_sentences') of "
            "trainables.catalogue.registry",
        ),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(arguments, fault):
    with pytest.raises(Invalid) as refused:
        with_masked_lm(*arguments)
    assert refused.value.faults == (fault,)


NO_TASK = "must be Task values, got 'nli'; use task('nli') of trainables.catalogue.registry"


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: with_aligned_words(ALONE, "nli"), f"words {NO_TASK}"),
        (lambda: from_source(BASELINE, "nli"), f"task {NO_TASK}"),
        (lambda: translated("nli", "de"), f"task {NO_TASK.replace('Task values', 'a Task value')}"),
        (lambda: sources("nli", ("en",)), f"task {NO_TASK.replace('Task values', 'a Task value')}"),
        (lambda: translated(None, "de"), "task must be a Task value, got None; give a task"),
        *(
            (
                lambda made=made, given=given: made("nli", given),
                "cell must be a Cell, such as one of transfer_grid(…), got 'nli'",
            )
            for made, given in (
                (with_masked_lm, lab.SENTENCES),
                (with_aligned_words, lab.WORDS),
                (from_source, VISUAL_DE),
            )
        ),
        (
            lambda: with_aligned_words(with_aligned_words(ALONE, lab.WORDS_SHUFFLED), lab.WORDS),
            "cell 'lab_words_shuffled+nli' must align no words yet (a path aligns them once), got "
            "'lab_words_shuffled'; make each alignment from the cell without any",
        ),
        (
            lambda: from_source(from_source(BASELINE, translated(lab.VISUAL_NLI, "ru")), VISUAL_DE),
            "cell 'none_from_lab_visual_nli_ru' must still learn the target from its own training set, got "
            "'lab_visual_nli_ru'; make each source from the cell without any",
        ),
        (
            lambda: transfer_grid([], mixtures=[(lab.NLI, lab.QQP)], proportions="uniform"),
            "proportions must be a value of Proportions, such as PROPORTIONAL or UNIFORM, or None, got 'uniform'",
        ),
        (
            lambda: replace(FIXED, shares=(("lab_nli", True), ("lab_qqp", 0.5))),
            "shares must be numbers above 0, got [True, 0.5]; leave a task out instead of giving it 0",
        ),
    ],
)
def test_a_variant_of_what_is_none_or_is_there_already_is_refused(make, fault):
    with pytest.raises(Invalid) as refused:
        make()
    assert refused.value.faults == (fault,)


def test_words_are_aligned_before_an_intermediate_stage_or_instead_of_one():
    before, instead = with_aligned_words(ALONE, lab.WORDS), with_aligned_words(BASELINE, lab.WORDS)
    assert (before.name, instead.name, instead.role) == ("lab_words+nli", "lab_words", CellRole.TRANSFER)
    kinds = [StageKind.PRETRAIN, StageKind.ALIGN_IMAGES, StageKind.ALIGN_WORDS, StageKind.TRAIN, StageKind.TRAIN]
    assert [stage.kind for stage in path(before)] == kinds
    assert [stage.kind for stage in path(instead)] == kinds[:-1]
    assert path(before)[2] == path(instead)[2] and path(before)[2].tasks == (lab.WORDS,)


def test_pairs_that_mean_nothing_make_a_control_unless_an_intermediate_task_follows():
    mine = word_pair_task("mine", train="words/{language}.txt", languages=["de"], shuffled=True)
    for words in (lab.WORDS_SHUFFLED, mine):
        assert with_aligned_words(BASELINE, words).role is CellRole.CONTROL
        assert with_aligned_words(ALONE, words).role is CellRole.TRANSFER  # what it gains may be the task's


def test_the_target_is_learned_from_the_source_language_of_the_cell():
    cell = from_source(BASELINE, VISUAL_DE)
    assert (cell.name, cell.role) == ("none_from_lab_visual_nli_de", CellRole.TRANSFER)
    assert path(cell)[-1].tasks == (VISUAL_DE,) and path(cell)[-1].digest != path(BASELINE)[-1].digest
    assert path(cell)[:-1] == path(BASELINE)[:-1]
    assert path(from_source(ALONE, VISUAL_DE))[2] == path(ALONE)[2]


def test_a_target_learned_from_another_task_is_trained_on_it_and_evaluated_on_its_own_test():
    other = replace(lab.VISUAL_NLI, name="other", splits=lab.VISUAL_NLI.splits[2:], learned_from=lab.VISUAL_NLI)
    sweep = small_sweep(target=other, cells=(BASELINE,))
    whole = path_of(sweep, BASELINE, default_values(sweep, BASELINE), phase=Phase.CONFIRMATION, seed=1)
    assert whole[-2].tasks == (lab.VISUAL_NLI,) and whole[-1].work.task == other


@pytest.mark.parametrize("changes", [{"align_words": lab.WORDS}, {"learned_from": VISUAL_DE}])
def test_a_baseline_has_no_variant(changes):
    for cell in (BASELINE, MATCHED):
        with pytest.raises(Invalid, match="must have no intermediate task nor other, got"):
            replace(cell, **changes)


def test_word_pairs_are_no_intermediate_task_and_nothing_else_is_word_pairs():
    with pytest.raises(Invalid, match="word pairs are aligned, not mixed: give 'lab_words' as align_words"):
        Cell(name="wrong", intermediates=(lab.WORDS,))
    with pytest.raises(Invalid, match="align_words must be a task of word pairs, got 'lab_nli'"):
        Cell(name="wrong", align_words=lab.NLI)


def test_a_task_that_nothing_can_be_trained_on_is_no_intermediate_task():
    for task, told in (
        (xtreme.XNLI, "must have a train split, got 'xnli' without one; it is learned from 'mnli': take that one"),
        (xtreme.TATOEBA, "must be trained on, got 'tatoeba' of kind retrieval, which only a target can be"),
        (lab_twins.BUCC, "must be trained on, got 'lab_bucc' of kind retrieval"),
    ):
        with pytest.raises(Invalid) as refused:
            Cell(name="wrong", intermediates=(lab.NLI, task))
        (fault,) = refused.value.faults
        assert f"an intermediate task {told}" in fault


def test_a_factor_crosses_the_grid_with_names_that_differ():
    grid = transfer_grid([lab.NLI, lab.QQP], image_only=False, hypothesis_only=False)
    crossed = [
        *grid,
        *(with_masked_lm(cell, lab.SENTENCES) for cell in grid if cell.intermediates),
        *(with_aligned_words(cell, words) for cell in grid for words in (lab.WORDS, lab.WORDS_SHUFFLED)),
        *(from_source(cell, VISUAL_DE) for cell in grid),
    ]
    assert small_sweep(cells=tuple(crossed), align_words_settings=SETTINGS).cells == tuple(crossed)
    assert len(crossed) == 3 + 2 + 6 + 3


# Translated data


def test_the_lab_says_the_same_rows_in_the_language_and_keeps_its_english_development_split():
    german = translated(lab.NLI, "de")
    assert german.name == "lab_nli_de" and german.split("dev").languages == ("en",)
    small = tuple(replace(split, rows=6) for split in german.splits)
    theirs = read(replace(german, splits=small), "train", None, None)
    ours = read(replace(lab.NLI, splits=tuple(replace(split, rows=6) for split in lab.NLI.splits)), "train", None, None)
    assert theirs["label"] == ours["label"] and theirs["id"] == ours["id"]
    assert set(theirs["language"].to_pylist()) == {"de"} and theirs["premise"] != ours["premise"]


def test_translations_of_published_tasks_are_read_from_a_folder_per_language(tmp_path, monkeypatch):
    monkeypatch.setenv(places.MIRROR, str(tmp_path))
    german = translated(QQP, "de")
    assert "translate nyu-mll/glue into 'de' and put it, laid out alike, in DIR/translated/de/nyu-mll/glue" in (
        places.absence(german)
    )
    folder = tmp_path / "translated" / "de" / "nyu-mll" / "glue" / "qqp"
    folder.mkdir(parents=True)
    table = pa.table({"question1": ["Wie geht das?"], "question2": ["Wie macht man das?"], "label": [1], "idx": [0]})
    pq.write_table(table, folder / "train-00000-of-00001.parquet")
    assert places.absence(german).startswith("no dev files of qqp_de")
    english = tmp_path / "nyu-mll" / "glue" / "qqp"
    english.mkdir(parents=True)
    pq.write_table(table, english / "validation-00000-of-00001.parquet")
    assert places.absence(german) == ""
    rows = read(places.located(german), "train", None, None).to_pylist()
    assert [(row["premise"], row["language"], row["label"]) for row in rows] == [("Wie geht das?", "de", 1)]


def test_translations_of_mnli_are_those_that_xnli_released():
    german = translated(MNLI, "de")
    assert [(part.repository, part.config) for part in german.source.parts] == [
        ("facebook/xnli", "de"),
        ("nyu-mll/glue", "mnli"),
    ]
    assert german.head == XNLI.head
    assert [task.name for task in sources(XNLI, ("en", "de", "ru"))] == ["mnli", "mnli_de", "mnli_ru"]
    assert sources(XNLI, ("en",)) == (MNLI,)


def test_raw_files_are_translated_in_the_layout_of_their_publisher():
    assert [part.repository for part in translated(COSMOS_QA, "ru").source.parts] == [
        "translated/ru/wilburOne/cosmosqa",
        "wilburOne/cosmosqa",
    ]
    assert "DIR/translated/sw/LDC2005T13" in places.way(translated(CCG, "sw"))


def test_a_language_that_is_no_code_is_refused():
    for language in (None, "", 3):
        with pytest.raises(Invalid, match=rf"must state languages by codes such as 'de', got {language!r}"):
            translated(QQP, language)


def test_the_target_is_learned_from_a_training_file_in_another_language(tmp_path):
    write_visual(tmp_path, train="en en en en", german="de de en", dev="en", test="en")
    english = parquet_task("mine", tmp_path, languages=["en"])
    german = parquet_task("mine_de", tmp_path, languages=["en"], language="de", train="german.parquet")
    assert german.split("train").languages == ("de",) and german.split("dev").languages == ("en",)
    cells = (BASELINE, from_source(BASELINE, german))
    found = looked_up(small_sweep(target=english, cells=cells), fetch=False)
    told = found.remarks["mine_de"]
    assert told.startswith("split 'train' is read in de alone: 1 of its 3 rows are left out (1 in 'en'); trained as ")
    assert "trained as many steps on 2 rows as mine on 4" in told
    with pytest.raises(Invalid) as refused:
        small_sweep(target=english, cells=(BASELINE, from_source(BASELINE, replace(german, name="mine"))))
    assert refused.value.faults == (
        "in cell 'none_from_mine', learned_from must have a name of its own, since scores are told by name, got "
        "other training or development data under 'mine' than the target's; rename it",
    )
    small_sweep(target=english, cells=(BASELINE, from_source(BASELINE, english)))  # English among the sources


def test_files_of_ones_own_are_translated_by_naming_others(tmp_path):
    mine = text_pair_task("mine", train="train.tsv", dev="dev.tsv", test="test.tsv")
    with pytest.raises(
        Invalid, match="give a translation of files of your own as a task of its own, with language='de'"
    ):
        translated(mine, "de")
    german = text_pair_task("mine_de", train="train.de.tsv", dev="dev.tsv", language="de", dev_language="en")
    assert [split.languages for split in german.splits] == [("de",), ("en",)]
    sweep = small_sweep(target=mine, cells=(BASELINE, from_source(BASELINE, german)), align_images=None)
    assert [cell.name for cell in sweep.cells] == ["none", "none_from_mine_de"]
    spoken = text_pair_task("mine_de", train="train.tsv", dev="dev.tsv", test="test.tsv", language="de")
    assert [split.languages for split in spoken.splits] == [("de",)] * 3


@pytest.mark.parametrize("wrong", [(lab.NLI, "en"), (translated(lab.NLI, "de"), "fr")])
def test_what_is_not_english_is_not_translated(wrong):
    with pytest.raises(Invalid, match="its training split must be English"):
        translated(*wrong)


# Sweeps that search nothing


def unsearched(**changes) -> Sweep:
    return small_sweep(search=Search(trials=0), space=Space(), **changes)


def test_with_nothing_to_search_the_default_configuration_is_confirmed_as_it_stands():
    sweep = unsearched(cells=(BASELINE, FIXED))
    conductor, _ = conducted(sweep)
    records = list(conductor.records.values())
    assert {record.key.phase for record in records} == {Phase.CONFIRMATION} and len(records) == 4
    assert {record.state for record in records} == {State.FINISHED} and conductor.complete()
    assert [record.values for record in records if record.key.cell == "fixed"] == [
        {"share.lab_nli": 0.25, "share.lab_qqp": 0.75}
    ] * 2
    standing = conductor.standing()
    assert standing.whole and not standing.superseded() and len(standing.confirmations("fixed")) == 2
    assert (
        plan(sweep).stages == sum(len(record.stages) for record in records) - 3 - 2
    )  # pretraining, alignment per seed


def test_a_search_begun_later_may_find_the_default_configuration_best_and_keep_its_confirmations():
    sweep = unsearched(cells=(BASELINE,))
    _, ledger = conducted(sweep)
    conductor, _ = conducted(replace(sweep, search=Search(trials=2)), ledger=ledger)
    assert [record.key.phase for record in conductor.records.values()].count(Phase.SEARCH) == 2
    assert conductor.complete()


def test_a_retrieval_target_is_scored_without_being_trained_on():
    tatoeba = replace(TATOEBA, source=lab.NLI.source)
    sweep = unsearched(target=tatoeba, cells=(BASELINE, ALONE), pretrain=None, align_images=None)
    whole = path_of(sweep, ALONE, default_values(sweep, ALONE), phase=Phase.CONFIRMATION, seed=1)
    assert [stage.kind for stage in whole] == [StageKind.TRAIN, StageKind.EVALUATE]
    alone = path_of(sweep, BASELINE, {}, phase=Phase.CONFIRMATION, seed=1)
    assert [(stage.kind, stage.parent) for stage in alone] == [(StageKind.EVALUATE, "")]
    conductor, _ = conducted(sweep)
    assert {record.state for record in conductor.records.values()} == {State.FINISHED} and conductor.complete()
    assert all(record.evaluation == record.stages[-1] for record in conductor.records.values())
