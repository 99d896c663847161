import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.training.metrics import exact_match, normalised, token_f1

words = st.lists(st.sampled_from(["red", "the", "blue", "circle", "An", "ring."]), max_size=6).map(" ".join)


def test_answers_are_compared_as_in_squad():
    assert normalised("  The  red, a   Circle! ") == "red circle"
    assert exact_match("the red circle", "Red circle.")
    assert not exact_match("red circle", "red")


def test_f1_of_known_answers():
    assert token_f1("red circle", "the red ring") == pytest.approx(0.5)
    assert token_f1("red circle", "blue ring") == 0.0
    assert token_f1("red red", "red") == pytest.approx(2 / 3)
    assert token_f1("", "") == 1.0 and token_f1("red", "") == 0.0


@given(words, words)
def test_f1_is_symmetric_in_range_and_one_for_a_match(left, right):
    assert 0 <= token_f1(left, right) == token_f1(right, left) <= 1
    assert token_f1(left, left) == 1.0
    if exact_match(left, right):
        assert token_f1(left, right) == 1.0
