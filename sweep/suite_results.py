"""What came out of a suite's sweeps together: the means over its targets, its exports and its report; runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sweep.results import Results
from trainables.faults import NotThere

if TYPE_CHECKING:
    import pyarrow as pa

    from sweep.suite import Suite


@dataclass(frozen=True, kw_only=True)
class SuiteResults:
    """The results of those sweeps of a suite that a storage holds, in the suite's order."""

    name: str
    storage: str
    targets: tuple[Results, ...]
    missing: tuple[str, ...]
    """Sweeps of the suite that have not been run there."""

    @staticmethod
    def open(storage: str, suite: Suite) -> SuiteResults:
        """The results of a suite in a storage folder or URI.

        Raises:
            NotThere: where none of its sweeps has been run there.
        """
        found: list[Results] = []
        missing = []
        for sweep in suite.sweeps:
            try:
                found.append(Results.open(storage, sweep.name))
            except NotThere:
                missing.append(sweep.name)
        if not found:
            raise NotThere(f"{storage} has no sweep of the suite {suite.name!r}; run one of: {', '.join(missing)}")
        return SuiteResults(name=suite.name, storage=str(storage), targets=tuple(found), missing=tuple(missing))

    def still(self) -> SuiteResults:
        """The same results as of this moment, read once however many tables are asked for."""
        return replace(self, targets=tuple(results.still() for results in self.targets))

    def across(self) -> pa.Table:
        """The mean of each cell over the targets, with and without retrieval; see `sweep.columns.ACROSS`."""
        from sweep.across import Target, across

        return across(self.name, [Target.of(results) for results in self.targets])

    def export(self, directory: str) -> tuple[str, ...]:
        """Write `across` and, in a folder for each sweep, all of its tables, as Parquet and CSV; give the paths."""
        from sweep import tables
        from trainables.places import place_of

        folder = directory.rstrip("/")
        paths = tables.export(*place_of(folder), {"across": self.across()})
        for results in self.targets:
            paths += results.export(f"{folder}/{results.name}", everything=True)
        return paths

    def report(self, output: str | None = None) -> tuple[str, ...]:
        """Write the suite's page, and beside it its figure, its tables and the report of each sweep; give the paths.

        `output` is a path or URI that ends in `.html`; without one it is `suites/<name>/report.html` in the storage.
        Everything else is in the folder `<output without .html>_files`.
        """
        from sweep.report.write import write_suite_report
        from trainables.places import place_of

        path = output or f"{self.storage.rstrip('/')}/suites/{self.name}/report.html"
        folder = f"{path.removesuffix('.html')}_files"
        paths: Sequence[str] = ()
        for results in self.targets:
            paths = (*paths, *results.report(f"{folder}/{results.name}.html"))
        return (*write_suite_report(self, *place_of(path)), *paths)
