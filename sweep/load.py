"""Finding the sweep that a user names: a preset, or a Python file that defines one; runs nothing else."""

from __future__ import annotations

import linecache
import sys
import traceback
from pathlib import Path
from types import ModuleType

from sweep.definition import Sweep
from sweep.presets import PRESETS
from trainables.faults import Invalid, nearest


class Unreadable(ValueError):
    """What the user named defines no sweep; the message says why and what to do."""


def load(name_or_file: str) -> Sweep:
    """The sweep of a preset's name or of a definition file's path.

    A file must hold exactly one `Sweep` among its variables, or one called `sweep`.

    Raises:
        Unreadable: where there is no such preset, no such file, no sweep in it, or the file raises.
    """
    if name_or_file in PRESETS:
        return PRESETS[name_or_file]()
    path = Path(name_or_file)
    if path.suffix != ".py":
        raise Unreadable(
            f"a sweep must be a preset's name or the path of a .py file, got {name_or_file!r}; "
            f"{nearest(name_or_file, PRESETS)}"
        )
    if not path.is_file():
        raise Unreadable(f"the definition file must exist, got {name_or_file!r}; check the path (from {Path.cwd()})")
    return _sweep_of(_execute(path), path)


def _execute(path: Path) -> ModuleType:
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    # Ray's workers never import the definition, so the module need not be importable by name.
    sys.path.insert(0, str(path.resolve().parent))
    try:
        exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    except Invalid as error:
        raise Unreadable(f"{path}{_line(error, path)}: {error}") from error
    except (Exception, SystemExit) as error:
        reason = "".join(traceback.format_exception_only(error)).strip()
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
