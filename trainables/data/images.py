"""Encoded images to arrays of pixels; knows no rows and no model."""

from __future__ import annotations

import io
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
from PIL import Image

from trainables.catalogue.encoder import Patches


def decode(images: Sequence[bytes], patches: Patches) -> tuple[np.ndarray, np.ndarray]:
    """Decode each distinct image once.

    Returns:
        pixels: (distinct image, channel, row, column) of uint8, RGB, `patches.height` × `patches.width`.
        numbers: (image,) of int64, which of `pixels` each image is.
    """
    first: dict[bytes, int] = {}
    distinct: list[np.ndarray] = []
    numbers = np.empty(len(images), dtype=np.int64)
    for place, data in enumerate(images):
        key = sha256(data).digest()
        if key not in first:
            first[key] = len(distinct)
            distinct.append(_pixels(data, patches))
        numbers[place] = first[key]
    shape = (0, 3, patches.height, patches.width)
    return (np.stack(distinct) if distinct else np.empty(shape, dtype=np.uint8)), numbers


def _pixels(data: bytes, patches: Patches) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGBA" if "transparency" in opened.info or opened.mode in ("RGBA", "LA") else "RGB")
    if image.mode == "RGBA":  # what is transparent is seen on white, as a page would show it
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    if image.size != (patches.width, patches.height):
        image = image.resize((patches.width, patches.height), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).transpose(2, 0, 1))
