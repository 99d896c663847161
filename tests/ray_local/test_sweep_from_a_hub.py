"""A whole sweep of which only names are here: data, encoder and tower come from a hub of the tests' own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.hub_server import environment, served
from tests.libraries.test_hub import XTREME, publish_commonsense_qa, publish_xquad
from tests.torch_cpu import test_encoders, towers
from trainables.catalogue.xtreme import XQUAD_LANGUAGES

ROOT = Path(__file__).parents[2]

DEFINITION = """
from dataclasses import replace
from search_spaces import transfer_grid
from sweep import Search, Sweep
from trainables.catalogue.encoder import Encoder, HubEncoder, Tower
from trainables.catalogue.intermediate import COMMONSENSE_QA
from trainables.catalogue.xtreme import XQUAD
from trainables.gangs import Gangs
from trainables.settings import Precision, Settings

def fetched(task):
    source = replace(task.source, download=True)
    return replace(task, source=source, learned_from=task.learned_from and fetched(task.learned_from))

SHORT = Settings(learning_rate=1e-3, maximum_steps=2, batch_size=2, dropout=0.0, precision=Precision.FLOAT32)
sweep = Sweep(
    name="named",
    target=fetched(XQUAD),
    encoder=Encoder(
        name="tiny",
        text=HubEncoder(repository="someone/xlm-roberta-tiny"),
        patches=Tower(model=HubEncoder(repository="someone/siglip"), grid=2),
        maximum_tokens=64,
    ),
    cells=transfer_grid([fetched(COMMONSENSE_QA)], image_only=False, hypothesis_only=False),
    intermediate_settings=SHORT,
    target_settings=SHORT,
    search=Search(trials=1),
    confirmation_seeds=(1,),
    gangs=Gangs(count=1),
)
"""


@pytest.mark.killed
def test_a_sweep_is_run_from_names_on_a_hub_alone(tmp_path):
    published = tmp_path / "published"
    test_encoders.saved("xlm_roberta", published / "encoder")
    towers.save("siglip", published / "tower")
    (tmp_path / "named.py").write_text(DEFINITION)
    words = [sys.executable, "-m", "sweep.cli", "run", "named.py", "--storage", "storage"]
    with served() as hub:
        variables = os.environ | environment(hub, tmp_path / "home") | {"PYTHONPATH": str(ROOT)}
        for name in ("RAY_ADDRESS", "SWEEP_DATA"):
            variables.pop(name, None)
        publish_xquad(hub, published / "data", languages=XQUAD_LANGUAGES)
        publish_commonsense_qa(hub, published / "commonsense_qa")
        commits = [
            hub.push("models", "someone/xlm-roberta-tiny", published / "encoder"),
            hub.push("models", "someone/siglip", published / "tower"),
        ]
        ended = subprocess.run(words, env=variables, cwd=tmp_path, timeout=250, capture_output=True, text=True)
        said = ended.stdout + ended.stderr
        assert ended.returncode == 0, said
        inside = [path for path in hub.fetched() if path.endswith(".parquet")]
    assert len(inside) == len(set(inside)) == 11 + 2 + 2, f"each file that is read once, and no other of {XTREME}"
    (definition,) = (tmp_path / "storage").glob("sweeps/named/definition*.json")
    assert all(commit in definition.read_text() for commit in commits)
    (table,) = tmp_path.rglob("per_language.parquet")
    rows = pq.read_table(table).to_pylist()
    scored = {(row["cell"], row["language"]) for row in rows if not row["is_mean"] and row["accuracy"] is not None}
    assert scored == {(cell, code) for cell in ("none", "commonsense_qa") for code in XQUAD_LANGUAGES}
