"""What must lie in a directory of a model, told by names and by the heads of its files; loads none of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

#: The vision towers that are known here, by the `model_type` of their configuration.
TOWERS = ("siglip", "siglip_vision_model", "siglip2", "siglip2_vision_model", "clip", "clip_vision_model")

#: One of these says what the tokens are: tokenizers' own format, word lists, SentencePiece.
_VOCABULARIES = ("tokenizer.json", "vocab*", "*.model")

#: One of these says how a tower takes its images.
_PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def configuration(folder: Path | None) -> dict:
    """The config.json of a model; empty where there is none that can be read."""
    try:
        said = json.loads((folder / "config.json").read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def is_tower(config: dict) -> bool:
    """Whether a configuration is that of a vision tower, or of a model that has one."""
    return config.get("model_type") in TOWERS


def vision_part(config: dict) -> dict:
    """What a tower's configuration says of its vision half; of one without any, the configuration itself."""
    part = config.get("vision_config")
    return part if isinstance(part, dict) else config


def takes_images(folder: Path) -> bool:
    """Whether a directory is a model of images: a tower, or another kind with an image processor and no words."""
    return is_tower(configuration(folder)) or (_any(folder, _PREPROCESSORS) and not _any(folder, _VOCABULARIES))


def missing(folder: Path, *, tower: bool) -> Iterator[str]:
    """What a model cannot be read without and the directory has not; `tower` for one that takes images."""
    if not folder.is_dir():
        yield f"path must be a directory that AutoModel can load, got {str(folder)!r}, which is none"
        return
    if not (folder / "config.json").is_file():
        yield f"path must hold config.json, got {str(folder)!r} without it"
    if not (shards := _weights(folder)):
        yield (
            f"path must hold weights as *.safetensors, got {str(folder)!r} without {_WEIGHTS} or {_INDEX}; convert "
            "them with save_pretrained"
        )
    elif absent := [path.name for path in shards if not path.is_file()]:
        yield f"path must hold every part that {_INDEX} names, got {str(folder)!r} without {', '.join(absent)}"
    if tower and not _any(folder, _PREPROCESSORS):
        yield (
            f"path must hold preprocessor_config.json, which says how images are cut, got {str(folder)!r} without it; "
            "save the tower's image processor there"
        )
    elif not tower and not _any(folder, _VOCABULARIES):
        yield (
            f"path must hold a tokenizer's vocabulary (tokenizer.json, vocab* or *.model), got {str(folder)!r} without "
            "any; save the tokenizer there"
        )


def damaged(folder: Path) -> Iterator[str]:
    """Which weights are no whole safetensors files: their heads state where the last number ends."""
    for path in filter(Path.is_file, _weights(folder)):
        size = path.stat().st_size
        stated = _stated_size(path, size)
        if stated != size:
            told = (
                f"{size:,} bytes where its head states {stated:,}" if stated else f"{size:,} bytes without such a head"
            )
            yield f"{path} must be a whole safetensors file, got {told}; fetch or save it again"


def _weights(folder: Path) -> list[Path]:
    """The files of the weights, in the order in which AutoModel looks for them; there or not."""
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    try:
        names = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()
        return [folder / name for name in sorted(set(names))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _stated_size(path: Path, size: int) -> int | None:
    """The size that the head of a safetensors file states: its own length, and the end of the last tensor after it.

    None where there is no such head.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= size - 8:
            return None
        try:
            told = json.loads(file.read(length))
            ends = [int(tensor["data_offsets"][1]) for name, tensor in told.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return None
    return 8 + length + max(ends, default=0)


def _any(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(path.is_file() for pattern in patterns for path in folder.glob(pattern))
