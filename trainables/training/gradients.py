"""The gradients of one optimiser step, divided over forward passes and ranks; knows no optimiser and no schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from trainables.catalogue.task import Kind
from trainables.data.batches import Batch, Hidden, batch, shard
from trainables.model.reader import Reader
from trainables.stages import Shape
from trainables.training.feeds import Feed
from trainables.training.ranks import RankFailed, RankLost, Ranks
from trainables.training.torch_state import autocast


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What a step reads: rows of the global batch, the tokens masked in them, and whether this rank wants to stop."""

    rows: np.ndarray
    hidden: Hidden | None
    wants_stop: bool


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Loss summed over the labels of all ranks, how many there were, and whether any rank wants to stop."""

    loss: torch.Tensor
    labels: float
    stop: bool


class Gradients:
    """Leaves in every parameter's `grad` the gradient of the mean loss per label of the global batch.

    Part m * ranks + r of the batch is the m-th forward pass of rank r. Losses are summed and divided once by the
    global count of labels, so every division gives the same numbers but for rounding; a contrastive loss sees the
    negatives of all ranks, but only of its own forward pass.
    """

    def __init__(self, reader: Reader, accumulation_steps: int, shape: Shape, device: torch.device, ranks: Ranks):
        self.reader, self.device, self.ranks = reader, device, ranks
        self.accumulation_steps = accumulation_steps
        self.parameters = [parameter for parameter in reader.parameters() if parameter.requires_grad]
        self._precision = shape.precision
        self.scale = 1.0
        """What losses are multiplied by before the backward pass, and gradients divided by after it."""

    def take(self, feed: Feed, draw: Callable[[], Drawn]) -> Taken:
        """Backward over the rows that `draw` returns.

        Raises:
            RankFailed: with more than one rank, on all of them when anything raised on any; alone, what was raised.
        """
        if self.ranks.size == 1:
            return self._alone(feed, draw())
        return self._together(feed, draw)

    def _alone(self, feed: Feed, drawn: Drawn) -> Taken:
        parts = shard(drawn.rows, self.accumulation_steps)
        if len(parts) == 1:
            loss, labels = self._loss(feed, parts[0], drawn.hidden)
            (loss * self.scale / max(labels, 1)).backward()
            self._unscale()
            return Taken(loss=loss.detach(), labels=labels, stop=drawn.wants_stop)
        loss, labels = self._backward(feed, parts, drawn.hidden)
        self._divide(labels)
        return Taken(loss=loss, labels=labels, stop=drawn.wants_stop)

    def _together(self, feed: Feed, draw: Callable[[], Drawn]) -> Taken:
        """One all-reduce carries gradients, which parameters have one, loss, labels, the wish to stop and a failure
        flag per rank, so that a rank which fails still takes part and no other waits for it.
        """
        error: Exception | None = None
        drawn: Drawn | None = None
        loss, labels = torch.zeros((), device=self.device), 0
        try:
            # the parts of a contrastive step meet in collectives of their own: all ranks enter them, or none
            drawn = self.ranks.together(draw) if feed.contrastive else draw()
            parts = shard(drawn.rows, self.ranks.size * self.accumulation_steps)
            loss, labels = self._backward(feed, parts, drawn.hidden)
        except (RankFailed, RankLost):  # all ranks know already
            raise
        except Exception as raised:  # whatever it is, the others must hear of it before it goes on
            error = raised
        return self._reduced(loss, labels, drawn is not None and drawn.wants_stop, error)

    def _backward(self, feed: Feed, parts: list[np.ndarray], hidden: Hidden | None) -> tuple[torch.Tensor, int]:
        loss, labels = torch.zeros((), device=self.device), 0
        for first in range(0, len(parts), self.ranks.size):
            share, count = self._part(feed, parts[first : first + self.ranks.size], hidden)
            loss, labels = loss + share, labels + count
        return loss, labels

    def _part(self, feed: Feed, group: list[np.ndarray], hidden: Hidden | None) -> tuple[torch.Tensor, int]:
        if feed.contrastive and self.ranks.size > 1:
            return self._contrast_over_ranks(feed, group)
        mine = group[self.ranks.rank]
        if not len(mine):
            return torch.zeros((), device=self.device), 0
        loss, labels = self._loss(feed, mine, hidden)
        (loss * self.scale).backward()
        return loss.detach(), labels

    def _loss(self, feed: Feed, chosen: np.ndarray, hidden: Hidden | None) -> tuple[torch.Tensor, int]:
        """Loss of some rows summed over labels, and the number of labels."""
        with self._autocast():
            part = self._batch(feed, chosen, hidden)
            if not feed.contrastive:
                return self.reader.loss(part, feed.head, feed.outputs)
            assert part.image_numbers is not None and part.text_numbers is not None
            if feed.by_words:
                images, texts = self.reader.patch_vectors(part), self.reader.word_embeddings(part)
            else:
                images, texts = self._vectors(feed, part)
            return self.reader.contrastive_loss(images, texts, part.image_numbers, part.text_numbers), part.rows

    def _vectors(self, feed: Feed, part: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(row, part of an image or the one source word, width) and (row, width)"""
        if feed.task.kind is Kind.WORDS:
            return self.reader.word_vectors(part, feed.layer)
        return self.reader.vectors(part)

    def _batch(self, feed: Feed, chosen: np.ndarray, hidden: Hidden | None) -> Batch:
        return batch(feed.rows, chosen, hidden).to(self.device)

    def _autocast(self) -> torch.autocast:
        return autocast(self.device, self._precision)

    def _contrast_over_ranks(self, feed: Feed, group: list[np.ndarray]) -> tuple[torch.Tensor, int]:
        """The contrastive loss of the rows of all ranks: a rank's own vectors carry gradients, the others' are read.

        Summed over ranks, the gradients are those of the whole loss; the temperature's is taken on rank 0 alone.
        """
        mine = group[self.ranks.rank]
        begin = sum(len(part) for part in group[: self.ranks.rank])
        end, total = begin + len(mine), sum(len(part) for part in group)
        everyone = np.concatenate(group)

        def encode() -> torch.Tensor | None:
            """(row, patch, then text unless the words are looked up below, width)"""
            if not len(mine):
                return None
            with self._autocast():
                part = self._batch(feed, mine, None)
                if feed.by_words:
                    return self.reader.patch_vectors(part)
                images, texts = self._vectors(feed, part)
            return torch.cat((images, texts.unsqueeze(1)), dim=1)

        vectors = self.ranks.together(encode)
        compared = 1 if feed.task.kind is Kind.WORDS else self.reader.vision.count
        width = self.reader.words.embedding_dim if feed.by_words else self.reader.width
        gathered = torch.zeros(total, compared + (not feed.by_words), width, device=self.device)
        if vectors is not None:
            gathered[begin:end] = vectors.detach()
        self.ranks.sum_(gathered)

        def contrast() -> torch.Tensor:
            everything = gathered
            if vectors is not None:
                everything = torch.cat((gathered[:begin], vectors, gathered[end:]))
            if feed.by_words:  # words have no gradient, so every rank looks up those of all
                images, texts = everything, self.reader.word_embeddings(self._batch(feed, everyone, None))
            else:
                images, texts = everything[:, :-1], everything[:, -1]
            numbers = [feed.rows.image_numbers, feed.rows.text_numbers]
            same = [torch.from_numpy(each[everyone]).to(self.device) for each in numbers if each is not None]
            with self._autocast():
                loss = self.reader.contrastive_loss(images, texts, *same)
            temperature = None if feed.by_words else self.reader.temperature
            before = None if temperature is None or temperature.grad is None else temperature.grad.clone()
            (loss * self.scale).backward()
            if temperature is not None and self.ranks.rank != 0:
                temperature.grad = before
            return loss.detach()

        loss = self.ranks.together(contrast)
        return (loss, total) if self.ranks.rank == 0 else (torch.zeros_like(loss), 0)

    def _reduced(self, loss: torch.Tensor, labels: int, wants_stop: bool, error: Exception | None) -> Taken:
        size, count = self.ranks.size, len(self.parameters)
        told = torch.zeros(count + 3 + size)
        if error is None:
            told[:count] = torch.tensor([float(parameter.grad is not None) for parameter in self.parameters])
            told[count : count + 3] = torch.tensor([float(loss), float(labels), float(wants_stop)])
        told[count + 3 + self.ranks.rank] = float(error is not None)
        pieces = [
            torch.zeros_like(parameter).flatten()
            if parameter.grad is None or error is not None
            else parameter.grad.flatten()
            for parameter in self.parameters
        ]
        flat = torch.cat([*pieces, told.to(self.device)])
        self.ranks.sum_(flat)
        heard = flat[-len(told) :].tolist()
        self.ranks.raise_together(heard[count + 3 :], error)
        total_loss, total_labels, stop = heard[count : count + 3]
        start = 0
        for parameter, users in zip(self.parameters, heard[:count], strict=True):
            if users:
                parameter.grad = flat[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()
        self._divide(total_labels)
        return Taken(loss=torch.tensor(total_loss), labels=total_labels, stop=stop > 0)

    def _divide(self, labels: float) -> None:
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        torch._foreach_div_(gradients, float(max(labels, 1)) * self.scale)

    def _unscale(self) -> None:
        if self.scale != 1.0:
            gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
            torch._foreach_div_(gradients, self.scale)
