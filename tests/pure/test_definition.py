"""Claims about definitions: what cannot work is refused when it is written, with all its faults and what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

import sweep as package
from search_spaces import Cell, CellRole, LogRange, Range, Simplex, Space
from search_spaces.variants import from_source
from sweep.definition import Preparation, Sweep
from sweep.paths import path_of
from sweep.presets import PRESETS
from sweep.records import Phase
from sweep.search import (
    CmaEs,
    ExpectedGain,
    GaussianProcess,
    Grid,
    Hyperband,
    Median,
    NoPruning,
    Search,
    SuccessiveHalving,
    Tpe,
    Wilcoxon,
)
from tests.pure.small_sweep import ALONE, BASELINE, MATCHED, MIXED, SETTINGS, small_sweep
from trainables.catalogue import lab, lab_twins, xtreme
from trainables.catalogue.development import with_oracle
from trainables.catalogue.encoder import Encoder, HubEncoder, Patches, Tower
from trainables.catalogue.task import Split, Task
from trainables.catalogue.translated import translated
from trainables.catalogue.xtreme import PAWSX, TYDIQA, XNLI
from trainables.catalogue.xtreme_m import text_pair_task
from trainables.faults import Invalid, nearest
from trainables.gangs import Gangs
from trainables.settings import LoRA, Part, Visible
from trainables.stages import StageKind

WORDS_ALIGNED = Cell(name="words", align_words=lab.WORDS)
LONGER = replace(ALONE, name="longer", intermediate_settings=replace(SETTINGS, maximum_steps=90))


def hub_encoder(repository: str, patches: Patches | Tower = lab.ENCODER.patches) -> Encoder:
    return Encoder(name="hub", text=HubEncoder(repository=repository), patches=patches, maximum_tokens=64)


def faults_of(**changes: object) -> tuple[str, ...]:
    with pytest.raises(Invalid) as refused:
        small_sweep(**changes)
    return refused.value.faults


def test_the_least_definition_can_be_built_from_its_defaults():
    sweep = Sweep(name="least", target=lab.VISUAL_NLI, encoder=lab.ENCODER, cells=(BASELINE,), target_settings=SETTINGS)
    assert sweep.baseline is BASELINE
    assert (sweep.search.trials, sweep.search.pruner, sweep.confirmation_seeds) == (4, Median(), (1, 2, 3))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_can_be_built_and_bears_its_name(name):
    assert PRESETS[name]().name == name


def test_the_public_names_are_those_that_the_package_promises():
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="module 'sweep' has no attribute 'rnu'"):
        package.rnu  # noqa: B018


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "a/b"}, "name must be letters, digits, '_' and '-' (it becomes a folder), got 'a/b'"),
        ({"name": ""}, "name must be letters, digits, '_' and '-' (it becomes a folder), got ''"),
        ({"cells": (BASELINE, ALONE, ALONE)}, "cells must have different names, got 'nli' 2 times"),
        ({"cells": (ALONE,)}, "exactly one cell must be the baseline (every gain is against it), got []"),
        ({"cells": ()}, "exactly one cell must be the baseline (every gain is against it), got []"),
        (
            {"cells": (BASELINE, replace(BASELINE, name="again"))},
            "exactly one cell must be the baseline (every gain is against it), got ['none', 'again']",
        ),
        (
            {"cells": (BASELINE, Cell(name="itself", intermediates=(lab.VISUAL_NLI,)))},
            "the target 'lab_visual_nli' must not be an intermediate task too, in cell 'itself'",
        ),
        (
            {"intermediate_settings": None},
            "intermediate_settings must be given, because 'nli' has an intermediate stage",
        ),
        (
            {"cells": (BASELINE, ALONE, LONGER, MATCHED), "space": Space()},
            "the compute-matched cell 'matched' needs intermediate stages of one number of steps, got 40 in 'nli', 90 "
            "in 'longer'; give the cells one, or drop it",
        ),
        (
            {"cells": (BASELINE, MATCHED), "intermediate_settings": None, "space": Space()},
            "the compute-matched cell 'matched' needs intermediate stages of one number of steps, got none; give the "
            "cells one, or drop it",
        ),
        (
            {"target": lab_twins.TATOEBA, "cells": (BASELINE, MATCHED), "space": Space(), "search": Search(trials=0)},
            "the compute-matched cell 'matched' needs a target that is trained; drop it",
        ),
        (
            {"space": Space(shares=Simplex(0.51))},
            "the minimum share must leave room for the 2 tasks, got 0.51; lower it to at most 0.5, or make the shares "
            "sparse (cell 'nli+qqp')",
        ),
        (
            {"target": replace(lab.CAPTIONS, splits=lab.VISUAL_NLI.splits)},
            "target must be a task that is scored, got 'lab_captions' of kind image_caption",
        ),
        (
            {"cells": (BASELINE, WORDS_ALIGNED)},
            "align_words_settings must be given, because 'words' aligns words",
        ),
        (
            {
                "cells": (BASELINE, WORDS_ALIGNED),
                "align_words_settings": replace(SETTINGS, word_layer=4),
            },
            "align_words_settings: word_layer must be a layer of lab_small, 0 to 3, got 4",
        ),
        (
            {
                "cells": (BASELINE, WORDS_ALIGNED),
                "align_words_settings": replace(SETTINGS, word_layer=1, lora=LoRA(layers=(1, 2))),
            },
            "align_words_settings: adapters must lie below the output of layer word_layer=1 to be trained, that is in "
            "layers 0 to 0, got none below 1; raise word_layer",
        ),
        *(
            (
                {"cells": (BASELINE, WORDS_ALIGNED), "align_words_settings": replace(SETTINGS, frozen=frozen)},
                "align_words_settings: frozen must leave Part.TRUNK out, whose layers and word embeddings are all that "
                "aligning words trains, got (<Part.TRUNK",
            )
            for frozen in ((Part.TRUNK,), (Part.TRUNK, Part.WORD_EMBEDDINGS))
        ),
        (
            {
                "cells": (BASELINE, WORDS_ALIGNED),
                "align_words_settings": replace(SETTINGS, word_layer=0, frozen=(Part.WORD_EMBEDDINGS,)),
            },
            "align_words_settings: word_layer must be at least 1 where the word embeddings, which are layer 0, are "
            "frozen, got 0; raise it or leave Part.WORD_EMBEDDINGS out of frozen",
        ),
        (
            {
                "target": lab_twins.TATOEBA,
                "cells": (BASELINE, from_source(BASELINE, translated(lab_twins.PAWSX, "de"))),
                "space": Space(),
                "search": Search(trials=0),
            },
            "in cell 'none_from_lab_pawsx_de', learned_from must be None: nothing is trained for a retrieval target, "
            "and the cell would be the one without it, got 'lab_pawsx_de'; drop the cell",
        ),
        (
            {"intermediate_settings": replace(SETTINGS, lora=LoRA(layers=(0, 3, 9)))},
            "intermediate_settings: lora.layers must be layers of lab_small, counted from 0 to 2, got 3, 9",
        ),
        (
            {"target_settings": replace(SETTINGS, lora=LoRA(target_modules=("query", "q_proj")))},
            "target_settings: lora.target_modules must be linear modules of lab_small's layers, got 'q_proj'; known: "
            "dense, key, query, value",
        ),
        (
            {"encoder": hub_encoder("FacebookAI/xlm-roberta-large"), "retrieval_layer": 30},
            "retrieval_layer must be a layer of hub, 0 to 24, got 30",
        ),
        (
            {"encoder": hub_encoder("a/b", Tower(model=HubEncoder(repository="a/siglip2-base-patch16-224"), grid=15))},
            "a tower's grid must be at most its 14 × 14 patches, got 15; lower it",
        ),
        (
            {"cells": (BASELINE, Cell(name="qqp", learned_from=lab.QQP))},
            f"in cell 'qqp', learned_from must train the head of the target, {lab.VISUAL_NLI.head!r}, got "
            f"{lab.QQP.head!r}",
        ),
        (
            {"search": Search(trials=0)},
            "space must be empty where nothing is searched, got learning_rate; raise search.trials above 0",
        ),
        (
            {"target": replace(lab.VISUAL_NLI, splits=lab.VISUAL_NLI.splits[:2])},
            "target 'lab_visual_nli' must have a test split; add one to the task",
        ),
        (
            {"target": lab.NLI_SHUFFLED, "cells": (BASELINE, Cell(name="blind", role=CellRole.IMAGE_ONLY))},
            "image-only and hypothesis-only cells need an image-text target, got kind pair_classification",
        ),
        (
            {"target_settings": replace(SETTINGS, visible=Visible.IMAGE_ONLY)},
            "target_settings.visible must be Visible.BOTH; the image-only and hypothesis-only cells change it",
        ),
        (
            {"space": Space(target={"learning_rate": LogRange(1e-5, 1e-4)})},
            "target settings are the first trial, so learning_rate must lie in LogRange(low=1e-05, high=0.0001), got "
            "0.001; widen the domain or change the setting",
        ),
        (
            {"space": Space(intermediate={"learning_rate": LogRange(1e-5, 1e-4)})},
            "intermediate settings are the first trial, so learning_rate must lie in",
        ),
        (
            {"space": Space(target={"learning_rate": LogRange(1e-4, 1.5)})},
            "target['learning_rate'] must hold only values that a stage can use: learning_rate must be above 0 and at",
        ),
        (
            {"confirmation_seeds": (1, 1)},
            "confirmation_seeds must be different whole numbers of at least 0, got (1, 1)",
        ),
        ({"confirmation_seeds": (-1,)}, "confirmation_seeds must be different whole numbers of at least 0, got (-1,)"),
        (
            {"confirmation_seeds": (True,)},
            "confirmation_seeds must be different whole numbers of at least 0, got (True",
        ),
        (
            {"confirmation_seeds": ()},
            "confirmation_seeds must hold at least one seed: only confirmation runs are reported",
        ),
        (
            {"confirmation_seeds": (0, 1)},
            "confirmation_seeds must be fresh: the search's seed 0 must not be among (0, 1)",
        ),
        (
            {"target_settings": replace(SETTINGS, batch_size=7), "gangs": Gangs(workers=2)},
            "target_settings: batch_size must be a multiple of workers × accumulation_steps (2 × 1), got 7",
        ),
        (
            {
                "pretrain": Preparation(
                    task=lab.PARALLEL, settings=replace(SETTINGS, batch_size=6, accumulation_steps=2)
                ),
                "gangs": Gangs(workers=2),
            },
            "pretrain: batch_size must be a multiple of workers × accumulation_steps (2 × 2), got 6",
        ),
    ],
)
def test_a_sweep_that_cannot_work_is_refused_with_the_reason(changes, fault):
    (found,) = faults_of(**changes)
    assert fault in found


def test_a_stage_that_every_path_shares_needs_tasks_to_be_trained_on():
    with pytest.raises(Invalid) as refused:
        Preparation(task=xtreme.XNLI, settings=SETTINGS, beside=(lab_twins.TATOEBA, "lab_nli"))
    assert [fault.partition(";")[0] for fault in refused.value.faults] == [
        "task must have a train split, got 'xnli' without one",
        "beside must be trained on, got 'lab_tatoeba' of kind retrieval, which only a target can be",
        "beside must be Task values, got 'lab_nli'",
    ]
    with pytest.raises(Invalid, match=r"settings must be a value of Settings, got 3"):
        Preparation(task=lab.PARALLEL, settings=3)
    with pytest.raises(Invalid, match=r"beside must be a tuple of tasks, got Task"):
        Preparation(task=lab.PARALLEL, settings=SETTINGS, beside=lab.PARALLEL)


def test_all_faults_of_a_sweep_are_named_at_once():
    found = faults_of(
        name="a b",
        target=replace(lab.CAPTIONS, splits=lab.VISUAL_NLI.splits),
        cells=(ALONE, ALONE, MIXED),
        space=Space(target={"learning_rate": LogRange(1e-5, 1e-4)}, shares=Simplex(0.9)),
        search=Search(trials=1, seed=1),
        target_settings=replace(SETTINGS, batch_size=9),
        gangs=Gangs(workers=2),
    )
    assert [fault.split(" must")[0].split(" need")[0] for fault in found] == [
        "name",
        "target",
        "cells",
        "exactly one cell",
        "target settings are the first trial, so learning_rate",
        "the minimum share",
        "target_settings: batch_size",
        "confirmation_seeds",
    ]


def test_wrong_kinds_of_values_are_named_at_once_before_anything_looks_inside_them():
    found = faults_of(
        target="lab_visual_nli",
        encoder=None,
        target_settings={"learning_rate": 1},
        space={},
        search=3,
        gangs=2,
        intermediate_settings=1,
        pretrain=lab.PARALLEL,
        align_images=False,
        cells=[BASELINE],
        confirmation_seeds=3,
    )
    assert found[0] == "target must be a value of Task, got 'lab_visual_nli'"
    assert "intermediate_settings must be a value of Settings or None, got 1" in found
    assert [fault.split(" must")[0] for fault in found] == [
        "target", "encoder", "target_settings", "space", "search", "gangs", "intermediate_settings", "pretrain",
        "align_images", "cells", "confirmation_seeds",
    ]  # fmt: skip


@pytest.mark.parametrize("count", range(2, 10))
def test_the_advised_minimum_share_is_one_that_works(count):
    tasks = tuple(replace(lab.NLI, name=f"t{number}") for number in range(count))
    cells = (BASELINE, Cell(name="mixed", intermediates=tasks))
    (fault,) = faults_of(cells=cells, space=Space(shares=Simplex(0.9)))
    advised = float(fault.partition("at most ")[2].partition(",")[0])
    assert advised > 0.9 / count
    assert small_sweep(cells=cells, space=Space(shares=Simplex(advised))).cells == cells


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"trials": -1}, "trials must be a whole number of at least 0, got -1"),
        ({"trials": True}, "trials must be a whole number of at least 0, got True"),
        ({"fan_out": 0}, "fan_out must be a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        (
            {"pruner": "median"},
            "pruner must be one of NoPruning(), Median(), SuccessiveHalving(), Hyperband(), Wilcoxon(), got 'median'",
        ),
        (
            {"sampler": Tpe},
            "sampler must be one of Tpe(), GaussianProcess(), CmaEs(), RandomDraws(), Grid(), "
            "got <class 'sweep.search.Tpe'>",
        ),
        (
            {"sampler": Grid(), "fan_out": ExpectedGain()},
            "a grid is enumerated, so fan_out must be a whole number with sampler Grid(), got ExpectedGain()",
        ),
    ],
)
def test_a_search_that_cannot_work_is_refused_with_the_reason(given, fault):
    with pytest.raises(Invalid) as refused:
        Search(**({"trials": 1} | given))
    assert refused.value.faults == (fault,)


def test_the_least_search_is_one_trial_of_each_cell():
    assert Search(trials=1, fan_out=1, sampler=Tpe(startup_trials=1), pruner=Median(trials_before=1)).trials == 1


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: Tpe(startup_trials=1.5), "startup_trials must be a whole number of at least 1, got 1.5"),
        (lambda: Tpe(candidates=0), "candidates must be a whole number of at least 1, got 0"),
        (lambda: GaussianProcess(startup_trials=0), "startup_trials must be a whole number of at least 1, got 0"),
        (lambda: CmaEs(startup_trials=0), "startup_trials must be a whole number of at least 1, got 0"),
        (lambda: CmaEs(population=3), "population must be 0, for Hansen's rule, or at least 4, got 3"),
        (lambda: CmaEs(margin=1), "margin must be True or False, got 1"),
        (lambda: Grid(points=1), "points must be a whole number of at least 2, got 1"),
        (lambda: Median(trials_before=0), "trials_before must be a whole number of at least 1, got 0"),
        (lambda: Median(steps_before=-1), "steps_before must be a whole number of at least 0, got -1"),
        (lambda: SuccessiveHalving(first_rung=0), "first_rung must be a whole number of at least 1, got 0"),
        (lambda: Hyperband(first_rung=1, reduction=1), "reduction must be a whole number of at least 2, got 1"),
        (lambda: Wilcoxon(p=0.6), "p must be above 0 and at most 0.5, got 0.6"),
        (lambda: Wilcoxon(p=0.0), "p must be above 0 and at most 0.5, got 0.0"),
        (lambda: ExpectedGain(settings=1), "settings must be a whole number of at least 2, got 1"),
        (lambda: ExpectedGain(fan_out=0), "fan_out must be a whole number of at least 1, got 0"),
    ],
)
def test_an_option_of_a_sampler_or_pruner_that_cannot_work_is_refused(make, fault):
    with pytest.raises(Invalid) as refused:
        make()
    assert refused.value.faults == (fault,)


@pytest.mark.parametrize(
    ("pruner", "fault"),
    [
        (Wilcoxon(), "pruner Wilcoxon(p=0.1) needs 4 scores of a target before its last step, got 1; evaluate more"),
        (SuccessiveHalving(first_rung=15), "first_rung must be at most 10, the last step at which a target is scored"),
        (Hyperband(first_rung=20), "first_rung must be at most 10, the last step at which a target is scored before"),
    ],
)
def test_a_pruner_that_could_never_stop_a_trial_is_refused(pruner, fault):
    (found,) = faults_of(search=Search(trials=3, pruner=pruner))
    assert found.startswith(fault)
    often = replace(SETTINGS, evaluation_interval_steps=4)
    later = replace(pruner, first_rung=8) if isinstance(pruner, SuccessiveHalving | Hyperband) else pruner
    assert small_sweep(search=Search(trials=3, pruner=later), target_settings=often).search.pruner == later


def test_a_trial_is_never_pruned_at_its_only_score_so_any_pruner_but_the_median_asks_for_more():
    once = replace(SETTINGS, evaluation_interval_steps=20)
    assert small_sweep(target_settings=once, search=Search(trials=3, pruner=NoPruning()))
    assert small_sweep(target_settings=once, search=Search(trials=3, pruner=Median()))
    (fault,) = faults_of(target_settings=once, search=Search(trials=3, pruner=Hyperband(first_rung=1)))
    assert fault.startswith("first_rung must be at most 0")


def test_an_override_of_no_cell_is_refused_and_one_of_a_cell_is_searched_there_alone():
    (fault,) = faults_of(space=Space(overrides={"nly": Space()}))
    assert (
        fault
        == "space.overrides must name cells of the sweep, got 'nly'; did you mean 'nli'? Known: nli, nli+qqp, none"
    )
    own = Space(target={"dropout": Range(0.0, 0.3)})
    sweep = small_sweep(space=Space(target={"learning_rate": LogRange(1e-4, 1e-2)}, overrides={"nli": own}))
    assert {cell.name: list(sweep.parameters(cell)) for cell in sweep.cells[:2]} == {
        "none": ["target.learning_rate"], "nli": ["target.dropout"],
    }  # fmt: skip
    (wrong,) = faults_of(space=Space(overrides={"nli": Space(target={"learning_rate": LogRange(1e-5, 1e-4)})}))
    assert wrong.endswith("(cell 'nli')")


def test_a_misspelt_name_is_answered_with_the_nearest_and_a_strange_one_with_all():
    assert nearest("lba", ["lab", "rehearsal"]) == "did you mean 'lab'? Known: lab, rehearsal"
    assert nearest("zzz", ["lab", "rehearsal"]) == "known: lab, rehearsal"


def test_a_target_trained_or_selected_on_another_language_is_refused():
    german = Split(name="dev", languages=("de",), rows=4)
    target = lab.visual_nli()
    other = replace(target, splits=tuple(german if split.name == "dev" else split for split in target.splits))
    with pytest.raises(Invalid, match="dev split of target 'lab_visual_nli' must be English alone"):
        replace(PRESETS["lab"](), target=other)


def test_a_retrieval_target_is_scored_from_a_stated_layer_and_never_trained_on():
    from trainables.catalogue.lab_twins import TATOEBA

    sweep = small_sweep(
        target=TATOEBA,
        cells=(BASELINE, ALONE),
        align_images=None,
        space=Space(),
        search=Search(trials=0),
        retrieval_layer=2,
    )
    path = path_of(sweep, ALONE, {"share.lab_nli": 1.0}, phase=Phase.CONFIRMATION, seed=1)
    assert [stage.kind for stage in path] == [StageKind.PRETRAIN, StageKind.TRAIN, StageKind.EVALUATE]
    assert path[-1].work.layer == 2 and path[-1].parent == path[-2].digest


def test_layers_modules_and_patches_at_their_ends_are_taken():
    settings = replace(SETTINGS, lora=LoRA(layers=(0, 2), target_modules=("query", "key", "value", "dense")))
    small_sweep(target_settings=settings, retrieval_layer=3)
    tower = Tower(model=HubEncoder(repository="a/siglip2-base-patch16-224"), grid=14)
    small_sweep(encoder=hub_encoder("FacebookAI/xlm-roberta-large", tower), retrieval_layer=24)


@pytest.mark.parametrize("layer", [-1, 4, True, 1.5])
def test_a_layer_that_the_encoder_has_not_is_refused(layer):
    with pytest.raises(Invalid, match="retrieval_layer must be"):
        small_sweep(retrieval_layer=layer)


def test_words_are_aligned_above_frozen_embeddings_and_in_embeddings_that_are_trained():
    cells = (BASELINE, WORDS_ALIGNED)
    for settings in (replace(SETTINGS, word_layer=1, frozen=(Part.WORD_EMBEDDINGS,)), replace(SETTINGS, word_layer=0)):
        assert small_sweep(cells=cells, align_words_settings=settings).align_words_settings == settings


def spoken(task: Task, *languages: str) -> Task:
    return replace(
        task, splits=tuple(replace(one, languages=languages) if one.name == "test" else one for one in task.splits)
    )


def from_file(task: Task, **given: object) -> Task:
    return replace(task, source=replace(task.source, **given))


OWN = text_pair_task("own", train="train.tsv", dev="dev.tsv", test="test.tsv", test_languages=["en", "de"])


@pytest.mark.parametrize(
    ("target", "source"),
    [
        (with_oracle(PAWSX), PAWSX),
        (PAWSX, with_oracle(PAWSX)),
        (with_oracle(TYDIQA), TYDIQA),
        (from_file(PAWSX, download=True), PAWSX),
        (from_file(PAWSX, folders=(("a/b", "/there"),), fingerprint="abc"), PAWSX),
        (spoken(PAWSX, "en", "de"), PAWSX),
        (replace(PAWSX, licence="another"), PAWSX),
        (from_file(OWN, test="other.tsv"), OWN),
        (from_file(OWN, fingerprint="train:a dev:b test:c"), OWN),
        (text_pair_task("own", train="train.tsv", dev="dev.tsv", test="test.tsv", rows=9), OWN),
        (replace(XNLI, learned_from=from_file(XNLI.teacher, download=True)), XNLI.teacher),
    ],
)
def test_a_source_with_the_training_and_development_data_of_the_target_may_have_its_name(target, source):
    small_sweep(target=target, cells=(BASELINE, from_source(BASELINE, source)), align_images=None)


@pytest.mark.parametrize(
    ("target", "source"),
    [
        (PAWSX, replace(translated(PAWSX, "de"), name="pawsx")),
        (XNLI, replace(translated(XNLI.teacher, "de"), name="mnli")),
        (OWN, from_file(OWN, train="other.tsv")),
        (OWN, from_file(OWN, dev="other.tsv")),
        (lab.VISUAL_NLI, lab.visual_nli(train=9)),
    ],
)
def test_a_source_with_other_training_or_development_data_than_the_target_needs_a_name_of_its_own(target, source):
    with pytest.raises(Invalid, match=f"got other training or development data under '{source.name}' than the target"):
        small_sweep(target=target, cells=(BASELINE, from_source(BASELINE, source)), align_images=None)
