"""What a scene is, what can be claimed about it, whether a claim is true; knows no words, pixels or files.

A scene has one thing at each of four places, and a curtain hides one of them. A claim about a scene is
entailed if it is true whatever the curtain hides, contradicted if it is false whatever it hides, else neutral:
labels are computed by trying every thing that could be behind the curtain, so they cannot be wrong.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np

SIZES = ("small", "big")
COLOURS = ("red", "blue", "green", "yellow", "black", "white")
SHAPES = ("circle", "square", "triangle", "cross", "ring")
PLACES = ("left", "right", "top", "bottom")
ATTRIBUTES: dict[str, tuple[str, ...]] = {"size": SIZES, "colour": COLOURS, "shape": SHAPES}

SPLIT_PERCENT = {"train": 70, "dev": 15, "test": 15}
SPLITS = tuple(SPLIT_PERCENT)


class Label(IntEnum):
    """What a visible scene says about a claim; the numbers are those of MNLI."""

    entailment = 0
    neutral = 1
    contradiction = 2


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One thing of the world, fully known."""

    size: str
    colour: str
    shape: str

    def __post_init__(self) -> None:
        _refuse_unknown_values(self)


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """What a phrase says of a thing: 'a red circle'. An attribute that is None is not spoken of."""

    size: str | None = None
    colour: str | None = None
    shape: str | None = None

    def __post_init__(self) -> None:
        if not self.attributes:
            raise ValueError("a Pattern must speak of at least one of size, colour, shape; all are None")
        _refuse_unknown_values(self)

    @property
    def attributes(self) -> tuple[str, ...]:
        return tuple(name for name in ATTRIBUTES if getattr(self, name) is not None)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Four things in the order of PLACES, and the place behind the curtain."""

    things: tuple[Thing, Thing, Thing, Thing]
    hidden: str

    def __post_init__(self) -> None:
        if len(self.things) != len(PLACES):
            raise ValueError(f"a Scene needs one thing for each of {PLACES}; {len(self.things)} arrived")
        if self.hidden not in PLACES:
            raise ValueError(f"hidden must be one of {PLACES}; {self.hidden!r} arrived")

    @property
    def visible(self) -> dict[str, Thing]:
        """The things that can be seen, by place."""
        return {place: thing for place, thing in zip(PLACES, self.things, strict=True) if place != self.hidden}

    @property
    def split(self) -> str:
        """The one split whose examples may show this scene; depends on what is visible and on nothing else."""
        return SPLITS[int(splits(*_as_arrays((self,)))[0])]


@dataclass(frozen=True, kw_only=True)
class Is:
    """The object at the place is so."""

    place: str
    pattern: Pattern


@dataclass(frozen=True, kw_only=True)
class There:
    """At the place there is such a thing: means what `Is` means, said otherwise."""

    place: str
    pattern: Pattern


@dataclass(frozen=True, kw_only=True)
class ThereAmong:
    """At one of two places, or both, there is such a thing."""

    first_place: str
    second_place: str
    pattern: Pattern


@dataclass(frozen=True, kw_only=True)
class Exists:
    """Somewhere there is such a thing."""

    pattern: Pattern


Claim = Is | There | Exists
"""What can be denied."""


@dataclass(frozen=True, kw_only=True)
class Not:
    claim: Claim


@dataclass(frozen=True, kw_only=True)
class Both:
    first: Is
    second: Is


@dataclass(frozen=True, kw_only=True)
class Either:
    """The object at the place is one or the other."""

    place: str
    first: Pattern
    second: Pattern


@dataclass(frozen=True, kw_only=True)
class Count:
    """There are `relation` ('at_least', 'at_most', 'exactly') `number` (1 to 3) such things."""

    relation: str
    number: int
    pattern: Pattern


@dataclass(frozen=True, kw_only=True)
class More:
    """There are more things of the first kind than of the second."""

    first: Pattern
    second: Pattern


Formula = Is | There | ThereAmong | Exists | Not | Both | Either | Count | More


def truth(formula: Formula, values: np.ndarray) -> Any:
    """Whether the formula holds in fully known scenes.

    values: (..., place, attribute), indices into PLACES' order and into the tuples of ATTRIBUTES.
    Returns booleans of shape (...).
    """
    match formula:
        case Is(place=place, pattern=pattern) | There(place=place, pattern=pattern):
            return _fits(pattern, values[..., PLACES.index(place), :])
        case ThereAmong(first_place=first, second_place=second, pattern=pattern):
            return np.any(_fits(pattern, values[..., [PLACES.index(first), PLACES.index(second)], :]), axis=-1)
        case Exists(pattern=pattern):
            return np.any(_fits(pattern, values), axis=-1)
        case Not(claim=claim):
            return ~truth(claim, values)
        case Both(first=first, second=second):
            return truth(first, values) & truth(second, values)
        case Either(place=place, first=first, second=second):
            at_place = values[..., PLACES.index(place), :]
            return _fits(first, at_place) | _fits(second, at_place)
        case More(first=first, second=second):
            return _fits(first, values).sum(-1) > _fits(second, values).sum(-1)
        case Count(relation=relation, number=number, pattern=pattern):
            count = _fits(pattern, values).sum(-1)
            match relation:
                case "at_least":
                    return count >= number
                case "at_most":
                    return count <= number
                case "exactly":
                    return count == number
            raise ValueError(f"relation must be at_least, at_most or exactly; {relation!r} arrived")
    raise TypeError(f"no truth is defined for {formula!r}")


def label(formula: Formula, scene: Scene) -> Label:
    return Label(int(labels(formula, *_as_arrays((scene,)))[0]))


def labels(formula: Formula, values: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """`label` of many scenes at once: values (scene, place, attribute), hidden (scene,) → (scene,)."""
    possible = np.repeat(values[:, None], len(THING_VALUES), axis=1)
    possible[np.arange(len(values)), :, hidden] = THING_VALUES
    holds = truth(formula, possible)
    always, never = holds.all(-1), ~holds.any(-1)
    return np.where(always, Label.entailment, np.where(never, Label.contradiction, Label.neutral))


def splits(values: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """The split, as an index into SPLITS, of many scenes at once; shapes as in `labels`."""
    things = values @ THING_STRIDES
    places = np.arange(len(PLACES) - 1)
    visible = np.take_along_axis(things, places + (places >= hidden[:, None]), axis=1)
    return _split_table()[hidden, visible[:, 0], visible[:, 1], visible[:, 2]]


def scene_from(values: np.ndarray, hidden: int) -> Scene:
    """values: (place, attribute)."""
    return Scene(things=tuple(THINGS[code] for code in values @ THING_STRIDES), hidden=PLACES[hidden])


def _fits(pattern: Pattern, values: np.ndarray) -> np.ndarray:
    fits: np.ndarray | None = None
    for index, (name, choices) in enumerate(ATTRIBUTES.items()):
        wanted = getattr(pattern, name)
        if wanted is not None:
            equal = values[..., index] == choices.index(wanted)
            fits = equal if fits is None else fits & equal
    assert fits is not None  # a Pattern speaks of something
    return fits


def _as_arrays(scenes: tuple[Scene, ...]) -> tuple[np.ndarray, np.ndarray]:
    things = np.array([[_CODES[thing] for thing in scene.things] for scene in scenes])
    return THING_VALUES[things], np.array([PLACES.index(scene.hidden) for scene in scenes])


@lru_cache(maxsize=1)
def _split_table() -> np.ndarray:
    """Split index by (hidden place, and the three visible things in the order of PLACES).

    The hash is the finaliser of SplitMix64 (Steele, Lea, Flood 2014): the same on every machine.
    """
    shape = (len(PLACES), len(THINGS), len(THINGS), len(THINGS))
    mixed = (np.arange(np.prod(shape), dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    percent = (mixed ^ (mixed >> np.uint64(31))) % np.uint64(100)
    ends = np.cumsum(list(SPLIT_PERCENT.values()))
    return np.searchsorted(ends, percent, side="right").astype(np.int8).reshape(shape)


def _refuse_unknown_values(described: Thing | Pattern) -> None:
    faults = [
        f"{name} must be one of {choices}; {getattr(described, name)!r} arrived"
        for name, choices in ATTRIBUTES.items()
        if getattr(described, name) not in choices
        and not (isinstance(described, Pattern) and getattr(described, name) is None)
    ]
    if faults:
        raise ValueError("; ".join(faults))


# After everything they are built with.
THINGS = tuple(Thing(size=size, colour=colour, shape=shape) for size in SIZES for colour in COLOURS for shape in SHAPES)
_CODES = {thing: code for code, thing in enumerate(THINGS)}
THING_STRIDES = np.array([len(COLOURS) * len(SHAPES), len(SHAPES), 1])
THING_VALUES = np.array(
    [[SIZES.index(t.size), COLOURS.index(t.colour), SHAPES.index(t.shape)] for t in THINGS], dtype=np.int8
)
"""(thing, attribute): what every possible thing looks like, in the order of THINGS."""
