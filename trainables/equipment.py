"""What a machine must have to take part in a sweep, and what of it this one lacks; asks no other machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainables.machine import numeric_versions
from trainables.places import is_final
from trainables.store import Store


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a machine is asked; every part is a plain value."""

    storage: str
    probe: str
    """Where in the storage the driver has put a file."""
    token: str
    """The content of that file."""
    versions: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, int], ...]
    """Files that stages read, as (path, bytes)."""


_ADVICE = "use a storage that every machine sees: s3://…, gs://… or a network folder"


def answer(question: Question) -> list[str]:
    """What this machine lacks of that, each fault with what to change; a storage that does not answer is one too."""
    try:
        return lacks(question)
    except OSError as error:
        return [_unwritable(question, error), *_version_faults(question), *_file_faults(question)]


def lacks(question: Question) -> list[str]:
    """What this machine lacks of that until somebody changes it, each fault with what to change.

    Raises:
        OSError: where the storage does not answer, or is full: that may pass.
    """
    return [*_storage_faults(question), *_version_faults(question), *_file_faults(question)]


def _storage_faults(question: Question) -> Iterator[str]:
    try:
        store = Store(question.storage)
        with store.filesystem.open_input_stream(f"{store.root}/{question.probe}") as stream:
            seen = stream.read().decode()
        if seen != question.token:
            yield f"it must read from {question.storage!r} what the driver wrote there, got other content; {_ADVICE}"
        store.check_writable()
    except FileNotFoundError:
        yield f"it must see {question.storage!r} as the driver does, got a place without the driver's file; {_ADVICE}"
    except (OSError, ValueError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and not is_final(cause):
            raise cause from None
        yield _unwritable(question, error)


def _unwritable(question: Question, error: OSError | ValueError) -> str:
    reason = str(error).strip().splitlines()[-1]
    return f"it must write to {question.storage!r}, got {reason}; check its credentials, or {_ADVICE}"


def _version_faults(question: Question) -> Iterator[str]:
    here = dict(numeric_versions())
    for name, version in question.versions:
        if here.get(name) != version:
            yield (
                f"{name} must be the driver's, {version}, got {here.get(name)}: other versions make other numbers; "
                "`ray up` the cluster again with this checkout"
            )


def _file_faults(question: Question) -> Iterator[str]:
    for path, size in question.files:
        try:
            found = Path(path).stat().st_size
        except OSError:
            yield (
                f"{path} must be there, got no such file: it is on the driver's machine only; put it in a folder that "
                "all machines see, or name it under file_mounts in the cluster's configuration and `ray up` again"
            )
            continue
        if found != size:
            yield f"{path} must be the driver's, of {size} bytes, got one of {found}; copy it there anew"
