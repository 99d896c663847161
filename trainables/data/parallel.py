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


def spoken_in(languages: Iterable[str], items: Items) -> Items:
    """The items of those languages alone, in their order."""
    return {language: items[language] for language in languages if language in items}


def parallel_faults(split: str, items: Items, first: Items | None = None) -> Iterator[str]:
    """How the languages of a split differ: in the ids that they have, and in the labels and images under one id.

    Labels and images are compared with those of `first` too, rows of another split, which may have other ids.
    """
    named, *others = items or ("",)
    for language in others:
        if apart := sorted(items[named].keys() ^ items[language].keys()):
            yield (
                f"split {split!r}: the ids of {language!r} must be those of {named!r}, got {len(apart)} in only "
                f"one of them ({_some(apart)}); the same item needs the same id in every language"
            )
    yield from differing(split, {**(first or {}), **items})


def differing(split: str, items: Items, way_out: str = "") -> Iterator[str]:
    """How labels and images under one id differ; each item is compared with the first language that has it.

    `way_out` ends each of these: what else can be done where the rows are no translations.
    """
    seen: dict[str, str] = {}
    for language, here in items.items():
        shared: dict[str, list[str]] = {}
        for item in sorted(here):
            if (earlier := seen.setdefault(item, language)) != language:
                shared.setdefault(earlier, []).append(item)
        for earlier, both in shared.items():
            for place, what in enumerate(("label", "image")):
                if differing := [item for item in both if here[item][place] != items[earlier][item][place]]:
                    yield (
                        f"split {split!r}: an item must have the same {what} in every language, got {len(differing)} "
                        f"of {len(both)} in {language!r} that differ from {earlier!r} ({_some(differing)}); are its "
                        f"rows in another order? Give each the id of the item that it translates{way_out}"
                    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
