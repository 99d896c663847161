"""A cloud's metadata server: what a rented machine may ask of itself, and no cloud behind it.

    python -m tests.pure.metadata_server 127.0.0.1 18169 NOTICE

is Amazon's, which tells of an interruption for as long as the file NOTICE is there, with its content.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ACTION = ("GET", "/latest/meta-data/spot/instance-action")


class Metadata:
    """What a cloud's metadata server answers, by (method, path); `secret` must come with every GET."""

    def __init__(self, secret: tuple[str, str]) -> None:
        self.answers: dict[tuple[str, str], str] = {}
        self.secret = secret
        self.status = 404
        self.clock_ahead_seconds = 0.0


@contextmanager
def served(metadata: Metadata, place: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[str]:
    """The address of a server that answers so; it ends with the context."""

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

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time.time() + metadata.clock_ahead_seconds)

        def log_message(self, *words: object) -> None: ...

    server = ThreadingHTTPServer(place, Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def amazon() -> Metadata:
    """EC2's, in its second version: a token must be asked for first."""
    made = Metadata(("X-aws-ec2-metadata-token", "0123"))
    made.answers["PUT", "/latest/api/token"] = "0123"
    return made


def google() -> Metadata:
    """Compute Engine's."""
    made = Metadata(("Metadata-Flavor", "Google"))
    made.answers["GET", "/computeMetadata/v1/instance/preempted"] = "FALSE"
    return made


def notice(seconds: float) -> str:
    """What Amazon says of a machine that goes in so many seconds."""
    goes = datetime.now(UTC) + timedelta(seconds=seconds)
    return json.dumps({"action": "terminate", "time": f"{goes:%Y-%m-%dT%H:%M:%SZ}"})


def interrupted(metadata: Metadata, seconds: float) -> None:
    """Have Amazon say so."""
    metadata.answers[ACTION] = notice(seconds)


def main(address: str, port: str, file: str) -> None:
    """Serve until the process ends."""
    metadata = amazon()
    with served(metadata, (address, int(port))):
        while True:
            try:
                metadata.answers[ACTION] = Path(file).read_text()
            except FileNotFoundError:
                metadata.answers.pop(ACTION, None)
            time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
