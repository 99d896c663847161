"""Published results on XVNLI to stand beside one's own, each with its source; computes none.

Every number is accuracy by IGLUE's definition: over 1,164 items, those without a gold label counted as wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trainables.catalogue.task import IGLUE_ACCURACY
from trainables.faults import NotThere

#: The task that these results are of.
TASK = "xvnli"

_IGLUE = "Bugliarello et al. 2022 (IGLUE), e-bug/iglue results/xvnli"


@dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """What a paper says of one system: accuracy by language, in 0..1. `mean` is over the languages but English."""

    system: str
    setting: str
    accuracy: tuple[tuple[str, float], ...]
    mean: float
    source: str


def _iglue(system: str, setting: str, *percent: float) -> PublishedResult:
    """A row of IGLUE's tables: en, ar, es, fr, ru, and their mean without English, in percent."""
    values = [round(value / 100, 7) for value in percent]
    return PublishedResult(
        system=system,
        setting=setting,
        accuracy=tuple(zip(("en", "ar", "es", "fr", "ru"), values[:5], strict=True)),
        mean=values[5],
        source=_IGLUE,
    )


XVNLI = (
    _iglue("mUNITER", "zero-shot", 76.375, 46.735, 56.959, 59.364, 51.718, 53.694),
    _iglue("xUNITER", "zero-shot", 75.773, 51.976, 58.935, 63.316, 59.708, 58.48375),
    _iglue("UC2", "zero-shot", 76.375, 56.186, 57.474, 69.674, 64.863, 62.04925),
    _iglue("M3P", "zero-shot", 76.89, 55.241, 58.849, 56.357, 62.543, 58.2475),
    _iglue("mUNITER", "translate-test", 76.375, 73.196, 73.11, 73.711, 72.337, 73.0885),
    _iglue("xUNITER", "translate-test", 75.773, 72.423, 72.423, 73.969, 72.509, 72.831),
    _iglue("UC2", "translate-test", 76.375, 74.141, 72.852, 75.0, 72.68, 73.66825),
    _iglue("M3P", "translate-test", 76.89, 73.282, 72.766, 74.742, 72.68, 73.3675),
    _iglue("LXMERT", "translate-test", 76.718, 72.423, 72.68, 74.227, 70.962, 72.573),
    _iglue("UNITER", "translate-test", 77.148, 73.797, 72.68, 75.0, 73.11, 73.64675),
    _iglue("ViLBERT", "translate-test", 77.148, 73.196, 73.11, 74.485, 73.024, 73.45375),
    _iglue("VisualBERT", "translate-test", 77.148, 74.399, 73.54, 75.601, 72.938, 74.1195),
    _iglue("VL-BERT", "translate-test", 77.491, 74.141, 73.797, 74.914, 72.595, 73.86175),
)


def comparable(target: str) -> None:
    """Nothing, for a task that these results are of.

    Raises:
        NotThere: for any other, a text proxy included.
    """
    if target != TASK:
        raise NotThere(
            f"published results are of {TASK!r}, got the target {target!r}; leave --with-published out: nothing "
            "published can stand beside it"
        )


def by_iglue(scores: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Cell → language → accuracy by IGLUE's definition, mean over seeds, from rows of the table `scores`."""
    own: dict[str, dict[str, list[float]]] = {}
    for row in scores:
        if row["metric"] == IGLUE_ACCURACY and row["role"] == "report" and row["value"] is not None:
            own.setdefault(row["cell"], {}).setdefault(row["language"], []).append(row["value"])
    return {cell: {code: sum(values) / len(values) for code, values in found.items()} for cell, found in own.items()}


def beside(own: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Rows of text, the head first: one's own cells, then every published system.

    own: cell → language → accuracy by IGLUE's definition, in 0..1, mean over seeds.
    """
    languages = [language for language, _ in XVNLI[0].accuracy]
    head = ["system", "setting", *languages, "mean without en", "source"]
    rows = []
    for cell, found in own.items():
        others = [found[code] for code in languages if code != "en" and code in found]
        whole = len(others) == len(languages) - 1
        values = [f"{found[code]:.3f}" if code in found else "." for code in languages]
        rows.append([cell, "this sweep", *values, f"{sum(others) / len(others):.3f}" if whole else ".", ""])
    for result in XVNLI:
        values = [f"{value:.3f}" for _, value in result.accuracy]
        rows.append([result.system, result.setting, *values, f"{result.mean:.3f}", result.source])
    return [head, *rows]
