"""How near the words of a pair are to one another, and how near words are that mean different things; trains nothing.

A cosine near 1 says little where every two words are that near, so it stands beside the cosine of random pairs; and
retrieval, which needs the difference, stands beside what guessing would reach.
"""

from __future__ import annotations

import numpy as np
import torch

from trainables.catalogue.task import Role, Split, Task
from trainables.data.batches import batch
from trainables.data.sequences import Rows
from trainables.model.reader import Reader
from trainables.scores import Score
from trainables.stages import Shape

#: Pairs of one forward pass.
_BATCH_SIZE = 512


def score_words(
    reader: Reader, task: Task, rows: Rows, split: Split, layer: int, step: int, shape: Shape, device: torch.device
) -> list[Score]:
    """Scores per language, of the layer that is trained and of the last one.

    `retrieval_accuracy` is the share of target words whose nearest source word, among all of the split in that
    language, translates them; `retrieval_accuracy_random_pairs` what a random one would reach. `pair_cosine` is the
    mean over pairs, `random_pair_cosine` that over all other combinations of their words. Names of the last layer's
    end in `_last_layer`. Every rank computes all of it.
    """
    scores: list[Score] = []
    spoken = np.array(rows.languages)
    for ending, which in (("", layer), ("_last_layer", None)):
        sources, targets = _vectors(reader, rows, which, shape, device)
        for language in split.languages:
            here = np.flatnonzero(spoken == language)
            if not len(here):
                continue
            measured = _measured(rows, here, sources[here], targets[here])
            scores += [
                Score(
                    task=task.name,
                    language=language,
                    split=split.name,
                    role=Role.SELECT,
                    metric=name + ending,
                    value=value,
                    correct=correct,
                    count=count,
                    step=step,
                )
                for name, (value, correct, count) in measured.items()
            ]
    return scores


def _measured(
    rows: Rows, here: np.ndarray, sources: torch.Tensor, targets: torch.Tensor
) -> dict[str, tuple[float, int | None, int]]:
    """Metric → (value, correct, count) of the pairs of one language."""
    assert rows.image_numbers is not None and rows.text_numbers is not None
    source_words, first_source, source_of = np.unique(rows.image_numbers[here], return_index=True, return_inverse=True)
    target_words, first_target, target_of = np.unique(rows.text_numbers[here], return_index=True, return_inverse=True)
    cosines = (targets[first_target] @ sources[first_source].T).numpy()
    translates = np.zeros((len(target_words), len(source_words)), dtype=bool)
    translates[target_of, source_of] = True
    right = int(translates[np.arange(len(target_words)), cosines.argmax(1)].sum())
    others = cosines[~translates]
    return {
        "retrieval_accuracy": (right / len(target_words), right, len(target_words)),
        "retrieval_accuracy_random_pairs": (float(translates.mean()), None, len(target_words)),
        "pair_cosine": (float(cosines[translates].mean()), None, len(here)),
        "random_pair_cosine": (float(others.mean()) if len(others) else 1.0, None, len(others)),
    }


def _vectors(
    reader: Reader, rows: Rows, layer: int | None, shape: Shape, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """(pair, width) twice: sources and targets, of norm 1."""
    was_training = reader.training
    reader.eval()
    parts = []
    try:
        for start in range(0, len(rows), _BATCH_SIZE):
            chosen = np.arange(start, min(start + _BATCH_SIZE, len(rows)))
            half = shape.precision == "bfloat16"
            with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                left, right = reader.word_vectors(batch(rows, chosen).to(device), layer)
            parts.append((left.squeeze(1).cpu(), right.cpu()))
    finally:
        reader.train(was_training)
    lefts, rights = zip(*parts, strict=True)
    return torch.cat(lefts), torch.cat(rights)
