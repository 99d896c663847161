"""Claims about the dispatcher and machines that come and go, with gangs that are coroutines: no process is started."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from tests.ray_local.machines import LONG, begun, running, until
from tests.ray_local.stage_paths import training
from trainables import dispatcher as module
from trainables import roster
from trainables.board import MACHINES_ALLOWED
from trainables.gangs import GangKind
from trainables.pins import PinFile
from trainables.roster import HOST_STARTS, LACKING_SECONDS, REFUSALS, last_words
from trainables.scores import Done, Failed, event_from_json, event_to_json
from trainables.store import Store


def test_what_runs_on_a_machine_that_is_lost_goes_on_elsewhere_and_its_old_attempt_is_not_accepted(machines, tmp_path):
    async def story() -> None:
        desk = await begun(machines, tmp_path)
        await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        (host,) = machines.hosts
        await until(lambda: host.done)
        (node, attempt), machines.alive = host.done[0], machines.alive - {host.node}
        await until(lambda: len(host.done) == 2)
        assert host.done[1][0] != node
        assert not await desk.accepts("gang-0", attempt)
        status = await desk.status()
        assert (status["lost"], status["moved"], status["gangs_restarted"]) == (1, 0, 1)
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_loss_is_seen_while_the_storage_answers_nobody(machines, tmp_path, monkeypatch):
    answers = threading.Event()

    async def story() -> None:
        desk = await begun(machines, tmp_path, sweep="one")
        await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        (host,) = machines.hosts
        await until(lambda: host.done)
        monkeypatch.setattr(PinFile, "write", lambda *_: answers.wait(60))
        monkeypatch.setattr(Store, "find", lambda *_: answers.wait(60) and None)
        many = range(2 * (os.cpu_count() or 1) + 8)  # more than asyncio has threads
        paths = {f"trial-{seed}": [training("text_nli", "", seed=seed).to_json()] for seed in many}
        asked = [asyncio.ensure_future(desk.submit(trial, path)) for trial, path in paths.items()]
        await asyncio.sleep(0.05)
        machines.alive = set()
        try:
            await until(lambda: desk._board.counts["lost"])
        finally:
            answers.set()
            await asyncio.gather(*asked)
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_trial_whose_machines_are_lost_one_after_the_other_is_not_failed(machines, tmp_path):
    async def story() -> None:
        desk = await begun(machines, tmp_path)
        await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        (host,) = machines.hosts
        for losses in range(1, 6):
            await until(lambda losses=losses: len(host.done) == losses)
            machines.alive = (machines.alive - {host.node}) | {f"new-{losses}"}
        await until(lambda: len(host.done) == 6)
        assert ((await desk.status())["lost"], (await desk.status())["failed"]) == (5, 0)
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_gang_on_a_machine_that_is_told_to_go_saves_and_moves_and_that_is_no_loss(machines, tmp_path):
    async def story() -> None:
        desk = await begun(machines, tmp_path)
        await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        await until(lambda: machines.hosts[0].done)
        before = machines.hosts[0].node
        machines.draining.add(before)
        moved = await until(lambda: len(machines.hosts) == 2 and machines.hosts[1].done)
        assert moved[0][0] != before
        status = await desk.status()
        assert (status["lost"], status["moved"]) == (0, 1)
        assert status["waiting"][0]["reason"] == "for gang-0, which runs it"
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_machine_lost_before_its_gang_has_left_leaves_no_gang_that_is_for_ever_about_to_leave(machines, tmp_path):
    async def story() -> None:
        desk = await begun(machines, tmp_path)
        await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        (host,) = machines.hosts
        host.slow = True
        await until(lambda: host.done)
        machines.draining.add(host.node)
        await until(lambda: desk._slots["gang-0"].leaving)
        machines.alive -= {host.node}
        await until(lambda: len(host.done) == 2)
        host.slow = False
        machines.alive |= {"c"}
        machines.draining.add(host.node)
        moved = await until(lambda: len(machines.hosts) == 2 and machines.hosts[1].done)
        assert moved[0][0] == "c"
        assert ((await desk.status())["lost"], (await desk.status())["moved"]) == (1, 1)
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_gang_whose_stage_ends_while_it_is_to_leave_does_not_stay_with_the_next(machines, tmp_path):
    async def story() -> None:
        desk = await begun(machines, tmp_path)
        await desk.submit("one", [training("text_nli", "", steps=LONG, seed=1).to_json()])
        (host,) = machines.hosts
        host.stops = False
        await desk.submit("two", [training("text_nli", "", steps=LONG, seed=2).to_json()])
        await until(lambda: host.done)
        machines.draining.add(host.node)
        moved = await until(lambda: len(machines.hosts) == 2 and machines.hosts[1].done)
        assert moved[0][0] != host.node
        assert ((await desk.status())["executed"], (await desk.status())["moved"]) == (1, 1)
        await desk.close(seconds=1)

    asyncio.run(story())


def test_of_two_ranks_the_one_that_failed_says_why_and_not_the_one_that_it_left_alone(machines, tmp_path):
    async def story() -> None:
        machines.room = lambda _: ""  # the test itself is the gang
        desk = await begun(machines, tmp_path)
        ticket = await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        for start in range(3):
            request = await desk.take("gang-0", f"start-{start}", -1, 0, 1, "b")
            await desk.unfit("gang-0", f"start-{start}", request.attempt, "MemoryError: planted", False, "b")
            await desk.unfit("gang-0", f"start-{start}", request.attempt, "RankLost: the connection broke", False, "b")
        over = asyncio.ensure_future(desk.take("gang-0", "start-3", -1, 0, 1, "b"))
        event = event_from_json((await desk.next_events("trial", ticket))[-1])
        assert isinstance(event, Failed) and not event.of_machine
        assert event.reason.endswith("the last time: MemoryError: planted")
        over.cancel()
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_gang_of_which_a_storage_fails_one_rank_again_and_again_is_not_started_for_ever_and_fails_no_trial(
    machines, tmp_path
):
    async def story() -> None:
        machines.room = lambda _: ""  # the test itself is the gang
        desk = await begun(machines, tmp_path)
        ticket = await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        for start in range(HOST_STARTS):
            await until(lambda start=start: len(machines.hosts) == start + 1)
            request = await desk.take("gang-0", f"start-{start}", -1, 0, 1, "b")
            assert request is not None
            await desk.unfit("gang-0", f"start-{start}", request.attempt, "rank 1 failed: OSError", False, "b")
            await desk.unfit("gang-0", f"start-{start}", request.attempt, "rank 1 failed: OSError", True, "b")
            for rank in range(2):  # Ray Train has started its workers again
                assert await desk.take("gang-0", f"again-{start}", -1, rank, 1, "b") is None
            assert desk._slots["gang-0"].nodes == set()
            machines.hosts[-1].fault = RuntimeError("as if it had ended in good order")
        event = event_from_json((await desk.next_events("trial", ticket))[-1])
        assert isinstance(event, Failed) and event.of_machine
        assert event.reason == "no gang could be kept running; the last reason: rank 1 failed: OSError"
        assert (await desk.status())["lost"] == HOST_STARTS
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_gang_of_two_machines_is_kept_from_the_one_of_the_rank_whose_disk_failed(machines, tmp_path):
    async def story() -> None:
        machines.room = lambda _: ""  # the test itself is the gang
        machines.alive = {"a", "b", "c"}
        desk = await begun(machines, tmp_path, workers=2, kind=GangKind.TRAIN)
        await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        await until(lambda: desk._roster._machines)
        for rank, node in enumerate("ab"):
            request = await desk.take("gang-0", "start", -1, rank, 1, node)
        await desk.unfit("gang-0", "start", request.attempt, "rank 1 failed: OSError", False, "a")
        await desk.unfit("gang-0", "start", request.attempt, "rank 1 failed: OSError", True, "b")
        assert await desk.take("gang-0", "again", -1, 0, 1, "a") is None
        machines.hosts[-1].fault = RuntimeError("as if it had ended in good order")
        await until(lambda: len(machines.hosts) == 2)
        assert machines.hosts[1].avoid == {"b"}
        await desk.close(seconds=0.1)

    asyncio.run(story())


def test_a_gang_that_is_to_start_anew_takes_no_workers_that_ray_train_has_started_again(machines, tmp_path):
    async def story() -> None:
        machines.room = lambda _: ""  # the test itself is the gang
        desk = await begun(machines, tmp_path)
        stage = training("text_nli", "", steps=LONG)
        ticket = await desk.submit("trial", [stage.to_json()])
        failed = event_to_json(Failed(digest=stage.digest, reason="OSError: planted", of_machine=True))
        for start in range(HOST_STARTS):
            await until(lambda start=start: len(machines.hosts) == start + 1)
            request = await desk.take("gang-0", f"start-{start}", -1, 0, 1, "b")
            await desk.report("gang-0", request.attempt, failed)
            assert await desk.pulse("gang-0", f"start-{start}", 0, 0.0), "its process is ended for that"
            assert await asyncio.wait_for(desk.take("gang-0", f"again-{start}", -1, 0, 1, "b"), 5) is None
            machines.hosts[-1].fault = RuntimeError("as if it had ended in good order")
        event = event_from_json((await desk.next_events("trial", ticket))[-1])
        assert isinstance(event, Failed) and event.of_machine
        assert event.reason == "no gang could be kept running; the last reason: OSError: planted"
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_gang_that_was_to_start_anew_and_was_refused_before_that_is_listened_to_after_it(machines, tmp_path):
    async def story() -> None:
        machines.room = lambda _: ""  # the test itself is the gang
        desk = await begun(machines, tmp_path)
        stage = training("text_nli", "", steps=LONG)
        await desk.submit("trial", [stage.to_json()])
        request = await desk.take("gang-0", "start", -1, 0, 1, "b")
        failed = Failed(digest=stage.digest, reason="OSError: planted", of_machine=True)
        await desk.report("gang-0", request.attempt, event_to_json(failed))
        await desk.refuse("gang-0", "again", "b", "b: it must see the storage", False)
        machines.hosts[-1].fault = RuntimeError("as if it had ended in good order")
        await until(lambda: len(machines.hosts) == 2)
        assert await desk.take("gang-0", "anew", -1, 0, 1, "a") is not None
        await desk.close(seconds=0.1)

    asyncio.run(story())


@pytest.mark.parametrize("elastic", [True, False])
def test_a_gang_whose_host_ends_while_it_is_to_leave_gives_its_stage_back(machines, tmp_path, elastic):
    async def story() -> None:
        desk = await begun(machines, tmp_path, elastic=elastic)
        await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        await until(lambda: machines.hosts and machines.hosts[0].done)
        (host,) = machines.hosts
        host.slow = True
        machines.draining.add(host.node)
        await until(lambda: desk._slots["gang-0"].leaving)
        host.fault = RuntimeError("the host died")
        moved = await until(lambda: len(machines.hosts) == 2 and machines.hosts[1].done)
        assert moved[0][0] != host.node and set(running(desk)) == {"gang-0"}
        assert ((await desk.status())["lost"], (await desk.status())["moved"]) == (1, 0)
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_storage_that_a_rank_blamed_before_the_host_ended_fails_no_trial(machines, tmp_path):
    async def story() -> None:
        machines.room = lambda _: ""  # the test itself is the gang
        desk = await begun(machines, tmp_path)
        ticket = await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        for start in range(HOST_STARTS):
            await until(lambda start=start: len(machines.hosts) == start + 1)
            request = await desk.take("gang-0", f"start-{start}", -1, 0, 1, "b")
            await desk.unfit("gang-0", f"start-{start}", request.attempt, "rank 1 failed: OSError", True, "b")
            machines.hosts[-1].fault = RuntimeError("the host died")
        event = event_from_json((await desk.next_events("trial", ticket))[-1])
        assert isinstance(event, Failed) and event.of_machine
        assert (await desk.status())["lost"] == HOST_STARTS
        await desk.close(seconds=0.1)

    asyncio.run(story())


@pytest.mark.parametrize("elastic", [True, False])
def test_of_two_machines_the_one_whose_disk_fails_every_stage_ends_no_sweep(machines, tmp_path, elastic):
    async def story() -> None:
        machines.faulty = {"a"}  # gangs are placed there first
        desk = await begun(machines, tmp_path, count=2, kind=GangKind.TRAIN, elastic=elastic)
        first = await desk.submit("first", [training("text_nli", "", steps=LONG, seed=1).to_json()])
        await until(lambda: [desk._slots[gang].nodes for gang in running(desk)] == [{"b"}])
        second = await desk.submit("second", [training("text_nli", "", seed=2).to_json()])
        await until(lambda: desk._roster.dead)
        assert list(desk._roster.dead.values()) == ["OSError: planted"] and len(running(desk)) == 1
        status = await desk.status()
        assert status["notices"][0] == "gang-0 starts anew, and what it ran is queued again: OSError: planted"
        assert (status["failed"], status["queued"]) == (0, 1)
        await desk.detach("first", first)
        while not isinstance(event := event_from_json((await desk.next_events("second", second))[-1]), Done):
            assert not isinstance(event, Failed)
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_gang_whose_machine_failed_a_stage_is_started_on_another_that_has_room(machines, tmp_path, monkeypatch):
    async def story() -> None:
        machines.faulty = {"a"}
        desk = await begun(machines, tmp_path, kind=GangKind.TRAIN)
        await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        await until(lambda: desk._slots["gang-0"].nodes == {"b"} and running(desk))
        assert [host.avoid for host in machines.hosts] == [set(), {"a"}]
        machines.alive = {"a"}
        await until(lambda: desk._roster.avoided() == set())
        machines.alive = {"a", "c"}
        await until(lambda: desk._roster.avoided() == {"a"})
        monkeypatch.setattr(roster, "BLAMED_SECONDS", 0.0)
        assert desk._roster.avoided() == set()
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_disk_that_fails_the_only_gang_again_and_again_stops_the_sweep_with_the_reason(machines, tmp_path):
    async def story() -> None:
        machines.faulty = {"a", "b"}
        desk = await begun(machines, tmp_path)
        ticket = await desk.submit("trial", [training("text_nli", "").to_json()])
        event = event_from_json((await desk.next_events("trial", ticket))[-1])
        while not isinstance(event, Failed):
            event = event_from_json((await desk.next_events("trial", ticket))[-1])
        assert event.of_machine
        assert event.reason == "no gang could be kept running; the last reason: OSError: planted"
        assert ((await desk.status())["lost"], len(machines.hosts)) == (HOST_STARTS, HOST_STARTS)
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_storage_that_fails_a_stage_in_every_gang_stops_the_sweep_before_all_of_them_are_dead(machines, tmp_path):
    async def story() -> None:
        machines.alive = {f"{number}" for number in range(MACHINES_ALLOWED + 3)}
        machines.faulty = set(machines.alive)
        desk = await begun(machines, tmp_path, count=len(machines.alive), kind=GangKind.TRAIN)
        await until(lambda: sum(bool(slot.incarnation) for slot in desk._slots.values()) == len(machines.alive))
        ticket = await desk.submit("trial", [training("text_nli", "").to_json()])
        event = event_from_json((await desk.next_events("trial", ticket))[-1])
        while not isinstance(event, Failed):
            event = event_from_json((await desk.next_events("trial", ticket))[-1])
        assert event.of_machine and len(desk._roster.dead) < len(machines.alive)
        assert event.reason == (
            f"its gang was lost {MACHINES_ALLOWED + 1} times and got no further; the last time: OSError: planted"
        )
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_storage_that_failed_a_stage_for_a_while_costs_no_trial(machines, tmp_path):
    async def story() -> None:
        machines.faulty = {"a", "b"}
        desk = await begun(machines, tmp_path)
        ticket = await desk.submit("trial", [training("text_nli", "").to_json()])
        await until(lambda: desk._board.counts["lost"] == 1)
        machines.faulty = set()
        event = event_from_json((await desk.next_events("trial", ticket))[-1])
        while not isinstance(event, Done):
            assert not isinstance(event, Failed)
            event = event_from_json((await desk.next_events("trial", ticket))[-1])
        assert desk._roster.dead == {}
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_gang_that_is_refused_while_the_sweep_closes_is_not_begun_anew(machines, tmp_path, monkeypatch):
    async def story() -> None:
        machines.alive, machines.lacking = {"a"}, {"a"}
        asked, answered = threading.Event(), threading.Event()

        def slow() -> dict[str, dict[str, float]]:
            asked.set()
            answered.wait(10)
            return {"a": {"CPU": 1.0}}

        monkeypatch.setattr(module, "LOOK_SECONDS", 60.0)
        monkeypatch.setattr(module, "_resources", slow)
        desk = await begun(machines, tmp_path, kind=GangKind.TRAIN, may_grow=True)
        await until(lambda: "a" in desk._roster.refused and asked.is_set())
        closing = asyncio.ensure_future(desk.close(seconds=5))
        await until(lambda: desk._roster.closing)
        answered.set()
        await asyncio.wait_for(closing, 2)
        assert len(machines.hosts) == 1

    asyncio.run(story())


def test_no_gang_is_asked_for_while_the_sweep_closes(machines, tmp_path):
    async def story() -> None:
        desk = await begun(machines, tmp_path, elastic=True)
        desk._roster.closing = True
        await desk.submit("trial", [training("text_nli", "").to_json()])
        await desk._roster.look()
        assert machines.hosts == [] and desk._roster.serving() == 0
        await desk.close(seconds=1)

    asyncio.run(story())


def test_elastic_gangs_come_with_the_work_and_go_without_it(machines, tmp_path):
    async def story() -> None:
        desk = await begun(machines, tmp_path, count=2, elastic=True, idle_seconds=0.1)
        await asyncio.sleep(0.05)
        assert machines.hosts == []
        for number in range(3):
            stage = training("text_nli", "", seed=number)
            ticket = await desk.submit(f"trial-{number}", [stage.to_json()])
            (text,) = await desk.next_events(f"trial-{number}", ticket)
            assert isinstance(event_from_json(text), Done)
        assert len(machines.hosts) == 1
        await until(lambda: not any(host.serving for host in machines.hosts))
        assert (await desk.status())["gangs_running"] == 0
        await desk.submit("one", [training("text_nli", "", steps=LONG, seed=8).to_json()])
        await desk.submit("two", [training("text_nli", "", steps=LONG, seed=9).to_json()])
        await until(lambda: len(running(desk)) == 2)
        assert {host.node for host in machines.hosts if host.serving} == {"a", "b"}
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_machine_that_joins_is_used_by_the_gang_that_waited_for_it(machines, tmp_path):
    async def story() -> None:
        machines.alive = {"a"}
        desk = await begun(machines, tmp_path, count=2, elastic=True)
        for number in range(2):
            await desk.submit(f"trial-{number}", [training("text_nli", "", steps=LONG, seed=number).to_json()])
        await until(lambda: len(running(desk)) == 1 and len(machines.hosts) == 2)
        machines.alive.add("c")
        await until(lambda: len(running(desk)) == 2)
        assert {host.node for host in machines.hosts} == {"a", "c"}
        await desk.close(seconds=1)

    asyncio.run(story())


@pytest.mark.parametrize("good", ["a", "b"])
@pytest.mark.parametrize("elastic", [True, False])
def test_of_two_machines_the_one_that_lacks_something_has_no_gang_and_the_other_does_all_the_work(
    machines, tmp_path, good, elastic
):
    async def story() -> None:
        (bad,) = machines.lacking = {"a", "b"} - {good}  # gangs are placed on "a" first
        desk = await begun(machines, tmp_path, count=3, elastic=elastic)
        for seed in range(6):
            await desk.submit(f"trial-{seed}", [training("text_nli", "", seed=seed).to_json()])
        await until(lambda: desk._board.counts["executed"] == 6 and bad in desk._roster.refused)
        status = await desk.status()
        (notice,) = status["notices"]
        assert notice.endswith(f"cannot run on {bad}: it must see the storage; no gang is tried there again")
        assert (status["lost"], desk._roster.dead) == (0, {})
        assert {node for host in machines.hosts for node, _ in host.done} == {good}
        tried = [host for host in machines.hosts if host.node == bad]
        assert len(tried) == 1 and all(bad in host.avoid for host in machines.hosts[3:])
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_machine_that_joins_and_cannot_take_part_is_named_and_the_next_that_joins_is_used(machines, tmp_path):
    async def story() -> None:
        machines.alive, machines.lacking = {"a"}, {"b"}
        desk = await begun(machines, tmp_path, count=2, elastic=True)
        for seed in range(2):
            await desk.submit(f"trial-{seed}", [training("text_nli", "", steps=LONG, seed=seed).to_json()])
        await until(lambda: len(machines.hosts) == 2 and running(desk))
        machines.alive = {"a", "b"}
        await until(lambda: "b" in desk._roster.refused)
        assert len(running(desk)) == 1
        machines.alive = {"a", "b", "c"}
        await until(lambda: len(running(desk)) == 2)
        assert {host.node for host in machines.hosts if host.serving} == {"a", "c"}
        await desk.close(seconds=1)

    asyncio.run(story())


def test_where_no_machine_is_left_that_can_take_part_the_sweep_stops_with_the_reason(machines, tmp_path, monkeypatch):
    monkeypatch.setattr(roster, "DESERTED_SECONDS", 0.05)

    async def story() -> None:
        machines.alive, machines.lacking = {"a"}, {"b"}
        desk = await begun(machines, tmp_path, elastic=True)
        ticket = await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        await until(lambda: running(desk))
        machines.alive = {"b"}
        event = event_from_json((await desk.next_events("trial", ticket))[-1])
        assert isinstance(event, Failed) and event.of_machine
        assert event.reason == "no gang could be kept running; the last reason: b: it must see the storage"
        doing = [entry["doing"] for entry in (await desk.status())["gangs"]]
        assert doing == ["is not started again: b: it must see the storage"]
        await desk.close(seconds=1)

    asyncio.run(story())


def test_where_no_other_machine_can_ever_come_the_sweep_stops_at_once_with_what_its_own_lacks(machines, tmp_path):
    async def story() -> None:
        machines.alive = machines.lacking = {"a"}
        desk = await begun(machines, tmp_path, kind=GangKind.TRAIN, alone=True)
        ticket = await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        event = event_from_json((await asyncio.wait_for(desk.next_events("trial", ticket), 5))[-1])
        assert isinstance(event, Failed) and event.of_machine
        assert event.reason == "no gang could be kept running; the last reason: a: it must see the storage"
        await desk.close(seconds=1)

    asyncio.run(story())


async def rent_in_vain(machines, desk, node: str) -> None:
    """Have a machine come that cannot take part, and wait until the gang that it refused is begun anew or never again:
    what comes before that counts as having come together with it.
    """
    machines.alive.add(node)

    def is_done() -> bool:
        pending = [gang for gang, slot in desk._slots.items() if node in slot.refused]
        return node in desk._roster.refused and all(gang in desk._roster.dead for gang in pending)

    await until(is_done)


@pytest.mark.parametrize("elastic", [True, False])
def test_where_the_last_machine_that_can_take_part_is_lost_the_sweep_stops_with_what_the_others_lack(
    machines, tmp_path, monkeypatch, elastic
):
    monkeypatch.setattr(roster, "DESERTED_SECONDS", 0.05)

    async def story() -> None:
        machines.lacking = {"a"}
        desk = await begun(machines, tmp_path, kind=GangKind.TRAIN, elastic=elastic)
        ticket = await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        await until(lambda: running(desk) and "a" in desk._roster.refused)
        await asyncio.sleep(0.05)
        assert desk._roster.dead == {}
        machines.alive = {"a"}
        event = event_from_json((await asyncio.wait_for(desk.next_events("trial", ticket), 5))[-1])
        assert isinstance(event, Failed) and event.of_machine
        assert event.reason == "no gang could be kept running; the last reason: a: it must see the storage"
        await desk.close(seconds=0.1)

    asyncio.run(story())


@pytest.mark.parametrize("elastic", [True, False])
@pytest.mark.parametrize("refused_before", [True, False])
def test_a_sweep_whose_last_good_machine_was_only_cut_off_goes_on_when_it_is_back(
    machines, tmp_path, monkeypatch, elastic, refused_before
):
    async def story() -> None:
        machines.lacking, machines.alive = {"a"}, {"a", "b"} if refused_before else {"b"}
        desk = await begun(machines, tmp_path, kind=GangKind.TRAIN, elastic=elastic)
        await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        await until(lambda: running(desk) and ("a" in desk._roster.refused) == refused_before)
        machines.alive = {"a"}
        await until(lambda: "without one the sweep stops in" in desk._roster.waits("gang-0"))
        status = await desk.status()
        (waiting,) = status["waiting"]
        told = "for a machine that can take part: none is there, and without one the sweep stops in 300 s"
        assert (waiting["reason"], status["gangs"][0]["doing"]) == (told, f"waits {told}")
        assert status["notices"][-1] == (
            "no machine that is there can take part (a: it must see the storage); unless one comes within 5 minutes, "
            "the sweep stops"
        )
        machines.alive = {"a", "b-again"}
        await until(lambda: running(desk) and "sweep stops" not in desk._roster.gangless)
        assert desk._roster.dead == {}
        await desk.close(seconds=1)

    asyncio.run(story())


def test_where_machines_are_rented_some_in_a_row_may_lack_something_but_not_all_that_come(machines, tmp_path):
    async def story() -> None:
        machines.alive, machines.lacking = set(), {f"new-{number}" for number in range(9)} - {"new-2"}
        desk = await begun(machines, tmp_path, kind=GangKind.TRAIN, may_grow=True)
        ticket = await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        for number in range(REFUSALS - 1):
            await rent_in_vain(machines, desk, f"new-{number}")
            told = f"no machine is there); {number + 1} more cannot take part"
            await until(lambda told=told: desk._roster.lacking.endswith(told))
        machines.alive.add("new-2")
        await until(lambda: running(desk))
        machines.alive -= {"new-2"}
        for number in range(3, 3 + REFUSALS):
            assert desk._roster.dead == {}
            await rent_in_vain(machines, desk, f"new-{number}")
        event = event_from_json((await desk.next_events("trial", ticket))[-1])
        assert isinstance(event, Failed) and event.of_machine
        assert event.reason.endswith("the last reason: new-5: it must see the storage")
        await desk.close(seconds=1)

    asyncio.run(story())


def test_of_eight_machines_that_are_rented_at_once_three_may_lack_something(machines, tmp_path):
    async def story() -> None:
        bad, good = {f"bad-{number}" for number in range(3)}, {f"good-{number}" for number in range(5)}
        machines.alive, machines.lacking = set(), bad
        desk = await begun(machines, tmp_path, kind=GangKind.TRAIN, count=8, may_grow=True)
        for seed in range(8):
            await desk.submit(f"trial-{seed}", [training("text_nli", "", steps=LONG, seed=seed).to_json()])
        machines.alive = set(bad)  # they are the first
        await until(lambda: set(desk._roster.refused) == bad)
        await asyncio.sleep(0.05)
        assert desk._roster.dead == {}
        machines.alive = bad | good
        await until(lambda: len(running(desk)) == 5)
        assert {host.node for host in machines.hosts if host.serving} == good
        await desk.close(seconds=1)

    asyncio.run(story())


def test_while_one_gang_runs_no_machines_are_rented_without_end_for_one_that_none_of_them_can_run(machines, tmp_path):
    async def story() -> None:
        machines.alive, machines.lacking = {"a"}, {f"new-{number}" for number in range(10)} - {"new-2"}
        desk = await begun(machines, tmp_path, kind=GangKind.TRAIN, count=2, may_grow=True, elastic=True)
        tickets = [
            await desk.submit(f"trial-{seed}", [training("text_nli", "", steps=LONG, seed=seed).to_json()])
            for seed in range(3)
        ]
        await until(lambda: len(running(desk)) == 1 and len(machines.hosts) == 2)
        for number in range(REFUSALS - 1):
            await rent_in_vain(machines, desk, f"new-{number}")
        machines.alive.add("new-2")  # a good one in between, and counting begins anew
        await until(lambda: len(running(desk)) == 2)
        machines.alive -= {"new-2"}
        await until(lambda: len(running(desk)) == 1)
        for number in range(3, 3 + REFUSALS):
            assert desk._roster.dead == {}
            await rent_in_vain(machines, desk, f"new-{number}")
        await until(lambda: desk._roster.dead)
        assert desk._roster.dead == {"gang-1": "new-5: it must see the storage"}
        started = len(machines.hosts)
        machines.alive.add("new-6")
        await asyncio.sleep(0.05)
        assert (len(machines.hosts), set(running(desk))) == (started, {"gang-0"})
        machines.alive -= {"a"}
        for number in range(6, 7 + REFUSALS):  # that one was there before, when gang-0 was refused by one of the others
            await rent_in_vain(machines, desk, f"new-{number}")
        event = event_from_json((await desk.next_events("trial-2", tickets[2]))[-1])
        assert isinstance(event, Failed) and event.of_machine
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_gang_that_met_machines_that_lack_something_is_started_while_there_is_room_on_others(machines, tmp_path):
    async def story() -> None:
        bad = {f"a-{number}" for number in range(REFUSALS + 1)}
        machines.alive, machines.lacking = bad | {"b"}, bad
        desk = await begun(machines, tmp_path, kind=GangKind.TRAIN, may_grow=True)
        await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        await until(lambda: running(desk))
        assert set(desk._roster.refused) == bad and desk._roster.dead == {}
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_machine_that_no_gang_could_be_kept_from_is_not_tried_for_ever(machines, tmp_path):
    async def story() -> None:
        machines.lacking = {"a"}
        placed, machines.room = machines.room, lambda _: placed(set())  # as a rehearsal, which is on the head
        desk = await begun(machines, tmp_path)
        ticket = await desk.submit("trial", [training("text_nli", "").to_json()])
        event = event_from_json((await desk.next_events("trial", ticket))[-1])
        assert isinstance(event, Failed) and event.of_machine
        assert len(machines.hosts) == 1 + HOST_STARTS
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_storage_that_does_not_answer_a_machine_ends_no_gang_and_keeps_no_work_from_the_others(machines, tmp_path):
    async def story() -> None:
        machines.unanswered = {"a"}
        desk = await begun(machines, tmp_path, count=2, elastic=True)
        await desk.submit("one", [training("text_nli", "", steps=LONG, seed=1).to_json()])
        await until(lambda: desk._slots["gang-0"].unready and set(running(desk)) == {"gang-1"})
        status = await desk.status()
        assert status["notices"] == ["gang-0 waits on a: no answer; it is asked again"]
        assert {"gang": "gang-0", "doing": "waits on a: no answer"} in status["gangs"]
        assert desk._roster.refused == desk._roster.dead == {}
        machines.unanswered = set()
        await desk.submit("two", [training("text_nli", "", steps=LONG, seed=2).to_json()])
        await until(lambda: len(running(desk)) == 2)
        assert {host.node for host in machines.hosts if host.serving} == {"a", "b"}
        assert (await desk.status())["lost"] == 0
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_storage_that_answers_no_machine_has_no_gang_after_gang_begun_for_one_trial(machines, tmp_path):
    async def story() -> None:
        machines.alive = machines.unanswered = {"a", "b", "c", "d"}
        desk = await begun(machines, tmp_path, count=4, elastic=True)
        await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        await until(lambda: sum(bool(slot.unready) for slot in desk._slots.values()) == 2)
        await asyncio.sleep(0.1)
        assert (desk._roster.serving(), len(machines.hosts)) == (2, 2)
        machines.unanswered = set()
        await until(lambda: running(desk))
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_gang_waits_no_more_on_a_machine_that_is_gone(machines, tmp_path):
    async def story() -> None:
        machines.alive, machines.unanswered = {"a"}, {"a"}
        desk = await begun(machines, tmp_path, elastic=True)
        await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        await until(lambda: desk._roster.waits("gang-0") == "waits on a: no answer")
        machines.alive = set()
        await until(lambda: desk._roster.waits("gang-0") == "starts")
        assert (desk._roster.gangless, desk._roster.serving()) == ("for a gang to start", 1)
        await desk.close(seconds=0.1)

    asyncio.run(story())


def test_a_gang_whose_host_has_died_waits_on_nothing(machines, tmp_path):
    async def story() -> None:
        placed, machines.room = machines.room, lambda _: ""  # the test itself is the gang
        desk = await begun(machines, tmp_path, count=2)
        await desk.refuse("gang-0", "first", "a", "a: no answer", True)
        assert desk._roster.gangless == "for a gang that waits on a: no answer"
        machines.hosts_die_after, machines.room = 0, placed
        await until(lambda: len(desk._roster.dead) == 2)
        assert desk._roster.gangless == "for a gang to start"
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_gang_that_started_after_a_refusal_is_lost_later_for_what_ends_it_then(machines, tmp_path):
    async def story() -> None:
        placed, machines.room = machines.room, lambda _: ""  # the test itself is the gang
        desk = await begun(machines, tmp_path)
        told, lost = [], desk._board.gang_lost

        def heard(gang, reason, *, of_machine=False):
            told.append((reason, of_machine))
            return lost(gang, reason, of_machine=of_machine)

        desk._board.gang_lost = heard
        await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        await desk.refuse("gang-0", "first", "b", "b: it must see the storage", False)
        assert await desk.take("gang-0", "second", -1, 0, 1, "a") is not None
        machines.hosts_die_after, machines.room = 0, placed
        await until(lambda: told)
        assert told[0] == ("no machine could be had", False)
        await desk.close(seconds=1)

    asyncio.run(story())


def test_what_a_gang_ran_goes_on_elsewhere_while_the_storage_does_not_answer_its_next_machine(machines, tmp_path):
    async def story() -> None:
        machines.room = lambda _: ""  # the test itself is the gang
        desk = await begun(machines, tmp_path, count=2)
        await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        await desk.take("gang-0", "first", -1, 0, 1, "a")
        over = asyncio.ensure_future(desk.take("gang-1", "other", -1, 0, 2, "b"))
        await desk.refuse("gang-0", "second", "a", "a: no answer", True)
        assert await asyncio.wait_for(over, 10) is not None and set(running(desk)) == {"gang-1"}
        assert (await desk.status())["lost"] == 1
        await desk.close(seconds=0.1)

    asyncio.run(story())


def test_a_gang_that_got_on_with_a_stage_is_started_again_however_often_its_host_has_died(machines, tmp_path):
    async def story() -> None:
        machines.hosts_die_after = 1
        desk = await begun(machines, tmp_path)
        for seed in range(HOST_STARTS + 3):
            if seed == HOST_STARTS + 2:
                machines.hosts_die_after = 0  # from the next host on
            ticket = await desk.submit(f"trial-{seed}", [training("text_nli", "", seed=seed).to_json()])
            assert isinstance(event_from_json((await desk.next_events(f"trial-{seed}", ticket))[-1]), Done)
        await until(lambda: desk._roster.dead)
        ticket = await desk.submit("last", [training("text_nli", "", seed=99).to_json()])
        event = event_from_json((await desk.next_events("last", ticket))[-1])
        assert isinstance(event, Failed) and event.of_machine
        assert event.reason == "no gang could be kept running; the last reason: no machine could be had"
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_gang_for_which_no_machine_came_waits_on_however_often_ray_train_has_given_up(machines, tmp_path):
    async def story() -> None:
        machines.in_vain = HOST_STARTS + 2
        desk = await begun(machines, tmp_path)
        ticket = await desk.submit("trial", [training("text_nli", "").to_json()])
        assert isinstance(event_from_json((await desk.next_events("trial", ticket))[-1]), Done)
        assert (len(machines.hosts), desk._roster.dead) == (HOST_STARTS + 3, {})
        await desk.close(seconds=1)

    asyncio.run(story())


def test_an_elastic_gang_for_which_no_machine_came_waits_on_only_while_work_does(machines, tmp_path):
    async def story() -> None:
        machines.in_vain = 1
        desk = await begun(machines, tmp_path, elastic=True)
        ticket = await desk.submit("trial", [training("text_nli", "").to_json()])
        await until(lambda: machines.hosts)
        await desk.detach("trial", ticket)
        await until(lambda: not machines.in_vain and not desk._roster.serving())
        await asyncio.sleep(0.05)
        assert len(machines.hosts) == 1
        await desk.close(seconds=1)

    asyncio.run(story())


def test_whatever_waits_for_machines_says_what_is_asked_and_what_is_there(machines, tmp_path):
    async def story() -> None:
        machines.room = lambda _: ""
        desk = await begun(machines, tmp_path, kind=GangKind.TRAIN, gpus_per_worker=1.0, elastic=True)
        await desk.submit("trial", [training("text_nli", "").to_json()])
        lacking = "for machines: a gang asks for 1 workers of 1 CPU, 1 GPU, got room for 0 (machines: 2 × 1 CPU, 0 GPU)"
        await until(lambda: desk._roster.lacking and desk._roster.serving())
        status = await desk.status()
        assert status["waiting"][0]["reason"] == lacking
        assert status["gangs"] == [{"gang": "gang-0", "doing": f"waits {lacking}"}]
        assert status["notices"] == []  # a machine may be on its way
        desk._roster._lacking_since -= LACKING_SECONDS
        await until(lambda: desk._notices)
        for _ in range(3):
            desk._roster._see_room({"a": {"CPU": 1.0}, "b": {"CPU": 1.0}})
        assert (await desk.status())["notices"] == [
            f"work waits {lacking}. Where no autoscaler rents them, start machines that have it, or stop and use "
            "smaller workers"
        ]
        await desk.close(seconds=0.1)

    asyncio.run(story())


def test_an_elastic_gang_says_that_it_is_not_needed_or_that_the_others_have_all_the_room(machines, tmp_path):
    def doing(status) -> list[str]:
        return [entry["doing"] for entry in status["gangs"]]

    async def story() -> None:
        desk = await begun(machines, tmp_path, count=3, kind=GangKind.TRAIN, elastic=True)
        assert doing(await desk.status()) == ["is not needed: no work waits for it"] * 3
        for seed in range(3):
            await desk.submit(f"trial-{seed}", [training("text_nli", "", seed=seed, steps=LONG).to_json()])
        await until(
            lambda: (
                sum(bool(slot.incarnation) for slot in desk._slots.values()) == 2
                and (desk._roster._room, desk._roster.serving()) == (2, 3)
            )
        )
        (waiting,) = [said for said in doing(await desk.status()) if "step" not in said]
        assert waiting == "waits for machines: those that are there have room for 2 such gangs, which run"
        await desk.close(seconds=0.1)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("", "RuntimeError"),
        ("the actor died\nits node is gone", "its node is gone"),
        (
            "ray::TrainHost.serve()\n  File x, line 1\nray.train.InsufficientClusterResourcesError: Insufficient\n"
            'The worker group requires {"GPU": 4}.\nPlease reduce `num_workers`.',
            'ray.train.InsufficientClusterResourcesError: Insufficient The worker group requires {"GPU": 4}. Please '
            "reduce `num_workers`.",
        ),
    ],
)
def test_of_a_traceback_the_whole_of_its_last_exception_is_told(said, heard):
    assert last_words(RuntimeError(said)) == heard


def test_at_the_ceiling_the_sweep_stops_and_leaves_its_trials_open(machines, tmp_path):
    async def story() -> None:
        desk = await begun(machines, tmp_path, gang_hours=0.1 / 3600)
        ticket = await desk.submit("trial", [training("text_nli", "", steps=LONG).to_json()])
        event = event_from_json((await desk.next_events("trial", ticket))[-1])
        assert isinstance(event, Failed) and event.of_machine
        assert "gang-hours that the definition allows" in event.reason
        assert (await desk.status())["gang_hours"] >= 0
        await desk.close(seconds=1)

    asyncio.run(story())
