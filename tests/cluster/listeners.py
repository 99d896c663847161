"""Who listens to other machines on the hosts, and whether they turn away whoever has no token; starts nothing."""

from __future__ import annotations

import http.client
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc

from tests.cluster.hosts import Hosts

#: One method of each service that Ray's own programs offer: workers and drivers, the raylet's two, the head's, and the
#: agent of the machine. Asked with an empty message, none of them would do anything.
METHODS = (
    "CoreWorkerService/GetCoreWorkerStats",
    "NodeManagerService/GetNodeStats",
    "ObjectManagerService/Pull",
    "NodeInfoGcsService/GetAllNodeInfo",
    "LogService/ListLogs",
)


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A port that a host opens to other machines, and the program behind it."""

    host: int
    port: int
    program: str


def open_to_others(hosts: Hosts, number: int) -> list[Listener]:
    """What a host opens to other machines."""
    listed = [line.split() for line in hosts.run(number, "ss -ltnpH").splitlines()]
    places = {words[3]: re.findall(r'"([^"]+)"', words[-1]) for words in listed}
    return [
        Listener(host=number, port=int(place.rsplit(":", 1)[1]), program=(*programs, "unknown")[0])
        for place, programs in places.items()
        if not place.startswith(("127.", "[::1]"))
    ]


def asks_nobody(hosts: Hosts, *, tries: int = 3) -> list[Listener]:
    """Who listens to other machines on any host, is no sshd, and does not ask for the token, however often it is tried.

    Processes begin and end while they are looked at, and one that has just begun may not answer at once.
    """
    found = [one for number in hosts.numbers for one in open_to_others(hosts, number) if one.program != "sshd"]
    with ThreadPoolExecutor(16) as threads:
        for pause in range(tries):
            time.sleep(pause)
            asks = list(threads.map(lambda one: asks_for_token(hosts.address(one.host), one.port), found))
            found = [one for one, does in zip(found, asks, strict=True) if not does]
    there = {number: open_to_others(hosts, number) for number in {one.host for one in found}}
    return [one for one in found if one in there[one.host]]


def asks_for_token(address: str, port: int) -> bool:
    """Whether who listens there says by HTTP or by gRPC that a token is missing, and answers nothing without one."""
    return _answers_http(address, port) == 401 or _answers_grpc(address, port) == {grpc.StatusCode.UNAUTHENTICATED}


def _answers_http(address: str, port: int) -> int:
    line = http.client.HTTPConnection(address, port, timeout=2)
    try:
        line.request("GET", "/metrics")
        return line.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        line.close()


def _answers_grpc(address: str, port: int) -> set[grpc.StatusCode]:
    """What is said to the methods that are known there."""
    said = set()
    with grpc.insecure_channel(f"{address}:{port}") as channel:
        for method in METHODS:
            try:
                channel.unary_unary(f"/ray.rpc.{method}")(b"", timeout=2)
                said.add(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                code = error.code()  # pyright: ignore[reportAttributeAccessIssue]
                if code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE):
                    return {code}  # whoever listens there speaks no gRPC
                said.add(code)
    return said - {grpc.StatusCode.UNIMPLEMENTED}
