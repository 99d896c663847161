"""The data that a definition names, each with its source and its licence; reads no data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Source:
    """A task, where it comes from in words, and under which licence."""

    task: str
    origin: str
    licence: str
    languages: tuple[str, ...] = ()
    """Of its training split."""


def sources(definition: Any) -> tuple[Source, ...]:
    """Every task of a definition as `definition.json` holds it, wherever it stands, by name."""
    found: dict[str, Source] = {}

    def walk(value: Any) -> None:
        if isinstance(value, Mapping):
            if value.get("type") == "Task" or {"name", "source", "licence"} <= set(value):
                stated = {name: part for name, part in value["source"].items() if part not in ("", None)}
                name = str(value["name"])
                train = [part for part in value.get("splits", ()) if part.get("name") == "train"]
                languages = tuple(code for part in train for code in part.get("languages", ()))
                found[name] = Source(
                    task=name, origin=in_words(stated), licence=str(value["licence"]), languages=languages
                )
            for part in value.values():
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)

    walk(definition)
    return tuple(found[name] for name in sorted(found))


def in_words(value: Any) -> str:
    """A value of a definition in one line."""
    if isinstance(value, Mapping):
        return _published(value) if "parts" in value else ", ".join(_named(value))
    if isinstance(value, list):
        return " ".join(map(in_words, value)) or "none"
    return "not stated" if value is None or value == "" else str(value)


def _named(values: Mapping[str, Any]) -> Iterator[str]:
    for name, part in sorted(values.items()):
        if isinstance(part, Mapping):
            yield f"{name} ({': '.join(filter(None, (part.get('type'), in_words(part))))})"
        elif name != "type" and part not in ("", None):
            yield f"{name} {in_words(part)}"


def _published(source: Mapping[str, Any]) -> str:
    """Repositories with the commits that they are pinned to, and the fingerprint of the files that were read."""
    revisions = dict(source.get("revisions", ()))

    def repositories(parts: str) -> str:
        names = dict.fromkeys(str(part["repository"]) for part in source.get(parts, ()))
        return ", ".join(
            f"{name}@{revisions[name]}" if name in revisions else f"{name} at any revision" for name in names
        )

    instead = repositories("instead")
    fingerprint = source.get("fingerprint")
    return "".join(
        (
            repositories("parts"),
            f"; where parts are absent {instead}" if instead else "",
            f"; fingerprint {fingerprint}" if fingerprint else "",
        )
    )
