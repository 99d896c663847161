"""The presets of the literature on data in their publishers' schemas, every part small: read, trained and scored.

The encoder and the tower have random weights and lie in the hub's cache under the names that the presets ask for.
"""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from search_spaces import UNIFORM
from sweep import papers
from sweep.definition import Sweep
from sweep.paths import path_of
from sweep.points import default_values
from sweep.records import Phase
from sweep.resolve import looked_up
from tests.pure import published_files as files
from tests.torch_cpu import test_encoders, towers
from trainables.catalogue import intermediate, xtreme
from trainables.catalogue.development import with_oracle
from trainables.catalogue.encoder import Tower
from trainables.catalogue.task import IGLUE_ACCURACY, Role
from trainables.catalogue.xtreme_m import XVNLI_LANGUAGES
from trainables.data import places
from trainables.gangs import Gangs
from trainables.scores import Score
from trainables.settings import Precision, Settings
from trainables.training.loop import run_stage

#: The languages whose test files are there; the benchmark has more, which are then absent.
HERE = ("en", "de", "zh")
COMMIT = "0123456789" * 4
FEW = 6
CONTEXT = "a red circle on the left, a blue ring on the right, "


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A mirror folder with every data set, and a hub cache with the models."""
    folder = tmp_path_factory.mktemp("machine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(places.MIRROR, str(folder / "mirror"))
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        for name in ("FacebookAI/xlm-roberta-large", "FacebookAI/xlm-roberta-base"):
            test_encoders.saved("xlm_roberta", on_the_hub(folder / "hub", name), max_position_embeddings=386)
        towers.save("siglip", on_the_hub(folder / "hub", "google/siglip2-base-patch16-224"))
        write_intermediate(folder / "mirror")
        write_targets(folder / "mirror")
        write_xvnli(folder / "mirror")
        yield folder


def on_the_hub(cache: Path, repository: str) -> Path:
    place = cache / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    (place / "snapshots" / COMMIT).mkdir(parents=True)
    return place / "snapshots" / COMMIT


def parquet(mirror: Path, place: str) -> Path:
    return mirror / f"{place}-00000-of-00001.parquet"


def questions(path: Path, names: tuple[str, ...] = ("q",), *, long: bool = False, nowhere: bool = False) -> None:
    asked = [
        files.question(f"{name}-{number}", context=CONTEXT * (30 if long else 1))
        for name in names
        for number in range(3)
    ]
    files.questions(path, asked + ([files.question("none", answers=())] if nowhere else []))


def write_intermediate(mirror: Path) -> None:
    for split in ("train", "validation_matched"):
        files.nli(parquet(mirror, f"nyu-mll/glue/mnli/{split}"), labels=(0, 1, 2) * 4)
    files.nli(parquet(mirror, "stanfordnlp/snli/plain_text/train"), labels=(0, 1, -1))
    for split in (f"{name}_r{number}" for name in ("train", "dev") for number in (1, 2, 3)):
        files.nli(parquet(mirror, f"facebook/anli/plain_text/{split}"), labels=(0, 2), uid=True)
    for split in ("train", "validation"):
        columns = {name: ([f"{name} {n}" for n in range(FEW)], pa.string()) for name in ("question1", "question2")}
        columns["label"] = ([0, 1] * (FEW // 2), pa.int64())
        files.parquet(parquet(mirror, f"nyu-mll/glue/qqp/{split}"), columns, {"label": ("not_duplicate", "duplicate")})
        questions(parquet(mirror, f"rajpurkar/squad/plain_text/{split}"), long=split == "validation")
        questions(parquet(mirror, f"rajpurkar/squad_v2/squad_v2/{split}"), nowhere=True)
        ends = {
            "ctx": (["a man"] * FEW, pa.string()),
            "endings": ([["runs", "sits", "sleeps", "eats"]] * FEW, pa.list_(pa.string())),
            "label": (["3"] * FEW, pa.string()),
        }
        files.parquet(parquet(mirror, f"Rowan/hellaswag/data/{split}"), ends)
        choices = {"label": list("ABCDE"), "text": ["one", "two", "three", "four", "five"]}
        asked = {
            "id": ([str(n) for n in range(FEW)], pa.string()),
            "question": (["how many?"] * FEW, pa.string()),
            "choices": ([choices] * FEW, files.CHOICES),
            "answerKey": (["C"] * FEW, pa.string()),
        }
        files.parquet(parquet(mirror, f"tau/commonsense_qa/data/{split}"), asked)
    (mirror / "wilburOne/cosmosqa/data").mkdir(parents=True)
    header = "id,context,question,answer0,answer1,answer2,answer3,label\n"
    for split in ("train", "valid"):
        rows = "".join(f'{n},"it rains, and\nit pours",why?,a,b,c,d,{n % 4}\n' for n in range(FEW))
        (mirror / f"wilburOne/cosmosqa/data/{split}.csv").write_text(header + rows)
    for section in range(22):
        folder = mirror / "LDC2005T13" / "data" / "AUTO" / f"{section:02d}"
        folder.mkdir(parents=True)
        (folder / "wsj_0201.auto").write_text(files.AUTO)


def write_targets(mirror: Path) -> None:
    for language in HERE:
        files.nli(parquet(mirror, f"facebook/xnli/{language}/test"))
        for split in ("train", "validation", "test") if language == "en" else ("test",):
            columns = {"id": (range(FEW), pa.int32()), "label": ([0, 1] * (FEW // 2), pa.int64())}
            columns |= {name: ([f"{name} {n}" for n in range(FEW)], pa.string()) for name in ("sentence1", "sentence2")}
            files.parquet(parquet(mirror, f"google-research-datasets/paws-x/{language}/{split}"), columns)
            name = xtreme.UDPOS_NAMES[language]
            tags = [[xtreme.UPOS.index("NOUN"), xtreme.UPOS.index("VERB")]] * FEW
            files.tagged(parquet(mirror, f"google/xtreme/udpos.{name}/{split}"), "pos_tags", tags, xtreme.UPOS)
            entities = [[1, 2, 0]] * FEW
            files.tagged(
                parquet(mirror, f"google/xtreme/PAN-X.{language}/{split}"), "ner_tags", entities, xtreme.PANX_TAGS
            )
        questions(parquet(mirror, f"google/xtreme/XQuAD.{language}/validation"), long=True)
        questions(parquet(mirror, f"google/xtreme/MLQA.{language}.{language}/test"))
    tydiqa = "google-research-datasets/tydiqa/secondary_task"
    questions(parquet(mirror, f"{tydiqa}/train"), ("english", "swahili"))
    questions(parquet(mirror, f"{tydiqa}/validation"), tuple(xtreme.TYDIQA_NAMES.values()))
    (mirror / "bucc2018/de-en").mkdir(parents=True)
    for split in ("sample", "training"):
        for code in ("de", "en"):
            lines = "".join(f"{code}-{n}\tsentence {n} in {code}\n" for n in range(FEW))
            (mirror / f"bucc2018/de-en/de-en.{split}.{code}").write_text(lines)
        (mirror / f"bucc2018/de-en/de-en.{split}.gold").write_text("de-1\ten-1\nde-2\ten-3\n")
    for code in ("deu", "cmn"):
        pairs = [(f"{code} {n}", f"sentence {n}") for n in range(FEW)]
        files.translations(parquet(mirror, f"google/xtreme/tatoeba.{code}/validation"), pairs)


def write_xvnli(mirror: Path) -> None:
    """IGLUE's JSONL, and JPEG files as the folder of Flickr30k has them; two images to each split."""
    images = mirror / "flickr30k-images"
    images.mkdir(parents=True)
    labels = ("entailment", "neutral", "-", "contradiction")
    for place, split in enumerate(("train", "dev", "test")):
        names = [f"{1007129816 + 2 * place + n}" for n in range(2)]
        for name in names:
            buffer = io.BytesIO()
            pixels = np.random.default_rng(int(name)).integers(0, 256, (50, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(buffer, format="JPEG")
            (images / f"{name}.jpg").write_bytes(buffer.getvalue())
        for language in XVNLI_LANGUAGES if split == "test" else ("en",):
            path = mirror / "e-bug/iglue/datasets/XVNLI/annotations" / language / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [
                {
                    "gold_label": labels[n % 4],
                    "sentence1": "A caption that is never read.",
                    "sentence2": f"claim {n} in {language}",
                    "captionID": f"{names[n % 2]}.jpg#0",
                    "pairID": f"{names[n % 2]}.jpg#0r{n}",
                    "Flikr30kID": names[n % 2],
                }
                for n in range(8)
            ]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def short(settings: Settings, steps: int = 1) -> Settings:
    return replace(
        settings,
        maximum_steps=steps,
        warmup_steps=0,
        batch_size=4,
        evaluation_interval_steps=steps,
        precision=Precision.FLOAT32,
    )


class Machine:
    """Stages in a folder, each run once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def scores(self, sweep: Sweep, cell: str) -> tuple[Score, ...]:
        """Of a cell's confirmation on seed 1, all its stages run from files to scores."""
        chosen = next(one for one in sweep.cells if one.name == cell)
        outcome = None
        path = path_of(sweep, chosen, default_values(sweep, chosen), phase=Phase.CONFIRMATION, seed=1)
        for stage in path:
            output = self.folder / stage.digest
            if output.is_dir():
                continue
            parent = self.folder / stage.parent if stage.parent else None
            outcome = run_stage(stage, parent=parent, output=output, cache=self.folder / "cache")
        assert outcome is not None
        return outcome.scores


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Machine(tmp_path_factory.mktemp("runs"))


def small(sweep: Sweep) -> Sweep:
    """The preset with single steps, and with the files that are here; nothing of its tasks is changed."""
    cells = tuple(
        replace(
            cell,
            intermediate_settings=short(cell.intermediate_settings, len(cell.intermediates)),
            shares=UNIFORM.shares(cell.intermediates) if len(cell.intermediates) > 1 else (),
        )
        if cell.intermediates
        else cell
        for cell in sweep.cells
    )
    encoder = sweep.encoder
    if isinstance(encoder.patches, Tower):  # the small tower has fewer patches than the preset keeps
        encoder = replace(encoder, patches=replace(encoder.patches, grid=towers.SIDE))
    sweep = replace(sweep, cells=cells, encoder=encoder, target_settings=short(sweep.target_settings), gangs=Gangs())
    found = looked_up(replace(sweep, retrieval_layer=min(2, sweep.retrieval_layer)), fetch=False)
    assert found.absent == {} and found.remarks
    if gone := places.missing(found.sweep.target).get("test"):
        of = len(found.sweep.target.split("test").languages)
        told = f"no test files in {len(gone)} of {of} languages ({' '.join(gone)})"
        assert told in found.remarks[found.sweep.target.name]
    return found.sweep


@pytest.mark.parametrize("target", [task.name for task in xtreme.TARGETS])
def test_every_target_of_phang2020_is_scored_after_all_nine_intermediate_tasks(target, machine, runs):
    sweep = small(next(one for one in papers.phang2020().sweeps if one.target.name == target))
    scores = runs.scores(sweep, "all_nine")
    assert {one.task for one in scores} == {target} and all(one.role is Role.REPORT for one in scores)
    told = {(one.language, one.metric): one.value for one in scores if one.value is not None}
    wanted = {"tydiqa": tuple(xtreme.TYDIQA_ROWS), "bucc2018": ("de",), "tatoeba": ("de", "zh")}.get(target, HERE)
    assert {language for language, _ in told} == set(wanted)
    assert {metric for _, metric in told} == set(sweep.target.score_names)
    assert all(0 <= value <= 1 for value in told.values())
    absent = [one for one in scores if one.value is None]
    assert {one.language for one in absent} == set(sweep.target.split("test").languages) - set(wanted)
    assert all(one.absent_reason for one in absent)


def test_every_intermediate_task_is_in_the_mixture_by_its_own_reader(machine):
    sweep = small(papers.phang2020().sweeps[0])
    mixed = sweep.cells[-1]
    assert [task.name for task in mixed.intermediates] == [task.name for task in intermediate.INTERMEDIATE]
    path = path_of(sweep, mixed, default_values(sweep, mixed), phase=Phase.CONFIRMATION, seed=1)
    assert [portion.steps for portion in path[0].work.portions] == [1] * 9


@pytest.mark.parametrize("cell", ["none", "mnli", "image_only"])
def test_xtreme_m_goes_from_iglues_files_flickrs_images_and_a_tower_of_the_hub_to_five_languages(cell, machine, runs):
    sweep = papers.xtreme_m()
    align = replace(sweep.align_images, task=with_oracle(sweep.target), settings=short(sweep.align_images.settings))
    sweep = small(replace(sweep, target=with_oracle(sweep.target), align_images=align))
    assert sweep.encoder.patches.model.revision == COMMIT and sweep.encoder.text.revision == COMMIT
    scores = runs.scores(sweep, cell)
    counts = {(one.language, one.metric): one.count for one in scores if one.role is Role.REPORT}
    oracle = {(one.language, one.metric): one.count for one in scores if one.role is Role.ORACLE}
    assert {language for language, _ in counts} == {language for language, _ in oracle} == set(XVNLI_LANGUAGES)
    for language in XVNLI_LANGUAGES:  # eight items, two of them without a gold label, in two halves
        assert counts[language, "accuracy"] + oracle[language, "accuracy"] == 6
        assert counts[language, IGLUE_ACCURACY] + oracle[language, IGLUE_ACCURACY] == 8


@pytest.mark.parametrize("target", ["xnli", "pawsx", "udpos", "panx", "mlqa"])
def test_an_oracle_is_scored_on_its_publishers_development_data_beside_the_whole_test(target, machine, runs):
    """German ones are here, Chinese ones are not."""
    mirror = machine / "mirror"
    for place in (
        "facebook/xnli/de",
        "google-research-datasets/paws-x/de",
        "google/xtreme/udpos.German",
        "google/xtreme/PAN-X.de",
        "google/xtreme/MLQA.de.de",
    ):
        shutil.copy(parquet(mirror, f"{place}/test"), parquet(mirror, f"{place}/validation"))
    sweep = next(one for one in papers.phang2020().sweeps if one.target.name == target)
    plain = runs.scores(small(sweep), "none")
    scores = runs.scores(small(replace(sweep, target=with_oracle(sweep.target))), "none")
    assert [one for one in scores if one.role is Role.REPORT] == list(plain)
    shown = [one for one in scores if one.role is Role.ORACLE]
    german = [one for one in plain if one.language == "de"]  # the same rows, for the test's sake
    assert [(one.split, one.metric, one.value, one.count) for one in shown if one.language == "de"] == [
        ("oracle_dev", one.metric, one.value, one.count) for one in german
    ]
    absent = {one.language: one.absent_reason for one in shown if one.value is None}
    assert set(absent) == set(with_oracle(sweep.target).oracle.languages) - {"de"}
    assert absent["zh"] == f"the oracle_dev split of {target} has no row in 'zh'"


def test_the_source_language_of_a_target_is_read_from_translations(machine, runs):
    mirror = machine / "mirror"
    for language in ("de", "ru"):
        files.nli(parquet(mirror, f"facebook/xnli/{language}/train"), labels=(0, 1, 2) * 4)
    test_encoders.saved("bert", on_the_hub(machine / "hub", "google-bert/bert-base-multilingual-cased"))
    sweep = papers.source_language()
    sweep = replace(sweep, cells=tuple(cell for cell in sweep.cells if cell.name in ("none", "none_from_mnli_de")))
    scores = runs.scores(small(sweep), "none_from_mnli_de")
    assert {one.language for one in scores if one.value is not None} == set(HERE)
