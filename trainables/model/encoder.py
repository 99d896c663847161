"""The trunk: building a text encoder or loading one from a directory; knows no heads and no images."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, PreTrainedModel, XLMRobertaConfig, XLMRobertaModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING
from transformers.utils import logging

from trainables.catalogue.encoder import Encoder, PlantedAlignment, SmallEncoder
from trainables.data.hub import model_folder
from trainables.data.seeds import seed_of
from trainables.data.tokens import Forms, lab_forms, piece, tokenizer
from trainables.faults import Invalid, refuse

#: Standard deviation of a planted word vector's components: a norm of 3 at width 100. The tied masked-LM head's input
#: is layer-normalised, so this is what makes its logits large enough to name one of a thousand words while the word
#: embeddings are frozen. XLM-R's own 0.02 leaves them below 2.
PLANTED_DEVIATION = 0.3

#: A fifth of a word vector: positions must be heard beside words, and no louder.
POSITION_DEVIATION = 0.06

#: Which of two texts a word stands in matters as much as the word: at 0.02 hundreds of steps go by before it is heard.
TYPE_DEVIATION = 0.3


#: What encoders call the probability of dropping a hidden unit or an attention weight.
_DROPOUTS = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"),
    *("embedding_dropout", "mlp_dropout", "hidden_dropout", "classifier_dropout_prob"),
)


def build(encoder: Encoder, seed: int, dropout: float) -> PreTrainedModel:
    """A trunk at the root of a path: drawn and planted, or read from the encoder's directory."""
    if not isinstance(encoder.text, SmallEncoder):
        return load(model_folder(encoder.text), dropout)
    return _small(encoder, encoder.text, seed, dropout)


def load(folder: Path, dropout: float) -> PreTrainedModel:
    """The trunk in a directory, in float32, without a pooler (no head here reads one).

    Raises:
        Invalid: where the directory does not load offline, or lacks weights that its configuration states.
    """
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        for name in _DROPOUTS:
            if hasattr(config, name):
                setattr(config, name, dropout)
        kind = MODEL_MAPPING[type(config)]
        pooler = "add_pooling_layer" in inspect.signature(kind.__init__).parameters
        with quiet():
            trunk, told = AutoModel.from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                dtype=torch.float32,
                use_safetensors=True,
                attn_implementation="sdpa" if kind._supports_sdpa else "eager",
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are told below
                **({"add_pooling_layer": False} if pooler else {}),
            )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise Invalid(f"{folder}", [f"it must be a directory that AutoModel loads offline, got: {error}"]) from error
    refuse(f"{folder}", drawn_faults(trunk, told, unread=("pooler",)))
    return trunk


def drawn_faults(model: PreTrainedModel, told: dict, *, unread: tuple[str, ...]) -> Iterator[str]:
    """Which weights were drawn at random, as transformers does where no file has one of that name and size.

    `told` is its loading info; modules of the names `unread` are read by nothing here, and may be drawn.
    """
    sizes = sorted(told["mismatched_keys"])
    for name, has, states in sizes[:3]:
        more = f" (and {len(sizes) - 3} others)" if len(sizes) > 3 else ""
        yield (
            f"{name}{more} must have the size that config.json states, {_size(states)}, got {_size(has)} in the "
            "weights; set config.json back to what the weights have"
        )
    computed = {f"{name}.weight" for name, part in model.named_modules() if "Sinusoidal" in type(part).__name__}
    drawn = {name for name, _ in model.named_parameters()} & set(told["missing_keys"]) - computed
    lost, strange = (
        sorted(name for name in names if not set(unread) & set(name.split(".")))
        for names in (drawn, told["unexpected_keys"])
    )
    if not lost:
        return
    known = f"its weights must have all that config.json states, under AutoModel's names, got none for {_some(lost)}"
    if strange:
        yield f"{known}, and others that it does not know: {_some(strange)}; save them under AutoModel's names"
    else:
        yield f"{known}; save model and configuration together"


def _size(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no warnings of transformers meanwhile: a sweep loads and writes models by the hundred."""
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _small(encoder: Encoder, text: SmallEncoder, seed: int, dropout: float) -> PreTrainedModel:
    vocabulary = tokenizer(encoder).get_vocab()
    if text.positions < encoder.maximum_tokens:
        raise Invalid(
            f"encoder {encoder.name!r}",
            [f"positions must be at least maximum_tokens ({encoder.maximum_tokens}), got {text.positions}"],
        )
    config = XLMRobertaConfig(
        vocab_size=len(vocabulary),
        hidden_size=text.width,
        num_hidden_layers=text.layers,
        num_attention_heads=text.heads,
        intermediate_size=text.feed_forward,
        max_position_embeddings=text.positions + 2,  # XLM-R counts positions from 2, after the padding's
        initializer_range=0.6 / text.width**0.5,  # BERT's 0.02 is this at width 900
        type_vocab_size=2,  # what is read first and what is said of it, be the first a text or an image
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        layer_norm_eps=1e-5,
    )
    config._attn_implementation = "sdpa"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("trunk", seed))
        trunk = XLMRobertaModel(config, add_pooling_layer=False)
        with torch.no_grad():
            trunk.embeddings.position_embeddings.weight.normal_(std=POSITION_DEVIATION)
            trunk.embeddings.position_embeddings.weight[config.pad_token_id].zero_()
            trunk.embeddings.token_type_embeddings.weight.normal_(std=TYPE_DEVIATION)
            planted = planted_vectors(vocabulary, lab_forms(), text.alignment, text.width)
            trunk.embeddings.word_embeddings.weight.copy_(torch.from_numpy(planted))
            trunk.embeddings.word_embeddings.weight[config.pad_token_id].zero_()
    return trunk


def planted_vectors(vocabulary: dict[str, int], forms: Forms, alignment: PlantedAlignment, width: int) -> np.ndarray:
    """(token, width) of float32: word vectors with the alignment between languages planted.

    A word gets its concept's vector plus `distance` times a random offset of equal norm, scaled back to the norm of
    the concept's, so that a far language differs in direction and not in size. Words of unaligned languages, and
    tokens that are no word, get vectors of their own; where there are fewer concepts than `width`, those words are
    made orthogonal to all of them, or a language of a few words would by luck be aligned a little. A form of several
    languages takes the best aligned one's. Every vector is drawn from a seed of its own, so adding a language moves no
    other.
    """
    distances = dict(alignment.distance)
    concepts = sorted({concept for words in forms.values() for concept in words.values()})
    spanned = np.empty((width, 0))
    if len(concepts) < width:
        spanned = np.linalg.qr(np.stack([_drawn(alignment.seed, "concept", name, width=width) for name in concepts]).T)[
            0
        ]
    vectors = np.empty((len(vocabulary), width), dtype=np.float32)
    for token, number in vocabulary.items():
        vectors[number] = _drawn(alignment.seed, "token", token, width=width)
    for language in alignment.unaligned:
        for form in forms.get(language, {}):
            number = vocabulary[piece(form, language)]
            apart = vectors[number] - spanned @ (spanned.T @ vectors[number])
            vectors[number] = apart * (np.linalg.norm(vectors[number]) / np.linalg.norm(apart))
    known = [language for language in forms if language in distances and language not in alignment.unaligned]
    for language in sorted(known, key=lambda name: (-distances[name], name)):  # the best aligned writes last
        for form, concept in sorted(forms[language].items()):
            centre = _drawn(alignment.seed, "concept", concept, width=width)
            offset = _drawn(alignment.seed, "offset", language, form, width=width)
            moved = centre + distances[language] * offset * (np.linalg.norm(centre) / np.linalg.norm(offset))
            vectors[vocabulary[piece(form, language)]] = moved * (np.linalg.norm(centre) / np.linalg.norm(moved))
    return vectors


def _drawn(seed: int, *name: str, width: int) -> np.ndarray:
    return np.random.default_rng(seed_of("planted", seed, *name)).standard_normal(width) * PLANTED_DEVIATION


#: Kinds whose texts begin at the third of their positions, though none of those before it is the padding's.
_FROM_THIRD = frozenset({"mra", "nystromformer", "yoso"})


def position_offset(trunk: PreTrainedModel) -> int:
    """The number of a text's first position: 0, or one after the padding's in RoBERTa and its kin."""
    if trunk.config.model_type in _FROM_THIRD:
        return 2
    padding = _padding_position(trunk)
    return 0 if padding is None else padding + 1


def patch_position(trunk: PreTrainedModel) -> int:
    """The number of the position that all patches share: the padding's, whose vector is zero, or a text's first."""
    padding = _padding_position(trunk)
    return position_offset(trunk) if padding is None else padding


def _padding_position(trunk: PreTrainedModel) -> int | None:
    positions = getattr(getattr(trunk, "embeddings", None), "position_embeddings", None)
    return getattr(positions, "padding_idx", None)
