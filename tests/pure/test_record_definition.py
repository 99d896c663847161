"""Claims about which definition may go on under the name of one that has begun."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.fs as pafs
import pytest

from search_spaces import Cell
from search_spaces.variants import from_source
from sweep import record_definition
from sweep.definition import Preparation, Sweep
from tests.pure.small_sweep import BASELINE, SETTINGS, small_sweep
from trainables.catalogue import lab, lab_twins
from trainables.catalogue.development import with_oracle
from trainables.catalogue.own_texts import sentence_task
from trainables.catalogue.task import Split, Task
from trainables.catalogue.translated import sources, translated
from trainables.catalogue.xtreme import NER, PAWSX, TYDIQA, XNLI
from trainables.catalogue.xtreme_m import parquet_task, text_pair_task
from trainables.faults import Invalid


def goes_on(folder, begun: Sweep, other: Sweep) -> bool:
    record_definition.keep(begun, pafs.LocalFileSystem(), str(folder))
    record_definition.refuse_other(other, pafs.LocalFileSystem(), str(folder))
    return True


def with_test(task: Task, *languages: str) -> Task:
    others = tuple(split for split in task.splits if split.name != "test")
    return replace(task, splits=(*others, Split(name="test", languages=languages, rows=9)))


def trained_on(task: Task, rows: int) -> Task:
    return replace(
        task, splits=tuple(replace(split, rows=rows) if split.name == "train" else split for split in task.splits)
    )


@pytest.mark.parametrize("target", [PAWSX, NER, TYDIQA, XNLI, lab_twins.PAWSX], ids=lambda one: one.name)
def test_a_sweep_with_source_languages_may_come_to_ask_for_an_oracle(tmp_path, target):
    def learned_in(task: Task, asked: Task) -> Sweep:
        cells = (BASELINE, *(from_source(BASELINE, source) for source in sources(asked, ("en", "de", "ru"))))
        return small_sweep(target=task, cells=cells, pretrain=None, align_images=None)

    asks = with_oracle(target)
    assert goes_on(tmp_path, learned_in(target, target), learned_in(asks, asks))
    assert goes_on(tmp_path, learned_in(target, target), learned_in(asks, target))


@pytest.mark.parametrize("target", [PAWSX, NER, lab_twins.PAWSX], ids=lambda one: one.name)
def test_a_source_of_a_target_that_an_oracle_is_shown_data_of_has_none_of_them(target):
    assert sources(with_oracle(target), ("en", "de")) == sources(target, ("en", "de"))
    assert translated(with_oracle(target), "de") == translated(target, "de")


def test_a_sweep_with_english_among_its_sources_may_come_to_test_in_another_language(tmp_path):
    few, more = (
        small_sweep(target=task, cells=(BASELINE, from_source(BASELINE, task)), pretrain=None, align_images=None)
        for task in (with_test(PAWSX, "en", "de"), with_test(PAWSX, "en", "de", "fr"))
    )
    assert goes_on(tmp_path, few, more)


GERMAN = translated(lab.VISUAL_NLI, "de")


@pytest.mark.parametrize(
    ("task", "place"),
    [
        (lab.PARALLEL, lambda task: {"pretrain": Preparation(task=task, settings=SETTINGS)}),
        (lab.CAPTIONS, lambda task: {"align_images": Preparation(task=task, settings=SETTINGS)}),
        (
            lab.CAPTIONS,
            lambda task: {"align_images": Preparation(task=lab.STATEMENTS, settings=SETTINGS, beside=(task,))},
        ),
        (lab.NLI, lambda task: {"cells": (BASELINE, Cell(name="it", intermediates=(task,)))}),
        (lab.WORDS, lambda task: {"cells": (BASELINE, Cell(name="it", align_words=task))}),
        (GERMAN, lambda task: {"cells": (BASELINE, from_source(BASELINE, task))}),
        (lab.VISUAL_NLI, lambda task: {"target": task}),
        (
            lab.VISUAL_NLI,
            lambda task: {"target": replace(with_test(lab.VISUAL_NLI, "en"), name="it", learned_from=task)},
        ),
    ],
    ids="pretrain align_images beside intermediate align_words learned_from target target_learned_from".split(),
)
def test_another_test_of_any_task_goes_on_and_another_training_set_does_not(tmp_path, task, place):
    def with_task(other: Task) -> Sweep:
        return small_sweep(**{"cells": (BASELINE,), "align_words_settings": SETTINGS, **place(other)})

    begun = with_task(with_test(task, "en"))
    assert goes_on(tmp_path, begun, with_task(with_test(task, "en", "sw")))
    with pytest.raises(Invalid, match=r"rows must be what it was when this sweep began: \d+, got 77"):
        goes_on(tmp_path, begun, with_task(trained_on(task, 77)))


@pytest.mark.parametrize(
    "make",
    [
        lambda rows: text_pair_task("mine", train="train.tsv", rows=rows),
        lambda rows: parquet_task("mine", "folder", languages=["en"], rows=rows),
        lambda rows: sentence_task("mine", train="text.txt", languages=["en"], rows=rows),
    ],
)
def test_training_rows_of_ones_own_files_may_be_stated_and_corrected_later(tmp_path, make):
    def mixed(rows: int) -> Sweep:
        return small_sweep(cells=(BASELINE, Cell(name="it", intermediates=(make(rows),))))

    assert goes_on(tmp_path, mixed(0), mixed(9)) and goes_on(tmp_path, mixed(9), mixed(10))
