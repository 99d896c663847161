"""A sweep on real hosts: brought up by `ray up`, handed over from outside, through losses, with the same tables."""

from __future__ import annotations

import re
import shlex
import site
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest

from sweep import Results, Sweep
from sweep.records import What
from tests.cluster import sweeps
from tests.cluster.handing_over import command, define, said, submit
from tests.cluster.listeners import asks_nobody, open_to_others
from tests.cluster.running import RAY, ROOT, Running, spot
from tests.cluster.seen import (
    alone,
    at_work,
    executed,
    executed_once,
    happenings,
    live,
    losses,
    resumed_from,
    saved,
    tables,
    until,
    values,
)
from trainables.store import Store

HEAD, ONE, TWO, THREE = 1, 2, 3, 4

#: What `ss` calls a process that trains.
WORKER = "ray::RayTrainWo"

pytestmark = pytest.mark.timeout(1800)


def hosts_at_work(running: Running, sweep: Sweep, storage: str) -> set[int]:
    """The hosts on which a stage is getting on at this moment."""
    return {number for gang in at_work(sweep, storage) for number in running.on(gang.nodes)}


def early(running: Running, sweep: Sweep, storage: str, numbers: set[int]) -> dict[str, int]:
    """By the digest of each stage that only these hosts train, the step of its newest checkpoint.

    None that may be at its end before somebody has acted: what is known of it is some seconds old.
    """
    newest, gangs = saved(storage), at_work(sweep, storage)
    theirs = [gang for gang in gangs if running.on(gang.nodes) <= numbers and gang.step < gang.steps / 3]
    return {gang.digest: newest[gang.digest] for gang in theirs if gang.digest in newest}


def kill_driver(running: Running, sweep: Sweep) -> None:
    """End the job's process on the head without a word, and wait until Ray has noticed."""
    running.on_head("kill -9 $(pgrep -f '[s]weep.cli run')")
    until("the job has failed", lambda: "failed" in command(running, "status", sweep.name).stderr)


def assert_as_alone(sweep: Sweep, storage: str, folder: Path) -> None:
    """Nothing was done twice, and every table is the same bytes as of a run on one machine."""
    assert executed_once(sweep, storage)
    assert tables(storage, sweep, folder / "there") == tables(alone(sweep, folder), sweep, folder / "here")


def assert_as_one_worker(sweep: Sweep, storage: str, folder: Path) -> None:
    """The tables and losses of a gang of several are those of one worker on one machine but for rounding."""
    one = alone(sweep, folder, workers=1)
    mine, theirs = values(one, sweep, folder / "of-one"), values(storage, sweep, folder / "of-several")
    assert mine.keys() == theirs.keys() and len(mine["predictions.csv"]) > 1000
    for name, table in mine.items():
        assert theirs[name] == pytest.approx(table, abs=1e-6), name
    several = losses(storage, sweep)
    assert len(several) == 2 and several == {seed: pytest.approx(x, abs=1e-4) for seed, x in losses(one, sweep).items()}


@pytest.mark.quick
def test_the_cluster_is_closed_to_whoever_has_no_token(cluster, tmp_path):
    (tmp_path / ".ray").mkdir()
    without = command(cluster, "status", "lone", HOME=str(tmp_path))
    assert without.returncode == 2
    assert "this machine's token must be the cluster's" in without.stderr
    (tmp_path / ".ray/auth_token").write_text("f" * 64)
    wrong = command(cluster, "status", "lone", HOME=str(tmp_path))
    assert wrong.returncode == 2
    assert "this machine's token must be the cluster's" in wrong.stderr
    dashboard = re.search(r"(\S+):8265 ", cluster.hosts.run(HEAD, "ss -ltnH"))
    assert dashboard and dashboard[1] == "127.0.0.1"  # on the loopback interface alone
    ports = {one.port for one in open_to_others(cluster.hosts, HEAD)}
    assert 6379 in ports and CLIENT_SERVER not in ports, "`node.sh` ends the server of Ray's own client"
    assert asks_nobody(cluster.hosts) == []


#: Where Ray would serve its own client, which no job needs.
CLIENT_SERVER = 10001


def test_nobody_drives_or_joins_the_cluster_without_its_token_and_whoever_has_it_joins(cluster, tmp_path):
    cluster.have({ONE, TWO})
    cluster.hosts.start(THREE)
    head = f"{cluster.hosts.address(HEAD)}:6379"
    (tmp_path / ".ray").mkdir()
    bare = {name: value for name, value in cluster.environment.items() if not name.startswith("RAY_")}

    def drives(token: str) -> subprocess.CompletedProcess[str]:
        words = ["env", *token.split(), sys.executable, "-c", f"import ray; ray.init(address={head!r})"]
        place = bare | {"HOME": str(tmp_path)}
        return subprocess.run(words, env=place, capture_output=True, text=True, timeout=120, check=False)

    def joins(token: str) -> str:
        start = f"HOME=/tmp/nobody {token} {RAY} start --address={head} --num-cpus=1 2>&1; echo code $?"
        return cluster.hosts.run(THREE, start, seconds=120, check=False)

    named = "RAY_AUTH_MODE=token RAY_AUTH_TOKEN="
    known = cluster.nodes()
    with ThreadPoolExecutor() as threads:
        driving, joining = (threads.map(act, ("", named + "f" * 64)) for act in (drives, joins))
    for answer in driving:
        assert answer.returncode and "Authentication token is missing or incorrect" in answer.stderr
    for text in joining:
        assert "code 1" in text and "Authentication token is missing or incorrect" in text
    assert cluster.nodes() == known
    # The same command on the same host, but for the token.
    assert "code 0" in joins(named + (cluster.home / ".ray/auth_token").read_text())
    cluster.await_nodes({ONE, TWO, THREE})


def test_the_install_command_puts_a_hosts_checkout_into_its_environment(cluster):
    cluster.have({ONE, TWO})
    base, ray = Path(sys.executable).resolve(), version("ray")
    # In place of an index it has the packages of this environment: hosts reach none. Ray's script comes with Ray.
    see = "import site; " + "; ".join(f"site.addsitedir({place!r})" for place in site.getsitepackages())
    make = f"""
        {base} -m venv --without-pip ~/venv
        echo {shlex.quote(see)} >"$(echo ~/venv/lib/python*/site-packages)/environment.pth"
        ln -s {RAY} ~/venv/bin/ray
    """
    cluster.hosts.run(ONE, make)

    def install(ray: str) -> str:
        variables = {"SWEEP_PYTHON": base, "SWEEP_RAY": ray, "SWEEP_EXTRAS": "aws"}
        variables |= {"SWEEP_PIP": shlex.quote("--no-index --no-build-isolation")}
        words = " ".join(f"{name}={value}" for name, value in variables.items())
        script = f"SWEEP_VENV=~/venv {words} bash ~/transfer-sweep/cluster/node.sh install 2>&1; echo code $?"
        return cluster.hosts.run(ONE, script)

    assert "No matching distribution found for ray==9.9.9" in (refused := install("9.9.9")) and "code 1" in refused
    assert "code 0" in install(ray)
    where = (
        "from importlib.metadata import distribution as at; print(at('transfer-sweep').read_text('direct_url.json'))"
    )
    said_of_it = cluster.hosts.run(ONE, f"~/venv/bin/python -c {shlex.quote(where)}")
    assert '"url": "file:///root/transfer-sweep"' in said_of_it
    assert "usage: sweep" in cluster.hosts.run(ONE, "cd / && ~/venv/bin/sweep --help")


@pytest.mark.quick
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
    cluster.have({ONE, TWO})
    definition = define("LONE", tmp_path)
    refused = command(cluster, "submit", definition, "--storage", "relative")
    assert refused.returncode == 2
    assert "must be a URI, or an absolute path that every machine of the cluster sees" in refused.stderr
    failed = command(cluster, "submit", definition, "--storage", "/tmp/on-one-host-only", "--follow", seconds=240)
    assert failed.returncode == 2, failed.stdout + failed.stderr  # as the run itself would
    assert "10.98.0.3, 10.98.0.4: it must see '/tmp/on-one-host-only' as the driver does" in failed.stdout
    assert "use a storage that every machine sees" in failed.stdout


@pytest.mark.quick
def test_a_sweep_loses_the_host_it_trains_on_and_its_tables_are_the_same(cluster, storage, tmp_path):
    cluster.have({ONE, TWO})
    place, sweep = storage("quick"), sweeps.QUICK
    submit(cluster, sweep, place, tmp_path)
    ((digest, step),) = until("a checkpoint is in the storage", lambda: saved(place)).items()
    before = live(sweep, place)["nodes"]["gang-0"]
    (host,) = cluster.on(before)
    cluster.hosts.power_off(host)

    def elsewhere() -> set[int]:
        nodes = live(sweep, place).get("nodes", {}).get("gang-0")
        return cluster.on(nodes) if nodes and nodes != before else set()

    (other,) = until("another host has its work", elsewhere)
    assert WORKER in {one.program for one in open_to_others(cluster.hosts, other)}
    assert asks_nobody(cluster.hosts) == []
    until("the sweep is complete", lambda: Results.open(place, sweep.name).complete)
    assert resumed_from(sweep, place, digest) >= step
    assert_as_alone(sweep, place, tmp_path)
    table = ["table", sweep.name, "--format", "csv"]
    assert said(cluster, *table) == said(cluster, *table, "--storage", place)


def test_a_sweep_loses_its_driver_and_two_hosts_and_gains_one_and_its_tables_are_the_same(
    cluster, storage, hold, tmp_path
):
    cluster.have({ONE, TWO})
    place, sweep, hosts = storage("lone"), sweeps.LONE, cluster.hosts
    submit(cluster, sweep, place, tmp_path)
    until("both hosts train", lambda: hosts_at_work(cluster, sweep, place) == {ONE, TWO})
    status = said(cluster, "status", sweep.name)
    assert "on ts1 runs it" in status and "gang-1: train" in status
    assert "on ts1 runs it" in said(cluster, "status", sweep.name, "--storage", place)

    hold.back(hosts.address(TWO), "/manifest.json")
    made = until("a host is about to have its output accepted", hold.reached).split("/")[-2]
    lost = {made: saved(place).get(made, 0)}
    hosts.cut(TWO)
    until("its stage is taken from the host that is cut off", lambda: live(sweep, place).get("lost"))
    until("another host makes it", lambda: made in {payload["digest"] for payload in executed(sweep, place)})
    hold.release()
    until("what the first one wrote has arrived", hold.passed)
    assert Store(place).find(made)

    lost |= until("the host that is to lose power has one", lambda: early(cluster, sweep, place, {ONE}))
    hosts.mend(TWO)
    hosts.power_off(ONE)
    until("the host that was cut off has come back and trains", lambda: hosts_at_work(cluster, sweep, place) == {TWO})

    hosts.start(THREE)
    cluster.join(THREE)
    until("the host that joined trains", lambda: THREE in hosts_at_work(cluster, sweep, place))
    assert until("the sweep speaks of itself", lambda: live(sweep, place))["duplicate"] == 0

    lost |= until("there is a checkpoint as the driver is killed", lambda: early(cluster, sweep, place, {TWO, THREE}))
    before = {h.name: h.payload for h in happenings(sweep, place)}
    kill_driver(cluster, sweep)
    submit(cluster, sweep, place, tmp_path)
    until("the sweep is complete", lambda: Results.open(place, sweep.name).complete, seconds=900)
    after = {h.name: h.payload for h in happenings(sweep, place)}
    assert {name: after[name] for name in before} == before
    assert {digest: step for digest, step in lost.items() if resumed_from(sweep, place, digest) < step} == {}
    assert_as_alone(sweep, place, tmp_path)
    assert "lone: complete" in said(cluster, "status", sweep.name)


def test_a_gang_over_two_hosts_saves_and_moves_when_a_node_is_drained_and_when_the_sweep_is_stopped(
    cluster, storage, tmp_path
):
    cluster.have({ONE, TWO, THREE})
    place, sweep = storage("pair"), sweeps.PAIR
    submit(cluster, sweep, place, tmp_path)
    (first,) = until("a gang trains", lambda: at_work(sweep, place))
    assert len(first.nodes) == 2
    going = max(first.nodes)
    cluster.on_head(
        f"ray drain-node --node-id {going} --reason DRAIN_NODE_REASON_PREEMPTION --reason-message spot "
        "--deadline-remaining-seconds 60"
    )
    until("the gang has left", lambda: live(sweep, place).get("moved"))
    (moved,) = until("it trains again", lambda: at_work(sweep, place))
    assert len(moved.nodes) == 2 and going not in moved.nodes
    # Its ranks meet without the token, which is how this look is known to be able to fail.
    assert WORKER in {one.program for one in asks_nobody(cluster.hosts, tries=1)}
    until("the stage is done", lambda: executed(sweep, place))
    assert live(sweep, place)["lost"] == 0

    (second,) = until(
        "it trains the next", lambda: [gang for gang in at_work(sweep, place) if gang.digest != first.digest]
    )
    assert "stopped; `sweep submit` goes on" in said(cluster, "stop", sweep.name, seconds=400)
    status = said(cluster, "status", sweep.name)
    assert "pair: not complete" in status and "no process runs it now" in status
    submit(cluster, sweep, place, tmp_path)
    until("the sweep is complete", lambda: Results.open(place, sweep.name).complete)

    # No checkpoint is due in these stages: what they went on from was saved because the gang was asked to stop.
    assert resumed_from(sweep, place, first.digest) >= first.step
    assert resumed_from(sweep, place, second.digest) >= second.step
    assert_as_alone(sweep, place, tmp_path)
    assert_as_one_worker(sweep, place, tmp_path)


def test_a_rented_host_that_is_taken_back_hands_its_work_on_and_a_stop_by_the_storage_saves_it(
    cluster, storage, tmp_path
):
    cluster.have({ONE, TWO})
    place, sweep = storage("spot"), sweeps.SPOT
    submit(cluster, sweep, place, tmp_path)
    (first,) = until("a gang trains", lambda: at_work(sweep, place))
    (going,) = cluster.on(first.nodes)
    with spot(cluster, going) as take_back:
        take_back(120)
        until("the gang has left", lambda: live(sweep, place).get("moved"))
        assert "this machine goes in 1" in cluster.hosts.run(going, "cat ~/transfer-sweep-notice.log")
        (moved,) = until("it trains again", lambda: at_work(sweep, place))
        assert cluster.on(moved.nodes) == {ONE, TWO} - {going}
    until("the stage is done", lambda: executed(sweep, place))
    assert live(sweep, place)["lost"] == 0

    (second,) = until(
        "it trains the next", lambda: [gang for gang in at_work(sweep, place) if gang.digest != first.digest]
    )
    stopped = said(cluster, "stop", sweep.name, "--storage", place, seconds=400)
    assert "has ended; `sweep run` or `sweep submit` goes on with what is open" in stopped
    status = said(cluster, "status", sweep.name, "--storage", place)
    assert "spot: not complete" in status and "no process runs it now" in status
    assert not [entry for entry in happenings(sweep, place) if entry.what is What.FAILED]
    submit(cluster, sweep, place, tmp_path)
    until("the sweep is complete", lambda: Results.open(place, sweep.name).complete)

    assert resumed_from(sweep, place, first.digest) >= first.step
    assert resumed_from(sweep, place, second.digest) >= second.step
    assert_as_alone(sweep, place, tmp_path)


def test_a_gang_over_two_hosts_of_which_one_loses_power_goes_on_over_those_left_from_its_checkpoint(
    cluster, storage, tmp_path
):
    cluster.have({ONE, TWO, THREE})
    place, sweep = storage("torn"), sweeps.TORN
    submit(cluster, sweep, place, tmp_path)
    ((digest, step),) = until("a checkpoint is in the storage", lambda: saved(place)).items()
    before = cluster.on(live(sweep, place)["nodes"]["gang-0"])
    assert len(before) == 2
    cluster.hosts.power_off(max(before))
    until("its stage is queued again", lambda: live(sweep, place).get("lost"))
    (again,) = until("it trains again", lambda: at_work(sweep, place))
    assert len(again.nodes) == 2 and max(before) not in cluster.on(again.nodes)
    until("the sweep is complete", lambda: Results.open(place, sweep.name).complete)
    assert resumed_from(sweep, place, digest) >= step
    assert_as_alone(sweep, place, tmp_path)
