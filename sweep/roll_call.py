"""Asking every machine of a cluster whether it can do its part, before anything trains; trains nothing."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sweep.absence import tasks_of
from sweep.definition import Sweep
from trainables.canonical import encode
from trainables.catalogue.files import LANGUAGE
from trainables.catalogue.task import PublishedSource
from trainables.equipment import Question, answer
from trainables.faults import refuse
from trainables.gangs import Gangs, machines_in_words
from trainables.machine import numeric_versions
from trainables.settings import Precision
from trainables.store import Store
from trainables.whole_files import put_whole

#: How long a machine may take to answer; a first process on it loads Ray and pyarrow.
_ANSWER_SECONDS = 180.0

#: Where `ray up` leaves its configuration on the head.
CONFIG = "~/ray_bootstrap_config.yaml"

#: The operator of Ray on Kubernetes gives this to every container.
KUBERNETES = "RAY_USAGE_STATS_KUBERAY_IN_USE"

_WIDER = "use smaller workers, or larger machines: `sweep cluster --for` writes a configuration that has them"


@contextmanager
def posed(sweep: Sweep, storage: str) -> Iterator[Question]:
    """What every machine is asked before it trains for this sweep; answers are right for as long as the block lasts."""
    store = Store(storage)
    probe, token = f"sweeps/{sweep.name}/probe", uuid.uuid4().hex
    place = f"{store.root}/{probe}"
    put_whole(store.filesystem, place, token.encode())
    try:
        yield Question(
            storage=store.uri, probe=probe, token=token, versions=numeric_versions(), files=tuple(_files(sweep))
        )
    finally:
        with suppress(OSError):
            store.filesystem.delete_file(place)


def call_roll(sweep: Sweep, question: Question) -> None:
    """Ask every machine that is there and on which a gang can be placed, but the driver's.

    Machines that join later are asked by the first gang that starts on them.

    Raises:
        Invalid: naming every machine that cannot take part, what it lacks and what to do.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"]]
    machines, to_come = [node["Resources"] for node in nodes], machines_to_come()
    faults = placing_faults(sweep.gangs, machines, to_come, may_grow=may_grow(to_come))
    refuse("the gangs of this sweep", faults)
    mine = ray.get_runtime_context().get_node_id()
    refuse("the precision of this sweep", _precision_faults(sweep, nodes, mine))
    working = [node for node in nodes if node["NodeID"] != mine and node["Resources"].get("CPU", 0) > 0]
    if not working:
        return
    asked = {
        ray.remote(answer)
        .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
        .remote(question): node
        for node in working
    }
    ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=_ANSWER_SECONDS)
    heard = [(asked[reference], _heard(reference)) for reference in ready]
    heard += [(asked[one], [f"it must answer within {_ANSWER_SECONDS:g} s, got nothing"]) for one in late]
    refuse("the cluster", cluster_faults(heard, living={node["NodeID"] for node in ray.nodes() if node["Alive"]}))


def cluster_faults(heard: Iterable[tuple[dict[str, Any], list[str]]], *, living: Set[str]) -> list[str]:
    """The faults of the machines, each once with the addresses of all that have it.

    A machine that is gone by now will train nothing, so it is no matter what it lacked or why it did not answer.
    """
    where: dict[str, list[str]] = {}
    for node, faults in heard:
        for fault in faults if node["NodeID"] in living else ():
            where.setdefault(fault, []).append(node["NodeManagerAddress"])
    return [f"{', '.join(sorted(addresses))}: {fault}" for fault, addresses in sorted(where.items())]


def _heard(reference: Any) -> list[str]:
    import ray

    try:
        return ray.get(reference)
    except Exception as error:  # whatever keeps a machine from answering is the answer
        said = str(error).strip().splitlines()
        return [f"it must run this project, got {said[-1] if said else type(error).__name__}; `ray up` it again"]


def _files(sweep: Sweep) -> Iterator[tuple[str, int]]:
    """The files behind every fingerprint of the definition."""
    files = _published(sweep)
    for path in _places(encode(sweep)):
        for place in _matching(path):
            files += [place] if place.is_file() else sorted(place.glob("*"))
    for file in dict.fromkeys(files):
        if file.is_file():
            yield str(file), file.stat().st_size


def _matching(path: str) -> list[Path]:
    """What a path names: a file for each language, or several of one split, where it is a pattern."""
    place = Path(path.replace(LANGUAGE, "*"))
    if "*" not in str(place):
        return [place]
    return sorted(Path(place.anchor).glob(str(place.relative_to(place.anchor))))


def _published(sweep: Sweep) -> list[Path]:
    """The files of published data sets that were found on the driver's machine."""
    from trainables.data.places import chosen

    sources = [task.source for task in tasks_of(sweep) if isinstance(task.source, PublishedSource)]
    return [path for source in sources for parts in chosen(source).values() for _, paths in parts for path in paths]


def _places(value: Any) -> Iterator[str]:
    """The paths that stand beside a fingerprint."""
    if isinstance(value, dict):
        if value.get("fingerprint"):
            yield from (text for text in value.values() if isinstance(text, str) and os.sep in text)
        for item in value.values():
            yield from _places(item)
    elif isinstance(value, list):
        for item in value:
            yield from _places(item)


def placing_faults(
    gangs: Gangs,
    machines: Sequence[Mapping[str, float]],
    to_come: Sequence[Mapping[str, float]] | None = None,
    *,
    may_grow: bool = False,
) -> list[str]:
    """Why the workers of the gangs cannot be placed: a worker lies on one machine, whatever the machines sum up to.

    Gangs may wait for machines that are yet to come. `to_come` are the most that an autoscaler may rent, where those
    are known: all gangs must fit on them or on those that are there, of elastic ones one. Where the cluster `may_grow`
    by nobody knows what, or gangs are elastic, all wait.
    """
    if gangs.fits(cpus=0.0, gpus=0.0) == () or not gangs.asks:
        return []
    if gangs.elastic:
        if to_come is None or not gangs.waits_for(machines) or not (lacking := gangs.waits_for(to_come)):
            return []
        return [f"one must have room on the machines that the cluster may rent, got one that waits {lacking}; {_WIDER}"]
    needed, room = gangs.count * gangs.workers, gangs.room(machines)
    rented = gangs.room(to_come) if to_come else 0
    if max(room, rented) >= needed or (to_come is None and may_grow):
        return []
    fitting = max(room, rented) // gangs.workers
    found = f"room for {room} workers ({machines_in_words(machines)})"
    if to_come:
        found += f", and for {rented} on those that the cluster may rent ({machines_in_words(to_come)})"
    advice = f"use count={fitting}" if fitting else "use smaller workers or larger machines"
    return [
        f"{gangs.count} gangs × {gangs.workers} workers must fit on the machines, {gangs.worker_in_words} each, got "
        f"{found}; {advice}, or elastic=True for gangs that wait for more"
    ]


def may_grow(to_come: Sequence[Mapping[str, float]] | None) -> bool:
    """Whether somebody starts machines for gangs that have no room: `ray up`'s autoscaler, or that of Kubernetes, of
    which it is not known what it starts.
    """
    return bool(to_come) if to_come is not None else KUBERNETES in os.environ


def machines_to_come(config: Path = Path(CONFIG)) -> list[dict[str, float]] | None:
    """What each machine has that the autoscaler of `ray up` may rent, the largest first; None where nobody knows."""
    import yaml

    try:
        stated = yaml.safe_load(config.expanduser().read_text())
        kinds = [
            (kind["resources"], min(kind.get("max_workers", stated["max_workers"]), stated["max_workers"]))
            for name, kind in stated["available_node_types"].items()
            if name != stated["head_node_type"]
        ]
    except (OSError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return None
    if any(not resources for resources, _ in kinds):  # machines of one's own, of which it states nothing
        return None
    found = [resources for resources, most in kinds for _ in range(most)]
    found.sort(key=lambda one: (one.get("GPU", 0), one.get("CPU", 0)), reverse=True)
    return found[: stated["max_workers"]]


def _precision_faults(sweep: Sweep, nodes: list[dict[str, Any]], mine: str) -> Iterator[str]:
    """`AUTO` is decided where the definition is read; a head without a GPU would decide it for GPUs it does not see."""
    here = next(node["Resources"] for node in nodes if node["NodeID"] == mine)
    if not sweep.gangs.gpus_per_worker or here.get("GPU", 0) > 0:
        return
    alignments = {f"align_images[{nth}]": one.settings for nth, one in enumerate(sweep.image_alignments)}
    prepared = {"pretrain": sweep.pretrain and sweep.pretrain.settings, **alignments}
    given = prepared | {"target_settings": sweep.target_settings, "intermediate_settings": sweep.intermediate_settings}
    for name, settings in given.items():
        if settings is not None and settings.precision is Precision.AUTO:
            yield (
                f"{name} must state its precision, got Precision.AUTO on a head without a GPU; use Precision.BFLOAT16 "
                "for GPUs from Ampere on, Precision.FLOAT32 for older ones"
            )
