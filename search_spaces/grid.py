"""Every combination of a few values of each parameter, in an order drawn by a seed; tries none of them."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping

from search_spaces.domains import Choice, Domain, Integers, LogRange, Simplex
from search_spaces.mixing import draws_of, shares_of
from trainables.data.mixture import portions

Point = dict[str, float]

#: Values of a range where a whole space is gone through, and mixtures or whole numbers at most.
_VALUES, _MOST = 32, 10_000


def points(
    parameters: Mapping[str, Domain], shares: Simplex, per_range: int, steps: int, *, group: int, seed: int
) -> tuple[Point, ...]:
    """The grid of a cell's parameters, as draws. Trials that share an intermediate setting stand together.

    Of the shares that come to the same whole `steps`, as where a bound cuts them, the first stands for all.

    Each intermediate setting meets `group` target settings, then each meets the next `group`, and so on, so that a
    budget that ends early has tried every intermediate setting.
    """
    targets = _shuffled(_product(_axes(parameters, shares, per_range, steps, target=True)), f"{seed} target")
    before = _shuffled(_product(_axes(parameters, shares, per_range, steps, target=False)), f"{seed} intermediate")
    chunks = (targets[start : start + group] for start in range(0, len(targets), group))
    found = (first | second for chunk in chunks for first in before for second in chunk)
    return tuple({name: point[name] for name in parameters} for point in found)


def size(
    parameters: Mapping[str, Domain], shares: Simplex, per_range: int, steps: int, *, enough: float = math.inf
) -> int:
    """How many points the grid has, without making them; where they are `enough`, not all are counted."""
    mixed = [name for name in parameters if name.startswith("share.")]
    axes = (len(values(domain, per_range)) for name, domain in parameters.items() if name not in mixed)
    others = math.prod(axes)
    count = 0 if mixed else 1
    for _ in _lattice(mixed, shares, per_range, steps) if mixed else ():
        count += 1
        if count * others >= enough:
            break
    return count * others


def every(parameters: Mapping[str, Domain], shares: Simplex, steps: int, *, seed: str) -> Iterator[Point]:
    """Each point once, in an order that the seed draws: all whole numbers, options and whole steps of shares, and of a
    range so many values.
    """
    axes = [[{name: value} for value in _all(domain)] for name, domain in parameters.items() if not _is_share(name)]
    mixed = [name for name in parameters if _is_share(name)]
    if mixed:
        parts = max(n for n in range(1, steps + 1) if n == 1 or math.comb(len(mixed) + n - 1, n) <= _MOST)
        axes.append(list(_lattice(mixed, shares, parts, steps)))
    count = math.prod(len(axis) for axis in axes)
    start, stride = (int.from_bytes(hashlib.sha256(f"{seed} {what}".encode()).digest()) for what in ("start", "stride"))
    while math.gcd(stride, count) > 1:
        stride += 1
    for turn in range(count):
        place, point = (start + turn * stride) % count, {}
        for axis in axes:
            place, here = divmod(place, len(axis))
            point |= axis[here]
        yield point


def _all(domain: Domain) -> tuple[float, ...]:
    if isinstance(domain, Integers):
        return values(domain, min(_MOST, domain.high - domain.low + 1))
    return values(domain, _VALUES)


def _is_share(name: str) -> bool:
    return name.startswith("share.")


def values(domain: Domain, per_range: int) -> tuple[float, ...]:
    """So many values of a domain, evenly spaced on its scale, both ends included; all options of a choice."""
    if isinstance(domain, Choice):
        return domain.options
    if isinstance(domain, Integers):
        width = domain.high - domain.low
        count = min(per_range, width + 1)
        return tuple(domain.low + round(place * width / (count - 1)) for place in range(count))
    low, high = domain.low, domain.high
    inner = [place / (per_range - 1) for place in range(1, per_range - 1)]
    if isinstance(domain, LogRange):
        return (low, *(low * (high / low) ** part for part in inner), high)
    return (low, *(low + part * (high - low) for part in inner), high)


def _axes(
    parameters: Mapping[str, Domain], shares: Simplex, per_range: int, steps: int, *, target: bool
) -> list[list[Point]]:
    mine = {name: domain for name, domain in parameters.items() if name.startswith("target.") is target}
    mixed = [name for name in mine if name.startswith("share.")]
    axes = [
        [{name: value} for value in values(domain, per_range)] for name, domain in mine.items() if name not in mixed
    ]
    return [*axes, list(_lattice(mixed, shares, per_range, steps))] if mixed else axes


def _lattice(names: list[str], simplex: Simplex, parts: int, steps: int) -> Iterator[Point]:
    """The simplex lattice (Scheffé 1958): what the minimum leaves, in all ways of giving out whole parts of it."""
    least = 0.0 if simplex.sparse else simplex.minimum
    room = 1 - least * len(names)
    seen = set()
    for cuts in itertools.combinations(range(parts + len(names) - 1), len(names) - 1):
        edges = (-1, *cuts, parts + len(names) - 1)
        counts = [end - start - 1 for start, end in itertools.pairwise(edges)]
        shares = {name: least + room * count / parts for name, count in zip(names, counts, strict=True)}
        bounded = shares_of(draws_of(shares, simplex), simplex)
        draws = draws_of(bounded, simplex)
        whole = tuple(portions(shares_of(draws, simplex), steps).values())
        if whole not in seen:
            seen.add(whole)
            yield draws


def _product(axes: list[list[Point]]) -> list[Point]:
    return [{name: value for part in chosen for name, value in part.items()} for chosen in itertools.product(*axes)]


def _shuffled(found: list[Point], seed: str) -> list[Point]:
    """In the order of a hash of the seed and the place, so that no library's shuffle is relied upon."""
    places = sorted(range(len(found)), key=lambda place: hashlib.sha256(f"{seed} {place}".encode()).digest())
    return [found[place] for place in places]
