"""Which parameters each cell has, and what values mean for the settings of its stages; samples none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from search_spaces.domains import Choice, Domain, Integers, Range, Simplex
from search_spaces.extent import Extent
from search_spaces.mixing import EVEN_DRAW, HIGHEST_DRAW, LOWEST_DRAW, shares_of
from search_spaces.transfer_grid import Cell
from trainables.faults import Invalid, nearest, refuse
from trainables.settings import Settings

#: Settings that a search may vary: those that change no stage's cost, so that every trial of a cell costs the same.
#: Those of `lora` mean something only in a stage that trains adapters, and are searched there alone.
SEARCHABLE = (
    *("clip_norm", "dropout", "learning_rate", "masked_share", "warmup_steps", "weight_decay"),
    *("lora.alpha", "lora.dropout", "lora.rank"),
)
_WHOLE = ("warmup_steps", "lora.rank")


@dataclass(frozen=True, kw_only=True)
class Space:
    """What the search may vary.

    `intermediate` and `target` map a setting's name to its domain; `shares` bounds the mixing weights of cells that
    mix tasks. A cell has only the parameters that mean something in it: shares where it mixes tasks, `lora.rank` where
    the stage trains adapters. A cell that `overrides` names has the whole space stated there instead.

    Raises:
        Invalid: naming every setting that is unknown or cannot be searched.
    """

    intermediate: Mapping[str, Domain] = field(default_factory=dict)
    target: Mapping[str, Domain] = field(default_factory=dict)
    shares: Simplex = field(default_factory=Simplex)
    overrides: Mapping[str, Space] = field(default_factory=dict)

    def __post_init__(self) -> None:
        refuse("space", self._faults())

    def _faults(self) -> Iterator[str]:
        for where in ("intermediate", "target"):
            domains = getattr(self, where)
            if not isinstance(domains, Mapping):
                yield f"{where} must map names of settings to domains, got {domains!r}"
                continue
            for name, domain in domains.items():
                yield from _domain_faults(where, name, domain)
        if not isinstance(self.shares, Simplex):
            yield f"shares must be a Simplex, got {self.shares!r}"
        if not isinstance(self.overrides, Mapping):
            yield f"overrides must map names of cells to spaces, got {self.overrides!r}"
            return
        for cell, space in self.overrides.items():
            if not isinstance(space, Space):
                yield f"overrides[{cell!r}] must be a Space, got {space!r}"
            elif space.overrides:
                yield f"overrides[{cell!r}] must override nothing itself, got {sorted(space.overrides)}"

    def of(self, cell: Cell) -> Space:
        """The space of a cell: its own where it is named in `overrides`."""
        return self.overrides.get(cell.name, self)

    def parameters(self, cell: Cell, intermediate: Settings | None, target: Settings) -> dict[str, Domain]:
        """Name → domain of the numbers drawn for one trial of the cell from these settings, in a fixed order.

        A share is drawn as a number of the open unit interval; `values` turns the draws into shares.
        """
        mine = self.of(cell)
        found: dict[str, Domain] = {}
        if cell.intermediates:
            found |= {
                f"intermediate.{name}": mine.intermediate[name]
                for name in sorted(_meant(mine.intermediate, intermediate))
            }
        if cell.searches_shares:
            found |= {f"share.{task.name}": Range(LOWEST_DRAW, HIGHEST_DRAW) for task in cell.intermediates}
        return found | {f"target.{name}": mine.target[name] for name in sorted(_meant(mine.target, target))}

    def extent(self, cell: Cell, intermediate: Settings | None, target: Settings) -> Extent:
        """What the search of a cell covers, from the settings that it starts from."""
        stages = {"intermediate": intermediate if cell.intermediates else None, "target": target}
        parameters = self.parameters(cell, intermediate, target)
        domains = {name: domain for name, domain in parameters.items() if not name.startswith("share.")}
        defaults = {
            f"{where}.{name}": setting_of(settings, name)
            for where, settings in stages.items()
            if settings is not None
            for name in _meant(SEARCHABLE, settings)
        }
        return Extent(
            domains=domains,
            defaults={name: value for name, value in defaults.items() if name not in domains},
            shares=self.of(cell).shares if cell.searches_shares else None,
        )

    def default_draws(self, cell: Cell, intermediate: Settings | None, target: Settings) -> dict[str, float]:
        """The draws of trial 0: the settings as they stand, and even shares."""
        stages = {"intermediate": intermediate, "target": target}
        draws: dict[str, float] = {}
        for name in self.parameters(cell, intermediate, target):
            where, _, setting = name.partition(".")
            settings = stages.get(where)
            draws[name] = EVEN_DRAW if settings is None else setting_of(settings, setting)
        return draws

    def values(self, cell: Cell, draws: Mapping[str, float]) -> dict[str, float]:
        """What the draws mean: settings unchanged, shares summing to 1 (also for cells whose shares are fixed)."""
        values = {name: value for name, value in draws.items() if not name.startswith("share.")}
        if cell.searches_shares:
            drawn = {task.name: draws[f"share.{task.name}"] for task in cell.intermediates}
            shares = shares_of(drawn, self.of(cell).shares)
        else:
            shares = dict(cell.shares) or {task.name: 1.0 for task in cell.intermediates}
        return values | {f"share.{name}": share for name, share in shares.items()}

    def faults_for(self, cell: Cell, intermediate: Settings | None, target: Settings) -> Iterator[str]:
        """Why this cell could not be searched from these settings."""
        mine = self.of(cell)
        stages = {"target": target} | ({"intermediate": intermediate} if cell.intermediates and intermediate else {})
        for where, settings in stages.items():
            yield from mine.default_faults(where, settings)
            yield from mine.end_faults(where, settings)
        if cell.searches_shares:
            yield from mine.shares.faults_for(len(cell.intermediates))

    def end_faults(self, where: str, settings: Settings) -> Iterator[str]:
        """Why a trial could be impossible: an end of a domain that the settings refuse.

        What the settings allow is an interval for each name that can be searched, so the ends speak for all between.
        """
        domains = getattr(self, where)
        for name in _meant(domains, settings):
            for value in _ends(domains[name]):
                try:
                    with_setting(settings, name, value)
                except Invalid as error:
                    yield f"{where}[{name!r}] must hold only values that a stage can use: {'; '.join(error.faults)}"

    def default_faults(self, where: str, settings: Settings) -> Iterator[str]:
        """Why the settings cannot be trial 0: a default outside the domain it is searched in."""
        domains = getattr(self, where)
        for name in _meant(domains, settings):
            value = setting_of(settings, name)
            if value not in domains[name]:
                yield (
                    f"{where} settings are the first trial, so {name} must lie in {domains[name]}, got {value!r}; "
                    "widen the domain or change the setting"
                )


def _meant(names: Iterable[str], settings: Settings | None) -> list[str]:
    """Those of the names that mean something in a stage of these settings: adapters must be there to have a rank."""
    return [name for name in names if not name.startswith("lora.") or (settings and settings.lora)]


def _domain_faults(where: str, name: str, domain: Domain) -> Iterator[str]:
    if name not in SEARCHABLE:
        yield f"{where} must name settings that can be searched, got {name!r}; {nearest(str(name), SEARCHABLE)}"
    if not isinstance(domain, Domain):
        yield f"{where}[{name!r}] must be a LogRange, Range, Integers or Choice, got {domain!r}"
    elif name in _WHOLE and not all(isinstance(value, int) for value in _whole_values(domain)):
        yield f"{where}[{name!r}] must hold whole numbers: Integers, or a Choice of some, got {domain!r}"


def _whole_values(domain: Domain) -> tuple[object, ...]:
    if isinstance(domain, Integers | Choice):
        return _ends(domain)
    return ("a range of any numbers",)


def _ends(domain: Domain) -> tuple[float, ...]:
    return domain.options if isinstance(domain, Choice) else (domain.low, domain.high)


def setting_of(settings: Settings, name: str) -> float:
    """The value of a setting that can be searched; `lora.rank` is that of the adapters."""
    outer, _, inner = name.partition(".")
    value = getattr(settings, outer)
    return getattr(value, inner) if inner else value


def with_setting(settings: Settings, name: str, value: float) -> Settings:
    """The settings with one of them changed.

    Raises:
        Invalid: where the settings refuse the value.
    """
    outer, _, inner = name.partition(".")
    if inner:
        value = dataclasses.replace(getattr(settings, outer), **{inner: value})
    return dataclasses.replace(settings, **{outer: value})


def with_values(settings: Settings, values: Mapping[str, float], where: str) -> Settings:
    """The settings with the values of one stage put in: `where` is `intermediate` or `target`."""
    prefix = f"{where}."
    for name, value in values.items():
        if name.startswith(prefix):
            settings = with_setting(settings, name.removeprefix(prefix), value)
    return settings
