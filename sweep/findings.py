"""All that is computed from a sweep's scores and answers, as tables by name; reads and writes no file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from sweep.columns import IMPORTANCES
from sweep.comparisons import comparisons, mcnemar_tests
from sweep.languages import GROUPINGS
from sweep.outcomes import Answers
from sweep.per_language import per_group, per_language
from sweep.selection import correlations, expected_best, importances, selection
from sweep.selectors import selectors
from sweep.standing import Standing
from sweep.tables import with_target

if TYPE_CHECKING:
    from sweep.definition import Sweep


#: Those that hold no row without the definition.
OF_DEFINITION = ("selectors", "importances")


def findings(standing: Standing, answers: Answers, sweep: Sweep | None) -> dict[str, pa.Table]:
    """Every such table. Without the definition, nothing is said of parameters."""
    found = {
        "per_language": per_language(standing, answers),
        "per_group": pa.concat_tables([per_group(standing, answers, grouping) for grouping in GROUPINGS]),
        "comparisons": comparisons(standing, answers),
        "mcnemar": mcnemar_tests(standing, answers),
        "selection": selection(standing, answers),
        "selectors": selectors(standing, answers, sweep),
        "expected_best": expected_best(standing),
        "correlations": correlations(standing, answers),
        "importances": importances(standing, sweep) if sweep is not None else IMPORTANCES.empty_table(),
    }
    return {name: with_target(table, standing) for name, table in found.items()}
