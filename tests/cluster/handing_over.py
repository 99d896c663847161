"""Commands of `sweep` as the user of a cluster gives them, on the machine of the user; wait for no sweep."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sweep import Sweep
from tests.cluster.running import ADDRESS, ROOT, Running


def command(running: Running, *words: str, seconds: float = 120, **environment: str) -> subprocess.CompletedProcess:
    """A `sweep` command on the machine of the user; about the cluster, unless it names the storage alone."""
    where = [] if "--storage" in words and words[0] != "submit" else ["--address", ADDRESS]
    return subprocess.run(
        [sys.executable, "-m", "sweep.cli", *words, *where],
        cwd=ROOT,
        env=running.environment | environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def said(running: Running, *words: str, seconds: float = 120) -> str:
    """What a command that must succeed prints."""
    answer = command(running, *words, seconds=seconds)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def define(name: str, folder: Path) -> str:
    """The definition file of a sweep of `tests.cluster.sweeps`, by its name there."""
    definition = folder / f"{name.lower()}.py"
    definition.write_text(f"from tests.cluster.sweeps import {name}\nsweep = {name}\n")
    return str(definition)


def submit(running: Running, sweep: Sweep, storage: str, folder: Path) -> None:
    """Hand a sweep over."""
    said(running, "submit", define(sweep.name.upper(), folder), "--storage", storage)
