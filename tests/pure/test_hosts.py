"""A run of the cluster tests takes away what an earlier one left behind, and nothing that is somebody else's."""

from __future__ import annotations

from tests.cluster import hosts


def test_only_hosts_that_these_tests_made_are_taken_away(tmp_path, monkeypatch):
    monkeypatch.setattr(hosts, "_MADE", tmp_path)
    for name in ("ts1", "ts12", "tsdb", "ts4x"):
        (tmp_path / name).touch()
    listed = "ts1 (id: 0)\nts2 (id: 1)\nts12\ntsdb (id: 3)\nts4x\nother\n\n"
    assert hosts._left(listed) == ["ts1", "ts12"]
