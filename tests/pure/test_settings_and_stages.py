"""Claims about settings and stages: bad numbers are refused together, and equal values alone have equal digests."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.paths import path_of
from sweep.records import Phase
from tests.pure.small_sweep import FIXED, SETTINGS, small_sweep
from trainables.canonical import canonical, decode, encode
from trainables.catalogue import lab
from trainables.catalogue.encoder import Encoder, HubEncoder, LocalEncoder, Patches, Tower
from trainables.catalogue.intermediate import MNLI, SQUAD_V1, SQUAD_V2
from trainables.catalogue.lab_twins import BUCC as LAB_BUCC
from trainables.catalogue.lab_twins import POS as LAB_POS
from trainables.catalogue.lab_twins import TATOEBA
from trainables.catalogue.own_texts import sentence_task
from trainables.catalogue.task import Metric, Role, Split, Task
from trainables.catalogue.translated import translated
from trainables.catalogue.xtreme import BUCC, MLQA, POS, TYDIQA
from trainables.catalogue.xtreme_m import parquet_task, text_pair_task
from trainables.faults import Invalid
from trainables.scores import Progress, Score, event_from_json, event_to_json
from trainables.selectors import Selector
from trainables.settings import Alignment, LoRA, Part, Precision, Schedule, Settings, Visible
from trainables.stages import READ_AS_BEFORE, Evaluation, Portion, Stage, Training, as_read, refuse_broken

ROOT = Path(__file__).parents[2]
NAN, INF = float("nan"), float("inf")
LEAST = {"learning_rate": 1e-3, "maximum_steps": 10, "batch_size": 8}

PATH = path_of(small_sweep(), FIXED, {"share.lab_nli": 0.25, "share.lab_qqp": 0.75}, phase=Phase.CONFIRMATION, seed=1)
TRAINED, EVALUATED = PATH[2], PATH[-1]


# Settings


def test_the_defaults_can_be_built():
    settings = Settings(**LEAST)
    assert settings.evaluated_steps() == (10,)
    assert (settings.schedule, settings.precision, settings.visible) == (Schedule.LINEAR, Precision.AUTO, Visible.BOTH)


@pytest.mark.parametrize(
    "good",
    [
        {"learning_rate": 1.0},
        {"learning_rate": 5e-324},
        {"clip_norm": INF},
        {"weight_decay": 0},
        {"weight_decay": 1.0},
        {"dropout": 0.0},
        {"masked_share": 1.0},
        {"maximum_steps": 1},
        {"batch_size": 1},
        {"warmup_steps": 10},
        {"warmup_steps": 0},
        {"accumulation_steps": 8},
        {"frozen": (Part.TRUNK, Part.VISION)},
        {"alignment": Alignment.CONTRASTIVE},
        {"word_layer": 0},
        {"lora": LoRA(rank=1, dropout=0.0, target_modules=("dense",), layers=(0, 11))},
    ],
)
def test_the_ends_of_each_range_can_be_used(good):
    (name,) = good
    assert getattr(Settings(**(LEAST | good)), name) == good[name]


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (
            {"learning_rate": 0.0},
            "learning_rate must be above 0 and at most 1, got 0.0; fine-tuning uses 1e-6 to 1e-2",
        ),
        ({"learning_rate": 1.001}, "learning_rate must be above 0 and at most 1, got 1.001; fine-tuning uses"),
        ({"learning_rate": INF}, "learning_rate must be above 0 and at most 1, got inf"),
        ({"learning_rate": NAN}, "learning_rate must be a number, got nan; give a finite number"),
        ({"learning_rate": "1e-3"}, "learning_rate must be a number, got '1e-3'"),
        ({"learning_rate": True}, "learning_rate must be a number, got True"),
        ({"clip_norm": 0.0}, "clip_norm must be above 0, got 0.0; use float('inf') to clip nothing"),
        ({"weight_decay": -0.1}, "weight_decay must be from 0 to 1, got -0.1"),
        ({"weight_decay": 1.1}, "weight_decay must be from 0 to 1, got 1.1"),
        ({"dropout": 1.0}, "dropout must be from 0 up to but without 1, got 1.0"),
        ({"dropout": -0.1}, "dropout must be from 0 up to but without 1, got -0.1"),
        ({"masked_share": 0.0}, "masked_share must be above 0 and at most 1, got 0.0"),
        ({"maximum_steps": 0}, "maximum_steps must be a whole number of at least 1, got 0"),
        ({"maximum_steps": 10.0}, "maximum_steps must be a whole number of at least 1, got 10.0"),
        ({"batch_size": True}, "batch_size must be a whole number of at least 1, got True"),
        ({"accumulation_steps": 0}, "accumulation_steps must be a whole number of at least 1, got 0"),
        ({"evaluation_interval_steps": 0}, "evaluation_interval_steps must be a whole number of at least 1, got 0"),
        ({"warmup_steps": -1}, "warmup_steps must be a whole number of at least 0, got -1"),
        ({"warmup_steps": 11}, "warmup_steps must be at most maximum_steps (10), got 11"),
        (
            {"accumulation_steps": 3},
            "batch_size must be a multiple of accumulation_steps, got 8 and 3; change one of them",
        ),
        (
            {"schedule": "linear"},
            "schedule must be one of Schedule.CONSTANT, Schedule.LINEAR, Schedule.COSINE, got 'linear'",
        ),
        ({"precision": "float16"}, "precision must be one of Precision.AUTO, Precision.FLOAT32, Precision.BFLOAT16"),
        ({"visible": None}, "visible must be one of Visible.BOTH"),
        (
            {"alignment": "masked"},
            "alignment must be one of Alignment.CONTRASTIVE, Alignment.WORDS, Alignment.MASKED, got 'masked'",
        ),
        ({"carry_heads": 1}, "carry_heads must be True or False, got 1"),
        ({"frozen": Part.TRUNK}, "frozen must be a tuple of Part values (Part.WORD_EMBEDDINGS, Part.TRUNK, Part.VISI"),
        ({"frozen": ("trunk",)}, "got ('trunk',)"),
        ({"frozen": None}, "got None"),
        ({"word_layer": -1}, "word_layer must be a whole number of at least 0, got -1"),
        ({"lora": 16}, "lora must be a value of LoRA or None, got 16"),
        ({"lora": LoRA(), "frozen": (Part.TRUNK,)}, "frozen must not name Part.TRUNK beside LoRA"),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_the_reason(bad, fault):
    with pytest.raises(Invalid) as refused:
        Settings(**(LEAST | bad))
    assert len(refused.value.faults) == 1
    assert fault in refused.value.faults[0]


def test_all_bad_values_are_named_at_once():
    with pytest.raises(Invalid) as refused:
        Settings(
            learning_rate=NAN, clip_norm="1", dropout=1.0, maximum_steps=0, batch_size=0, warmup_steps=-1, schedule=""
        )
    assert [fault.split(" must")[0] for fault in refused.value.faults] == [
        "learning_rate", "clip_norm", "dropout", "maximum_steps", "batch_size", "warmup_steps", "schedule",
    ]  # fmt: skip
    assert str(refused.value).startswith("Settings cannot be used:\n  - learning_rate must")


def test_every_fault_of_adapters_is_named_at_once():
    with pytest.raises(Invalid) as refused:
        LoRA(rank=0, alpha=0.0, dropout=1.0, target_modules=(), layers=(-1,))
    assert refused.value.faults == (
        "rank must be a whole number of at least 1, got 0",
        "alpha must be a number above 0, got 0.0",
        "dropout must be a number from 0 up to but without 1, got 1.0",
        "target_modules must be a tuple of different names, such as ('query', 'value'), got ()",
        "layers must be a tuple of different whole numbers of at least 0, got (-1,)",
    )


def test_the_version_of_peft_is_part_of_the_digest_of_stages_with_adapters_alone():
    sweep = small_sweep(intermediate_settings=replace(SETTINGS, lora=LoRA()))
    values = {"share.lab_nli": 0.25, "share.lab_qqp": 0.75}
    path = path_of(sweep, FIXED, values, phase=Phase.CONFIRMATION, seed=1)
    assert ["peft" in dict(stage.versions) for stage in path] == [False, False, True, False, False]


@given(steps=st.integers(1, 300), every=st.integers(1, 300))
def test_the_last_step_is_always_scored_and_each_step_once(steps, every):
    scored = Settings(learning_rate=0.1, maximum_steps=steps, batch_size=1, evaluation_interval_steps=every)
    found = scored.evaluated_steps()
    assert found[-1] == steps and sorted(set(found)) == list(found)
    assert all(step % every == 0 for step in found[:-1])


# The canonical form


@dataclass(frozen=True)
class Holder:
    number: float
    maybe: float | None = None
    pairs: tuple[tuple[str, float], ...] = ()
    count: int = 0


@given(number=st.floats(allow_nan=False), maybe=st.none() | st.floats(allow_nan=False), count=st.integers())
def test_any_number_comes_back_equal_and_as_what_its_field_says(number, maybe, count):
    value = Holder(number, maybe, (("a", number),), count)
    back = decode(Holder, json.loads(canonical(value)))
    assert back == value
    assert type(back.number) is float and type(back.count) is int and type(back.pairs[0][1]) is float
    assert back.maybe is None or type(back.maybe) is float


def test_what_is_no_number_comes_back_too():
    assert repr(decode(Holder, json.loads(canonical(Holder(NAN, NAN))))) == repr(Holder(NAN, NAN))


@given(number=st.integers(-(2**60), 2**60).filter(lambda number: float(number) == number))
def test_equal_numbers_have_one_text(number):
    assert canonical(Holder(number)) == canonical(Holder(float(number)))


def test_a_text_that_does_not_fit_the_class_is_refused():
    with pytest.raises(ValueError, match="expected the JSON object of a Settings, got"):
        decode(Settings, {"type": "Task"})
    with pytest.raises(ValueError, match=r"Settings has no fields \['learing_rate'\]"):
        decode(Settings, {"type": "Settings", "learing_rate": 1})
    with pytest.raises(ValueError, match=r"expected one of \['Training', 'Evaluation'\]"):
        decode(Stage, encode(TRAINED) | {"work": {"type": "Task"}})
    with pytest.raises(TypeError, match="built of dataclasses, enums, tuples, numbers and strings, got <object"):
        canonical(object())


@pytest.mark.parametrize("value", [None, 0.0, 1.0, 0.25, NAN, INF])
def test_a_score_survives_the_way_from_a_gang_to_the_search(value):
    score = Score(
        task="t", language="en", split="dev", role=Role.SELECT, metric="m", value=value, correct=None, count=3, step=4
    )
    event = Progress(digest="d", step=4, learning_rate=1, scores=(score,))
    (back,) = event_from_json(event_to_json(event)).scores
    assert repr(back) == repr(score)


# Stages and their digests


@pytest.mark.parametrize("stage", PATH, ids=lambda stage: str(stage.kind))
def test_a_stage_comes_back_from_its_text_with_its_digest(stage):
    back = Stage.from_json(stage.to_json())
    assert back == stage and back.digest == stage.digest
    assert len(stage.digest) == 24 and int(stage.digest, 16) >= 0


def test_equal_stages_have_equal_digests_in_two_processes():
    code = (
        "from tests.pure.small_sweep import *; from sweep.paths import path_of; from sweep.records import Phase;"
        "values = {'share.lab_nli': 0.25, 'share.lab_qqp': 0.75};"
        "print(*(s.digest for s in path_of(small_sweep(), FIXED, values, phase=Phase.CONFIRMATION, seed=1)))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": s},
        ).stdout
        for s in ("1", "2")
    }
    assert said == {" ".join(stage.digest for stage in PATH) + "\n"}


@pytest.mark.parametrize("name", ["weight_decay", "dropout"])
def test_a_whole_number_and_its_float_are_one_stage_before_and_after_the_mailbox(name):
    digests = set()
    for zero in (0, 0.0, -0.0):
        settings = replace(TRAINED.work.settings, **{name: zero})
        stage = replace(TRAINED, work=replace(TRAINED.work, settings=settings))
        digests |= {stage.digest, Stage.from_json(stage.to_json()).digest}
    assert len(digests) == 1


def test_the_role_is_not_part_of_the_digest():
    assert EVALUATED.work.role is Role.REPORT
    selected = replace(EVALUATED, work=replace(EVALUATED.work, role=Role.SELECT))
    assert selected != EVALUATED and selected.digest == EVALUATED.digest


def test_where_fingerprinted_files_lie_is_not_part_of_the_digest_and_what_they_hold_is():
    def with_files(task_folder: str, encoder_folder: str, holds: str) -> str:
        task = parquet_task("mine", task_folder, languages=("en", "de"))
        task = replace(task, source=replace(task.source, fingerprint=holds))
        encoder = Encoder(
            name="e",
            text=LocalEncoder(path=encoder_folder, fingerprint=holds),
            patches=Patches(height=8, width=8, patch=4),
        )
        work = replace(TRAINED.work, portions=(Portion(task=task, steps=40),))
        return replace(TRAINED, work=work, encoder=encoder).digest

    assert with_files("/here", "/models", "abc") == with_files("/there", "/other", "abc")
    assert with_files("/here", "/models", "abc") != with_files("/here", "/models", "abd")


def test_the_place_of_files_without_a_fingerprint_is_part_of_the_digest():
    one, two = (
        replace(EVALUATED, work=replace(EVALUATED.work, task=parquet_task("mine", folder, languages=("en",))))
        for folder in ("/here", "/there")
    )
    assert one.digest != two.digest


def test_what_a_training_stage_never_reads_changes_nothing_of_it():
    task = TRAINED.work.portions[0].task
    test = replace(task.splits[-1], languages=("en", "de"), rows=7)
    assert test.name == "test" and test != task.splits[-1]
    other = replace(task, licence="another", twin_of="", splits=(*task.splits[:-1], test))
    work = replace(TRAINED.work, portions=(replace(TRAINED.work.portions[0], task=other), TRAINED.work.portions[1]))
    assert replace(TRAINED, work=work).digest == TRAINED.digest
    dev = replace(task.splits[1], rows=7)
    read = replace(task, splits=(task.splits[0], dev, task.splits[2]))
    work = replace(TRAINED.work, portions=(replace(TRAINED.work.portions[0], task=read), TRAINED.work.portions[1]))
    assert dev.name == "dev" and replace(TRAINED, work=work).digest != TRAINED.digest


@pytest.mark.parametrize("fingerprint", ["", "train:abc"])
def test_the_training_rows_that_are_stated_of_ones_own_files_name_no_stage_and_those_of_the_lab_do(fingerprint):
    def stages(task: Task) -> set[str]:
        if fingerprint:
            task = replace(task, source=replace(task.source, fingerprint=fingerprint))
        portion = Portion(task=task, steps=40)
        return {
            replace(TRAINED, work=replace(TRAINED.work, portions=(portion,))).digest,
            replace(EVALUATED, work=replace(EVALUATED.work, task=task, split="train")).digest,
        }

    for make in (
        lambda rows: parquet_task("mine", "/here", languages=("en",), rows=rows),
        lambda rows: text_pair_task("mine", train="train.tsv", test="test.tsv", rows=rows),
        lambda rows: sentence_task("mine", train="text.txt", languages=("en",), rows=rows),
    ):
        assert stages(make(0)) == stages(make(9))
    tasks = [lab.visual_nli(train=rows) for rows in (8, 9)]
    works = [replace(TRAINED.work, portions=(Portion(task=task, steps=40),)) for task in tasks]
    assert len({replace(TRAINED, work=work).digest for work in works}) == 2


def test_where_no_rows_of_ones_own_files_are_stated_their_splits_are_read_as_they_stand():
    """So what was named before rows could be stated keeps its name."""
    form = encode(parquet_task("mine", "/here", languages=("en", "de")))
    assert as_read(form, ("train", "dev"))["splits"] == form["splits"][:2]


def test_a_stage_depends_on_the_files_that_it_reads_alone():
    def with_files(stage: Stage, **holds: str) -> str:
        taken = " ".join(f"{split}:{text}" for split, text in sorted(holds.items()))
        task = parquet_task("mine", "/here", languages=("en", "de"))
        task = replace(task, source=replace(task.source, fingerprint=taken))
        if isinstance(stage.work, Training):
            return replace(stage, work=replace(stage.work, portions=(Portion(task=task, steps=40),))).digest
        return replace(stage, work=replace(stage.work, task=task)).digest

    before = {"train": "a", "dev": "b", "test": "c"}
    for stage, read in ((TRAINED, {"train", "dev"}), (EVALUATED, {"test"})):
        changed = {
            split for split in before if with_files(stage, **before) != with_files(stage, **before | {split: "x"})
        }
        assert changed == read


@pytest.mark.parametrize("task", [LAB_BUCC, BUCC], ids=["lab", "published"])
def test_what_is_mined_depends_on_the_development_split_that_tunes_its_threshold(task):
    def digest(task: Task) -> str:
        return replace(EVALUATED, work=replace(EVALUATED.work, task=task, languages=("de", "fr"))).digest

    dev, test = task.splits
    assert (dev.name, test.name) == ("dev", "test")
    without_french = replace(dev, languages=tuple(one for one in dev.languages if one != "fr"))
    tuned = [(dev, test), (replace(dev, rows=20), test), (without_french, test), (test,)]
    assert len({digest(replace(task, splits=splits)) for splits in tuned}) == len(tuned)
    # A language that is not scored tunes nothing.
    further = replace(dev, languages=(*dev.languages, "xx"))
    assert digest(replace(task, splits=(further, test))) == digest(task)


def test_what_is_retrieved_without_a_threshold_depends_on_no_development_split():
    def digest(task: Task) -> str:
        return replace(EVALUATED, work=replace(EVALUATED.work, task=task)).digest

    dev = Split(name="dev", languages=("de", "fr"), rows=20)
    assert digest(replace(TATOEBA, splits=(dev, *TATOEBA.splits))) == digest(TATOEBA)


#: For each field of each class behind a training stage, another value.
CHANGES = {
    Settings: {
        "learning_rate": 2e-3,
        "maximum_steps": 40,
        "batch_size": 16,
        "schedule": Schedule.COSINE,
        "warmup_steps": 1,
        "accumulation_steps": 2,
        "clip_norm": INF,
        "weight_decay": 0.02,
        "dropout": 0.2,
        "frozen": (Part.TRUNK,),
        "precision": Precision.BFLOAT16,
        "evaluation_interval_steps": 11,
        "length_pool_batches": 2,
        "carry_heads": False,
        "visible": Visible.IMAGE_ONLY,
        "alignment": Alignment.CONTRASTIVE,
        "masked_share": 0.31,
        "replaced_share": 0.25,
        "gradient_checkpointing": True,
        "word_layer": 1,
        "lora": LoRA(),
    },
    Evaluation: {
        "task": lab.NLI,
        "split": "dev",
        "languages": ("en",),
        "visible": Visible.IMAGE_ONLY,
        "batch_size": 128,
        "layer": 3,
        "checkpoints": (5,),
        "selector": Selector.AVERAGE,
        "source": lab.NLI,
    },
}
#: Fields of an evaluation that decide nothing of what comes out, or that its parent's digest holds.
UNSAID = {"role", "learned"}


def test_a_change_is_listed_for_every_field():
    assert set(CHANGES[Settings]) == {field.name for field in dataclasses.fields(Settings)}
    assert set(CHANGES[Evaluation]) | UNSAID == {field.name for field in dataclasses.fields(Evaluation)}


@pytest.mark.parametrize("name", sorted(set(CHANGES[Settings]) - {"maximum_steps"}))
def test_each_setting_changes_the_digest(name):
    assert getattr(TRAINED.work.settings, name) != CHANGES[Settings][name]
    settings = replace(TRAINED.work.settings, **{name: CHANGES[Settings][name]})
    assert replace(TRAINED, work=replace(TRAINED.work, settings=settings)).digest != TRAINED.digest


@pytest.mark.parametrize("name", sorted(CHANGES[Evaluation]))
def test_each_field_of_an_evaluation_changes_the_digest(name):
    assert getattr(EVALUATED.work, name) != CHANGES[Evaluation][name]
    changed = replace(EVALUATED, work=replace(EVALUATED.work, **{name: CHANGES[Evaluation][name]}))
    assert changed.digest != EVALUATED.digest


def variants() -> dict[str, Stage]:
    """The training stage with one thing changed, by what was changed."""
    shape, encoder = TRAINED.shape, TRAINED.encoder
    text, alignment = encoder.text, encoder.text.alignment
    (nli, qqp) = TRAINED.work.portions

    def portions(*changed: Portion) -> Stage:
        return replace(TRAINED, work=replace(TRAINED.work, portions=changed))

    def small(**changes: object) -> Stage:
        return replace(TRAINED, encoder=replace(encoder, text=replace(text, **changes)))

    def task(**changes: object) -> Stage:
        return portions(replace(nli, task=replace(nli.task, **changes)), qqp)

    longer = replace(TRAINED.work.settings, maximum_steps=41)
    return {
        "kind": replace(TRAINED, kind=PATH[1].kind),
        "parent": replace(TRAINED, parent=PATH[0].digest),
        "seed": replace(TRAINED, seed=TRAINED.seed + 1),
        "versions": replace(TRAINED, versions=(*TRAINED.versions, ("x", "1"))),
        "workers": replace(TRAINED, shape=replace(shape, workers=2)),
        "threads": replace(TRAINED, shape=replace(shape, threads=2)),
        "precision": replace(TRAINED, shape=replace(shape, precision="bfloat16")),
        "device": replace(TRAINED, shape=replace(shape, device="cuda")),
        "deterministic": replace(TRAINED, shape=replace(shape, deterministic=False)),
        "steps of a task": portions(replace(nli, steps=11), replace(qqp, steps=29)),
        "another task": portions(replace(nli, task=lab.NLI_SHUFFLED), qqp),
        "steps": replace(TRAINED, work=Training(settings=longer, portions=(nli, replace(qqp, steps=31)))),
        "rows": task(splits=(replace(nli.task.splits[0], rows=7), *nli.task.splits[1:])),
        "labels": task(labels=tuple(reversed(nli.task.labels))),
        "seed of the data": task(source=replace(nli.task.source, seed=1)),
        "version of the world": task(source=replace(nli.task.source, version=99)),
        "layers": small(layers=2),
        "width": small(width=100),
        "heads": small(heads=2),
        "feed_forward": small(feed_forward=1),
        "positions": small(positions=97),
        "planted distance": small(alignment=replace(alignment, distance=(("en", 0.0), ("de", 0.11)))),
        "unaligned": small(alignment=replace(alignment, unaligned=())),
        "seed of the alignment": small(alignment=replace(alignment, seed=1)),
        "patches": replace(TRAINED, encoder=replace(encoder, patches=replace(encoder.patches, patch=6))),
        "maximum_tokens": replace(TRAINED, encoder=replace(encoder, maximum_tokens=63)),
    }


def test_whatever_determines_the_output_changes_the_digest():
    digests = {TRAINED.digest: "the stage itself"} | {stage.digest: what for what, stage in variants().items()}
    assert len(digests) == 1 + len(variants())


def test_the_version_of_its_kind_is_part_of_the_digest(monkeypatch):
    monkeypatch.setattr("trainables.stages.VERSIONS", {kind: 99 for kind in type(TRAINED.kind)})
    assert replace(TRAINED).digest != TRAINED.digest


def test_a_kind_of_task_that_alone_came_to_be_scored_otherwise_has_a_version_of_its_own(monkeypatch):
    scored = [replace(EVALUATED, work=replace(EVALUATED.work, task=task)) for task in (lab.VISUAL_NLI, TATOEBA)]
    before = [stage.digest for stage in scored]
    monkeypatch.setattr("trainables.stages.SCORING_VERSIONS", {TATOEBA.kind: 99})
    after = [replace(stage).digest for stage in scored]
    assert before[0] == after[0] and before[1] != after[1]


def test_what_published_tags_alone_are_scored_otherwise_by_has_a_version_too(monkeypatch):
    scored = [replace(EVALUATED, work=replace(EVALUATED.work, task=task)) for task in (LAB_POS, MNLI, POS)]
    before = [stage.digest for stage in scored]
    monkeypatch.setattr("trainables.stages.PUBLISHED_SCORING_VERSIONS", {POS.kind: 99})
    after = [replace(stage).digest for stage in scored]
    assert before[:2] == after[:2] and before[2] != after[2]


def test_what_encoders_may_read_otherwise_now_has_a_version_too(monkeypatch):
    def stages(encoder):
        tagged = Training(settings=TRAINED.work.settings, portions=(Portion(task=LAB_POS, steps=40),))
        works = (TRAINED.work, tagged, EVALUATED.work, replace(EVALUATED.work, task=LAB_POS))
        made = (TRAINED, TRAINED, EVALUATED, EVALUATED)
        return [replace(one, encoder=encoder, work=work) for one, work in zip(made, works, strict=True)]

    published = [HubEncoder(repository=name) for name in (*READ_AS_BEFORE, "answerdotai/ModernBERT-base")]
    texts = (TRAINED.encoder.text, *published, LocalEncoder(path="/here"))
    encoders = [replace(TRAINED.encoder, text=text) for text in texts]
    before = [[stage.digest for stage in stages(encoder)] for encoder in encoders]
    monkeypatch.setattr("trainables.stages.READING_VERSIONS", {POS.kind: 99})
    after = [[stage.digest for stage in stages(encoder)] for encoder in encoders]
    assert before[:-2] == after[:-2] and len(before) == 6
    for old, new in zip(before[-2:], after[-2:], strict=True):
        assert [mine == other for mine, other in zip(old, new, strict=True)] == [True, False, True, False]


def test_what_is_read_of_answers_in_the_wrong_place_and_of_numbers_as_names_has_a_version_too(monkeypatch):
    def stages(task):
        trained = Training(settings=TRAINED.work.settings, portions=(Portion(task=task, steps=40),))
        return replace(TRAINED, work=trained), replace(EVALUATED, work=replace(EVALUATED.work, task=task))

    def own(labels, ending):
        return text_pair_task("own", train=f"train{ending}", test=f"test{ending}", labels=labels)

    tasks = {
        "tydiqa": (TYDIQA, [False, True]),
        "tydiqa_sw": (translated(TYDIQA, "sw"), [False, True]),
        "squad_v1_de": (translated(SQUAD_V1, "de"), [False, True]),
        "squad_v1": (SQUAD_V1, [True, True]),
        "squad_v2": (SQUAD_V2, [True, True]),
        "mlqa": (MLQA, [True, True]),
        "mnli": (MNLI, [True, True]),
        "lab": (lab.SQUAD, [True, True]),
        "own swapped": (own(("1", "0"), ".tsv"), [False, False]),
        "own typed": (own(("1", "0"), ".parquet"), [True, True]),
        "own places": (own(("0", "1"), ".tsv"), [True, True]),
        "own names": (own(("yes", "no"), ".csv"), [True, True]),
    }
    before = {name: [stage.digest for stage in stages(task)] for name, (task, _) in tasks.items()}
    monkeypatch.setattr("trainables.stages.ROWS_VERSION", 99)
    after = {name: [stage.digest for stage in stages(task)] for name, (task, _) in tasks.items()}
    kept = {name: [a == b for a, b in zip(before[name], after[name], strict=True)] for name in tasks}
    assert kept == {name: same for name, (_, same) in tasks.items()}


def test_a_training_stage_whose_portions_do_not_add_up_is_refused():
    settings = replace(SETTINGS, maximum_steps=10)
    with pytest.raises(Invalid) as refused:
        Training(settings=settings, portions=(Portion(task=lab.NLI, steps=4), Portion(task=lab.NLI, steps=5)))
    assert refused.value.faults == (
        "the steps of the portions must sum to maximum_steps (10), got 9",
        "each task may have one portion, got ['lab_nli', 'lab_nli']",
    )
    with pytest.raises(Invalid, match="portions must hold at least one task"):
        Training(settings=settings, portions=())


def test_a_path_with_a_break_is_refused_and_each_break_is_named():
    refuse_broken(PATH)
    with pytest.raises(Invalid) as refused:
        refuse_broken((*PATH[1:3], PATH[4]))
    first, last = refused.value.faults
    assert first == f"stage 0 (align_images) must start from 'nothing', got {PATH[0].digest!r}"
    assert last == f"stage 2 (evaluate) must start from {PATH[2].digest!r}, got {PATH[3].digest!r}"


# Tasks


def test_a_task_names_all_its_faults_at_once():
    train, dev, test = lab.VISUAL_NLI.splits
    with pytest.raises(Invalid) as refused:
        Task(
            name="a b",
            kind=lab.VISUAL_NLI.kind,
            labels=("yes", "yes"),
            splits=(dev, dev, replace(test, languages=("en", "en")), replace(train, name="trian", languages=())),
            source=lab.VISUAL_NLI.source,
            licence="none",
        )
    assert refused.value.faults == (
        "name must be letters, digits, '_', '-' and '.', got 'a b'",
        "labels must differ, got 'yes' 2 times",
        "splits must include 'train', got ['dev', 'dev', 'test', 'trian']",
        "splits must be train, dev, test and oracle or oracle_dev, each once, got 'dev' 2 times",
        "splits must be train, dev, test and oracle or oracle_dev, each once, got 'trian' 1 times",
        "split 'test' must state each language once, got 'en' 2 times",
        "split 'trian' must state at least one language",
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"metric": Metric.ENTITIES}, "metric must be Metric.OF_KIND, Metric.ACCURACY for kind pair_classification"),
        (
            {"metric": "accuracy"},
            "metric must be Metric.OF_KIND, Metric.ACCURACY for kind pair_classification, got 'acc",
        ),
        (
            {"splits": (Split(name="train", languages=tuple("de")),)},
            "split 'train' must state languages by codes such as 'de', got 'd'; give a list of codes, not one string",
        ),
    ],
)
def test_a_metric_of_another_kind_and_one_string_for_languages_are_refused(changes, told):
    with pytest.raises(Invalid) as refused:
        replace(lab.NLI, **changes)
    assert told in str(refused.value)


@pytest.mark.parametrize("name", ["/models/xlmr", "a/b/c", "an encoder", "a/"])
def test_a_model_of_the_hub_is_named_as_the_hub_names_it(name):
    with pytest.raises(Invalid) as refused:
        replace(lab.ENCODER, text=HubEncoder(repository=name))
    told = f"text must be named as on the hub, such as 'owner/name', got {name!r}; a directory is LocalEncoder(path=…)"
    assert refused.value.faults == (told,)


@pytest.mark.parametrize(
    "model", [HubEncoder(repository="", revision="main"), HubEncoder(repository="a/b", revision="")]
)
def test_a_model_of_the_hub_without_a_name_or_a_revision_is_refused(model):
    with pytest.raises(Invalid) as refused:
        replace(lab.ENCODER, text=model, patches=Tower(model=model))
    told = str(refused.value)
    assert "text must state a repository and a revision" in told and "patches.model must state" in told
