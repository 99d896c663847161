"""Which text encoder is the trunk and what looks at the images, as values; refuses to load either."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from trainables.faults import refuse


@dataclass(frozen=True, kw_only=True)
class PlantedAlignment:
    """How far the words of a language start from the English words of the same concepts.

    `distance` is the norm of the random offset relative to the norm of the concept's vector: 0 is the same vector.
    `unaligned` languages get vectors of their own, and no sentence of theirs is ever seen before the test.
    """

    distance: tuple[tuple[str, float], ...]
    unaligned: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class SmallEncoder:
    """An XLM-R configuration small enough for a processor, with the lab's own tokenizer and planted embeddings."""

    layers: int
    width: int
    heads: int
    feed_forward: int
    positions: int
    alignment: PlantedAlignment


@dataclass(frozen=True, kw_only=True)
class LocalEncoder:
    """A Hugging Face directory: config.json, model.safetensors and a tokenizer that `AutoModel` can load.

    `fingerprint` covers the files' contents; it is empty until `trainables.data.fingerprint` has taken it.
    """

    path: str
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class HubEncoder:
    """A model repository of the Hugging Face hub, such as `FacebookAI/xlm-roberta-base`.

    `revision` becomes the commit that it stood for, and `fingerprint` that of the files, when the sweep is resolved.
    """

    repository: str
    revision: str = "main"
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class Tower:
    """A frozen SigLIP, SigLIP 2 or CLIP vision tower, whose patch vectors are computed once per image.

    `grid` × `grid` vectors are kept of each image, averaged over the patches that each covers, as float16: at 7 and
    768 wide 74 KiB an image.
    """

    model: LocalEncoder | HubEncoder
    grid: int = 7
    layers_from_end: int = 1
    """Which hidden layer the vectors are taken from: 1 is the last, 2 the one before it, as LLaVA takes CLIP's."""
    hidden: int = 0
    """Hidden units between the vectors and the word embeddings' width; 0 makes the projection linear."""


@dataclass(frozen=True, kw_only=True)
class Patches:
    """A small trainable patch embedding: RGB images are resized to `height` × `width` pixels and cut in squares."""

    height: int
    width: int
    patch: int
    channels: int = 0
    """Channels of a convolutional stem before the patches are cut; 0 leaves it out."""
    hidden: int = 0
    """Hidden units of each patch's embedding; 0 makes it linear."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """The trunk and its image side.

    Raises:
        Invalid: naming every fault.
    """

    name: str
    text: SmallEncoder | LocalEncoder | HubEncoder
    patches: Patches | Tower
    maximum_tokens: int = 64
    """Longest text input, in tokens, the special ones included; longer ones are cut."""
    restart_positions: bool = False
    """Whether the second text counts its positions from the start, as it does where the first thing is an image.

    It makes hypotheses about texts and about images look alike to the trunk. Encoders pre-trained on joined texts
    have not seen it.
    """
    level_patches: bool = False
    """Whether what a patch says always has the norm of a word embedding.

    Patches that learn words (`Alignment.WORDS`) grow without it until they drown the vectors that say where they are:
    in the lab, English test accuracy after text NLI was 0.54 without and 0.79 with it, on one seed. Patches aligned
    through a pretrained trunk (`Alignment.CONTRASTIVE`) need to be free.
    """

    def __post_init__(self) -> None:
        refuse(f"encoder {self.name!r}", self._faults())

    def _faults(self) -> Iterator[str]:
        yield from _patch_faults(self.patches) if isinstance(self.patches, Patches) else _tower_faults(self.patches)
        if isinstance(self.text, SmallEncoder) and self.text.width % self.text.heads:
            yield f"width must be a multiple of heads, got {self.text.width} and {self.text.heads}"
        models = {"text": self.text, "patches.model": getattr(self.patches, "model", None)}
        for name, model in models.items():
            if isinstance(model, HubEncoder) and not (model.repository and model.revision):
                yield f"{name} must state a repository and a revision, such as 'main', got {model!r}"
            elif isinstance(model, HubEncoder) and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model.repository):
                yield (
                    f"{name} must be named as on the hub, such as 'owner/name', got {model.repository!r}; a directory "
                    "is LocalEncoder(path=…)"
                )
        if self.maximum_tokens < 8:
            yield f"maximum_tokens must be at least 8, got {self.maximum_tokens}"


def _patch_faults(cut: Patches) -> Iterator[str]:
    if cut.patch < 1 or cut.height % cut.patch or cut.width % cut.patch:
        yield f"patch must divide height and width, got {cut.patch} for {cut.height} × {cut.width} pixels"


def _tower_faults(tower: Tower) -> Iterator[str]:
    if not isinstance(tower, Tower):
        yield f"patches must be Patches(...) or Tower(...), got {tower!r}"
        return
    if not isinstance(tower.model, LocalEncoder | HubEncoder):
        yield f"a tower's model must be LocalEncoder(...) or HubEncoder(...), got {tower.model!r}"
    for name, least in (("grid", 1), ("layers_from_end", 1), ("hidden", 0)):
        value = getattr(tower, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            yield f"a tower's {name} must be a whole number of at least {least}, got {value!r}"
