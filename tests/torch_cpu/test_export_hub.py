"""Claims about folders of the hub: its own libraries read them offline, and the cards say what they hold."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from transformers import AutoModel, AutoTokenizer

from sweep import Results
from sweep.cli import main
from sweep.ledger import Ledger
from sweep.presets import PRESETS
from sweep.record_definition import described
from sweep.records import Happening, Phase, TrialKey, What
from tests.pure import fake_sweep as fake
from tests.torch_cpu import tiny
from trainables.canonical import encode
from trainables.catalogue import lab_twins
from trainables.catalogue.task import Task
from trainables.model.encoder import build
from trainables.model.reader import Reader
from trainables.stages import Portion, Stage, StageKind, Training
from trainables.store import Store
from trainables.training.checkpoint import EXTRAS, write_model


def _trained(seed: int) -> Stage:
    work = Training(settings=tiny.settings(6), portions=(Portion(task=tiny.VISUAL, steps=6),))
    shape = fake.evaluation("none", 0, 1).shape
    return Stage(kind=StageKind.TRAIN, work=work, encoder=tiny.ENCODER, parent="", seed=seed, shape=shape, versions=())


@pytest.fixture(scope="module")
def storage(tmp_path_factory) -> str:
    """The fake sweep, whose two confirmations of `nli` with the seeds 1 and 2 have weights; that of 2 is the better."""
    folder = tmp_path_factory.mktemp("hub")
    fake.write(str(folder))
    store = Store(str(folder))
    ledger = Ledger(store.filesystem, store.root, "hub").open()
    for number, (seed, score) in enumerate(((1, 0.6), (2, 0.7))):
        stage = _trained(seed)
        place = store.workspace(stage.digest, "attempt")
        write_model(Reader(build(tiny.ENCODER, seed, 0.0), tiny.ENCODER, seed, 0.0), tiny.ENCODER, place)
        (place / "losses.json").write_text("[]")
        store.commit(stage, place, "attempt", steps=6, seconds=0.0)
        key = TrialKey(cell="lab_nli", phase=Phase.CONFIRMATION, number=number)
        evaluation = fake.evaluation("nli", 2, seed).digest
        ended = {"score": score, "target": stage.digest, "evaluation": evaluation}
        for entry in (
            *fake.trial(key, score=score, ending=None, winner=0, seed=seed),
            Happening(trial=key, what=What.FINISHED, payload=ended),
        ):
            ledger.record(entry)
    key = TrialKey(cell="lab_nli", phase=Phase.SEARCH, number=0)
    for entry in fake.trial(key, score=0.9, ending=What.FINISHED):
        ledger.record(entry)
    sweep = PRESETS["rehearsal"]()
    sweep = replace(sweep, name="hub")
    stated = {**described(sweep), "definition": encode(sweep), "languages": list(fake.LANGUAGES)}
    (folder / "sweeps" / "hub" / "definition.json").write_text(json.dumps(stated))
    return str(folder)


def _front(path) -> dict:
    return yaml.safe_load(path.read_text().split("---\n")[1])


#: What a reader on a machine without a network does, in a process of its own: the library asks once whether it is.
_LOAD = """
import json, sys
from datasets import load_dataset
folder, cache, *names = sys.argv[1:]
found = {name: load_dataset(folder, name, split="results", cache_dir=cache) for name in names}
usual = load_dataset(folder, cache_dir=cache)["results"]
print(json.dumps({"usual": usual.column_names, **{n: [d.num_rows, d.column_names] for n, d in found.items()}}))
"""


def test_every_table_is_a_configuration_that_datasets_loads_offline(storage, tmp_path):
    pytest.importorskip("datasets", reason="datasets, of the test extra, is not installed")
    folder = tmp_path / "data"
    assert main(["export", "fake", "--storage", storage, "--hf-dataset", str(folder)]) == 0
    results = Results.open(storage, "fake")
    wanted = {"predictions": results.predictions(), "scores": results.scores(), **results.findings()}
    empty = {name for name, table in wanted.items() if not len(table)}
    assert "importances" in empty and not any((folder / name).exists() for name in empty)
    wanted = {name: table for name, table in wanted.items() if name not in empty}
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    words = [sys.executable, "-c", _LOAD, str(folder), str(tmp_path / "cache"), *wanted]
    answer = subprocess.run(words, env=offline, capture_output=True, text=True, timeout=240)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout.splitlines()[-1])
    assert found.pop("usual") == results.per_language().column_names
    assert found == {name: [len(table), table.column_names] for name, table in wanted.items()}
    assert _front(folder / "README.md")["language"] == list(fake.LANGUAGES)


def test_the_best_confirmed_encoder_loads_by_auto_model_and_is_the_one_that_was_trained(storage, tmp_path, capsys):
    assert main(["export", "hub", "--storage", storage, "--encoder", str(tmp_path / "model")]) == 0
    loaded = AutoModel.from_pretrained(tmp_path / "model")
    ours = build(tiny.ENCODER, 2, 0.0)  # seed 2 has the better English dev score
    weights = loaded.state_dict()
    for name, value in ours.state_dict().items():
        if "pooler" not in name:
            assert torch.equal(weights[name], value), name
    words = AutoTokenizer.from_pretrained(tmp_path / "model")("the object is blue", return_tensors="pt")
    assert loaded(**words).last_hidden_state.shape[-1] == 32
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert EXTRAS in names and "losses.json" not in names and "manifest.json" not in names


def test_the_model_card_states_data_languages_scores_and_licence(storage, tmp_path):
    main(["export", "hub", "--storage", storage, "--encoder", str(tmp_path / "model"), "--cell", "lab_nli"])
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert card.data.language == list(fake.LANGUAGES) and card.data.license == "other"
    rows = {r["language"]: r for r in Results.open(storage, "hub").per_language(cells=["lab_nli"]).to_pylist()}
    seed = int(re.search(r"Seed (\d+); chosen", card.text)[1])
    own = {
        one["language"]: one["value"]
        for one in Results.open(storage, "hub").scores().to_pylist()
        if (one["cell"], one["seed"], one["split"], one["metric"]) == ("lab_nli", seed, "test", "accuracy")
    }
    scores = {one.dataset_config: one.metric_value for one in card.data.eval_results}
    assert scores == pytest.approx(own, abs=1e-4) and set(scores) == set(fake.LANGUAGES)
    assert scores["de"] != pytest.approx(rows["de"]["accuracy"], abs=1e-4), "the hub shows them as of this encoder"
    assert "| lab_nli | en | generator nli, seed 0, version 1 | Apache-2.0 |" in card.text
    assert "lab_squad" not in card.text, "data that the cell was not trained on"
    assert "chosen by English development accuracy (0.700) alone" in card.text
    assert f"| de | {own['de']:.3f} | {rows['de']['accuracy']:.3f} [" in card.text
    assert "tested in German, English, Thai" in card.text


def test_what_holds_in_some_languages_is_said_with_them(storage, tmp_path):
    main(["export", "hub", "--storage", storage, "--encoder", str(tmp_path / "model"), "--cell", "lab_nli"])
    text = (tmp_path / "model" / "README.md").read_text()
    table = Results.open(storage, "hub").per_language(cells=["lab_nli"]).to_pylist()
    for row in table:
        for remark in filter(None, row["remark"].split("; ")):
            line = next(line for line in text.splitlines() if line.startswith(f"- {remark}"))
            assert row["language"] in line or all(remark in other["remark"] for other in table)


def _with_target(storage: str, folder: Path, target: Task) -> str:
    """A copy of the storage whose sweep has another target."""
    shutil.copytree(storage, folder)
    path = folder / "sweeps" / "hub" / "definition.json"
    stated = json.loads(path.read_text())
    stated["definition"]["target"] = encode(target)
    path.write_text(json.dumps(stated))
    return str(folder)


def test_the_card_of_a_target_of_spans_speaks_of_f1(storage, tmp_path):
    (target,) = [one for one in lab_twins.TARGETS if one.name == "lab_xquad"]
    spans = _with_target(storage, tmp_path / "spans", target)
    main(["export", "hub", "--storage", spans, "--encoder", str(tmp_path / "model"), "--cell", "lab_nli"])
    card = ModelCard.load(tmp_path / "model" / "README.md")
    found = {(one.task_type, one.metric_type) for one in card.data.eval_results}
    assert found == {("question-answering", "f1")}
    assert "| language | f1 of this encoder | f1 over seeds [95%] |" in card.text


def test_retrieval_has_no_encoder_to_choose_and_says_so(storage, tmp_path, capsys):
    (target,) = [one for one in lab_twins.TARGETS if one.name == "lab_tatoeba"]
    retrieval = _with_target(storage, tmp_path / "retrieval", target)
    shutil.rmtree(tmp_path / "retrieval" / "sweeps" / "hub" / "ledger")
    assert main(["export", "hub", "--storage", retrieval, "--encoder", str(tmp_path / "model")]) == 2
    assert "is retrieval, which trains nothing; export one from the sweep of another" in capsys.readouterr().err


def test_what_cannot_be_exported_is_said_with_what_to_do(storage, tmp_path, capsys):
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    for words, answer in (
        (["hub", "--encoder", str(full)], "the folder must be new or empty"),
        (["hub", "--hf-dataset", str(full)], "the folder must be new or empty"),
        (["hub", "--encoder", str(tmp_path / "x"), "--cell", "lab_nlj"], "no cell 'lab_nlj'; did you mean 'lab_nli'?"),
        (["hub", "--encoder", str(tmp_path / "x"), "--cell", "none"], "must have a confirmed run to export"),
        (["fake", "--encoder", str(tmp_path / "x")], "the weights of none/confirmation/0 must be in the storage"),
        (["hub", "--cell", "none", "--tables", str(tmp_path / "t")], "so it needs --encoder DIR"),
    ):
        assert main(["export", *words, "--storage", storage]) == 2
        assert answer in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
