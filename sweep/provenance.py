"""Where the numbers of a sweep come from: machine, versions and code of each run; holds no result."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from trainables.machine import graphics_processors, numeric_versions, processors
from trainables.whole_files import put_whole

#: One JSON file for each time that the sweep was run, beside its ledger.
FOLDER = "runs"


def here() -> dict[str, Any]:
    """What can be said of this process: its machine, its libraries and the commit of this package."""
    ray = {"ray": metadata.version("ray")}
    return {
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "processors": processors(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": graphics_processors(),
        "libraries": dict(numeric_versions()) | ray | {"optuna": metadata.version("optuna")},
        "transfer_sweep": _own_version(),
        "commit": _commit(),
    }


def keep(filesystem: pafs.FileSystem, root: str, sweep: str) -> None:
    """Write what there is to say of this run beside the sweep's ledger."""
    folder = f"{root.rstrip('/')}/sweeps/{sweep}/{FOLDER}"
    filesystem.create_dir(folder, recursive=True)
    stated = here()
    name = stated["began"].replace(":", "").replace("+0000", "")
    put_whole(filesystem, f"{folder}/{name}-{os.getpid()}.json", json.dumps(stated, indent=1).encode())


def runs(filesystem: pafs.FileSystem, root: str, sweep: str) -> list[dict[str, Any]]:
    """What earlier runs of the sweep left, oldest first."""
    selector = pafs.FileSelector(f"{root.rstrip('/')}/sweeps/{sweep}/{FOLDER}", allow_not_found=True)
    found = []
    for entry in sorted(filesystem.get_file_info(selector), key=lambda entry: entry.base_name):
        if entry.base_name.endswith(".json"):
            with filesystem.open_input_stream(entry.path) as stream:
                found.append(json.loads(stream.read()))
    return found


def _own_version() -> str:
    try:
        return metadata.version("transfer-sweep")
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """The commit that this package's files are at, with a `+` where they differ from it; empty outside a checkout."""
    folder = Path(__file__).parents[1]
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
