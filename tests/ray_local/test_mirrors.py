"""A claim about a running sweep in Weights & Biases, whose callback of Ray starts an actor; offline."""

from __future__ import annotations

import pytest

from sweep.mirror_names import mirror
from sweep.mirrors import callback
from tests.libraries import test_tensorboard as one
from tests.libraries.test_mirrors import Conducted, tell
from tests.pure import fake_sweep as fake


def test_weights_and_biases_offline_keeps_a_trial_with_its_values_and_its_numbers(cluster, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb, of the test extra, is not installed")
    monkeypatch.chdir(tmp_path)
    for name, value in (("WANDB_MODE", "offline"), ("WANDB_DIR", str(tmp_path))):
        monkeypatch.setenv(name, value)
    shown = callback(mirror("wandb:project"), Conducted(0.7))
    tell(shown)
    # Its library no longer reads these files itself; names and numbers stand in them as they are.
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    kept = file.read_bytes()
    names = ["loss", "task_loss/nli", "score", f"dev/{fake.TARGET.name}/en/accuracy", *one.NLI]
    names += [f"lang/{language}/accuracy" for language in fake.LANGUAGES]
    assert [name for name in ("nli/search-4", "lab", "project", *names) if name.encode() not in kept] == []
    assert all(str(value).encode() in kept for value in (0.7, *one.NLI.values()))
