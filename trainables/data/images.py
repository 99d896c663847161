"""Encoded images to arrays, each distinct image once, kept on disk and mapped; knows no rows and no model."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from trainables.catalogue.encoder import Patches
from trainables.faults import Invalid
from trainables.on_disk import settle

_log = logging.getLogger(__name__)

#: Bytes of an image's key: the beginning of the SHA-256 of its encoded form.
KEY_BYTES = 16

#: Images made into arrays at once and written as one batch.
BATCH_IMAGES = 64

Maker = Callable[[Sequence[bytes]], np.ndarray]
"""Encoded images → (image, …) of one type and shape; the same for an image whatever is beside it."""


@dataclass(frozen=True)
class Arrays:
    """Arrays of equal shape that lie in several places, often mapped files; indexed by number as one array is."""

    chunks: tuple[np.ndarray, ...]
    chunk_of: np.ndarray
    row_of: np.ndarray

    def __len__(self) -> int:
        return len(self.chunk_of)

    @property
    def shape(self) -> tuple[int, ...]:
        """(image, …)"""
        return (len(self), *self.chunks[0].shape[1:])

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        """A copy of the arrays of these numbers."""
        taken = np.empty((len(numbers), *self.chunks[0].shape[1:]), dtype=self.chunks[0].dtype)
        chunks, rows = self.chunk_of[numbers], self.row_of[numbers]
        for chunk in np.unique(chunks):
            here = chunks == chunk
            taken[here] = self.chunks[chunk][rows[here]]
        return taken


def distinct(images: Sequence[bytes | str]) -> tuple[np.ndarray, np.ndarray]:
    """The keys of images given as bytes or as the path of a file, and which of them each image is.

    Returns:
        keys: (distinct image, KEY_BYTES) of uint8, in order of first appearance.
        numbers: (image,) of int64.
    """
    first: dict[bytes, int] = {}
    of_path: dict[str, bytes] = {}
    numbers = np.empty(len(images), dtype=np.int64)
    for place, image in enumerate(images):
        if isinstance(image, str):
            key = of_path.get(image) or of_path.setdefault(image, _key(Path(image).read_bytes()))
        else:
            key = _key(image)
        numbers[place] = first.setdefault(key, len(first))
    return np.frombuffer(b"".join(first), dtype=np.uint8).reshape(-1, KEY_BYTES), numbers


def _key(data: bytes) -> bytes:
    return content_hash(data)[:KEY_BYTES]


def content_hash(data: bytes) -> bytes:
    """Equal for equal images, byte by byte."""
    return sha256(data).digest()


def arrays(
    keys: np.ndarray,
    make: Maker,
    images: Callable[[], Sequence[bytes | str]],
    folder: Path | None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Arrays:
    """The array of every key, made once for each image that `folder` does not hold yet, and kept there.

    Of several processes on one machine that ask at once, one makes them and the others wait for it. `images` gives
    the encoded images where some must be made; `tell` hears how many of how many are.

    Raises:
        Invalid: for an image that does not decode.
    """
    wanted = [key.tobytes() for key in keys]
    if folder is None:
        made = list(_made(wanted, make, images, tell)) or [make([])]
        lengths = [len(part) for part in made]
        chunk_of = np.repeat(np.arange(len(made)), lengths)
        row_of = np.concatenate([np.arange(length) for length in lengths])
        return Arrays(tuple(made), chunk_of, row_of)
    folder.mkdir(parents=True, exist_ok=True)
    found = _index(folder)
    if any(key not in found[1] for key in wanted):
        with alone(folder):
            found = _index(folder)  # another process may have made them meanwhile
            missing = [key for key in wanted if key not in found[1]]
            if missing:
                _write(folder, missing, _made(missing, make, images, tell))
                found = _index(folder)
    chunks, places = found
    if not wanted:
        empty = np.empty(0, dtype=np.int64)
        return Arrays((make([]),), empty, empty)
    chunk_of, row_of = np.array([places[key] for key in wanted], dtype=np.int64).T
    return Arrays(tuple(chunks), chunk_of, row_of)


def _made(
    wanted: list[bytes], make: Maker, images: Callable[[], Sequence[bytes | str]], tell: Callable[[int, int], None]
) -> Iterator[np.ndarray]:
    """The arrays of the wanted keys, in order, some at a time."""
    source: dict[bytes, bytes | str] = {}
    names: dict[str, bytes] = {}
    for image in images() if wanted else ():
        if isinstance(image, str) and image in names:
            continue
        key = _key(image if isinstance(image, bytes) else Path(image).read_bytes())
        source.setdefault(key, image)
        if isinstance(image, str):
            names[image] = key
    for begin in range(0, len(wanted), BATCH_IMAGES):
        part = [source[key] for key in wanted[begin : begin + BATCH_IMAGES]]
        yield _named(make, part)
        tell(min(begin + BATCH_IMAGES, len(wanted)), len(wanted))


def _named(make: Maker, part: list[bytes | str]) -> np.ndarray:
    """What the maker makes; an image that does not decode is told by its file, or by a hash of its bytes."""
    read = [Path(image).read_bytes() if isinstance(image, str) else image for image in part]
    try:
        return make(read)
    except Invalid as error:
        for image, data in zip(part, read, strict=True):
            try:
                opened(data)
            except Invalid as broken:
                where = image if isinstance(image, str) else f"the bytes of SHA-256 {_key(data).hex()}…"
                raise Invalid(broken.what, [f"{fault} in {where}" for fault in broken.faults]) from error
        raise


def _write(folder: Path, keys: list[bytes], parts: Iterator[np.ndarray]) -> None:
    """One Arrow file of columns `key` and `value`; the value's shape stands in the schema's metadata."""
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".writing-")
    os.close(handle)
    writer, written = None, 0
    try:
        with pa.OSFile(temporary, "wb") as file:
            for part in parts:
                schema = _schema(part)
                writer = writer or pa.ipc.new_file(file, schema)
                flat = pa.array(np.ascontiguousarray(part).reshape(-1))
                values = pa.FixedSizeListArray.from_arrays(flat, schema.field("value").type.list_size)
                named = pa.array(keys[written : written + len(part)], pa.binary(KEY_BYTES))
                writer.write_batch(pa.record_batch([named, values], schema=schema))
                written += len(part)
            if writer is not None:
                writer.close()
        settle(Path(temporary))
        Path(temporary).replace(folder / f"{sha256(b''.join(keys)).hexdigest()[:24]}.arrow")
    finally:
        Path(temporary).unlink(missing_ok=True)


def _schema(part: np.ndarray) -> pa.Schema:
    value = pa.list_(pa.from_numpy_dtype(part.dtype), int(np.prod(part.shape[1:])))
    shape = ",".join(map(str, part.shape[1:]))
    return pa.schema([("key", pa.binary(KEY_BYTES)), ("value", value)], metadata={"shape": shape})


def _index(folder: Path) -> tuple[list[np.ndarray], dict[bytes, tuple[int, int]]]:
    """Every array in a folder, mapped, and where each key's is. A file that a power cut has left torn is deleted."""
    chunks: list[np.ndarray] = []
    places: dict[bytes, tuple[int, int]] = {}
    for path in sorted(folder.glob("*.arrow")):
        with pa.memory_map(str(path)) as file:
            try:
                reader = pa.ipc.open_file(file)
            except pa.ArrowInvalid as error:
                _log.warning("%s is damaged (%s); its arrays are made anew", path, error)
                path.unlink(missing_ok=True)
                continue
            shape = [int(size) for size in (reader.schema.metadata or {})[b"shape"].decode().split(",")]
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                value = batch.column("value")
                assert isinstance(value, pa.FixedSizeListArray)
                chunks.append(value.values.to_numpy(zero_copy_only=True).reshape(-1, *shape))
                for row, key in enumerate(batch.column("key").to_pylist()):
                    places.setdefault(key, (len(chunks) - 1, row))
    return chunks, places


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder against the other processes of this machine."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def opened(data: bytes) -> Image.Image:
    """The image in RGB; what is transparent is seen on white, as a page would show it.

    Raises:
        Invalid: where the bytes are no image.
    """
    try:
        with Image.open(io.BytesIO(data)) as raw:
            image = raw.convert("RGBA" if "transparency" in raw.info or raw.mode in ("RGBA", "LA") else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # In words of our own: Pillow names the object that it read from by its address, another one in every run.
        fault = "cut short or damaged"
        if isinstance(error, UnidentifiedImageError):
            fault = "of no format that is known"
        elif isinstance(error, Image.DecompressionBombError):
            fault = f"with more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, as a damaged one may claim"
        raise Invalid(
            "the images", [f"every image must be a whole PNG or JPEG, got one that is not ({fault})"]
        ) from error
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    return image


def pixels(patches: Patches) -> Maker:
    """Images as (image, channel, row, column) of uint8, RGB, `patches.height` × `patches.width`."""

    def make(images: Sequence[bytes]) -> np.ndarray:
        made = np.empty((len(images), 3, patches.height, patches.width), dtype=np.uint8)
        for number, data in enumerate(images):
            image = opened(data)
            if image.size != (patches.width, patches.height):
                image = image.resize((patches.width, patches.height), Image.Resampling.BILINEAR)
            made[number] = np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)
        return made

    return make
