"""The English development score that a run is judged by: that of the checkpoint which would be reported of it."""

from __future__ import annotations

from collections.abc import Sequence

from sweep.definition import Sweep
from sweep.paths import kept_steps
from sweep.selection_score import SelectionScore
from trainables.selectors import Selector
from trainables.settings import Settings


def selected_score(sweep: Sweep, settings: Settings, scored: Sequence[tuple[int, SelectionScore]]) -> SelectionScore:
    """Of a run with these (step, score) pairs, in order of steps and down to its last.

    With `Selector.ENGLISH_DEV` the best among the checkpoints that selectors choose from, else that of the last step:
    an average is not scored in the search, and no other selector's labels may reach it.
    """
    if sweep.selector is not Selector.ENGLISH_DEV:
        return scored[-1][1]
    kept = kept_steps(sweep, settings)
    return max(score for step, score in scored if step in kept)
