"""Claims about the data of a definition in words: a line that can be read, with what pins each source."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sweep import ExpectedGain, Search
from sweep.papers import phang2020
from sweep.presets import PRESETS
from sweep.sources import in_words, sources
from trainables.canonical import encode
from trainables.catalogue.xtreme import XNLI

SWEEPS = (*(make() for make in PRESETS.values()), *phang2020().sweeps)


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda one: one.name)
def test_every_source_of_every_study_is_a_line_of_words(sweep):
    for one in sources(json.loads(json.dumps(encode(sweep)))):
        assert not set(one.origin) & set("[]'\""), one
        assert len(one.origin) < 450, one


def test_a_published_source_says_its_repositories_their_commits_and_the_files_that_were_read():
    found = {one.task: one.origin for sweep in SWEEPS for one in sources(encode(sweep))}
    assert found["xnli"] == "facebook/xnli@b8dd5d7af51114dbda02c0e3f6133f332186418e"
    assert found["panx"] == "google/xtreme@ec5f1f46e9af79639a90684a7a70a956c4998f04"
    assert found["xquad"].endswith("; where parts are absent deepmind/xquad at any revision")
    assert found["lab_nli"] == "generator nli, seed 0, version 1"
    read = next(
        one
        for one in sources(encode(replace(XNLI, source=replace(XNLI.source, fingerprint="abc"))))
        if one.task == "xnli"
    )
    assert read.origin.endswith("b8dd5d7af51114dbda02c0e3f6133f332186418e; fingerprint abc")


def test_a_search_is_a_line_of_words():
    assert in_words(encode(Search(trials=3, fan_out=ExpectedGain()))).startswith("fan_out (ExpectedGain: ")
    assert in_words({"fan_out": {"type": "Nothing"}}) == "fan_out (Nothing)"
    assert in_words(None) == "not stated"
