"""Images to patch vectors through a frozen vision tower; knows no rows, no trunk and no task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from trainables.canonical import digest as canonical_digest
from trainables.canonical import encode
from trainables.catalogue.encoder import Tower
from trainables.data.hub import model_folder
from trainables.data.images import BATCH_IMAGES, Maker, opened
from trainables.faults import Invalid, refuse
from trainables.machine import numeric_versions
from trainables.stages import without_places

#: Raised when the code here changes the vectors that come out.
VERSION = 1

#: The towers that are known here, by the `model_type` of their configuration: the class that loads the vision half
#: of a checkpoint, and how many vectors stand before the patches'.
_TOWERS = {
    "siglip": ("SiglipVisionModel", 0),
    "siglip_vision_model": ("SiglipVisionModel", 0),
    "siglip2": ("Siglip2VisionModel", 0),
    "siglip2_vision_model": ("Siglip2VisionModel", 0),
    "clip": ("CLIPVisionModel", 1),
    "clip_vision_model": ("CLIPVisionModel", 1),
}


def digest(tower: Tower) -> str:
    """The name of the vectors that this tower makes on this machine: its files, the settings, device and libraries."""
    model = without_places(encode(tower))
    return canonical_digest(["tower", VERSION, model, device().type, numeric_versions()])


def width(tower: Tower) -> int:
    """The length of each vector, read from the tower's configuration.

    Raises:
        Invalid: where the directory holds no configuration of a known tower.
    """
    return _configuration(tower).hidden_size


def _configuration(tower: Tower):
    from transformers import AutoConfig

    folder = model_folder(tower.model)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise Invalid(f"vision tower {folder}", [f"it must hold a config.json that loads, got: {error}"]) from error
    if config.model_type not in _TOWERS:
        raise Invalid(
            f"vision tower {folder}", [f"its model_type must be one of {', '.join(_TOWERS)}, got {config.model_type!r}"]
        )
    return getattr(config, "vision_config", config)


def device() -> torch.device:
    """Where towers are run: a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def features(tower: Tower) -> Maker:
    """Images as (image, grid², width) of float16, row by row; the tower is loaded at the first image.

    Computed in float32 in batches of one size, the last one filled up, so that an image's vectors do not depend on
    how many others were missing.

    Raises:
        Invalid: where the tower's directory does not load, or lacks weights that its configuration states.
    """
    loaded: list = []

    def make(images: Sequence[bytes]) -> np.ndarray:
        size = width(tower)
        if not len(images):
            return np.empty((0, tower.grid**2, size), dtype=np.float16)
        if not loaded:
            loaded.extend(_load(tower))
        model, processor, skipped = loaded
        filled = [*images, *[images[-1]] * (BATCH_IMAGES - len(images))]
        given = processor(images=[opened(data) for data in filled], return_tensors="pt")
        with torch.no_grad(), torch.autocast(device().type, enabled=False):
            given = {name: value.to(device()) for name, value in given.items()}
            hidden = model(**given, output_hidden_states=True).hidden_states
            taken = hidden[-tower.layers_from_end][: len(images), skipped:].float()
            shapes = given.get("spatial_shapes")
            return _pooled(taken, None if shapes is None else shapes[: len(images)].tolist(), tower.grid)

    return make


def _load(tower: Tower) -> tuple:
    import transformers
    from safetensors import SafetensorError
    from transformers import AutoImageProcessor

    from trainables.model.encoder import drawn_faults, quiet

    config, folder = _configuration(tower), model_folder(tower.model)
    name, skipped = _TOWERS[config.model_type]
    if tower.layers_from_end > config.num_hidden_layers:
        raise Invalid(
            f"vision tower {folder}",
            [f"layers_from_end must be at most its {config.num_hidden_layers} layers, got {tower.layers_from_end}"],
        )
    try:
        with quiet():
            model, told = getattr(transformers, name).from_pretrained(
                folder,
                local_files_only=True,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are told below
            )
            processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise Invalid(
            f"vision tower {folder}",
            [f"it must hold safetensors weights and preprocessor_config.json that load offline, got: {error}"],
        ) from error
    refuse(f"vision tower {folder}", drawn_faults(model, told, unread=("head", "pooler")))
    return model.eval().requires_grad_(False).to(device()), processor, skipped


def _pooled(vectors: torch.Tensor, shapes: list[list[int]] | None, grid: int) -> np.ndarray:
    """vectors: (image, patch, width), row by row → (image, grid², width) of float16.

    `shapes` are the rows and columns of each image where they differ; the patches after them are padding.
    """
    side = round(vectors.shape[1] ** 0.5)
    found = []
    for number, image in enumerate(vectors):
        rows, columns = shapes[number] if shapes else (side, side)
        square = image[: rows * columns].T.reshape(1, -1, rows, columns)
        found.append(functional.adaptive_avg_pool2d(square, grid)[0].flatten(1).T)
    return torch.stack(found).to(torch.float16).cpu().numpy()
