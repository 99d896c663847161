"""The columns of every table, each with its meaning and unit; fills none of them."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

#: Raised when a column appears, goes or changes its meaning.
SCHEMA_VERSION = 4


def column(name: str, kind: pa.DataType, meaning: str, unit: str = "", *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"meaning": meaning, "unit": unit})


def schema(name: str, columns: Iterable[pa.Field]) -> pa.Schema:
    return pa.schema(list(columns), metadata={"table": name, "schema_version": str(SCHEMA_VERSION)})


_SHARE = "share, 0 to 1"
_DIFFERENCE = "difference of shares, -1 to 1"
_SWEEP = column("sweep", pa.string(), "name of the sweep")
_TARGET = column("target", pa.string(), "name of the target, and in brackets what is to be known of its scores")
_CELL = column("cell", pa.string(), "name of the cell")
_ROLE = column("role", pa.string(), "what the cell is for", "CellRole; empty for a cell that the definition dropped")
_PHASE = column("phase", pa.string(), "search or confirmation; only confirmation is reported")
_NUMBER = column("number", pa.int32(), "number of the trial in its cell and phase")
_SEED = column("seed", pa.int64(), "seed of every stage of the trial but the shared ones")
_STAGE = column("stage", pa.string(), "digest of the stage that the row speaks of; empty where none exists")
_TASK = column("task", pa.string(), "name of the task")
_LANGUAGE = column("language", pa.string(), "language of the rows scored", "ISO 639-1")
_REASON = column("absent_reason", pa.string(), "why the value is absent; empty where it is there")
_NO_SPREAD = column(
    "absent_reason", pa.string(), "why the gain is absent, or its interval and p-value; empty where they are there"
)

SCORES = schema(
    "scores",
    [
        _SWEEP,
        _CELL,
        _PHASE,
        _NUMBER,
        _SEED,
        _STAGE,
        column("step", pa.int64(), "target training behind the score; null if none", "optimiser steps", nullable=True),
        _TASK,
        _LANGUAGE,
        column("split", pa.string(), "split scored"),
        column("role", pa.string(), "what the score may be used for", "Role: fit, select, report or oracle"),
        column("metric", pa.string(), "name of the metric"),
        column("value", pa.float64(), "the score; null where absent", _SHARE, nullable=True),
        column("correct", pa.int64(), "right answers; null where the metric counts none", "items", nullable=True),
        column("count", pa.int64(), "items scored; null where not known", "items", nullable=True),
        _REASON,
    ],
)

STAGES = schema(
    "stages",
    [
        *(_SWEEP, _TARGET, _CELL, _NUMBER, _SEED),
        column("place", pa.int32(), "place of the stage in the run's path, the first is 0"),
        column("kind", pa.string(), "what the stage does; empty where the ledger does not say", "StageKind"),
        _STAGE,
        column(
            "step", pa.int64(), "training of this stage behind the score, 0 before it", "optimiser steps", nullable=True
        ),
        _TASK,
        _LANGUAGE,
        column("split", pa.string(), "split scored"),
        column("role", pa.string(), "what the score may be used for", "Role: fit, select, report or oracle"),
        column("metric", pa.string(), "name of the metric; a task has a row for each of its own"),
        column("value", pa.float64(), "the score; null where absent", f"{_SHARE}; a cosine, -1 to 1", nullable=True),
        column("correct", pa.int64(), "right answers; null where the metric counts none", "items", nullable=True),
        column("count", pa.int64(), "items scored; null where not known", "items", nullable=True),
        _REASON,
    ],
)

MIXTURES = schema(
    "mixtures",
    (
        *(_SWEEP, _TARGET, _CELL, _PHASE, _NUMBER, _TASK),
        column("share", pa.float64(), "the task's share of the intermediate mixture", _SHARE),
        column("expected", pa.float64(), "examples of the task that its share promises", "examples"),
        column("actual", pa.int64(), "examples of the task that its whole optimiser steps draw", "examples"),
    ),
)

PREDICTIONS = schema(
    "predictions",
    [
        _SWEEP,
        _CELL,
        _NUMBER,
        _SEED,
        _STAGE,
        _TASK,
        _LANGUAGE,
        column("item_id", pa.string(), "name of the item, the same in every language that has it"),
        column("gold", pa.string(), "right answer; null where the item has no gold label", nullable=True),
        column("predicted", pa.string(), "the model's answer"),
    ],
)

_INTERMEDIATES = column("intermediates", pa.string(), "intermediate tasks, joined by '+'; empty for none")

#: What `per_language` and `per_group` say of a cell in one language or on the average of several.
_ACCURACY_AND_GAIN = [
    column("seeds", pa.int32(), "confirmation runs behind the accuracy"),
    column("items", pa.int64(), "test items of each run; null if not stored", "items", nullable=True),
    column("accuracy", pa.float64(), "mean over seeds and items; null where absent", _SHARE, nullable=True),
    column("accuracy_low", pa.float64(), "lower end of its 95% interval, over seeds and items", _SHARE, nullable=True),
    column("accuracy_high", pa.float64(), "upper end of its 95% interval, over seeds and items", _SHARE, nullable=True),
    column("baseline", pa.string(), "the cell that the gain is against; empty where there is none"),
    column("gain", pa.float64(), "accuracy minus the baseline's, same seeds and items", _DIFFERENCE, nullable=True),
    column("gain_low", pa.float64(), "lower end of its paired 95% interval", _DIFFERENCE, nullable=True),
    column("gain_high", pa.float64(), "upper end of its paired 95% interval", _DIFFERENCE, nullable=True),
    _REASON,
    column("gain_absent_reason", pa.string(), "why the gain is absent; empty where it is there"),
    column("remark", pa.string(), "what a reader should know of the row; empty for nothing"),
]

PER_LANGUAGE = schema(
    "per_language",
    [
        _SWEEP,
        _CELL,
        _ROLE,
        _INTERMEDIATES,
        column("language", pa.string(), "language of the test split, or 'mean' or 'mean_without_en'", "ISO 639-1"),
        column("is_mean", pa.bool_(), "whether the row is a mean over languages, each weighing the same"),
        *_ACCURACY_AND_GAIN,
    ],
)

PER_GROUP = schema(
    "per_group",
    [
        _SWEEP,
        _CELL,
        _ROLE,
        _INTERMEDIATES,
        column("grouping", pa.string(), "what the languages are grouped by: family, script or pretraining"),
        column("group", pa.string(), "the group, as sweep/languages.py has it"),
        column("languages", pa.string(), "languages of the group, without English, separated by spaces", "ISO 639-1"),
        *_ACCURACY_AND_GAIN,
    ],
)

ACROSS = schema(
    "across",
    [
        column("sweep", pa.string(), "name of the suite"),
        _CELL,
        column("targets", pa.string(), "which targets the mean is over: all, or without_retrieval"),
        column("number", pa.int32(), "targets that the mean is over"),
        column("seeds", pa.int32(), "seeds that every target was confirmed with"),
        column("accuracy", pa.float64(), "mean over targets, each weighing the same", _SHARE, nullable=True),
        column("gain", pa.float64(), "mean over targets of the gain over the baseline", _DIFFERENCE, nullable=True),
        column("gain_low", pa.float64(), "lower end of its 95% interval", _DIFFERENCE, nullable=True),
        column("gain_high", pa.float64(), "upper end of its 95% interval", _DIFFERENCE, nullable=True),
        _NO_SPREAD,
        column("remark", pa.string(), "languages that the mean of a target leaves out, since no run has them"),
    ],
)

_AGAINST = column("against", pa.string(), "the baseline that the cell is compared with")
_TESTED = column("language", pa.string(), "language of the test split, or a mean over several", "ISO 639-1")
_PROBABILITY = "probability, 0 to 1"

_GAIN_OF_PAIRS = [
    column("gain_low", pa.float64(), "lower end of its paired 95% interval", _DIFFERENCE, nullable=True),
    column("gain_high", pa.float64(), "upper end of its paired 95% interval", _DIFFERENCE, nullable=True),
    column("p_value", pa.float64(), "below 0.05 just where the interval excludes 0", _PROBABILITY, nullable=True),
    column(
        "p_cautious",
        pa.float64(),
        "the p-value that is corrected: p_value, or Student's of one degree of freedom less than seeds where that is "
        "larger, since few seeds can make a very small p_value too small",
        _PROBABILITY,
        nullable=True,
    ),
    column("family", pa.string(), "the comparisons that it is corrected with: those of the same family and baseline"),
    column("family_size", pa.int32(), "how many comparisons with a p-value the family has"),
    column(
        "p_holm",
        pa.float64(),
        "p_cautious corrected after Holm: chance of one or more false finds in the family",
        _PROBABILITY,
        nullable=True,
    ),
    column(
        "q_value",
        pa.float64(),
        "p_cautious corrected after Benjamini and Hochberg: expected share of false finds among those with less",
        _PROBABILITY,
        nullable=True,
    ),
    column(
        "simultaneous_low",
        pa.float64(),
        "lower end of the interval that holds, with those of the whole family, in 95% of sweeps (Bonferroni)",
        _DIFFERENCE,
        nullable=True,
    ),
    column("simultaneous_high", pa.float64(), "upper end of the same", _DIFFERENCE, nullable=True),
]

COMPARISONS = schema(
    "comparisons",
    [
        _SWEEP,
        _TARGET,
        _CELL,
        _ROLE,
        _AGAINST,
        column("against_role", pa.string(), "baseline, or compute_matched: trained as long as both stages together"),
        _TESTED,
        column("seeds", pa.int32(), "seeds that both cells were run with"),
        column("items", pa.int64(), "items that both cells answered", "items", nullable=True),
        column("gain", pa.float64(), "accuracy minus the other's, same seeds and items", _DIFFERENCE, nullable=True),
        *_GAIN_OF_PAIRS,
        column(
            "smallest_gain",
            pa.float64(),
            "true gain that four in five such comparisons would show",
            _DIFFERENCE,
            nullable=True,
        ),
        _NO_SPREAD,
    ],
)

COMPARED = schema(
    "compared",
    [
        _SWEEP,
        column("other", pa.string(), "name of the sweep that it is compared with"),
        _CELL,
        _ROLE,
        _TESTED,
        column("seeds", pa.int32(), "seeds that both were run with"),
        column("items", pa.int64(), "items that both answered", "items", nullable=True),
        column("accuracy", pa.float64(), "of the sweep, over its seeds", _SHARE, nullable=True),
        column("other_accuracy", pa.float64(), "of the other, over its seeds", _SHARE, nullable=True),
        column("gain", pa.float64(), "the first minus the other, same seeds and items", _DIFFERENCE, nullable=True),
        *_GAIN_OF_PAIRS,
        _NO_SPREAD,
        column("remark", pa.string(), "what a reader should know of the row; empty for nothing"),
    ],
)

MCNEMAR = schema(
    "mcnemar",
    [
        _SWEEP,
        _TARGET,
        _CELL,
        _AGAINST,
        _LANGUAGE,
        _SEED,
        column("items", pa.int64(), "items that both runs answered", "items"),
        column(
            "only_cell", pa.int64(), "items that the cell's run alone got right, or, of graded answers, better", "items"
        ),
        column("only_against", pa.int64(), "items that the other run alone got right, or better", "items"),
        column(
            "p_value",
            pa.float64(),
            "of McNemar's exact test (of graded answers the sign test); speaks of these two runs only",
            _PROBABILITY,
        ),
    ],
)

SELECTION = schema(
    "selection",
    [
        _SWEEP,
        _TARGET,
        _CELL,
        _ROLE,
        column("trials", pa.int32(), "search trials with a score"),
        column("search_score", pa.float64(), "English dev score that won the search", _SHARE, nullable=True),
        column("confirmed_score", pa.float64(), "English dev score of its confirmations, mean", _SHARE, nullable=True),
        column("confirmed_low", pa.float64(), "lower end of its 95% interval over seeds", _SHARE, nullable=True),
        column("confirmed_high", pa.float64(), "upper end of its 95% interval over seeds", _SHARE, nullable=True),
        column(
            "optimism",
            pa.float64(),
            "search score minus confirmed score: the winner's curse",
            _DIFFERENCE,
            nullable=True,
        ),
        column("zero_shot", pa.float64(), "test accuracy, mean over the other languages", _SHARE, nullable=True),
        column(
            "seed_gap",
            pa.float64(),
            "best seed by that accuracy minus best by English dev, scored as oracle_gap of `correlations`",
            _DIFFERENCE,
            nullable=True,
        ),
        _REASON,
    ],
)

SELECTORS = schema(
    "selectors",
    [
        *(_SWEEP, _TARGET, _CELL, _NUMBER, _SEED),
        column("selector", pa.string(), "how a checkpoint of the run is chosen", "Selector"),
        column("is_reported", pa.bool_(), "whether the sweep reports this selector's choice"),
        column("steps", pa.string(), "target training of its choice; several, joined by '+', are averaged", "steps"),
        column("english_dev", pa.float64(), "English dev score there; null for an average", _SHARE, nullable=True),
        column(
            "oracle_sees",
            pa.string(),
            "what the oracle chose by: oracle_dev, development data in other languages; oracle, half of the test, the "
            "other half being reported; report, the test itself",
        ),
        column("language", pa.string(), "language of the test split, or 'mean' or 'mean_without_en'", "ISO 639-1"),
        column("accuracy", pa.float64(), "test score of its choice; null where absent", _SHARE, nullable=True),
        column("oracle_gap", pa.float64(), "the oracle's accuracy minus this one", _DIFFERENCE, nullable=True),
        _REASON,
    ],
)

EXPECTED_BEST = schema(
    "expected_best",
    [
        _SWEEP,
        _TARGET,
        _CELL,
        column("trials", pa.int32(), "how many trials are drawn", "trials"),
        column("score", pa.float64(), "expected English dev score of the best of them", _SHARE),
        column("score_low", pa.float64(), "lower end of its 95% bootstrap interval", _SHARE),
        column("score_high", pa.float64(), "upper end of its 95% bootstrap interval", _SHARE),
    ],
)

CORRELATIONS = schema(
    "correlations",
    [
        _SWEEP,
        _TARGET,
        column("over", pa.string(), "runs: every reported run is a point; cells: the mean of each cell is"),
        _TESTED,
        column("points", pa.int32(), "how many points; the blind baselines and controls are left out"),
        column("pearson", pa.float64(), "of English dev with test accuracy", "-1 to 1", nullable=True),
        column(
            "pearson_low", pa.float64(), "lower end of Fisher's 95% interval; null over runs", "-1 to 1", nullable=True
        ),
        column(
            "pearson_high", pa.float64(), "upper end of Fisher's 95% interval; null over runs", "-1 to 1", nullable=True
        ),
        column("spearman", pa.float64(), "of the ranks", "-1 to 1", nullable=True),
        column("chosen", pa.string(), "the point that English dev would choose"),
        column("oracle", pa.string(), "the point that the test accuracy itself would choose"),
        column(
            "oracle_sees",
            pa.string(),
            "what the oracle of the gap chose by: half, the items that it is not scored on, or report, the test "
            "itself, where no item's score is known: then the gap is too large",
        ),
        column(
            "oracle_gap",
            pa.float64(),
            "accuracy of the oracle's choice minus that of the other, on the half of the items that it did not see, "
            "mean of both ways; it can be below 0",
            _DIFFERENCE,
            nullable=True,
        ),
        _REASON,
    ],
)

IMPORTANCES = schema(
    "importances",
    [
        _SWEEP,
        _TARGET,
        _CELL,
        column("parameter", pa.string(), "name of the searched parameter"),
        column("trials", pa.int32(), "finished search trials"),
        column(
            "importance", pa.float64(), "PED-ANOVA's, of the value used, as a share of their sum", _SHARE, nullable=True
        ),
        _REASON,
    ],
)


def trials_schema(parameters: Iterable[str]) -> pa.Schema:
    """The columns of `trials`: one per searched parameter, null in the cells that do not have it."""
    values = [
        column(f"value.{name}", pa.float64(), f"value of {name}; null where the cell has none", nullable=True)
        for name in parameters
    ]
    return schema(
        "trials",
        [
            _SWEEP,
            _TARGET,
            _CELL,
            _ROLE,
            _PHASE,
            _NUMBER,
            _SEED,
            column("state", pa.string(), "open, finished, pruned or failed"),
            column("leads", pa.bool_(), "whether this search trial is its cell's winner so far"),
            column(
                "winner", pa.int32(), "search trial that this confirmation repeats; null in the search", nullable=True
            ),
            column(
                "superseded", pa.bool_(), "whether this confirmation repeats a trial that no longer leads; not reported"
            ),
            column("score", pa.float64(), "English dev score; null where the trial has none", _SHARE, nullable=True),
            column(
                "scored_step",
                pa.int64(),
                "target training at the last score; null for none",
                "optimiser steps",
                nullable=True,
            ),
            column(
                "steps_saved",
                pa.int64(),
                "target training that a pruned trial did not ask for; its gang may do a few before it stops",
                "optimiser steps",
            ),
            column("target_stage", pa.string(), "digest of the target training; empty until finished"),
            column("evaluation_stage", pa.string(), "digest of the evaluation; empty in the search"),
            column("reason", pa.string(), "why the trial failed; empty otherwise"),
            *values,
        ],
    )


def columns_markdown(columns: pa.Schema) -> str:
    """The columns of a table as a Markdown table of name, type, unit and meaning."""
    lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    for one in columns:
        about = {key.decode(): value.decode() for key, value in one.metadata.items()}
        lines.append(f"| `{one.name}` | {one.type} | {about['unit']} | {about['meaning']} |")
    return "\n".join(lines)
