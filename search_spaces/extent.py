"""What the search of a cell covers, enough to say whether a point that was tried lies there; draws none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from search_spaces.domains import Domain, Simplex

#: Shares are compared with their bounds to this.
_EPSILON = 1e-9


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The domains of what is searched, by name, and the values of what could be and is not.

    `shares` bounds the mixing weights of a cell that searches them; None where they are given.
    """

    domains: Mapping[str, Domain] = field(default_factory=dict)
    defaults: Mapping[str, float] = field(default_factory=dict)
    shares: Simplex | None = None

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether a point lies here, by the values that its stages used.

        A parameter that was not searched then stood at its default, which every domain holds.
        """
        return all(
            self._holds_share(value) if name.startswith("share.") else self._holds_setting(name, value)
            for name, value in values.items()
        )

    def _holds_setting(self, name: str, value: float) -> bool:
        if name in self.domains:
            return value in self.domains[name]
        return value == self.defaults.get(name, value)

    def _holds_share(self, share: float) -> bool:
        if self.shares is None or (self.shares.sparse and share == 0):
            return True
        return self.shares.minimum - _EPSILON <= share <= self.shares.maximum + _EPSILON
