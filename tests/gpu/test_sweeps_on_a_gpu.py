"""Whole sweeps whose gangs train on a CUDA device, by the command; tiny, and with nothing but the lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sweep import Results

ROOT = Path(__file__).parents[2]

DEFINITION = """
from dataclasses import replace

from sweep import Search
from tests.benchmarks.bench_overhead import tiny_sweep
from trainables.gangs import Gangs

base = tiny_sweep()
sweep = replace(base, search=Search(trials=2, fan_out=2), gangs=Gangs(count={count}, gpus_per_worker={share}))
"""


def command(folder: Path, **gangs) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    (folder / "mine.py").write_text(DEFINITION.format(**gangs))
    asked = [sys.executable, "-m", "sweep.cli", "run", str(folder / "mine.py"), "--storage", str(folder / "storage")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(asked, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)


def tables(folder: Path) -> dict[str, bytes]:
    results = Results.open(str(folder / "storage"), "overhead")
    return {Path(path).name: Path(path).read_bytes() for path in results.export(str(folder / "tables"))}


@pytest.mark.timeout(600)
def test_one_gang_on_a_gpu_and_two_that_share_it_export_the_same_bytes(tmp_path):
    for name, gangs in {"one": {"count": 1, "share": 1.0}, "two": {"count": 2, "share": 0.5}}.items():
        ended = command(tmp_path / name, **gangs)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    assert tables(tmp_path / "one") == tables(tmp_path / "two")
    results = Results.open(str(tmp_path / "one" / "storage"), "overhead")
    rows = results.per_language().to_pylist()
    assert len(rows) > 15 and all(row["accuracy"] is not None for row in rows)
    manifests = [json.loads(path.read_text()) for path in (tmp_path / "one" / "storage").rglob("manifest.json")]
    assert manifests and {manifest["value"]["stage"]["shape"]["device"] for manifest in manifests} == {"cuda"}


@pytest.mark.timeout(300)
def test_more_gpus_than_the_machine_has_are_refused_before_any_work(tmp_path):
    more = torch.cuda.device_count() + 1
    ended = command(tmp_path / "more", count=more, share=1.0)
    assert ended.returncode != 0
    assert f"= {more}, got {more - 1}" in " ".join((ended.stdout + ended.stderr).split())
    assert not list((tmp_path / "more" / "storage").rglob("manifest.json"))
