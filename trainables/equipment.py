"""What a machine must have to take part in a sweep, and what of it this one lacks; asks no other machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainables.machine import numeric_versions
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


def answer(question: Question) -> list[str]:
    """What this machine lacks of that, each fault with what to change."""
    return [*_storage_faults(question), *_version_faults(question), *_file_faults(question)]


def _storage_faults(question: Question) -> Iterator[str]:
    advice = "use a storage that every machine sees: s3://…, gs://… or a network folder"
    try:
        store = Store(question.storage)
        with store.filesystem.open_input_stream(f"{store.root}/{question.probe}") as stream:
            seen = stream.read().decode()
        if seen != question.token:
            yield f"it must read from {question.storage!r} what the driver wrote there, got other content; {advice}"
        store.check_writable()
    except FileNotFoundError:
        yield f"it must see {question.storage!r} as the driver does, got a place without the driver's file; {advice}"
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        yield f"it must write to {question.storage!r}, got {reason}; check its credentials, or {advice}"


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
