"""An S3-compatible server in a process of its own, empty at the start, for the tests of storage."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

#: Any pair will do: the server checks none.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_EC2_METADATA_DISABLED": "true"}

_SERVE = """
import logging, pathlib, sys, time
from moto.moto_server import threaded_moto_server
from moto.server import ThreadedMotoServer

rule, reached, passed = (pathlib.Path(sys.argv[3], name) for name in ("rule", "reached", "passed"))

def holding(application):
    def answer(environ, start):
        path, asked, method = environ["PATH_INFO"], environ["QUERY_STRING"], environ["REQUEST_METHOD"]
        finishes = method == "PUT" and not asked or method == "POST" and "uploadId" in asked
        held = finishes and rule.exists()
        if held:
            address, ending = rule.read_text().split()
            held = environ["REMOTE_ADDR"] == address and path.endswith(ending) and not reached.exists()
        if held:
            reached.write_text(path)
            while rule.exists():
                time.sleep(0.05)
        answered = application(environ, start)
        if held:
            passed.write_text(path)
        return answered
    return answer

make = threaded_moto_server.make_server
threaded_moto_server.make_server = lambda address, port, application, *rest, **more: make(
    address, port, holding(application), *rest, **more
)
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address=sys.argv[1], port=int(sys.argv[2]), verbose=False)
server.start()
import boto3
endpoint = f"http://{sys.argv[1]}:{sys.argv[2]}"
boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="bucket")
print("ready", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Hold:
    """Has the server keep one write back, as a network may that hands on late what it has taken."""

    folder: Path

    def back(self, address: str, ending: str) -> None:
        """Keep back the next write from this address of a file whose path ends so, once it has all of it."""
        for name in ("reached", "passed"):
            (self.folder / name).unlink(missing_ok=True)
        part = self.folder / "part"
        part.write_text(f"{address} {ending}")
        part.rename(self.folder / "rule")

    def reached(self) -> str:
        """The path of the file whose write is kept back; empty before there is one."""
        place = self.folder / "reached"
        return place.read_text() if place.exists() else ""

    def release(self) -> None:
        """Let it be written."""
        (self.folder / "rule").unlink()

    def passed(self) -> str:
        """The path of the file once it has been written; empty before."""
        place = self.folder / "passed"
        return place.read_text() if place.exists() else ""


def uri(address: str, port: int, folder: str) -> str:
    """The storage URI of a folder in the server's one bucket."""
    endpoint = quote(f"{address}:{port}", safe="")
    return f"s3://bucket/{folder}?scheme=http&endpoint_override={endpoint}&region=us-east-1"


@contextmanager
def s3_server(address: str = "127.0.0.1", hold: Hold | None = None) -> Iterator[tuple[str, int]]:
    """The address and the port of a server with the bucket `bucket`; it ends with the context."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, address, str(port), str(hold.folder if hold else "/nowhere")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | CREDENTIALS,
    )
    try:
        said = []
        stop = time.monotonic() + 120
        while (line := process.stdout.readline()) != "ready\n":
            said.append(line)
            assert line and time.monotonic() < stop, f"the S3 server did not start: {''.join(said)}"
        yield address, port
    finally:
        process.kill()
        process.wait()
