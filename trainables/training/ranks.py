"""Several processes that run one stage together, and how they agree on failure; knows no model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")

#: Bytes of a failure's text that travel to the other ranks.
_REASON_BYTES = 2048


class RankFailed(RuntimeError):
    """One rank or several failed; raised on all of them with the same text.

    `ranks` are those that failed, and `alone` says whether any rank of the gang did not: then the processes no
    longer agree and the gang should be started anew.
    """

    def __init__(self, ranks: tuple[int, ...], size: int, reason: str) -> None:
        self.ranks = ranks
        self.size = size
        self.reason = reason
        self.alone = len(ranks) < size
        super().__init__(f"rank {', '.join(map(str, ranks))} of {size} failed: {reason}")

    def __reduce__(self) -> tuple[type[RankFailed], tuple[tuple[int, ...], int, str]]:
        return (RankFailed, (self.ranks, self.size, self.reason))


class RankLost(RuntimeError):
    """A collective broke, as it does where the process of another rank has ended: no rank can go on from here."""

    alone = True


class Ranks:
    """One process alone: sums are what they are, and nobody waits."""

    rank = 0
    size = 1

    def sum_(self, tensor: torch.Tensor) -> None:
        """Replace `tensor` on every rank by the sum over ranks."""

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        return flag

    def barrier(self) -> None:
        """Wait until every rank is here."""

    def raise_together(self, failures: list[float], error: BaseException | None) -> None:
        """Raise on every rank, or on none.

        `failures` holds one number per rank, above 0 where it failed, the same list on every rank. Alone, the error
        itself is raised; with others `RankFailed`, with the reason of the lowest failing rank.
        """
        if error is not None:
            raise error

    def together(self, work: Callable[[], T]) -> T:
        """What `work` returns, unless it raises on any rank: then all ranks raise.

        Raises:
            RankFailed: with more than one rank; alone, whatever `work` raised.
        """
        return work()


class DistributedRanks(Ranks):
    """The ranks of a torch.distributed process group (gloo or nccl) that somebody else has set up.

    Whatever is asked of all of them raises `RankLost` on the rest when one is gone.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.rank = torch.distributed.get_rank()
        self.size = torch.distributed.get_world_size()
        self._device = torch.device(device)

    def sum_(self, tensor: torch.Tensor) -> None:
        """Replace `tensor` on every rank by the sum over ranks, wherever it lies."""
        if self._device.type != "cpu" and tensor.device.type == "cpu":
            moved = tensor.to(self._device)
            _all_reduce(moved)
            tensor.copy_(moved)
        else:
            _all_reduce(tensor)

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        said = torch.tensor([float(flag)])
        self.sum_(said)
        return bool(said.item() > 0)

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.any(False)

    def raise_together(self, failures: list[float], error: BaseException | None) -> None:
        """Raise the same `RankFailed` on every rank where any of `failures` is above 0."""
        failed = tuple(rank for rank, flag in enumerate(failures) if flag > 0)
        if not failed:
            return
        text = torch.zeros(_REASON_BYTES, dtype=torch.int64)
        if error is not None and self.rank == failed[0]:
            spoken = f"{type(error).__name__}: {error}".encode()[:_REASON_BYTES]
            text[: len(spoken)] = torch.tensor(list(spoken), dtype=torch.int64)
        self.sum_(text)
        reason = bytes(value for value in text.tolist() if value).decode(errors="replace")
        raise RankFailed(failed, self.size, reason) from error

    def together(self, work: Callable[[], T]) -> T:
        """What `work` returns, unless it raises on any rank: then all ranks raise."""
        error: Exception | None = None
        result: T | None = None
        try:
            result = work()
        except RankLost:  # whoever is left hears of it by itself
            raise
        except Exception as raised:  # whatever it is, the other ranks must hear of it before it goes on
            error = raised
        flags = torch.zeros(self.size)
        flags[self.rank] = float(error is not None)
        self.sum_(flags)
        self.raise_together(flags.tolist(), error)
        return result  # type: ignore[return-value]


def _all_reduce(tensor: torch.Tensor) -> None:
    try:
        torch.distributed.all_reduce(tensor)
    except RuntimeError as error:  # gloo and nccl raise no other, and tell in words alone what it was
        raise RankLost(f"the connection to another rank broke: {str(error).splitlines()[0]}") from error
