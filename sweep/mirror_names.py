"""Which mirrors a running sweep may have, as values; loads neither their libraries nor Ray."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from trainables.faults import nearest


class Kind(StrEnum):
    """Where a mirror is."""

    WANDB = "wandb"
    MLFLOW = "mlflow"


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """`place` is a project of Weights & Biases or a tracking URI of MLflow; empty for what their own settings say."""

    kind: Kind
    place: str = ""


def mirror_faults(texts: Sequence[str]) -> Iterator[str]:
    """What keeps these mirrors from being used here: words that name none, and libraries that are not installed."""
    yield from unknown_mirrors(texts)
    for name in (text.partition(":")[0] for text in texts):
        if name in set(Kind) and importlib.util.find_spec(name) is None:
            yield (
                f"the mirror {name!r} needs its library, which is not installed; "
                f"install it with: pip install 'transfer-sweep[{name}]'"
            )


def unknown_mirrors(texts: Sequence[str]) -> Iterator[str]:
    """What is none of `wandb[:PROJECT]` and `mlflow[:TRACKING_URI]`."""
    for text in texts:
        name = text.partition(":")[0]
        if name not in set(Kind):
            known = "wandb[:PROJECT] or mlflow[:TRACKING_URI]"
            yield f"a mirror must be {known}, got {text!r}; {nearest(name, map(str, Kind))}"


def mirror(text: str) -> Mirror:
    """The mirror that a text names, once `mirror_faults` finds nothing against it."""
    name, _, place = text.partition(":")
    return Mirror(kind=Kind(name), place=place)
