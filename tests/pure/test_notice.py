"""Claims about a rented machine that is taken back: the cloud's notice becomes a drain of its Ray node."""

from __future__ import annotations

import threading
import time

import pytest

from sweep.notice import aws, gcp, watch
from tests.pure.metadata_server import amazon, google, interrupted, served


def test_amazon_tells_when_the_machine_goes_to_whoever_has_a_token():
    metadata = amazon()
    with served(metadata) as base:
        assert aws(base) is None
        interrupted(metadata, 120)
        assert aws(base) == pytest.approx(119, abs=3)
        interrupted(metadata, -10)
        assert aws(base) == 0.0


def test_the_time_that_is_left_is_told_by_the_clock_of_the_cloud_whatever_that_of_the_machine_says():
    metadata = amazon()
    for ahead in (3600.0, -3600.0):
        metadata.clock_ahead_seconds = ahead
        with served(metadata) as base:
            interrupted(metadata, 120 + ahead)
            assert aws(base) == pytest.approx(119, abs=3)


def test_google_tells_that_the_machine_goes_and_gives_half_a_minute():
    metadata = google()
    with served(metadata) as base:
        assert gcp(base) is None
        metadata.answers["GET", "/computeMetadata/v1/instance/preempted"] = "TRUE"
        assert 0 < gcp(base) < 30


def test_a_node_is_drained_with_the_time_that_is_left_and_again_until_ray_takes_it():
    metadata, asked = amazon(), []

    def drain(seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) == 2

    with served(metadata) as base:
        watching = threading.Thread(target=watch, args=(lambda: aws(base), drain), kwargs={"look_seconds": 0.01})
        watching.start()
        time.sleep(0.2)
        assert not asked
        interrupted(metadata, 120)
        watching.join(timeout=10)
    assert not watching.is_alive()
    assert asked == [pytest.approx(119, abs=3)] * 2


def test_a_server_that_does_not_answer_is_told_once_and_asked_again(capsys):
    metadata, asked = amazon(), []
    metadata.status = 500
    with served(metadata) as base:
        watching = threading.Thread(
            target=watch, args=(lambda: aws(base), lambda _: not asked.append(1)), kwargs={"look_seconds": 0.01}
        )
        watching.start()
        time.sleep(0.2)
        interrupted(metadata, 120)
        watching.join(timeout=10)
    assert not watching.is_alive() and asked
    assert capsys.readouterr().out.count("the notice cannot be asked for: HTTP Error 500") == 1
