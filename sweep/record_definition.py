"""The definition that a storage folder holds for a sweep, and whether another may go on under the same name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pyarrow.fs as pafs

from sweep import budget
from sweep.definition import Sweep
from sweep.points import extent, search_trials, untrained_shares
from sweep.search import searched_by
from trainables.canonical import encode
from trainables.catalogue.encoder import LocalEncoder
from trainables.catalogue.task import PublishedSource, Task
from trainables.faults import Invalid, refuse
from trainables.selectors import Selector
from trainables.stages import as_read
from trainables.whole_files import put_whole

FILE = "definition.json"

#: What sweeps did whose definitions do not say it: they are older than the choice.
BEFORE_SELECTORS = {"selector": str(Selector.LAST_STEP), "checkpoints": 1}

#: Fields whose change asks for more work but makes nothing that is there wrong.
_MAY_GROW = ("budget", "cells", "confirmation_seeds", "gangs", "search", "space", "storage_limit_bytes")


#: What of the gangs is part of every digest.
_SHAPE = ("workers", "threads", "gpus_per_worker", "kind")

#: Fields that a look at the files fills in, each with what leaves it open; of data also where they lie.
_LEFT_OPEN = {"fingerprint": ("",), "revision": ("", "main")}
_OF_DATA = frozenset({"path", "images", "folders", "download"})


def refuse_other(
    sweep: Sweep, filesystem: pafs.FileSystem, root: str, absent: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Refuse a definition where the ledger of that name was made from another.

    Cells whose data are or were absent are not compared: no trial was made of what their definition says.

    Raises:
        Invalid: naming every field that differs.
    """
    path = _path(sweep, root)
    new = encode(sweep)
    if filesystem.get_file_info(path).type == pafs.FileType.File:
        stated = read(filesystem, path)
        if "published" in stated["definition"]:
            fault = f"its name must be free, got that of numbers imported from {stated['definition']['published']}"
            raise Invalid(f"sweep {sweep.name!r}", [f"{fault}; name it otherwise, or run it in another storage"])
        gone = {*absent, *(cell["name"] for cell in stated["cells"] if cell.get("absent"))}
        old = _comparable(stated["definition"])
        kept = {name: value for name, value in old.items() if name not in {f"cell {cell!r}" for cell in gone}}
        refuse(f"sweep {sweep.name!r}", _differences(kept, _comparable(new)))


def is_same_but_for_files(stated: dict[str, Any], sweep: Sweep) -> bool:
    """Whether a `definition.json` is of this sweep, wherever the files of its data lie and whatever they hold.

    A model is another at another path, and at another revision than one that the sweep states.
    """
    stored, asked = stated.get("definition"), encode(sweep)
    if not isinstance(stored, dict) or "published" in stored:
        return False
    return _fits(_with_shape_alone(stored), _with_shape_alone(asked))


def _with_shape_alone(definition: dict[str, Any]) -> dict[str, Any]:
    return definition | {"gangs": {name: definition.get("gangs", {}).get(name) for name in _SHAPE}}


def _fits(stored: Any, asked: Any) -> bool:
    """Whether two JSON forms are equal but for what the second leaves to a look at the files."""
    if isinstance(stored, dict) and isinstance(asked, dict):
        passed = frozenset() if asked.get("type") == LocalEncoder.__name__ else _OF_DATA
        return stored.keys() == asked.keys() and all(
            name in passed or value in _LEFT_OPEN.get(name, ()) or _fits(stored[name], value)
            for name, value in asked.items()
        )
    if isinstance(stored, list) and isinstance(asked, list):
        return len(stored) == len(asked) and all(map(_fits, stored, asked))
    return stored == asked


def read(filesystem: pafs.FileSystem, path: str) -> dict[str, Any]:
    """What a `definition.json` says.

    Raises:
        Invalid: where it is damaged.
    """
    with filesystem.open_input_stream(path) as stream:
        text = stream.read()
    try:
        return json.loads(text)
    except ValueError as error:
        fault = f"it must be JSON, got {len(text)} bytes that are not ({error})"
        raise Invalid(f"the definition {path}", [f"{fault}; delete it, and `sweep run` it again"]) from error


def keep(
    sweep: Sweep,
    filesystem: pafs.FileSystem,
    root: str,
    absent: Mapping[str, str] = MappingProxyType({}),
    remarks: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the definition with the reasons of its absent cells and what is to be known of the data that cells read,
    or refuse it as `refuse_other` does.

    Raises:
        Invalid: naming every field that differs.
    """
    refuse_other(sweep, filesystem, root, absent)
    path, new = _path(sweep, root), encode(sweep)
    filesystem.create_dir(path.rpartition("/")[0], recursive=True)
    text = json.dumps(
        {**described(sweep, absent, remarks), "definition": new}, sort_keys=True, indent=1, ensure_ascii=False
    )
    put_whole(filesystem, path, text.encode())


def _path(sweep: Sweep, root: str) -> str:
    return f"{root.rstrip('/')}/sweeps/{sweep.name}/{FILE}"


def described(
    sweep: Sweep,
    absent: Mapping[str, str] = MappingProxyType({}),
    remarks: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """What a reader needs of a definition without this package."""
    test = sweep.target.split("test")
    parameters = {name for cell in sweep.cells for name in sweep.parameters(cell)}
    return {
        "name": sweep.name,
        "target": sweep.target.name,
        "metric": sweep.target.score_names[0],
        "remark": "; ".join(text for text in (sweep.target.remark, _oracle_remark(sweep)) if text),
        "selector": str(sweep.selector),
        "languages": list(test.languages if test else ()),
        "seeds": list(sweep.confirmation_seeds),
        "parameters": sorted(parameters),
        "budget": budget.described(sweep),
        "cells": [
            {
                "name": cell.name,
                "role": str(cell.role),
                "intermediates": [task.name for task in cell.intermediates],
                "learned_from": (learned := cell.learned_from or sweep.target.teacher).name,
                "dev_metric": learned.score_names[0],
                "learned_in": list(train.languages if (train := learned.split("train")) else ()),
                "trials": search_trials(sweep, cell),
                "searched_by": searched_by(sweep.search, cell, sweep.parameters(cell).values()),
                "extent": encode(extent(sweep, cell)),
                "absent": absent.get(cell.name, ""),
                "remark": "; ".join(filter(None, (remarks.get(cell.name), untrained_shares(sweep, cell)))),
            }
            for cell in sweep.cells
        ],
    }


def _oracle_remark(sweep: Sweep) -> str:
    """What stands beside every number that target-language labels have chosen."""
    return "checkpoints chosen by target-language labels (oracle)" if sweep.selector is Selector.ORACLE else ""


def _comparable(definition: dict[str, Any]) -> dict[str, Any]:
    """The fields that decide what a trial is; those of the search that decide which point a number stands for."""
    fixed = BEFORE_SELECTORS | {
        name: _without_tests(value) for name, value in definition.items() if name not in _MAY_GROW
    }
    target = definition["target"]
    fixed["target"] = _without_test(target, is_trained_on=not target.get("learned_from"))
    search = {f"search.{name}": definition["search"][name] for name in ("seed", "fan_out", "pruner")}
    shape = {f"gangs.{name}": definition["gangs"][name] for name in _SHAPE}
    cells = {f"cell {cell['name']!r}": _without_tests(cell) for cell in definition["cells"]}
    return fixed | search | shape | cells


def _without_tests(value: Any) -> Any:
    """A part of a definition with each of its tasks without what no training reads."""
    if isinstance(value, dict):
        if value.get("type") == Task.__name__:
            return _without_test(value)
        return {name: _without_tests(item) for name, item in value.items()}
    return [_without_tests(item) for item in value] if isinstance(value, list) else value


def _without_test(task: dict[str, Any], *, is_trained_on: bool = True) -> dict[str, Any]:
    """A task without what no training reads: another test language is evaluated, and nothing is trained anew.

    Of a target that is learned from another task, or not at all, no training reads a row. Of published files, pins and
    places of repositories that training reads nothing of are left out; their fingerprint covers all splits, and stays.
    """
    is_trained_on = is_trained_on and any(split["name"] == "train" for split in task["splits"])
    reads = ("train", "dev") if is_trained_on else ()
    read = as_read(task, reads)
    if task.get("learned_from"):
        read["learned_from"] = _without_test(task["learned_from"])
    source = read["source"]
    if source["type"] != PublishedSource.__name__:
        return read
    parts = {name: [part for part in source[name] if part["split"] in reads] for name in ("parts", "instead")}
    repositories = {part["repository"] for some in parts.values() for part in some}
    named = {name: [one for one in source.get(name, ()) if one[0] in repositories] for name in ("revisions", "folders")}
    unread = {} if repositories else {"fingerprint": ""}
    return {**read, "source": {**source, **parts, **named, **unread}}


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for name in sorted(set(old) & set(new)):
        if old[name] != new[name]:
            where, was, now = _first_difference(name, old[name], new[name])
            yield (
                f"{where} must be what it was when this sweep began: {_short(was)}, got {_short(now)}; "
                "give the sweep another name, or another storage (finished stages are found again in the same one)"
            )


def _first_difference(where: str, old: Any, new: Any) -> tuple[str, Any, Any]:
    """The path to what differs, and both values there: as far down as it is one thing alone."""
    if isinstance(old, dict) and isinstance(new, dict):
        differing = [(f"{where}.{key}", key) for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
        if len(differing) == 1 and (key := differing[0][1]) in old and key in new:
            return _first_difference(differing[0][0], old[key], new[key])
        picked = [key for _, key in differing]
        return where, {key: old.get(key) for key in picked}, {key: new.get(key) for key in picked}
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        places = [place for place, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]]
        if len(places) == 1:
            return _first_difference(f"{where}[{places[0]}]", old[places[0]], new[places[0]])
    return where, old, new


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}…"
