"""Whether the same item is the same in every language: its id, its label, its image; reads no file."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping

#: At most so many items are named for one fault.
_SHOWN = 3

#: Language → item id → (label, image), each in any form that compares.
Items = Mapping[str, Mapping[str, tuple[Hashable, Hashable]]]


def items_of(
    ids: Iterable[str], languages: Iterable[str], labels: Iterable[Hashable], images: Iterable[Hashable]
) -> Items:
    """The columns of a table by language and item, languages in the order of their first rows."""
    found: dict[str, dict[str, tuple[Hashable, Hashable]]] = {}
    for item, language, label, image in zip(ids, languages, labels, images, strict=True):
        found.setdefault(language, {})[item] = (label, image)
    return found


def parallel_faults(split: str, items: Items) -> Iterator[str]:
    """How the other languages differ from the first one, where there is one."""
    first, *others = items or ("",)
    for language in others:
        here, there = items[first], items[language]
        if apart := sorted(here.keys() ^ there.keys()):
            yield (
                f"split {split!r}: the ids of {language!r} must be those of {first!r}, got {len(apart)} in only "
                f"one of them ({_some(apart)}); the same item needs the same id in every language"
            )
        both = sorted(here.keys() & there.keys())
        for place, what in enumerate(("label", "image")):
            if differing := [item for item in both if here[item][place] != there[item][place]]:
                yield (
                    f"split {split!r}: an item must have the same {what} in every language, got {len(differing)} of "
                    f"{len(both)} in {language!r} that differ from {first!r} ({_some(differing)}); are its rows in "
                    "another order? Give each the id of the item that it translates"
                )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
