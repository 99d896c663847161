"""Finding the sweep that a user names: a preset, or a Python file that defines one; runs nothing else."""

from __future__ import annotations

import inspect
import linecache
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from search_spaces import Cell, Choice, Integers, LogRange, Range, Simplex, Space, transfer_grid
from sweep.definition import Preparation, Sweep
from sweep.presets import PRESETS, SUITES
from sweep.search import PRUNERS, SAMPLERS, Budget, ExpectedGain, Search
from trainables.catalogue.encoder import (
    Encoder,
    HubEncoder,
    LocalEncoder,
    Patches,
    PlantedAlignment,
    SmallEncoder,
    Tower,
)
from trainables.catalogue.lab import visual_nli
from trainables.catalogue.own_texts import sentence_task, word_pair_task
from trainables.catalogue.task import LabSource, ParquetSource, Split, Task
from trainables.catalogue.xtreme_m import parquet_task, text_pair_task, xvnli, xvnli_text_proxy
from trainables.faults import Invalid, nearest
from trainables.gangs import Gangs
from trainables.settings import LoRA, Settings

#: What definitions are written with; Python names the wrong keyword of a call, but not the right one.
_CALLED = (
    *(Cell, Choice, Encoder, Gangs, LabSource, LocalEncoder, LogRange, LoRA, ParquetSource, Patches, PlantedAlignment),
    *(Budget, ExpectedGain, Integers, *PRUNERS, *SAMPLERS),
    *(Preparation, Range, Search, Settings, Simplex, SmallEncoder, Space, Split, Sweep, Task),
    *(HubEncoder, Tower, parquet_task, text_pair_task, transfer_grid, visual_nli, xvnli, xvnli_text_proxy),
    *(sentence_task, word_pair_task),
)


class Unreadable(ValueError):
    """What the user named defines no sweep; the message says why and what to do."""


def load(name_or_file: str) -> Sweep:
    """The sweep of that name, a preset or one of a suite, or of a definition file's path.

    A file must hold exactly one `Sweep` among its variables, or one called `sweep`.

    Raises:
        Unreadable: where there is no such preset, no such file, no sweep in it, or the file raises.
    """
    if name_or_file in PRESETS:
        return PRESETS[name_or_file]()
    members = {sweep.name: sweep for suite in SUITES.values() for sweep in suite().sweeps}
    if name_or_file in members:
        return members[name_or_file]
    if name_or_file in SUITES:
        raise Unreadable(
            f"{name_or_file} is a suite of sweeps, of which this command wants one: "
            f"{', '.join(name for name in members if name.startswith(name_or_file))}"
        )
    path = Path(name_or_file)
    if path.suffix != ".py":
        raise Unreadable(
            f"a sweep must be the name of a preset, of a suite or of a suite's sweep, or the path of a .py file, got "
            f"{name_or_file!r}; {nearest(name_or_file, (*PRESETS, *SUITES, *members))}"
        )
    if not path.is_file():
        raise Unreadable(f"the definition file must exist, got {name_or_file!r}; check the path (from {Path.cwd()})")
    return _sweep_of(_execute(path), path)


def _execute(path: Path) -> ModuleType:
    module = ModuleType(f"definition_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # a dataclass of the definition looks its module up
    # Ray's workers never import the definition, so the module need not be importable by name.
    sys.path.insert(0, str(path.resolve().parent))
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except Invalid as error:
        raise Unreadable(f"{path}{_line(error, path)}: {error}") from error
    except (Exception, SystemExit) as error:
        reason = "".join(traceback.format_exception_only(error)).strip() + _hint(error)
        raise Unreadable(
            f"the definition file must run without an error, got {path}{_line(error, path)}: {reason}"
        ) from error
    finally:
        sys.path.pop(0)
    return module


def _line(error: BaseException, path: Path) -> str:
    """Where in the file the error came from: `, line 12 (…)`."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = frames[-1].lineno if frames else getattr(error, "lineno", None)
    if line is None:
        return ""
    text = linecache.getline(str(path), line).strip()
    return f", line {line} ({text})" if text else f", line {line}"


def _hint(error: BaseException) -> str:
    """The nearest right name, where the error is about a wrong one."""
    text = str(error)
    if found := re.match(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'", text):
        called = next((thing for thing in _CALLED if thing.__name__ == found[1]), None)
        return f"; {nearest(found[2], inspect.signature(called).parameters)}" if called else ""
    if found := re.match(r"cannot import name '(\w+)' from '([\w.]+)'", text):
        return f"; {_nearest_in(sys.modules.get(found[2]), found[1])}"
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType | type) and error.name:
        return f"; {_nearest_in(error.obj, error.name)}"
    return ""


def _nearest_in(place: object, name: str) -> str:
    return nearest(name, (known for known in getattr(place, "__all__", dir(place)) if not known.startswith("_")))


def _sweep_of(module: ModuleType, path: Path) -> Sweep:
    found = {name: value for name, value in vars(module).items() if isinstance(value, Sweep)}
    if "sweep" in found:
        return found["sweep"]
    if len({id(value) for value in found.values()}) != 1:
        what = f"{len(found)} of them ({', '.join(sorted(found))})" if found else "none"
        raise Unreadable(
            f"{path} must define one Sweep, or one called 'sweep', got {what}; name the one to run 'sweep'"
        )
    return next(iter(found.values()))
