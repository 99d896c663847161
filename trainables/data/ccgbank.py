"""CCGbank's `.auto` files as words and supertags; knows no license and no other treebank.

A derivation is one line in brackets; its leaves are `<L category modified-tag original-tag word predicate-category>`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from trainables.catalogue.intermediate import CCG_LEAST, CCG_REST
from trainables.data.utf8 import text_of
from trainables.faults import Invalid

_LEAF = re.compile(r"<L (\S+) \S+ \S+ (\S+) \S+>")
_IDENTITY = re.compile(r"ID=(\S+)")


def sentences(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """(id, words, supertags) of every derivation of a file.

    Raises:
        Invalid: for a derivation without a head line or without leaves, naming file and line, and for a file that is no
            UTF-8.
    """
    identity = ""
    for number, line in enumerate(text_of(path).splitlines(), start=1):
        if found := _IDENTITY.match(line):
            identity = found[1]
        elif line.startswith("("):
            leaves = _LEAF.findall(line)
            if not leaves or not identity or len(leaves) != line.count("<L "):
                raise Invalid(
                    f"{path}, line {number}",
                    [
                        "a derivation must follow a line with its ID and hold leaves <L category tag tag word "
                        f"category>, got {line[:60]!r}; is it a CCGbank .auto file?"
                    ],
                )
            yield identity, [word for _, word in leaves], [category for category, _ in leaves]
            identity = ""


def frequent_tags(files: Iterable[Path]) -> tuple[str, ...]:
    """The supertags seen often enough in these files, sorted, and the one that stands for all others."""
    seen = Counter(tag for path in files for _, _, tags in sentences(path) for tag in tags)
    return (*sorted(tag for tag, times in seen.items() if times >= CCG_LEAST), CCG_REST)
