"""What a report calls the things it shows, by the kind of sweep and by its metrics; computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.transfer_grid import CellRole
from sweep.standing import Standing

#: What cells differ by where all of them have an intermediate stage.
INTERMEDIATE = "intermediate training"

#: Names of scores as people write them; others are their own names with spaces.
_SPOKEN = {"f1": "F1", "accuracy_iglue": "accuracy by IGLUE's definition"}


#: What encoders' names hold that were trained on CC-100, by their papers: XLM-R, XLM-V and mDeBERTa-v3.
_ON_CC100 = ("xlm-roberta", "xlm-r", "xlmr", "xlm-v", "mdeberta-v3")

#: And of those that were not: mBERT, which read Wikipedia.
_ON_OTHER_TEXT = ("bert-base-multilingual",)


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words for a sweep's scores and for how they came about."""

    score: str = "accuracy"
    """The target's score."""
    dev: str = "accuracy"
    """The English development score that the search goes by."""
    published: str = ""
    """Of published numbers the model that the others are compared with; empty for a sweep that was run."""
    baseline: str = "the baseline"
    cell: str = INTERMEDIATE
    """What cells differ by."""
    text: str = "which XLM-R was trained on"
    """What is to be known of CC-100."""

    @staticmethod
    def of(standing: Standing, stated: Mapping[str, Any]) -> Words:
        """The words for a sweep, from its standing and its `definition.json`."""
        definition = stated.get("definition", {})
        base = standing.baseline.name if standing.baseline else ""
        devs = {cell.dev_metric for cell in standing.cells if cell.role is not CellRole.CONTROL}
        return Words(
            score=_spoken(standing.metric),
            dev=_spoken(devs.pop()) if len(devs) == 1 else "score",
            published=base if "published" in definition else "",
            baseline=base or "the baseline",
            cell="model" if "published" in definition else kind_of_cells(standing),
            text="which XLM-R was trained on" + _of_this_encoder(definition),
        )

    @property
    def title(self) -> str:
        """The score at the beginning of a sentence."""
        return self.score[0].upper() + self.score[1:]

    @property
    def english_dev(self) -> str:
        """The English development score."""
        return f"English dev {self.dev}"

    @property
    def gain(self) -> str:
        """What a gain is, as the beginning of a caption."""
        if self.published:
            return f"{self.title} minus that of {self.published}: one run of each, not paired by item"
        return f"{self.title} minus the baseline's, same seeds and items"

    @property
    def mean(self) -> str:
        """What an accuracy is, as the beginning of a caption."""
        if self.published:
            return "One run with its 95% interval over items"
        return "Mean over confirmation seeds with its 95% interval over seeds and items"


def kind_of_cells(standing: Standing) -> str:
    """What the transfer cells differ by: some may have other target training, or aligned words, and nothing between."""
    other = any(cell.role is CellRole.TRANSFER and not cell.intermediates for cell in standing.cells)
    return "training" if other else INTERMEDIATE


def _of_this_encoder(definition: Mapping[str, Any]) -> str:
    """Whether the sweep's own encoder was trained on CC-100 too, as far as its name tells."""
    text = definition.get("encoder", {}).get("text")
    if text is None:
        return ""
    name = str(text.get("repository") or text.get("path") or "").lower()
    if any(part in name for part in _ON_CC100):
        return ""
    if not name or any(part in name for part in _ON_OTHER_TEXT):  # without a name it is an encoder of the lab
        return "; the encoder of this sweep was not"
    return "; whether the encoder of this sweep was, too, is not known here"


def _spoken(metric: str) -> str:
    return _SPOKEN.get(metric, metric.replace("_", " "))
