"""The hosts of the tests, without Ray: what is made of one goes with it, and what is left of one is seen."""

from __future__ import annotations

import pytest

from tests.cluster.hosts import BRIDGE

pytestmark = [pytest.mark.quick, pytest.mark.timeout(60)]

NUMBER = 9


def test_what_is_there_of_a_host_is_seen_and_goes_with_its_power(machines):
    machines.start(NUMBER)
    there = machines.left()
    assert "namespace ts9" in there and f"bridge {BRIDGE}" in there
    assert [text for text in there if text.startswith("process ") and text.endswith(" of ts9: sshd")]
    machines.power_off(NUMBER)
    assert [text for text in machines.left() if "ts9" in text] == []


@pytest.mark.parametrize("step", ["_connect", "_power_on", "_await_ssh"])
def test_a_host_that_cannot_be_made_leaves_nothing_of_itself(machines, monkeypatch, step):
    usual = getattr(machines, step)

    def fails_after(*words):
        usual(*words)
        raise RuntimeError("planted")

    monkeypatch.setattr(machines, step, fails_after)
    with pytest.raises(RuntimeError, match="planted"):
        machines.start(NUMBER)
    assert [text for text in machines.left() if "ts9" in text] == []
    assert NUMBER not in machines.numbers
