"""A cluster on hosts of the tests, brought up with `ray up` from the project's own on-premises configuration."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
import yaml

from sweep.cluster import USUAL, Provider
from sweep.cluster_names import Names
from sweep.cluster_text import cluster_text
from tests.cluster.hosts import Hosts
from tests.pure.metadata_server import notice
from tests.pure.s3_server import CREDENTIALS

ROOT = Path(__file__).resolve().parents[2]
RAY = str(Path(sys.prefix) / "bin/ray")

#: Where the dashboard of the cluster answers on this machine.
ADDRESS = "http://127.0.0.1:18265"

#: Where a worker asks whether it is taken back. Nothing answers there, but where a test has put a server.
METADATA = "http://127.0.0.1:18169"

#: Ray's own time to notice a host that is gone is half a minute, and so is its autoscaler's before it starts Ray again
#: on one that is there; a test cannot wait that long for each.
QUICK = {
    "AUTOSCALER_HEARTBEAT_TIMEOUT_S": "10",
    "RAY_health_check_initial_delay_ms": "3000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}


class Running:
    """A head on host 1 and workers on the hosts named, with a token and one processor for gangs on each worker."""

    def __init__(self, hosts: Hosts, workers: list[int], folder: Path) -> None:
        self.hosts = hosts
        self.home = folder / "home"
        self.workers = workers
        self._addresses: dict[str, str] = {}
        (self.home / ".ray").mkdir(parents=True)
        (self.home / ".ray/auth_token").write_text("0123456789abcdef" * 4)
        self.file = folder / "cluster.yaml"
        self.file.write_text(self.configuration(workers))

    def configuration(self, workers: list[int]) -> str:
        """What `sweep cluster --provider local` writes, with the environment of this machine provided on every host."""
        variables = {"SWEEP_VENV": sys.prefix, "SWEEP_INSTALL": "0", **QUICK, **CREDENTIALS}
        names = Names(
            cluster="transfer-sweep-tests",
            checkout=str(ROOT),
            python=platform.python_version(),
            ray=ray.__version__,
            head=self.hosts.address(1),
            workers=tuple(self.hosts.address(number) for number in workers),
            ssh_user="root",
            ssh_key=str(self.hosts.key),
            environment=tuple(variables.items()),
            worker_environment=(("SWEEP_CPUS", "1"), ("SWEEP_SPOT", "aws"), ("SWEEP_METADATA", METADATA)),
        )
        return cluster_text(USUAL, Provider.LOCAL, names)

    @property
    def environment(self) -> dict[str, str]:
        """Of commands on the machine of the user: its own home, with the token."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "OMP_"))}
        return kept | {"HOME": str(self.home), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}

    def up(self, *, seconds: float = 240) -> str:
        """`ray up`, and wait until every worker has joined; what it said."""
        said = self.ray("up", str(self.file), "--yes", "--no-config-cache", seconds=seconds)
        self.await_nodes(set(self.workers), seconds=seconds)
        return said

    def join(self, number: int) -> None:
        """Have a host join as a worker, with the command that the configuration starts workers with."""
        options = "ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        place = f"root@{self.hosts.address(number)}"
        for source, target in ((f"{ROOT}/", "transfer-sweep/"), (f"{self.home}/.ray/", ".ray/")):
            words = ["rsync", "-a", "--exclude", ".git", "--exclude", ".venv", "-e", f"{options} -i {self.hosts.key}"]
            subprocess.run([*words, source, f"{place}:{target}"], check=True, capture_output=True)
        (start,) = yaml.safe_load(self.file.read_text())["worker_start_ray_commands"]
        self.hosts.run(number, f"export RAY_HEAD_IP={self.hosts.address(1)}; {start}", seconds=120)

    def ray(self, *words: str, seconds: float = 120) -> str:
        """A command of Ray's on the machine of the user."""
        answer = subprocess.run(
            [RAY, *words], env=self.environment, capture_output=True, text=True, timeout=seconds, check=False
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout + answer.stderr

    def on_head(self, command: str, *, seconds: float = 120, check: bool = True) -> str:
        """A shell command on the head, with the environment and the token of its nodes."""
        words = f"export RAY_AUTH_MODE=token PATH={sys.prefix}/bin:$PATH PYTHONPATH=~/transfer-sweep; {command}"
        return self.hosts.run(1, words, seconds=seconds, check=check)

    def nodes(self) -> dict[str, str]:
        """The address of every living node, by its id."""
        said = self.on_head(
            "python -c \"import json, ray; ray.init(address='auto', log_to_driver=False, logging_level='ERROR'); "
            "print(json.dumps({n['NodeID']: n['NodeManagerAddress'] for n in ray.nodes() if n['Alive']}))\""
        )
        found = json.loads(said.strip().splitlines()[-1])
        self._addresses |= found
        return found

    def await_nodes(self, numbers: set[int], *, seconds: float = 120) -> None:
        """Wait until the head and these hosts, and no others, are nodes."""
        wanted = sorted(self.hosts.address(number) for number in {1, *numbers})
        stop = time.monotonic() + seconds
        while (found := sorted(self.nodes().values())) != wanted:
            assert time.monotonic() < stop, f"the nodes must be {wanted}, got {found}"
            time.sleep(1)

    def have(self, numbers: set[int]) -> None:
        """Have these hosts as workers, whatever has become of them: the others go.

        Ray's autoscaler brings those back that the configuration names; two who start Ray on one host stop each other.
        """
        for number in set(self.hosts.numbers) - numbers - {1}:
            self.hosts.power_off(number)
        for number in numbers - set(self.hosts.numbers):
            self.hosts.start(number)
        living = set(self.nodes().values())
        for number in numbers - set(self.workers):
            if self.hosts.address(number) not in living:
                self.join(number)
        self.await_nodes(numbers)

    def on(self, nodes: Iterable[str]) -> set[int]:
        """The numbers of the hosts that the nodes of these ids are or were on."""
        nodes = set(nodes)
        if not nodes <= set(self._addresses):
            self.nodes()
        return {int(self._addresses[node].rsplit(".", 1)[1]) - 1 for node in nodes & set(self._addresses)}


@contextmanager
def spot(running: Running, number: int) -> Iterator[Callable[[float], None]]:
    """Have a host be a rented machine, whose cloud takes it back in so many seconds once it is told to."""
    address, port = METADATA.removeprefix("http://").split(":")
    words = f"{sys.prefix}/bin/python -m tests.pure.metadata_server {address} {port} /tmp/notice"
    started = f"cd ~/transfer-sweep; setsid nohup {words} >/tmp/metadata.log 2>&1 </dev/null & echo $!"
    process = running.hosts.run(number, started).strip()

    def take_back(seconds: float) -> None:
        running.hosts.run(
            number, f"echo {shlex.quote(notice(seconds))} >/tmp/notice.part; mv /tmp/notice.part /tmp/notice"
        )

    try:
        yield take_back
    finally:
        running.hosts.run(number, f"kill {process}; rm -f /tmp/notice", check=False)


@contextmanager
def brought_up(hosts: Hosts, folder: Path) -> Iterator[Running]:
    """A head and two workers on fresh hosts, up and reached through a tunnel, as from a laptop."""
    for number in (1, 2, 3):
        hosts.start(number)
    running = Running(hosts, [2, 3], folder)
    running.up()
    with _tunnel(running):
        yield running


@contextmanager
def _tunnel(running: Running) -> Iterator[None]:
    """What `ray dashboard cluster.yaml` opens; it closes with this process, however that ends."""
    hosts, port = running.hosts, ADDRESS.rsplit(":", 1)[1]
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    way = f"{port}:127.0.0.1:8265"
    words = ["ssh", "-L", way, "-i", str(hosts.key), *options, f"root@{hosts.address(1)}", "cat"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE)
    time.sleep(1)
    try:
        yield
    finally:
        process.kill()
        process.wait()
