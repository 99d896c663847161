"""Which parameters each cell has, and what values mean for the settings of its stages; samples none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from search_spaces.domains import Choice, Domain, Range, Simplex
from search_spaces.mixing import EVEN_DRAW, HIGHEST_DRAW, LOWEST_DRAW, shares_of
from search_spaces.transfer_grid import Cell
from trainables.faults import Invalid, nearest, refuse
from trainables.settings import Settings

#: Settings that a search may vary: those that change no stage's cost, so that every trial of a cell costs the same.
SEARCHABLE = ("clip_norm", "dropout", "learning_rate", "masked_share", "weight_decay")


@dataclass(frozen=True, kw_only=True)
class Space:
    """What the search may vary, in every cell alike.

    `intermediate` and `target` map a setting's name to its domain; `shares` bounds the mixing weights of cells that
    mix tasks. A cell has only the parameters that mean something in it.

    Raises:
        Invalid: naming every setting that is unknown or cannot be searched.
    """

    intermediate: Mapping[str, Domain] = field(default_factory=dict)
    target: Mapping[str, Domain] = field(default_factory=dict)
    shares: Simplex = field(default_factory=Simplex)

    def __post_init__(self) -> None:
        refuse("space", self._faults())

    def _faults(self) -> Iterator[str]:
        for where in ("intermediate", "target"):
            for name, domain in getattr(self, where).items():
                if name not in SEARCHABLE:
                    yield f"{where} must name settings that can be searched, got {name!r}; {nearest(name, SEARCHABLE)}"
                if not isinstance(domain, Domain):
                    yield f"{where}[{name!r}] must be a LogRange, Range or Choice, got {domain!r}"

    def parameters(self, cell: Cell) -> dict[str, Domain]:
        """Name → domain of the numbers drawn for one trial of the cell, in a fixed order.

        A share is drawn as a number of the open unit interval; `values` turns the draws into shares.
        """
        found: dict[str, Domain] = {}
        if cell.intermediates:
            found |= {f"intermediate.{name}": self.intermediate[name] for name in sorted(self.intermediate)}
        if cell.searches_shares:
            found |= {f"share.{task.name}": Range(LOWEST_DRAW, HIGHEST_DRAW) for task in cell.intermediates}
        return found | {f"target.{name}": self.target[name] for name in sorted(self.target)}

    def default_draws(self, cell: Cell, intermediate: Settings | None, target: Settings) -> dict[str, float]:
        """The draws of trial 0: the settings as they stand, and even shares."""
        stages = {"intermediate": intermediate, "target": target}
        draws = {}
        for name in self.parameters(cell):
            where, _, setting = name.partition(".")
            draws[name] = EVEN_DRAW if where == "share" else getattr(stages[where], setting)
        return draws

    def values(self, cell: Cell, draws: Mapping[str, float]) -> dict[str, float]:
        """What the draws mean: settings unchanged, shares summing to 1 (also for cells whose shares are fixed)."""
        values = {name: value for name, value in draws.items() if not name.startswith("share.")}
        if cell.searches_shares:
            drawn = {task.name: draws[f"share.{task.name}"] for task in cell.intermediates}
            shares = shares_of(drawn, self.shares.minimum)
        else:
            shares = dict(cell.shares) or {task.name: 1.0 for task in cell.intermediates}
        return values | {f"share.{name}": share for name, share in shares.items()}

    def end_faults(self, where: str, settings: Settings) -> Iterator[str]:
        """Why a trial could be impossible: an end of a domain that the settings refuse.

        What the settings allow is an interval for each name that can be searched, so the ends speak for all between.
        """
        for name, domain in getattr(self, where).items():
            for value in _ends(domain):
                try:
                    dataclasses.replace(settings, **{name: value})
                except Invalid as error:
                    yield f"{where}[{name!r}] must hold only values that a stage can use: {'; '.join(error.faults)}"

    def default_faults(self, where: str, settings: Settings) -> Iterator[str]:
        """Why the settings cannot be trial 0: a default outside the domain it is searched in."""
        for name, domain in getattr(self, where).items():
            value = getattr(settings, name)
            if value not in domain:
                yield (
                    f"{where} settings are the first trial, so {name} must lie in {domain}, got {value!r}; "
                    "widen the domain or change the setting"
                )


def _ends(domain: Domain) -> tuple[float, ...]:
    return domain.options if isinstance(domain, Choice) else (domain.low, domain.high)


def with_values(settings: Settings, values: Mapping[str, float], where: str) -> Settings:
    """The settings with the values of one stage put in: `where` is `intermediate` or `target`."""
    prefix = f"{where}."
    changes = {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
    return dataclasses.replace(settings, **changes)
