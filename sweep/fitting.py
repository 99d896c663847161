"""Whether a sweep's models can do, and have, what its settings ask of them; loads no weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trainables.catalogue.encoder import Encoder, HubEncoder, LocalEncoder, SmallEncoder, Tower
from trainables.data.hub import local_copy
from trainables.data.model_files import TOWERS, configuration, damaged, vision_part
from trainables.data.suited import kind_faults
from trainables.faults import Invalid, nearest
from trainables.settings import Settings

#: The linear modules inside the layers of a trunk, by the `model_type` of its configuration.
MODULES = {
    **dict.fromkeys(("bert", "roberta", "camembert", "xlm-roberta", "xlm-roberta-xl"), "query key value dense"),
    "distilbert": "q_lin k_lin v_lin out_lin lin1 lin2",
    "deberta-v2": "query_proj key_proj value_proj pos_query_proj pos_key_proj dense",
    "modernbert": "Wqkv Wo Wi",
    "eurobert": "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj",
}

#: Layers of the encoders that the presets name, as published; all of BERT's kind.
_PUBLISHED = {
    "FacebookAI/xlm-roberta-base": 12,
    "FacebookAI/xlm-roberta-large": 24,
    "google-bert/bert-base-multilingual-cased": 12,
}


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """What of a text encoder settings can name: its layers, and the linear modules inside them where they are known."""

    layers: int
    modules: tuple[str, ...]


def trunk_as_published(text: SmallEncoder | LocalEncoder | HubEncoder) -> Trunk | None:
    """What is known of an encoder without a look at any file."""
    layers = text.layers if isinstance(text, SmallEncoder) else 0
    if isinstance(text, HubEncoder):
        layers = _PUBLISHED.get(text.repository, 0)
    return Trunk(layers=layers, modules=tuple(MODULES["xlm-roberta"].split())) if layers else None


def trunk_here(text: SmallEncoder | LocalEncoder | HubEncoder) -> Trunk | None:
    """What the configuration of an encoder says; None where it is not on this machine or says nothing of layers."""
    said = {} if isinstance(text, SmallEncoder) else configuration(local_copy(text))
    layers = said.get("num_hidden_layers", said.get("n_layers"))
    if not isinstance(layers, int):
        return None
    return Trunk(layers=layers, modules=tuple(MODULES.get(str(said.get("model_type")), "").split()))


def trunk_faults(
    name: str, trunk: Trunk, stages: Mapping[str, Settings], *, word_layer: int = 0, retrieval_layer: int = 0
) -> Iterator[str]:
    """Why a stage or a score cannot find what it names in the encoder of that name; `stages` by their names."""
    if retrieval_layer > trunk.layers:
        yield f"retrieval_layer must be a layer of {name}, 0 to {trunk.layers}, got {retrieval_layer}"
    if word_layer > trunk.layers:
        yield f"align_words_settings: word_layer must be a layer of {name}, 0 to {trunk.layers}, got {word_layer}"
    for stage, settings in stages.items():
        lora = settings.lora
        if lora is None:
            continue
        if strange := [layer for layer in lora.layers if layer >= trunk.layers]:
            yield (
                f"{stage}: lora.layers must be layers of {name}, counted from 0 to {trunk.layers - 1}, got "
                f"{', '.join(map(str, strange))}"
            )
        for module in lora.target_modules if trunk.modules else ():
            if module not in trunk.modules:
                yield (
                    f"{stage}: lora.target_modules must be linear modules of {name}'s layers, got {module!r}; "
                    f"{nearest(module, trunk.modules)}"
                )


def encoder_faults(
    encoder: Encoder, stages: Mapping[str, Settings], masked: Sequence[str], *, loaded: bool
) -> Iterator[str]:
    """Why the text encoder in a directory could not be the trunk of these stages, of which `masked` hide words.

    With `loaded` its tokenizer is loaded, which takes seconds.
    """
    folder = None if isinstance(encoder.text, SmallEncoder) else local_copy(encoder.text)
    if folder is None:
        return
    yield from damaged(folder)
    recomputing = [name for name, settings in stages.items() if settings.gradient_checkpointing]
    faults = list(kind_faults(folder, recomputing, loaded=loaded))
    yield from faults
    if loaded and not faults:
        yield from _tokenizer_faults(encoder, masked)


def _tokenizer_faults(encoder: Encoder, masked: Sequence[str]) -> Iterator[str]:
    from trainables.data.tokens import tokenizer

    try:
        tokens = tokenizer(encoder)
    except Invalid as error:
        yield from error.faults
        return
    if masked and tokens.mask_token_id is None:
        yield (
            f"the tokenizer of {encoder.name} must have a mask token, because {', '.join(masked)} "
            f"predict{'s' * (len(masked) == 1)} masked words, got none; use another encoder, or leave that out"
        )


def tower_faults(encoder: Encoder) -> Iterator[str]:
    """Why the vision tower in a directory could not be looked through."""
    tower = encoder.patches
    folder = local_copy(tower.model) if isinstance(tower, Tower) else None
    if folder is None or not isinstance(tower, Tower):
        return
    yield from damaged(folder)
    said = configuration(folder)
    if (kind := said.get("model_type")) not in TOWERS:
        yield f"a tower's model_type must be one of {', '.join(TOWERS)}, got {kind!r} in {folder}"
        return
    layers = vision_part(said).get("num_hidden_layers", _TOWER_LAYERS)
    if tower.layers_from_end > layers:
        yield f"a tower's layers_from_end must be at most its {layers} layers, got {tower.layers_from_end}"


#: Layers of SigLIP, SigLIP 2 and CLIP where their configuration does not say.
_TOWER_LAYERS = 12


def grid_faults(encoder: Encoder, *, here: bool) -> Iterator[str]:
    """Whether a tower has as many patches as are to be kept, by its name or by its configuration where it is `here`."""
    tower = encoder.patches
    if not isinstance(tower, Tower):
        return
    side = _side_here(tower) if here else _side_by_name(tower)
    if side and tower.grid > side:
        yield f"a tower's grid must be at most its {side} × {side} patches, got {tower.grid}; lower it"


def _side_by_name(tower: Tower) -> int:
    """Patches in a row, as names such as `siglip2-base-patch16-224` say; 0 where they do not."""
    name = tower.model.repository if isinstance(tower.model, HubEncoder) else ""
    said = re.search(r"patch(\d+)-(\d+)$", name)
    return int(said[2]) // int(said[1]) if said else 0


def _side_here(tower: Tower) -> int:
    vision = vision_part(configuration(local_copy(tower.model)))
    size, patch = vision.get("image_size"), vision.get("patch_size")
    return size // patch if isinstance(size, int) and isinstance(patch, int) and patch else 0
