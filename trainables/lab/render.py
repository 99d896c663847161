"""Scenes as small images; knows how things look and nothing of what is claimed about them."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from trainables.lab.world import PLACES, SHAPES, SIZES, Scene

CELL = 12
"""Pixels along a cell; an image is three by three cells, so that a patch of 12 pixels is one cell."""

SIZE_PIXELS = {"small": 6, "big": 10}
RGB = {
    "red": (220, 40, 40),
    "blue": (40, 70, 220),
    "green": (40, 160, 60),
    "yellow": (240, 220, 50),
    "black": (15, 15, 15),
    "white": (250, 250, 250),
}
BACKGROUND = (128, 128, 128)
CURTAIN_STRIPES = ((110, 60, 130), (210, 150, 220))
CELL_OF = {"left": (1, 0), "right": (1, 2), "top": (0, 1), "bottom": (2, 1)}
"""Row and column of each place: a cross, with the middle and the corners empty."""


def render(scene: Scene, seed: int) -> np.ndarray:
    """The visible scene as (row, column, RGB) of uint8, 36 by 36 pixels.

    The seed moves things by at most a pixel and changes brightness by at most a tenth; the curtain's cell shows only
    the curtain. The same scene and seed give the same pixels.
    """
    rng = np.random.default_rng(seed)
    shifts = rng.integers(-1, 2, (len(PLACES), 2)).tolist()
    light = float(rng.uniform(0.9, 1.0))
    image = np.empty((3 * CELL, 3 * CELL, 3), dtype=np.uint8)
    image[:] = BACKGROUND
    for place, thing, (down, across) in zip(PLACES, scene.things, shifts, strict=True):
        row, column = (CELL * index for index in CELL_OF[place])
        cell = image[row : row + CELL, column : column + CELL]
        if place == scene.hidden:
            cell[:] = _curtain()
        else:
            cell[_mask(thing.size, thing.shape, down, across)] = RGB[thing.colour]
    return (image * light).astype(np.uint8)


def png(array: np.ndarray) -> bytes:
    """array: (row, column, RGB) of uint8."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


@lru_cache(maxsize=len(SIZES) * len(SHAPES) * 9)
def _mask(size: str, shape: str, down: int, across: int) -> np.ndarray:
    """Which pixels of a cell the thing covers: booleans (row, column)."""
    side = SIZE_PIXELS[size]
    near, far = (CELL - side) // 2, (CELL + side) // 2 - 1
    canvas = Image.new("1", (CELL, CELL))
    draw = ImageDraw.Draw(canvas)
    middle, arm = CELL // 2, side // 6  # half the width of a cross's arm: 1 pixel in both sizes
    match shape:
        case "circle":
            draw.ellipse((near, near, far, far), fill=1)
        case "square":
            draw.rectangle((near, near, far, far), fill=1)
        case "triangle":
            for row in range(side):
                half = (row + 2) * side // (2 * (side + 1))
                draw.line((middle - half, near + row, middle + half - 1, near + row), fill=1)
        case "cross":
            draw.rectangle((middle - arm, near, middle + arm - 1, far), fill=1)
            draw.rectangle((near, middle - arm, far, middle + arm - 1), fill=1)
        case "ring":
            draw.ellipse((near, near, far, far), outline=1, width=1 if side < 8 else 2)
    return np.roll(np.array(canvas, dtype=bool), (down, across), axis=(0, 1))


@lru_cache(maxsize=1)
def _curtain() -> np.ndarray:
    columns = np.arange(CELL) // 2 % 2
    return np.broadcast_to(np.array(CURTAIN_STRIPES, dtype=np.uint8)[columns], (CELL, CELL, 3))
