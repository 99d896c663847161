"""Which claims are made about scenes, how often, and scenes for which a claim has a wanted label; knows no words.

Claim and label are drawn first, independently of each other, so the claim alone says nothing about the label.
A scene is then found by rejection. The scenes proposed do not depend on the label either; they only agree with the
claim more often than chance would, which makes contradictions near misses and keeps rejection cheap.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from trainables.lab.world import (
    ATTRIBUTES,
    PLACES,
    SIZES,
    SPLIT_PERCENT,
    SPLITS,
    THING_VALUES,
    Both,
    Claim,
    Count,
    Either,
    Exists,
    Formula,
    Is,
    Label,
    More,
    Not,
    Pattern,
    Scene,
    There,
    ThereAmong,
    labels,
    scene_from,
    splits,
)

Choice = TypeVar("Choice")


class Draw:
    """Uniform draws in blocks: one scalar call of a numpy Generator per draw would dominate generation."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self._block: list[float] = []

    def uniform(self) -> float:
        if not self._block:
            self._block = self.rng.random(1024).tolist()
        return self._block.pop()

    def below(self, end: int) -> int:
        """An integer in 0..end, the end excluded."""
        return int(self.uniform() * end)

    def one(self, choices: tuple[Choice, ...]) -> Choice:
        return choices[self.below(len(choices))]

    def two(self, choices: tuple[Choice, ...]) -> tuple[Choice, Choice]:
        """Two different choices, in random order."""
        first = self.below(len(choices))
        second = self.below(len(choices) - 1)
        return choices[first], choices[second + (second >= first)]

    def shuffled(self, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
        left = list(choices)
        return tuple(left.pop(self.below(len(left))) for _ in choices)


@dataclass(frozen=True, kw_only=True)
class Template:
    """A way to make claims. `weight`: its share of the hypotheses of nli and visual_nli; these sum to 1."""

    weight: float
    draw: Callable[[Draw], Formula]


def _pattern(draw: Draw, *attributes: str) -> Pattern:
    return Pattern(**{name: draw.one(ATTRIBUTES[name]) for name in attributes})


def _is(*attributes: str) -> Callable[[Draw], Claim]:
    return lambda draw: Is(place=draw.one(PLACES), pattern=_pattern(draw, *attributes))


def _there(*attributes: str) -> Callable[[Draw], Claim]:
    return lambda draw: There(place=draw.one(PLACES), pattern=_pattern(draw, *attributes))


def _not(claim: Callable[[Draw], Claim]) -> Callable[[Draw], Formula]:
    return lambda draw: Not(claim=claim(draw))


def _both(attribute: str) -> Callable[[Draw], Formula]:
    def draw_both(draw: Draw) -> Formula:
        first, second = draw.two(PLACES)
        return Both(
            first=Is(place=first, pattern=_pattern(draw, attribute)),
            second=Is(place=second, pattern=_pattern(draw, attribute)),
        )

    return draw_both


def _either(attribute: str) -> Callable[[Draw], Formula]:
    def draw_either(draw: Draw) -> Formula:
        first, second = draw.two(ATTRIBUTES[attribute])
        return Either(
            place=draw.one(PLACES), first=Pattern(**{attribute: first}), second=Pattern(**{attribute: second})
        )

    return draw_either


def _among(draw: Draw) -> Formula:
    first, second = draw.two(PLACES)
    return ThereAmong(first_place=first, second_place=second, pattern=_pattern(draw, draw.one(("colour", "shape"))))


def _exists(draw: Draw) -> Claim:
    return Exists(pattern=_pattern(draw, *draw.one((("colour",), ("shape",), ("colour", "shape")))))


_SINGLE = (("size",), ("colour",), ("shape",))
_DOUBLE = (("colour", "shape"), ("size", "shape"))


def _count(relation: str, most: int) -> Callable[[Draw], Formula]:
    least = 2 if relation == "at_least" else 1

    def draw_count(draw: Draw) -> Formula:
        number = least + draw.below(most - least + 1)
        # three things alike in two attributes are too rare among three visible ones
        attributes = draw.one(_SINGLE if number == 3 else _SINGLE + _DOUBLE)
        return Count(relation=relation, number=number, pattern=_pattern(draw, *attributes))

    return draw_count


def _more(draw: Draw) -> Formula:
    attribute = draw.one(("size", "colour", "shape"))
    first, second = draw.two(ATTRIBUTES[attribute])
    return More(first=Pattern(**{attribute: first}), second=Pattern(**{attribute: second}))


TEMPLATES: dict[str, Template] = {
    # about named places: 0.92, most of them plain
    "colour": Template(weight=0.18, draw=_is("colour")),
    "shape": Template(weight=0.18, draw=_is("shape")),
    "size": Template(weight=0.08, draw=_is("size")),
    "colour_shape": Template(weight=0.10, draw=_is("colour", "shape")),
    "size_shape": Template(weight=0.05, draw=_is("size", "shape")),
    "size_colour_shape": Template(weight=0.04, draw=_is("size", "colour", "shape")),
    "not_colour": Template(weight=0.05, draw=_not(_is("colour"))),
    "not_shape": Template(weight=0.05, draw=_not(_is("shape"))),
    "there_colour": Template(weight=0.04, draw=_there("colour")),
    "there_colour_shape": Template(weight=0.05, draw=_there("colour", "shape")),
    "there_not": Template(weight=0.02, draw=_not(_there("shape"))),
    "both_colours": Template(weight=0.03, draw=_both("colour")),
    "both_shapes": Template(weight=0.03, draw=_both("shape")),
    "either_colour": Template(weight=0.01, draw=_either("colour")),
    "either_shape": Template(weight=0.01, draw=_either("shape")),
    # about how many there are: 0.08
    "among": Template(weight=0.02, draw=_among),
    "at_least": Template(weight=0.02, draw=_count("at_least", 3)),
    "at_most": Template(weight=0.02, draw=_count("at_most", 2)),
    "more": Template(weight=0.02, draw=_more),
    # With one unknown thing these can never get all three labels ('there is a red circle' is never contradicted),
    # so as hypotheses they would give the label away. They occur where no label is drawn: in parallel text.
    "exists": Template(weight=0.0, draw=_exists),
    "none_exists": Template(weight=0.0, draw=_not(_exists)),
    "exactly": Template(weight=0.0, draw=_count("exactly", 2)),
}

_NAMES = tuple(TEMPLATES)
_CUMULATIVE = np.cumsum([template.weight for template in TEMPLATES.values()]).tolist()


def draw_template(draw: Draw) -> Template:
    """A template, as often as its weight says."""
    point = draw.uniform() * _CUMULATIVE[-1]
    return TEMPLATES[next(name for name, end in zip(_NAMES, _CUMULATIVE, strict=True) if point < end)]


def draw_formula(draw: Draw) -> Formula:
    return draw_template(draw).draw(draw)


def draw_any_formula(draw: Draw) -> Formula:
    """A claim of any template, all equally often, those of weight 0 too."""
    return TEMPLATES[draw.one(_NAMES)].draw(draw)


def draw_scene(split: str, draw: Draw) -> Scene:
    """A scene of the split, all equally likely."""
    while True:
        values, hidden = _propose(64, draw.rng)
        found = np.flatnonzero(splits(values, hidden) == SPLITS.index(split))
        if len(found):
            return scene_from(values[found[0]], int(hidden[found[0]]))


def draw_scene_for(formula: Formula, wanted: Label, split: str, draw: Draw) -> Scene:
    """A scene of the split of which the formula has the wanted label.

    Raises ValueError when no scene is found, which means that the formula cannot have this label.
    """
    block = 40 * 100 // SPLIT_PERCENT[split]  # about 40 are left after the split is sifted out
    for _ in range(200):
        values, hidden = _propose(block, draw.rng)
        _pull_towards(formula, values, draw.rng)
        mine = np.flatnonzero(splits(values, hidden) == SPLITS.index(split))
        values, hidden = values[mine], hidden[mine]
        found = np.flatnonzero(labels(formula, values, hidden) == wanted)
        if len(found):
            return scene_from(values[found[0]], int(hidden[found[0]]))
    raise ValueError(f"no {split} scene gives {formula} the label {wanted.name}; choose another label or template")


def meaning(formula: Formula) -> Formula:
    """The one formula that stands for all wordings of a meaning: the same for formulas that `rewordings` joins."""
    match formula:
        case There(place=place, pattern=pattern):
            return Is(place=place, pattern=pattern)
        case Not(claim=Is(place=place, pattern=pattern) | There(place=place, pattern=pattern)):
            if pattern.attributes == ("size",):
                return Is(place=place, pattern=_resized(pattern))
            return Not(claim=Is(place=place, pattern=pattern))
        case Both(first=first, second=second):
            first, second = sorted((first, second), key=repr)
            return Both(first=first, second=second)
        case Either(place=place, first=first, second=second):
            first, second = sorted((first, second), key=repr)
            return Either(place=place, first=first, second=second)
        case ThereAmong(first_place=first, second_place=second, pattern=pattern):
            first, second = sorted((first, second))
            return ThereAmong(first_place=first, second_place=second, pattern=pattern)
    return formula


def rewordings(formula: Formula) -> tuple[Formula, ...]:
    """Other formulas of the same meaning; empty where there is only one way to say it."""
    match formula:
        case Is(place=place, pattern=pattern):
            there = There(place=place, pattern=pattern)
            if pattern.attributes != ("size",):
                return (there,)
            return there, Not(claim=Is(place=place, pattern=_resized(pattern)))
        case There(place=place, pattern=pattern):
            return (Is(place=place, pattern=pattern),)
        case Not(claim=Is(place=place, pattern=pattern)):
            return (Not(claim=There(place=place, pattern=pattern)),)
        case Not(claim=There(place=place, pattern=pattern)):
            return (Not(claim=Is(place=place, pattern=pattern)),)
        case Both(first=first, second=second):
            return (Both(first=second, second=first),)
        case Either(place=place, first=first, second=second):
            return (Either(place=place, first=second, second=first),)
        case ThereAmong(first_place=first, second_place=second, pattern=pattern):
            return (ThereAmong(first_place=second, second_place=first, pattern=pattern),)
    return ()


def _resized(pattern: Pattern) -> Pattern:
    return Pattern(size=SIZES[1 - SIZES.index(pattern.size)])


def _propose(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scenes drawn uniformly: values (scene, place, attribute) and hidden (scene,)."""
    things = rng.integers(0, len(THING_VALUES), (count, len(PLACES)))
    return THING_VALUES[things], rng.integers(0, len(PLACES), count)


def _pull_towards(formula: Formula, values: np.ndarray, rng: np.random.Generator) -> None:
    """Overwrite, in place, some attributes of each scene with those the formula speaks of."""
    for chance, wanted in _pulls(formula):
        mask = rng.random(values.shape, dtype=np.float32) < chance
        np.copyto(values, wanted, where=mask)


# Half of the named attributes agree: a claim of three attributes is then true of about a quarter of the proposals
# and most of the others miss it by one. Things that are counted agree less, or nearly all would.
_NAMED_PULL, _COUNTED_PULL = 0.5, 0.3


@lru_cache(maxsize=4096)
def _pulls(formula: Formula) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """For every pattern in the formula: chances and values, both (place, attribute)."""
    pulls = []
    for places, pattern in _mentions(formula):
        chance = np.zeros((len(PLACES), len(ATTRIBUTES)), dtype=np.float32)
        wanted = np.zeros((len(PLACES), len(ATTRIBUTES)), dtype=np.int8)
        for index, (name, choices) in enumerate(ATTRIBUTES.items()):
            if name in pattern.attributes:
                rows = [PLACES.index(place) for place in places]
                chance[rows, index] = _COUNTED_PULL if len(places) == len(PLACES) else _NAMED_PULL
                wanted[:, index] = choices.index(getattr(pattern, name))
        pulls.append((chance, wanted))
    return tuple(pulls)


def _mentions(formula: Formula) -> tuple[tuple[tuple[str, ...], Pattern], ...]:
    """Every pattern in the formula, with the places it is claimed of."""
    match formula:
        case Is(place=place, pattern=pattern) | There(place=place, pattern=pattern):
            return (((place,), pattern),)
        case ThereAmong(first_place=first, second_place=second, pattern=pattern):
            return (((first, second), pattern),)
        case Either(place=place, first=first, second=second):
            return (((place,), first), ((place,), second))
        case Not(claim=claim):
            return _mentions(claim)
        case Both(first=first, second=second):
            return (*_mentions(first), *_mentions(second))
        case Exists(pattern=pattern) | Count(pattern=pattern):
            return ((PLACES, pattern),)
        case More(first=first, second=second):
            return ((PLACES, first), (PLACES, second))
    raise TypeError(f"no mentions are defined for {formula!r}")


@lru_cache(maxsize=4096)
def neighbours(formula: Formula) -> tuple[Formula, ...]:
    """The formula with one slot changed: a place, a colour, a shape or a size. All differ from it in meaning."""
    match formula:
        case Is(place=place, pattern=pattern) | There(place=place, pattern=pattern):
            kind = type(formula)
            moved = tuple(kind(place=other, pattern=pattern) for other in PLACES if other != place)
            return moved + tuple(kind(place=place, pattern=other) for other in _other_patterns(pattern))
        case Not(claim=claim):
            return tuple(Not(claim=other) for other in neighbours(claim) if isinstance(other, Claim))
        case Exists(pattern=pattern):
            return tuple(Exists(pattern=other) for other in _other_patterns(pattern))
        case ThereAmong(first_place=first, second_place=second, pattern=pattern):
            free = [place for place in PLACES if place not in (first, second)]
            moved = tuple(ThereAmong(first_place=first, second_place=other, pattern=pattern) for other in free)
            return moved + tuple(
                ThereAmong(first_place=first, second_place=second, pattern=other) for other in _other_patterns(pattern)
            )
        case Both(first=first, second=second):
            swapped = Both(
                first=Is(place=first.place, pattern=second.pattern),
                second=Is(place=second.place, pattern=first.pattern),
            )
            changed = tuple(
                Both(first=Is(place=first.place, pattern=other), second=second)
                for other in _other_patterns(first.pattern)
            )
            # the same words in another order is the hardest change, so it is offered as often as all the others
            return changed + (swapped,) * (len(changed) if first.pattern != second.pattern else 0)
        case Either(place=place, first=first, second=second):
            moved = tuple(Either(place=other, first=first, second=second) for other in PLACES if other != place)
            return moved + tuple(
                Either(place=place, first=first, second=other) for other in _other_patterns(second) if other != first
            )
        case _:
            raise TypeError(f"only claims with several wordings have neighbours; {formula!r} arrived")


def _other_patterns(pattern: Pattern) -> tuple[Pattern, ...]:
    """Patterns that differ from this one in the value of one attribute."""
    known = {name: getattr(pattern, name) for name in pattern.attributes}
    return tuple(
        Pattern(**{**known, name: value}) for name in known for value in ATTRIBUTES[name] if value != known[name]
    )
