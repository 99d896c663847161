"""A sweep on real hosts: brought up by `ray up`, handed over from outside, through losses, with the same tables."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sweep import Results, Sweep
from sweep.records import Happening, What
from tests.cluster import sweeps
from tests.cluster.running import ROOT, Running
from tests.pure.s3_server import CREDENTIALS, s3_server, uri

HEAD, ONE, TWO, THREE = 1, 2, 3, 4
ADDRESS = "http://127.0.0.1:18265"

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def storage(machines):
    """Storage URIs of an S3 server that every host and this machine reach."""
    with s3_server(machines.bridge_address) as place, pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield lambda folder: uri(*place, folder)


@pytest.fixture(scope="module")
def cluster(machines, storage, tmp_path_factory):
    """A head and two workers, up and reached through a tunnel, as from a laptop."""
    for number in (HEAD, ONE, TWO):
        machines.start(number)
    running = Running(machines, [ONE, TWO], tmp_path_factory.mktemp("cluster"))
    running.up()
    with tunnel(running):
        yield running


@contextmanager
def tunnel(running: Running):
    """What `ray dashboard cluster.yaml` opens."""
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    hosts = running.hosts
    words = ["ssh", "-N", "-L", "18265:127.0.0.1:8265", "-i", str(hosts.key), *options, f"root@{hosts.address(HEAD)}"]
    process = subprocess.Popen(words)
    time.sleep(1)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def command(running: Running, *words: str, seconds: float = 120, **environment: str) -> subprocess.CompletedProcess:
    """A `sweep` command on the machine of the user."""
    return subprocess.run(
        [sys.executable, "-m", "sweep.cli", *words, "--address", ADDRESS],
        cwd=ROOT,
        env=running.environment | environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def define(name: str, folder: Path) -> str:
    """The definition file of a sweep of `tests.cluster.sweeps`, by its name there."""
    definition = folder / f"{name.lower()}.py"
    definition.write_text(f"from tests.cluster.sweeps import {name}\nsweep = {name}\n")
    return str(definition)


def submit(running: Running, name: str, storage: str, folder: Path) -> None:
    """Hand a sweep over."""
    answer = command(running, "submit", define(name, folder), "--storage", storage)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def happenings(sweep: Sweep, storage: str) -> list[Happening]:
    """What the ledger of a sweep holds; nothing before there is one."""
    from sweep.ledger import Ledger
    from trainables.places import place_of

    filesystem, root = place_of(storage)
    return Ledger(filesystem, root, sweep.name).happenings()


def until(what: str, holds, *, seconds: float = 300):
    """What `holds()` gives as soon as it is true; says how long that took."""
    start = time.monotonic()
    while not (found := holds()):
        assert time.monotonic() < start + seconds, f"did not happen in {seconds:g} s: {what}"
        time.sleep(0.5)
    print(f"{time.monotonic() - start:6.1f} s until {what}", flush=True)
    return found


def training_hosts(running: Running) -> set[int]:
    """Hosts on which a gang's worker process is training at this moment."""
    found = set()
    for number in (ONE, TWO, THREE):
        if number in running.hosts.numbers:
            processes = running.hosts.run(number, "ps -eo args", check=False)
            if "RayTrainWorker" in processes or "train_on_rank" in processes:
                found.add(number)
    return found


def tables(storage: str, sweep: Sweep, folder: Path) -> dict[str, bytes]:
    return {Path(path).name: Path(path).read_bytes() for path in Results.open(storage, sweep.name).export(str(folder))}


def alone(sweep: Sweep, folder: Path) -> str:
    """The storage of the same sweep, run on this machine without a cluster; in a process of its own."""
    file = folder / "alone.py"
    file.write_text(
        "from dataclasses import replace\n"
        f"from tests.cluster.sweeps import {sweep.name.upper()} as there\n"
        "sweep = replace(there, gangs=replace(there.gangs, count=1, cpus_per_worker=0.5, elastic=False))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-m", "sweep.cli", "run", str(file), "--storage", str(folder / "alone")],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return str(folder / "alone")


def executed_once(sweep: Sweep, storage: str) -> bool:
    """Whether no stage was finished twice."""
    done = [h.payload for h in happenings(sweep, storage) if h.what is What.STAGE and not h.payload["reused"]]
    digests = [payload["digest"] for payload in done]
    return len(digests) == len(set(digests))


def test_the_cluster_is_closed_to_whoever_has_no_token(cluster, tmp_path):
    (tmp_path / ".ray").mkdir()
    without = command(cluster, "status", "lone", HOME=str(tmp_path))
    assert without.returncode == 2
    assert "this machine's token must be the cluster's" in without.stderr
    (tmp_path / ".ray/auth_token").write_text("f" * 64)
    wrong = command(cluster, "status", "lone", HOME=str(tmp_path))
    assert wrong.returncode == 2
    assert "this machine's token must be the cluster's" in wrong.stderr
    listening = cluster.hosts.run(HEAD, "ss -ltnH | awk '{print $4}'").split()
    assert "127.0.0.1:8265" in listening  # the dashboard, on the loopback interface alone
    open_ports = {int(place.rsplit(":", 1)[1]) for place in listening if not place.startswith("127.0.0.1")}
    assert not open_ports & {8265, 10001, 44217, 44227}  # dashboard, Ray client, two servers of metrics


def test_a_machine_that_cannot_be_reached_or_entered_is_named_before_ray_up(cluster, tmp_path):
    hosts = cluster.hosts
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    nobody, somebody = f"{hosts.bridge_address[:-1]}99", hosts.address(ONE)
    words = [sys.executable, "-m", "sweep.cli", "cluster", "--provider", "local", "--check", "--ssh-user", "root"]
    for key, faults in (
        (hosts.key, [f"{nobody} must answer SSH on port 22"]),
        (tmp_path / "other", [f"{nobody} must answer SSH", f"{somebody} must let 'root' in with this key"]),
        (tmp_path / "none", ["the private key must be a file"]),
    ):
        answer = subprocess.run(
            [*words, "--head", nobody, "--workers", somebody, "--ssh-key", str(key)],
            cwd=ROOT,
            env=cluster.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 2
        assert [line for fault in faults if fault not in answer.stderr for line in (fault, answer.stderr)] == []


def test_a_storage_that_workers_do_not_see_is_refused_before_anything_trains(cluster, tmp_path):
    definition = define("LONE", tmp_path)
    refused = command(cluster, "submit", definition, "--storage", "relative")
    assert refused.returncode == 2
    assert "must be a URI, or an absolute path that every machine of the cluster sees" in refused.stderr
    failed = command(cluster, "submit", definition, "--storage", "/tmp/on-one-host-only", "--follow", seconds=240)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    said = "10.98.0.3, 10.98.0.4: it must see '/tmp/on-one-host-only' as the driver does"
    assert said in failed.stdout
    assert "use a storage that every machine sees" in failed.stdout


def test_a_sweep_loses_its_driver_and_two_hosts_and_gains_one_and_its_tables_are_the_same(cluster, storage, tmp_path):
    place, sweep, hosts = storage("lone"), sweeps.LONE, cluster.hosts
    submit(cluster, "LONE", place, tmp_path)
    until("both hosts train", lambda: training_hosts(cluster) == {ONE, TWO})
    until("a stage is done", lambda: any(h.what is What.STAGE for h in happenings(sweep, place)))

    hosts.cut(TWO)
    cluster.await_nodes(2)
    known = len(happenings(sweep, place))
    until("the work goes on without it", lambda: len(happenings(sweep, place)) > known)
    hosts.mend(TWO)

    hosts.power_off(ONE)
    hosts.start(THREE)
    cluster.join(THREE)
    until("the host that joined trains", lambda: THREE in training_hosts(cluster))

    hosts.run(HEAD, "kill -9 $(pgrep -f 'sweep.cli run' | grep -v $$)", check=False)
    before = {h.name: h.payload for h in happenings(sweep, place)}
    until("the job is over", lambda: "failed" in command(cluster, "status", "lone").stderr)
    submit(cluster, "LONE", place, tmp_path)
    until("the sweep is complete", lambda: Results.open(place, "lone").complete, seconds=900)

    after = {h.name: h.payload for h in happenings(sweep, place)}
    assert {name: after[name] for name in before} == before
    assert executed_once(sweep, place)
    assert tables(place, sweep, tmp_path / "there") == tables(alone(sweep, tmp_path), sweep, tmp_path / "here")
    said = command(cluster, "table", "lone", "--format", "csv")
    assert said.returncode == 0 and "none" in said.stdout, said.stderr


def test_a_gang_over_two_hosts_moves_from_one_that_is_told_to_go(cluster, storage, tmp_path):
    place, sweep, hosts = storage("pair"), sweeps.PAIR, cluster.hosts
    here = alone(replace(sweep), tmp_path)
    for number in (TWO, THREE):
        cluster.join(number)
    submit(cluster, "PAIR", place, tmp_path)
    trained_on = until("both hosts train", lambda: training_hosts(cluster) >= {TWO, THREE})
    assert len(trained_on) == 2
    until("it is scored", lambda: any(h.what is What.SCORED for h in happenings(sweep, place)))
    gone = next(node for node, address in cluster.nodes().items() if address == hosts.address(TWO))
    cluster.on_head(
        f"ray drain-node --node-id {gone} --reason DRAIN_NODE_REASON_PREEMPTION --reason-message spot "
        "--deadline-remaining-seconds 60"
    )
    hosts.start(ONE)
    cluster.join(ONE)
    until("the sweep is complete", lambda: Results.open(place, "pair").complete, seconds=900)
    assert executed_once(sweep, place)
    assert tables(place, sweep, tmp_path / "there") == tables(here, sweep, tmp_path / "here")
