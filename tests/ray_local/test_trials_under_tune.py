"""Claims about trials under Ray Tune: every one ends, and gangs outlive failures and whole Tuner runs."""

from __future__ import annotations

import pytest
import ray
from ray import tune

from tests.ray_local.stage_paths import path
from trainables.dispatcher import close, start_dispatcher
from trainables.gang import HEAD
from trainables.gangs import GangKind, Gangs
from trainables.scores import Done, Failed, event_from_json
from trainables.trial import TransferTrial

DISPATCHER = "trials"


@pytest.fixture(scope="module")
def dispatcher(cluster, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trials")
    gangs = Gangs(count=2, kind=GangKind.REHEARSAL)
    handle = start_dispatcher(gangs, store=folder / "store", cache=folder / "cache", name=DISPATCHER)
    yield handle
    close(handle)


def configs(names: dict[str, dict]) -> dict:
    points = [
        {"trial_key": key, "path": [stage.to_json() for stage in path(**given)], "dispatcher": DISPATCHER}
        for key, given in names.items()
    ]
    return {"point": tune.grid_search(points)}


class Unpacked(TransferTrial):
    """A trial whose config lies one level down, as a grid of whole points needs."""

    def setup(self, config):
        super().setup(config["point"])

    def reset_config(self, new_config):
        return super().reset_config(new_config["point"])


def run(names: dict[str, dict], folder) -> tune.ResultGrid:
    tuner = tune.Tuner(
        tune.with_resources(Unpacked, tune.PlacementGroupFactory([HEAD])),
        param_space=configs(names),
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    )
    return tuner.fit()


@pytest.mark.timeout(120)
def test_gangs_outlive_failing_trials_and_a_second_tuner_run(dispatcher, tmp_path):
    search = run({f"search-{seed}": {"seed": seed} for seed in range(3)} | {"bad": {"then": "this_fails"}}, tmp_path)
    confirmation = run({f"confirmation-{seed}": {"seed": 100 + seed} for seed in range(2)}, tmp_path)
    again = run({"search-0": {"seed": 0}}, tmp_path)

    assert [result.error for grid in (search, confirmation, again) for result in grid] == [None] * 7
    lasts = {result.config["point"]["trial_key"]: event_from_json(result.metrics["events"][-1]) for result in search}
    assert isinstance(lasts.pop("bad"), Failed)
    assert all(isinstance(last, Done) for last in lasts.values())
    assert [result.metrics["step"] for result in confirmation] == [20, 20]
    assert all(0 < result.metrics["score"] < 1 for result in confirmation)
    assert all(event_from_json(text).reused for text in again[0].metrics["events"])

    status = ray.get(dispatcher.status.remote())
    assert (status["gangs_started"], status["gangs_restarted"]) == (2, 0)
    assert (status["waiting"], status["running"], status["queued"]) == ([], {}, 0)
