"""Whether a text encoder can be a trunk, by what its configuration and its class say; loads no weights."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trainables.data.model_files import configuration
from trainables.faults import nearest

#: The kinds of encoder, by `model_type`, of which the tests read texts and images with a small one: no class need be
#: loaded to judge them.
ENCODERS = frozenset(
    (
        "albert bert bert-generation big_bird camembert convbert data2vec-text deberta deberta-v2 distilbert electra "
        "ernie eurobert flaubert gte jina_embeddings_v3 longformer luke megatron-bert mobilebert modernbert mpnet "
        "nomic_bert nystromformer rembert roberta roberta-prelayernorm roc_bert roformer xlm xlm-roberta "
        "xlm-roberta-xl xmod"
    ).split()
)

#: Those of them that cannot compute their activations again.
KEEPING = frozenset({"albert", "flaubert", "mpnet", "xlm"})

#: Kinds of decoder that read both ways where their configuration has this value, as the tests see them do.
BOTH_WAYS = {
    "gemma3_text": ("use_bidirectional_attention", True),
    **dict.fromkeys(("llama", "mistral"), ("is_causal", False)),
}


def kind_faults(folder: Path, recomputing: Sequence[str], *, loaded: bool) -> Iterator[str]:
    """Why the encoder in a directory could not be the trunk of stages, of which `recomputing` keep no activations.

    Of a kind that is not in `ENCODERS` the class is loaded, which takes seconds; with `loaded` transformers is asked
    whether it knows a kind that is.
    """
    said = configuration(folder)
    kind = said.get("model_type")
    if not isinstance(kind, str):
        yield f"{folder}/config.json must state a model_type, got {kind!r}; save the model again"
    elif said.get("is_encoder_decoder"):
        yield f"the text encoder must be an encoder alone, got {kind!r} in {folder}, which has a decoder; use another"
    elif said.get("is_decoder"):
        yield _one_way(kind, folder)
    elif (kind not in ENCODERS or loaded) and not _is_known(kind):
        from transformers import __version__

        known = f"transformers {__version__} knows"
        yield f"model_type must be one that {known}, got {kind!r} in {folder}; {nearest(kind, sorted(ENCODERS))}"
    elif faults := [] if kind in ENCODERS else list(class_faults(folder, kind)):
        yield from faults
    elif recomputing and (kind in KEEPING if kind in ENCODERS else not can_recompute(kind)):
        got = f"got True in {', '.join(recomputing)}"
        yield f"gradient_checkpointing must be False for {kind!r}, which cannot do it, {got}"


def _is_known(kind: str) -> bool:
    from transformers import CONFIG_MAPPING

    return kind in CONFIG_MAPPING


def class_faults(folder: Path, kind: str) -> Iterator[str]:
    """Why a model of a kind that transformers knows could not be a trunk, as its class says."""
    from transformers import CONFIG_MAPPING, AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_MAPPING,
    )

    if CONFIG_MAPPING[kind] not in MODEL_MAPPING:
        yield f"AutoModel must know a model of a text encoder's model_type, got {kind!r} in {folder}; use another"
        return
    flag, value = BOTH_WAYS.get(kind, ("", None))
    decoder = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if decoder and (not flag or configuration(folder).get(flag) is not value):
        yield _one_way(kind, folder)
        return
    try:
        trunk = _without_numbers(_class(kind), AutoConfig.from_pretrained(folder, local_files_only=True))
    except Exception as error:  # a class may raise any where a size does not suit it
        yield f"{folder}/config.json must be one that AutoModel makes a model of, got: {error}; use another encoder"
        return
    width = _word_width(trunk)
    if not width:
        yield f"the text encoder must look its words up in one table, got {kind!r} in {folder}; use another"
    if "inputs_embeds" not in inspect.signature(trunk.forward).parameters:
        yield (
            f"the text encoder must take embeddings, beside which patches of images stand, got {kind!r} in {folder}, "
            "which takes token numbers alone; use another"
        )
    elif width and (wants := _complaint(trunk, width)):
        yield f"the text encoder must read embeddings and nothing else, got {kind!r} in {folder}: {wants}; use another"


def can_recompute(kind: str) -> bool:
    """Whether models of a kind can compute their activations again, as their class says."""
    return _class(kind).supports_gradient_checkpointing


def _without_numbers(model: Any, config: object) -> Any:
    """A model whose weights have sizes and no numbers, so that a large one costs nothing."""
    import torch

    with torch.device("meta"):
        return model(config).eval()


def _word_width(trunk: Any) -> int:
    """How wide the one table of word embeddings is; 0 where there is none."""
    import torch

    try:
        words = trunk.get_input_embeddings()
    except NotImplementedError:
        return 0
    return words.embedding_dim if isinstance(words, torch.nn.Embedding) else 0


def _complaint(trunk: Any, width: int) -> str:
    """What a model without numbers says when it is given embeddings alone; nothing where it misses the numbers."""
    import torch

    try:
        with torch.device("meta"), torch.no_grad():
            trunk(inputs_embeds=torch.empty(1, 8, width))
    except Exception as error:  # a class may raise any for what it lacks
        return "" if "meta" in str(error) else str(error) or type(error).__name__
    return ""


def _one_way(kind: str, folder: Path) -> str:
    return (
        f"the text encoder must read both ways, got {kind!r} in {folder}, known here as a decoder, which reads each "
        "word with those before it alone; use an encoder"
    )


def _class(kind: str) -> Any:
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    found = MODEL_MAPPING[CONFIG_MAPPING[kind]]
    return found[0] if isinstance(found, tuple) else found
