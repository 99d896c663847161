"""Claims about a rented machine that is taken back: the cloud's notice becomes a drain of its Ray node."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sweep.notice import aws, gcp, watch


class Metadata:
    """What a cloud's metadata server answers, by (method, path); `secret` must come with every GET."""

    def __init__(self, secret: tuple[str, str]) -> None:
        self.answers: dict[tuple[str, str], str] = {}
        self.secret = secret
        self.status = 404


@contextmanager
def served(metadata: Metadata) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            name, value = metadata.secret
            if self.command == "GET" and self.headers.get(name) != value:
                self.send_error(401)
                return
            text = metadata.answers.get((self.command, self.path))
            if text is None:
                self.send_error(metadata.status)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_PUT = answer

        def log_message(self, *words: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def amazon() -> Metadata:
    made = Metadata(("X-aws-ec2-metadata-token", "0123"))
    made.answers["PUT", "/latest/api/token"] = "0123"
    return made


def google() -> Metadata:
    made = Metadata(("Metadata-Flavor", "Google"))
    made.answers["GET", "/computeMetadata/v1/instance/preempted"] = "FALSE"
    return made


def interrupted(metadata: Metadata, seconds: float) -> None:
    goes = datetime.now(UTC) + timedelta(seconds=seconds)
    said = json.dumps({"action": "terminate", "time": f"{goes:%Y-%m-%dT%H:%M:%SZ}"})
    metadata.answers["GET", "/latest/meta-data/spot/instance-action"] = said


def test_amazon_tells_when_the_machine_goes_to_whoever_has_a_token():
    metadata = amazon()
    with served(metadata) as base:
        assert aws(base) is None
        interrupted(metadata, 120)
        assert aws(base) == pytest.approx(119, abs=3)
        interrupted(metadata, -10)
        assert aws(base) == 0.0


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
