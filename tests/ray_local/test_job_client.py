"""Claims about Ray's own client of jobs: what it raises is told as what to change, before anything is handed over."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import ray

from sweep.submit import Cluster
from trainables.faults import Invalid


@contextmanager
def dashboard(status: int, said: dict) -> Iterator[str]:
    """A server that answers everything alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *words: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


VERSION = {"version": "4", "ray_version": ray.__version__, "ray_commit": "", "session_name": "session"}


def test_a_cluster_of_the_same_ray_is_taken():
    with dashboard(200, VERSION) as address:
        assert Cluster(address).address == address


def test_a_cluster_of_another_ray_is_refused_with_both_versions():
    with dashboard(200, VERSION | {"ray_version": "2.1.0"}) as address:
        with pytest.raises(
            Invalid, match=rf"must be the one of this machine, {ray.__version__}, got 2\.1\.0; pip install"
        ):
            Cluster(address)


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_token_is_told_as_one(status):
    with dashboard(status, {"error": "no"}) as address:
        with pytest.raises(Invalid, match="this machine's token must be the cluster's"):
            Cluster(address)


def test_an_address_that_nothing_answers_at_is_no_wrong_token_whatever_its_port():
    for port in (14018, 40318, 24010):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                continue  # somebody has it
        with pytest.raises(Invalid, match=r"its dashboard must answer, got: .* open a tunnel with `ray dashboard"):
            Cluster(f"http://127.0.0.1:{port}")
