"""A cloud's notice that it will take this machine back, told to Ray as a drain of its node; knows no sweep.

    python -m sweep.notice aws 10.0.0.1:6379

`cluster/node.sh worker` starts it beside Ray on rented machines, where nobody else would tell Ray.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime

#: Amazon asks to look every five seconds for a notice of two minutes; Google gives half a minute.
LOOK_SECONDS = 2.0

#: Google states no time: a machine is off thirty seconds after the notice, which may be `LOOK_SECONDS` old.
_GOOGLE_SECONDS = 28.0

#: A metadata server is on the machine's own host.
_ANSWER_SECONDS = 2.0

Notice = Callable[[], float | None]
"""Seconds until the machine goes; None as long as it stays."""


def aws(base: str = "http://169.254.169.254") -> float | None:
    """What EC2's metadata (IMDSv2) say of an interruption: nothing is there, 404, until there is one."""
    token, _ = _ask(f"{base}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, method="PUT")
    said, now = _ask(f"{base}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token or ""})
    if said is None:
        return None
    goes = datetime.fromisoformat(json.loads(said)["time"])
    return max(0.0, goes.timestamp() - now)


def gcp(base: str = "http://metadata.google.internal") -> float | None:
    """What Compute Engine's metadata say of a preemption."""
    said, _ = _ask(f"{base}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"})
    return _GOOGLE_SECONDS if said == "TRUE" else None


CLOUDS: Mapping[str, Callable[..., float | None]] = {"aws": aws, "gcp": gcp}


def _ask(url: str, headers: dict[str, str], method: str = "GET") -> tuple[str | None, float]:
    """What a metadata server answers, None where it has nothing there, and what time it is by the server's clock."""
    request = urllib.request.Request(url, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
            said = answer.headers.get("Date")
            now = parsedate_to_datetime(said).timestamp() if said else time.time()
            return answer.read().decode().strip(), now
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None, time.time()
        raise


def watch(notice: Notice, drain: Callable[[float], bool], *, look_seconds: float = LOOK_SECONDS) -> None:
    """Look until there is a notice, then drain until that has been taken."""
    silent = False
    while True:
        try:
            seconds = notice()
            if seconds is not None and drain(seconds):
                return
            silent = False
        except (OSError, ValueError, KeyError) as error:  # a server that does not answer may do so at the next look
            if not silent:
                print(f"the notice cannot be asked for: {error}", flush=True)
            silent = True
        time.sleep(look_seconds)


def drain_words(head: str, node: str, seconds: float) -> list[str]:
    """The command that has Ray move what runs on a node, as its own autoscaler does."""
    words = ["drain-node", "--address", head, "--node-id", node, "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
    message = "the cloud takes this machine back"
    return [*words, "--reason-message", message, "--deadline-remaining-seconds", str(int(seconds))]


def nodes_here(head: str) -> list[str]:
    """The ids of the nodes of that head's cluster on this machine, as their processes state them."""
    import psutil

    found = []
    for process in psutil.process_iter(["cmdline"]):
        program, *words = process.info["cmdline"] or [""]
        # Ray spells some of these with dashes and others, the node's id among them, with underscores.
        given = {name.replace("_", "-"): value for name, _, value in (word.partition("=") for word in words)}
        if program.endswith("raylet") and given.get("--gcs-address") == head and given.get("--node-id"):
            found.append(given["--node-id"])
    return found


def _drain(head: str, seconds: float) -> bool:
    nodes = nodes_here(head)
    print(f"this machine goes in {seconds:.0f} s; nodes to drain: {', '.join(nodes) or 'none'}", flush=True)
    ended = [subprocess.run(["ray", *drain_words(head, node, seconds)], check=False).returncode for node in nodes]
    return bool(ended) and not any(ended)


def main(arguments: Sequence[str] | None = None) -> int:
    """Watch for the notice of a cloud. SWEEP_METADATA names another metadata server, for tests."""
    cloud, head = arguments if arguments is not None else sys.argv[1:]
    base = [os.environ["SWEEP_METADATA"]] if "SWEEP_METADATA" in os.environ else []
    watch(lambda: CLOUDS[cloud](*base), lambda seconds: _drain(head, seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
