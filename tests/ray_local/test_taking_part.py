"""Claims about machines that cannot take part: found where a gang starts on them, and before anything trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from sweep.notice import nodes_here
from sweep.roll_call import call_roll, posed
from tests.pure.small_sweep import small_sweep
from tests.ray_local.stage_paths import training
from trainables.dispatcher import close, start_dispatcher
from trainables.faults import Invalid
from trainables.gangs import GangKind, Gangs
from trainables.scores import Failed, event_from_json
from trainables.settings import Precision

ROOT = Path(__file__).parents[2]


def test_a_gang_on_a_machine_that_lacks_the_storage_trains_nothing_and_the_sweep_stops_with_the_reason(
    cluster, tmp_path
):
    (tmp_path / "sweeps/small").mkdir(parents=True)
    with posed(small_sweep(), str(tmp_path)) as question:
        question = replace(question, storage=str(tmp_path / "another"))
        handle = start_dispatcher(
            Gangs(kind=GangKind.REHEARSAL), store=tmp_path, cache=tmp_path, name="lacking", question=question
        )
        try:
            ticket = ray.get(handle.submit.remote("trial", [training("text_nli", "").to_json()]))
            event = event_from_json(ray.get(handle.next_events.remote("trial", ticket))[-1])
            assert isinstance(event, Failed) and event.of_machine
            assert "another' as the driver does, got a place without the driver's file" in event.reason
            assert ray.get(handle.status.remote())["executed"] == 0
        finally:
            close(handle)


@pytest.mark.killed
@pytest.mark.timeout(300)
def test_a_gang_that_a_machine_cannot_run_waits_for_the_next_that_joins_and_is_never_placed_on_the_first_again(
    tmp_path,
):
    words = [sys.executable, "-m", "tests.ray_local.two_machines", str(tmp_path)]
    alone = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"RAY_AUTH_MODE": "disabled"}
    answer = subprocess.run(words, cwd=ROOT, env=alone, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout.splitlines()[-1])
    (notice,) = said["notices"]
    assert notice.startswith("gang-0 cannot run on ") and notice.endswith("; no gang is tried there again")
    assert "it must see '~/storage' as the driver does, got a place without the driver's file" in notice
    assert said["waited"].startswith("for machines: a gang asks for 1 workers of 1 CPU, got room for 0 ")
    assert said["waited"].endswith("; 1 more cannot take part")
    assert said["on"] == {"gang-0": [said["nodes"]["good"]], "gang-1": []}
    assert (said["failed"], said["lost"]) == (0, 0)


def test_the_notice_of_a_cloud_finds_the_node_of_this_machine(cluster):
    context = ray.get_runtime_context()
    assert nodes_here(context.gcs_address) == [context.get_node_id()]
    assert nodes_here("192.0.2.1:6379") == []


def test_a_head_without_a_gpu_does_not_decide_the_precision_of_gpus_that_are_yet_to_come(cluster, tmp_path):
    sweep = small_sweep()
    gangs = Gangs(gpus_per_worker=1.0, elastic=True)
    stated = replace(sweep.target_settings, precision=Precision.BFLOAT16)
    unstated = replace(sweep.target_settings, precision=Precision.AUTO)
    (tmp_path / "sweeps/small").mkdir(parents=True)
    with posed(sweep, str(tmp_path)) as question:
        with pytest.raises(Invalid, match=r"target_settings must state its precision, got Precision\.AUTO on a head"):
            call_roll(replace(sweep, gangs=gangs, target_settings=unstated, intermediate_settings=stated), question)
        call_roll(replace(sweep, gangs=gangs, target_settings=stated, intermediate_settings=stated), question)
