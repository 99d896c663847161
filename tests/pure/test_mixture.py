import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.mixture import order, portions
from trainables.faults import Invalid

names = st.text("abcdefgh", min_size=1, max_size=3)
shares = st.dictionaries(names, st.floats(0, 1e6), min_size=1, max_size=9).filter(lambda found: sum(found.values()) > 0)


@given(shares, st.integers(0, 10_000))
def test_portions_sum_to_the_steps_and_miss_no_quota_by_a_step(given_shares, steps):
    found = portions(given_shares, steps)
    assert sum(found.values()) == steps and found.keys() == given_shares.keys()
    total = sum(map(Fraction, given_shares.values()))
    for name, share in given_shares.items():
        assert abs(found[name] - Fraction(share) * steps / total) < 1


@given(shares, st.integers(0, 1000), st.randoms())
def test_portions_do_not_depend_on_the_order_in_which_shares_are_written(given_shares, steps, random):
    mixed = list(given_shares.items())
    random.shuffle(mixed)
    assert portions(dict(mixed), steps) == portions(given_shares, steps)


def test_equal_remainders_are_served_in_order_of_name():
    assert portions({"c": 1, "b": 1, "a": 1}, 10) == {"a": 4, "b": 3, "c": 3}


def test_a_task_of_share_zero_gets_no_step():
    assert portions({"a": 0.0, "b": 0.1}, 7) == {"a": 0, "b": 7}


def test_every_fault_of_a_mixture_is_told_at_once():
    with pytest.raises(Invalid) as refused:
        portions({"a": -1.0, "b": math.nan}, -3)
    assert refused.value.faults == (
        "the share of 'a' must be a finite number of at least 0, got -1.0",
        "the share of 'b' must be a finite number of at least 0, got nan",
        "steps must be at least 0, got -3",
    )
    with pytest.raises(Invalid, match="at least one share must be above 0"):
        portions({"a": 0.0}, 3)
    with pytest.raises(Invalid, match="at least one task, got none"):
        portions({}, 3)


@given(st.dictionaries(names, st.integers(0, 60), max_size=6), st.integers(0, 2**63))
def test_an_order_has_each_task_as_often_as_it_should(steps, seed):
    drawn = order(steps, seed)
    assert Counter(drawn) == Counter({name: count for name, count in steps.items() if count})
    assert drawn == order(dict(reversed(steps.items())), seed)


def test_an_order_is_mixed_and_depends_on_the_seed():
    steps = {"a": 500, "b": 500}
    first = order(steps, 0)
    assert first != order(steps, 1)
    assert 400 < sum(left != right for left, right in pairwise(first)) < 600


def test_an_order_is_the_same_on_every_machine():
    assert "".join(order({"a": 6, "b": 6}, 5)) == "baabaabbbaba"
