"""Directories of models: a local one as it is, one of the hub from this machine's copy; loads none."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from trainables.catalogue.encoder import HubEncoder, LocalEncoder
from trainables.data.fetching import NotFetched, NotOnHub, copy_of, fetched
from trainables.data.model_files import configuration, is_tower, missing
from trainables.faults import Invalid

#: Files of a model repository that decide what the model computes.
MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.txt")


def model_folder(model: LocalEncoder | HubEncoder) -> Path:
    """The directory of a model, fetched from the hub only where this machine has no copy of it.

    Raises:
        Invalid: where there is no such repository or revision, or neither a copy nor a connection.
    """
    if isinstance(model, LocalEncoder):
        return Path(model.path).expanduser()
    return _snapshot(model.repository, model.revision)


@lru_cache(maxsize=32)
def _snapshot(repository: str, revision: str) -> Path:
    here = _copy(repository, revision)
    if here is not None:
        return here
    try:
        return fetched(repository, revision, kind="model", patterns=list(MODEL_FILES))
    except NotFetched as error:
        fault = f"revision {revision!r} must be on the hub or in this machine's copy of it, got {error}"
        if not isinstance(error, NotOnHub):
            fault += f"; or run `hf download {repository} --revision {revision}` where there is a connection"
        raise Invalid(f"model {repository!r}", [fault]) from error


def local_copy(model: LocalEncoder | HubEncoder) -> Path | None:
    """The directory of a model on this machine, or None; asks no other."""
    if isinstance(model, LocalEncoder):
        return Path(model.path).expanduser()
    return _copy(model.repository, model.revision)


def lacking(model: HubEncoder) -> tuple[str, ...]:
    """What this machine's copy of a model cannot be read without; empty where there is none, or it is whole."""
    return _lacking(_folder(model.repository, model.revision))


def _copy(repository: str, revision: str) -> Path | None:
    """This machine's copy, if it is whole: another program may have fetched the tokenizer or the weights alone."""
    folder = _folder(repository, revision)
    return None if _lacking(folder) else folder


def _folder(repository: str, revision: str) -> Path | None:
    """What this machine has of a model, if it is all that the hub is known to have of it."""
    return copy_of(repository, revision, kind="model", patterns=list(MODEL_FILES))


def _lacking(folder: Path | None) -> tuple[str, ...]:
    return tuple(missing(folder, tower=is_tower(configuration(folder)))) if folder else ()
