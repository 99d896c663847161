"""A real gang of the dispatcher on a cluster of raylets of which one lacks the storage: prints what became of it.

    python -m tests.ray_local.two_machines FOLDER

Each raylet takes `~` for another folder, and only the good one's has the storage.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from sweep.roll_call import posed
from tests.pure.small_sweep import small_sweep
from tests.ray_local.fake_runner import FAKE
from tests.ray_local.stage_paths import training
from trainables.dispatcher import close, start_dispatcher
from trainables.gangs import Gangs

SECONDS = 120.0


def main(folder: Path) -> None:
    """The bad machine is there first, and alone; then the good one joins."""
    storage = folder / "good/storage"
    for path in (storage / "sweeps/small", folder / "bad"):
        path.mkdir(parents=True)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")

    def joined(name: str) -> str:
        node = cluster.add_node(num_cpus=1, env_vars=dict(os.environ) | {"HOME": str(folder / name)})
        return node.node_id

    with posed(small_sweep(), str(storage)) as question:
        bad = joined("bad")
        handle = start_dispatcher(
            Gangs(count=2, elastic=True, idle_seconds=3600.0),
            store=storage,
            cache=folder / "cache",
            name="two-machines",
            runner=FAKE,
            may_grow=True,
            question=replace(question, storage="~/storage"),
        )

        def status() -> dict[str, Any]:
            return ray.get(handle.status.remote())

        def submit(seed: int) -> None:
            stage = training("text_nli", "", seed=seed)
            ray.get(handle.submit.remote(f"trial-{seed}", [stage.to_json()]))

        submit(0)
        until(lambda: status()["notices"])
        waiting = until(lambda: [one["reason"] for one in status()["waiting"] if "take part" in one["reason"]])
        good = joined("good")
        until(lambda: status()["executed"] == 1)
        submit(1)
        until(lambda: status()["executed"] == 2)
        said = status()
        print(
            json.dumps(
                {
                    "notices": said["notices"],
                    "waited": waiting[0],
                    "nodes": {"bad": bad, "good": good},
                    "on": said["nodes"],
                    "failed": said["failed"],
                    "lost": said["lost"],
                }
            )
        )
        close(handle)
    ray.shutdown()
    cluster.shutdown()


def until(holds: Callable[[], Any]) -> Any:
    """What `holds()` gives as soon as it is true."""
    stop = time.monotonic() + SECONDS
    while not (found := holds()):
        assert time.monotonic() < stop
        time.sleep(0.2)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
