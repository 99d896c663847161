"""Images to prefix embeddings of the trunk; knows no text beyond the segment that marks it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from trainables.catalogue.encoder import Patches, Tower
from trainables.data import tower


def image_side(look: Patches | Tower, width: int, loudness: float | None) -> Vision | TowerVision:
    """What turns images, or what a frozen tower saw of them, into prefix embeddings of that width.

    It is that of the word embeddings, which they stand beside. `loudness` is the norm of what a patch says; None leaves
    it free.
    """
    if isinstance(look, Patches):
        return Vision(look, width, loudness)
    return TowerVision(look, tower.width(look), width, loudness)


class _ImageSide(nn.Module):
    """What both image sides have: places row by row and column by column, a segment, and one norm for what is said."""

    def __init__(self, rows: int, columns: int, width: int, loudness: float | None) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.row = nn.Parameter(torch.empty(rows, 1, width).normal_(std=0.1))
        self.column = nn.Parameter(torch.empty(1, columns, width).normal_(std=0.1))
        self.segment = nn.Parameter(torch.zeros(width))
        self.register_buffer("loudness", None if loudness is None else torch.tensor(loudness))

    @property
    def count(self) -> int:
        """Patches of an image, or vectors of a tower."""
        return self.rows * self.columns

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images as `content` takes them → (image, patch, width), patches row by row."""
        places = (self.row + self.column).reshape(1, self.count, -1)
        return self.content(images) + places + self.segment

    def content(self, images: torch.Tensor) -> torch.Tensor:
        """What each patch says, without where it is: (image, patch, width), all of norm `loudness` if there is one."""
        said = self._said(images)
        return said if self.loudness is None else functional.normalize(said.float(), dim=-1) * self.loudness

    def _said(self, images: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class Vision(_ImageSide):
    """A patch embedding, a projection to the width, learned row and column positions, and a segment of its own.

    Text beside an image is embedded as it always was.
    """

    def __init__(self, patches: Patches, width: int, loudness: float | None) -> None:
        super().__init__(patches.height // patches.patch, patches.width // patches.patch, width, loudness)
        self.patch = patches.patch
        channels = patches.channels or 3
        self.stem = _stem(channels) if patches.channels else nn.Identity()
        self.embed = _embedding(channels * patches.patch**2, width, patches.hidden)
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, width)

    def _said(self, images: torch.Tensor) -> torch.Tensor:
        """images: (image, channel, row, column) of uint8."""
        pixels = images.to(self.project.weight.dtype).div(127.5).sub(1.0)
        features = self.stem(pixels)
        number, channels = features.shape[:2]
        cut = features.reshape(number, channels, self.rows, self.patch, self.columns, self.patch)
        flat = cut.permute(0, 2, 4, 1, 3, 5).reshape(number, self.count, -1)
        return self.project(self.norm(self.embed(flat)))


class TowerVision(_ImageSide):
    """A projection of a frozen tower's vectors to the width, with positions and a segment as in `Vision`.

    The tower itself is no part of it: its vectors arrive as data.
    """

    def __init__(self, look: Tower, inputs: int, width: int, loudness: float | None) -> None:
        super().__init__(look.grid, look.grid, width, loudness)
        self.norm = nn.LayerNorm(inputs)
        self.project = _embedding(inputs, width, look.hidden)

    def _said(self, images: torch.Tensor) -> torch.Tensor:
        """images: (image, vector, tower width) of float16."""
        return self.project(self.norm(images.to(self.norm.weight.dtype)))


def _stem(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1), nn.GELU(), nn.Conv2d(channels, channels, 3, padding=1), nn.GELU()
    )


def _embedding(inputs: int, width: int, hidden: int) -> nn.Module:
    if not hidden:
        return nn.Linear(inputs, width)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.LayerNorm(hidden), nn.Linear(hidden, width))
