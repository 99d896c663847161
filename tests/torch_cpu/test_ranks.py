"""Two processes that run stages together, over gloo; knows nothing of who starts them in earnest."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.torch_cpu import tiny
from trainables.settings import Alignment, LoRA
from trainables.stages import Stage, StageKind
from trainables.training.loop import run_stage

ROOT = Path(__file__).parents[2]
CONTRASTIVE = {"kind": StageKind.ALIGN_IMAGES, "alignment": Alignment.CONTRASTIVE}
BY_WORDS = {"alignment": Alignment.WORDS}

EQUAL = {
    "text": tiny.training(tiny.NLI, tiny.SQUAD, steps=4, dropout=0.0),
    "contrastive": tiny.training(tiny.CAPTION, steps=4, dropout=0.0, **CONTRASTIVE),
    "words, adapters": tiny.training(
        tiny.WORDS,
        kind=StageKind.ALIGN_WORDS,
        steps=4,
        dropout=0.0,
        word_layer=1,
        lora=LoRA(rank=2, dropout=0.0),
    ),
    "contrastive, by words": tiny.training(tiny.CAPTION, steps=4, dropout=0.0, **(CONTRASTIVE | BY_WORDS)),
    "masked, replaced": tiny.training(
        tiny.PARALLEL,
        kind=StageKind.PRETRAIN,
        steps=4,
        dropout=0.0,
        batch_size=9,
        accumulation_steps=3,
        replaced_share=0.5,
    ),
    "masked, uneven": tiny.training(
        tiny.PARALLEL, kind=StageKind.PRETRAIN, steps=4, dropout=0.0, batch_size=9, accumulation_steps=3
    ),
    "fewer rows than parts": tiny.training(tiny.VISUAL, steps=4, dropout=0.0, batch_size=3, accumulation_steps=3),
}
FAILING = {
    "loss": tiny.training(tiny.NLI, steps=8),
    "evaluation": tiny.training(tiny.NLI, steps=8),
    "cancelled": tiny.training(tiny.NLI, steps=8),
    "report": tiny.training(tiny.NLI, steps=8),
    "encode": tiny.training(tiny.CAPTION, accumulation_steps=2, **CONTRASTIVE),
    "contrast": tiny.training(tiny.CAPTION, accumulation_steps=2, **CONTRASTIVE),
}


def on_two(stage: Stage) -> Stage:
    return replace(stage, shape=replace(stage.shape, workers=2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where two ranks ran every job, one after the other, in one pair of processes."""
    here = tmp_path_factory.mktemp("ranks")
    run_jobs(
        here,
        [
            *((name, stage, name) for name, stage in FAILING.items()),
            *((f"equal {name}", stage, "") for name, stage in EQUAL.items()),
            ("cancel", tiny.training(tiny.NLI, steps=40), "cancel"),
        ],
    )
    return here


def run_jobs(here: Path, jobs: list[tuple[str, Stage, str]]) -> None:
    """Let two ranks run each (name, stage of one rank, fault) into `here`, one after the other, and then lose one."""
    written = [{"name": name, "stage": on_two(stage).to_json(), "fault": fault} for name, stage, fault in jobs]
    (here / "jobs.json").write_text(json.dumps(written))
    last = {"name": "last", "stage": on_two(tiny.training(tiny.NLI, steps=8)).to_json(), "fault": ""}
    (here / "last.json").write_text(json.dumps(last))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.torch_cpu.rank_process", here],
            cwd=ROOT,
            env=environment | {"RANK": str(rank)},
        )
        for rank in (0, 1)
    ]
    try:
        codes = [process.wait(timeout=150) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0]


def said(folder: Path, name: str) -> dict:
    """What both ranks said of a job, which must be the same."""
    first, second = (json.loads((folder / f"said-{rank}.json").read_text())[name] for rank in (0, 1))
    assert first == second
    return first


@pytest.mark.parametrize("case", EQUAL)
def test_two_workers_give_what_one_gives_at_equal_global_batch(tmp_path, folder, case):
    stage = EQUAL[case]
    outcome = run_stage(stage, parent=None, output=tmp_path / "one", cache=folder / "cache")
    answer = said(folder, f"equal {case}")
    assert answer["steps"] == stage.steps
    together = folder / f"equal {case}"
    assert tiny.close(tiny.weights(tmp_path / "one"), tiny.weights(together), 2e-4)
    assert answer["correct"] == [[score.correct for score in progress.scores] for progress in outcome.history]
    mine, theirs = (
        [window["losses"][0]["loss"] for window in json.loads((where / "losses.json").read_text())]
        for where in (tmp_path / "one", together)
    )
    assert mine == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("fault", FAILING)
def test_a_rank_that_raises_makes_both_raise_the_same(folder, fault):
    answer = said(folder, fault)
    rank = 0 if fault == "report" else 1
    assert answer["raised"] == "RankFailed" and answer["ranks"] == [rank] and answer["alone"]
    assert answer["text"] == f"rank {rank} of 2 failed: MemoryError: planted"
    assert not (folder / fault).exists()


def test_ranks_stop_together_when_one_is_told_to(folder):
    answer = said(folder, "cancel")
    assert answer["cancelled"] and answer["steps"] == 5


def test_a_rank_that_is_left_by_the_other_is_unfit_and_says_why(folder):
    answer = json.loads((folder / "left.json").read_text())
    assert answer["raised"] == "RankLost" and answer["alone"]
    assert answer["text"].startswith("the connection to another rank broke: ")
    assert not (folder / "last").exists()
