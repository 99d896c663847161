"""`sweep data features`: which images are made, asked of a stand-in for the reading of rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search_spaces import transfer_grid
from sweep import features
from sweep.cli import main
from sweep.presets import lab
from trainables.catalogue.intermediate import MNLI
from trainables.catalogue.lab import NLI, visual_nli


@pytest.fixture
def asked(monkeypatch) -> list[tuple[str, str]]:
    """The splits that are asked for, as (task, split); they have no images."""
    told: list[tuple[str, str]] = []

    class NoImages:
        image_keys = None

    def rows(task, split, *_, **__):
        told.append((task.name, split))
        return NoImages()

    monkeypatch.setattr("trainables.data.rows.rows", rows)
    return told


def sweep_with(*intermediates, **more):
    small = replace(lab(), target=visual_nli(train=8, dev=8, test=8), **more)
    return replace(small, cells=transfer_grid(intermediates, image_only=False, hypothesis_only=False))


def test_the_images_of_a_visual_intermediate_task_are_made_too_and_a_text_task_has_none(asked, tmp_path):
    own = replace(visual_nli(train=8, dev=8, test=8), name="own_pictures")
    features.prepare(sweep_with(own, NLI), storage=str(tmp_path))
    assert {name for name, _ in asked} == {"own_pictures", "lab_visual_nli", "lab_captions", "lab_statements"}
    assert {split for name, split in asked if name == "own_pictures"} == {"train", "dev", "test"}


def test_images_are_made_of_the_cells_that_a_run_would_have(asked, tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEP_DATA", "")
    monkeypatch.setattr("trainables.data.places._snapshot", lambda *_: None)
    features.prepare(sweep_with(MNLI), storage=str(tmp_path))
    assert ("lab_visual_nli", "train") in asked


def test_without_the_target_the_way_to_get_it_is_told(asked, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("trainables.data.fingerprint.resolve_encoder", lambda encoder: encoder)
    monkeypatch.setattr("sweep.fitting.trunk_here", lambda _: None)
    assert main(["data", "features", "xtreme_m", "--data", str(tmp_path), "--storage", str(tmp_path / "s")]) == 2
    told = capsys.readouterr().err
    assert f"({tmp_path}/e-bug/iglue/datasets/XVNLI/annotations" in told and "Flickr30k's owners" in told
    assert not asked
