"""Claims about the level that twins are judged against: a language at chance is named, whatever the mean is."""

from __future__ import annotations

import pytest

from tests.benchmarks.chance import at_chance, chance
from trainables.catalogue import lab, lab_twins
from trainables.catalogue.task import Role
from trainables.scores import Score


def _scored(count: int = 200, **values: float | None) -> list[Score]:
    told = {"task": "twin", "split": "test", "role": Role.REPORT, "metric": "accuracy", "correct": None, "step": 0}
    return [Score(**told, language=code, value=value, count=count) for code, value in values.items()]


def test_a_language_at_chance_is_named_though_the_mean_over_all_is_far_above_it():
    scores = _scored(de=0.9, fr=0.9, th=0.36, tr=0.33, vi=None, sw=0.1)
    assert at_chance(scores, 1 / 3, ("de", "fr", "th", "tr", "vi")) == ["th", "tr", "vi"]


def test_the_margin_of_a_language_shrinks_with_its_items():
    """Of a third: 0.078 of 200 items, 0.017 of 4,000."""
    near = 1 / 3 + 0.05
    assert at_chance(_scored(200, de=near), 1 / 3, ("de",)) == ["de"]
    assert at_chance(_scored(4_000, de=near), 1 / 3, ("de",)) == []


@pytest.mark.parametrize(("value", "guessing"), [(0.0, ["de"]), (0.005, ["de"]), (0.03, [])])
def test_one_right_sentence_of_two_hundred_is_what_guessing_finds(value, guessing):
    assert at_chance(_scored(de=value), 0.0, ("de",)) == guessing


def test_the_chance_of_a_classification_is_its_commonest_label():
    assert chance(lab.NLI) == pytest.approx(1 / 3, abs=0.1) and chance(lab.QQP) == pytest.approx(0.5, abs=0.1)
    assert chance(lab_twins.TATOEBA) == 0.0
