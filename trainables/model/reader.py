"""Trunk, image side and heads as one module that gives losses and predictions; knows no optimiser and no files."""

from __future__ import annotations

import inspect

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from trainables.catalogue.encoder import Encoder
from trainables.catalogue.task import Kind
from trainables.data.batches import ABSENT, NOWHERE, Batch
from trainables.data.seeds import seed_of
from trainables.faults import Invalid
from trainables.model import heads, processor
from trainables.model.encoder import patch_position, position_offset
from trainables.model.vision import image_side
from trainables.settings import Part
from trainables.stages import Shape

#: An answer is at most so many tokens long, as in BERT's SQuAD recipe.
LONGEST_ANSWER = 30

#: Masked words are predicted in blocks of so many.
BLOCK = 128

#: Of the loss of replaced-token detection beside that of masked prediction.
REPLACED_WEIGHT = 5.0


class Reader(nn.Module):
    """Reads texts and images through one trunk.

    Losses come as a sum over labels with their count, so that whoever adds up batches can divide exactly once.
    """

    def __init__(self, trunk: PreTrainedModel, encoder: Encoder, seed: int, dropout: float) -> None:
        super().__init__()
        self.trunk = trunk
        self.restarts = encoder.restart_positions
        self.width = trunk.config.hidden_size
        self.dropout = dropout
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of("vision", seed))
            loudness = float(self.words.weight.detach().norm(dim=-1).mean()) if encoder.level_patches else None
            # Patches stand among word embeddings, which ALBERT, ELECTRA and RemBERT have narrower than their states.
            self.vision = image_side(encoder.patches, self.words.embedding_dim, loudness)
        self.heads = nn.ModuleDict()
        self.head_outputs: dict[str, int] = {}
        self._seed = seed
        self._offset = position_offset(trunk)
        self._patch_position = patch_position(trunk)
        taken = inspect.signature(trunk.forward).parameters
        self._takes_positions = "position_ids" in taken
        self._takes_types = "token_type_ids" in taken and getattr(trunk.config, "type_vocab_size", 0) > 1

    @property
    def words(self) -> nn.Embedding:
        """The word embeddings."""
        return self.trunk.get_input_embeddings()  # type: ignore[return-value]

    def head(self, name: str, outputs: int = 0) -> nn.Module:
        """The head of a name, made on first use."""
        key = head_key(name)
        if key not in self.heads:
            self.head_outputs[name] = outputs
            self.heads[key] = heads.make(
                name,
                seed=self._seed,
                width=self.width,
                outputs=outputs or self.words.num_embeddings,
                dropout=self.dropout,
                embedding_width=self.words.embedding_dim,
            )
        return self.heads[key]

    def named_heads(self) -> list[tuple[str, nn.Module]]:
        """The heads there are, sorted by name."""
        return [(name, self.heads[head_key(name)]) for name in sorted(self.head_outputs)]

    @property
    def temperature(self) -> nn.Parameter:
        """The logarithm of the contrastive loss's scale."""
        head = self.head("contrastive")
        assert isinstance(head, heads.ContrastiveHead)
        return head.log_scale

    def freeze(self, parts: tuple[Part, ...]) -> None:
        """Keep these parts as they are."""
        modules = {Part.WORD_EMBEDDINGS: self.words, Part.TRUNK: self.trunk, Part.VISION: self.vision}
        for part in parts:
            if part is Part.PATCHES:
                for module in self.vision.children():  # its vectors of places and of the segment are its own parameters
                    module.requires_grad_(False)
            else:
                modules[part].requires_grad_(False)

    def suit(self, shape: Shape) -> None:
        """Choose how attention and dropout are computed: by torch's fused kernels, or as a processor does best."""
        self.trunk.set_attn_implementation("sdpa" if self.trunk._supports_sdpa else "eager")
        if shape.device == "cpu":
            processor.suit(self.trunk, half=shape.precision != "float32")

    def recompute_activations(self) -> None:
        """Keep no activations of the trunk's layers for the backward pass; compute them again in it.

        Raises:
            Invalid: where the trunk cannot.
        """
        if not self.trunk.supports_gradient_checkpointing:
            fault = f"gradient_checkpointing must be False for {type(self.trunk).__name__}, which cannot do it"
            raise Invalid("the settings", [fault])
        # transformers 6 knows the newer name alone
        newer = getattr(self.trunk, "activation_checkpointing_enable", None)
        (newer or self.trunk.gradient_checkpointing_enable)({"use_reentrant": False})

    def states(
        self, batch: Batch, *, with_images: bool = True, with_text: bool = True, layer: int | None = None
    ) -> torch.Tensor:
        """(sequence, patch then token, width): the trunk's last hidden states, or those of one layer, as Hugging Face
        counts them: 0 is what enters the first, n the output of the n-th.

        Patches stand before the text and take none of its positions: they share the padding's position where the
        trunk has one, whose vector is zero, and the first one otherwise.
        """
        parts, positions, types = [], [], []
        patches = self.vision(batch.images) if with_images and batch.images is not None else None
        if patches is not None:
            parts.append(patches)
            positions.append(patches.new_full(patches.shape[:2], self._patch_position, dtype=torch.long))
            types.append(torch.zeros_like(positions[0]))
        columns = torch.arange(batch.ids.shape[1], device=batch.ids.device)
        if with_text:
            parts.append(self.words(batch.ids))
            second = (columns >= batch.starts[:, None]).long()
            place = columns.expand(batch.ids.shape)
            if self.restarts:
                place = place - second * (batch.starts[:, None] - batch.first_start)
            positions.append(place + self._offset)
            types.append(batch.types[0] + (batch.types[1] - batch.types[0]) * second)
        mask = None
        if with_text and batch.padded:
            mask = columns < batch.lengths[:, None]
            if patches is not None:
                mask = torch.cat((mask.new_ones(patches.shape[:2]), mask), dim=1)
            mask = mask.long()
        extra = {}
        if self._takes_positions:
            extra["position_ids"] = torch.cat(positions, dim=1)
        if self._takes_types and batch.types != (0, 0):
            extra["token_type_ids"] = torch.cat(types, dim=1)
        embedded = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        if layer is not None:
            return self.trunk(
                inputs_embeds=embedded, attention_mask=mask, output_hidden_states=True, **extra
            ).hidden_states[layer]
        return self.trunk(inputs_embeds=embedded, attention_mask=mask, **extra).last_hidden_state

    def _text_tokens(self, batch: Batch, patches: int) -> torch.Tensor:
        """(sequence, patch then token) of bool: the tokens of the second text."""
        columns = torch.arange(batch.ids.shape[1], device=batch.ids.device)
        second = (columns >= batch.starts[:, None]) & (columns < (batch.starts + batch.second_lengths)[:, None])
        return functional.pad(second, (patches, 0))

    def features(self, batch: Batch) -> torch.Tensor:
        """(sequence, 5 width): see `heads.joint_features`."""
        states = self.states(batch)
        patches = states.shape[1] - batch.ids.shape[1]
        hypothesis = self._text_tokens(batch, patches)
        columns = torch.arange(states.shape[1], device=states.device)
        if batch.kind is Kind.IMAGE_TEXT:
            premise = (columns < patches).expand(states.shape[:2])
        else:
            first = batch.first_start + batch.first_lengths
            premise = (columns >= batch.first_start) & (columns < first[:, None])
        return heads.joint_features(states, premise, hypothesis, patches)

    def logits(self, batch: Batch, head: str, labels: int) -> torch.Tensor:
        """(row, label) of a classification, (row, ending) of a choice, (row, token, 2) of a span, (row, token, label)
        of tags.

        Endings that a row does not have, and tokens outside the context, get -inf. The first token stands for no
        answer where there may be none.
        """
        module = self.head(head, labels)
        if batch.kind is Kind.TAGGING:
            return module(self.states(batch)).float()
        if batch.kind is Kind.SPAN:
            raw = module(self.states(batch)).float()
            allowed = self._text_tokens(batch, 0)
            if batch.may_be_nowhere:
                allowed[:, 0] = True
            return raw.masked_fill(~allowed.unsqueeze(-1), float("-inf"))
        raw = module(self.features(batch)).float()
        if batch.kind is not Kind.CHOICE:
            return raw
        assert batch.endings is not None
        width = int(batch.endings.max())
        there = torch.arange(width, device=raw.device) < batch.endings[:, None]
        return raw.new_full(there.shape, float("-inf")).masked_scatter(there, raw.squeeze(-1))

    def loss(self, batch: Batch, head: str, labels: int) -> tuple[torch.Tensor, int]:
        """The loss summed over labels, in nats, and how many labels there are."""
        if batch.hidden is not None:
            return self._masked_loss(batch)
        assert batch.labels is not None
        logits = self.logits(batch, head, labels)
        if batch.kind is Kind.TAGGING:
            loss = functional.cross_entropy(logits.mT, batch.labels, reduction="sum", ignore_index=ABSENT)
            return loss, int((batch.labels != ABSENT).sum())
        if batch.kind is not Kind.SPAN:
            return functional.cross_entropy(logits, batch.labels, reduction="sum"), batch.rows
        answered = batch.labels[:, 0] != ABSENT
        gold = torch.where(answered[:, None], batch.labels + batch.starts[:, None], ABSENT)
        if batch.may_be_nowhere:
            gold = torch.where(batch.labels == NOWHERE, 0, gold)
        start, end = (
            functional.cross_entropy(logits[..., side], gold[:, side], reduction="sum", ignore_index=ABSENT)
            for side in (0, 1)
        )
        return (start + end) / 2, int(answered.sum())

    def _masked_loss(self, batch: Batch) -> tuple[torch.Tensor, int]:
        states = self.states(batch)
        assert batch.hidden is not None and batch.originals is not None
        words = states[:, states.shape[1] - batch.ids.shape[1] :]
        chosen, originals = _in_blocks(words[batch.hidden], batch.originals)
        logits = self.head("masked_lm")(chosen, self.words.weight).float()
        loss = functional.cross_entropy(logits, originals, reduction="sum", ignore_index=ABSENT)
        if "replaced" in self.head_outputs:
            loss = loss + REPLACED_WEIGHT * self._replaced_loss(batch, words)
        return loss, len(batch.originals)

    def _replaced_loss(self, batch: Batch, words: torch.Tensor) -> torch.Tensor:
        """Cross-entropy, summed over the words of the second texts that are no mask, of which of them were replaced."""
        assert batch.hidden is not None and batch.originals is not None
        originals = batch.ids.masked_scatter(batch.hidden, batch.originals)
        read = self._text_tokens(batch, 0) & (batch.ids != batch.mask)
        logits = self.head("replaced")(words).float()
        gold = (batch.ids != originals).float()
        return functional.binary_cross_entropy_with_logits(logits, gold, weight=read.float(), reduction="sum")

    def vectors(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(row, patch, width) and (row, width), of norm 1: the patches of each image alone and each text alone.

        Both go through the trunk. Patches keep a vector each, for a score by the nearest (late interaction, as in
        ColBERT and FILIP): a text names a part of its image, which a mean over all patches dilutes.
        """
        images = self.states(batch, with_text=False)
        states = self.states(batch, with_images=False)
        texts = heads.mean(states, self._text_tokens(batch, 0))
        return functional.normalize(images.float(), dim=-1), functional.normalize(texts.float(), dim=-1)

    def word_vectors(self, batch: Batch, layer: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        """(pair, 1, width) and (pair, width), of norm 1: the source and the target of each word pair, each alone.

        A word is the mean over its tokens of a layer's states, None being the last: as in arXiv 2506.15415, but
        without the special tokens around it, which every word has alike.
        """
        states = self.states(batch, layer=layer)
        both = functional.normalize(heads.mean(states, self._text_tokens(batch, 0)).float(), dim=-1)
        return both[0::2].unsqueeze(1), both[1::2]

    def patch_vectors(self, batch: Batch) -> torch.Tensor:
        """(row, patch, width of the word embeddings), of norm 1: what each patch says, before the trunk."""
        assert batch.images is not None
        return functional.normalize(self.vision.content(batch.images).float(), dim=-1)

    def word_embeddings(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(row, token, their width) of norm 1, and which of them are words of the second text: (row, token) of bool.

        Word embeddings less their mean, which in a pretrained encoder all words share; they are targets and get no
        gradient.
        """
        table = self.words.weight.detach()
        words = table[batch.ids].float() - table.float().mean(0)
        return functional.normalize(words, dim=-1), self._text_tokens(batch, 0)

    def contrastive_loss(
        self,
        images: torch.Tensor,
        texts: torch.Tensor | tuple[torch.Tensor, torch.Tensor],
        image_numbers: torch.Tensor,
        text_numbers: torch.Tensor,
    ) -> torch.Tensor:
        """InfoNCE both ways, summed over pairs; rows with the same image or the same text are no negatives.

        `texts` are vectors of whole texts, or those of their words with which of them are there.
        """
        same = (image_numbers[:, None] == image_numbers) | (text_numbers[:, None] == text_numbers)
        same.fill_diagonal_(False)
        if isinstance(texts, tuple):
            logits = heads.evidence(images, *texts)
        else:
            logits = self.head("contrastive")(images, texts)
        logits = logits.float().masked_fill(same, float("-inf"))
        gold = torch.arange(len(images), device=images.device)
        there = functional.cross_entropy(logits, gold, reduction="sum")
        back = functional.cross_entropy(logits.T, gold, reduction="sum")
        return (there + back) / 2

    @torch.no_grad()
    def predict(self, batch: Batch, head: str, labels: int) -> torch.Tensor:
        """(row,) of labels or endings; (row, token) of tags; of a span what `best_spans` says."""
        logits = self.logits(batch, head, labels)
        if batch.kind is not Kind.SPAN:
            return logits.argmax(-1)
        return best_spans(logits, batch.starts, may_be_nowhere=batch.may_be_nowhere)

    @torch.no_grad()
    def sentence_vectors(self, batch: Batch, layer: int) -> torch.Tensor:
        """(row, width) of norm 1: the mean over all tokens of each text of the states of a layer, 0 the embeddings.

        The special tokens around the text are among them, as in XTREME and jiant.
        """
        states = self.states(batch, layer=layer)
        there = torch.arange(batch.ids.shape[1], device=batch.ids.device) < batch.lengths[:, None]
        return functional.normalize(heads.mean(states, there).float(), dim=-1)

    @property
    def layers(self) -> int:
        """Layers of the trunk."""
        return int(self.trunk.config.num_hidden_layers)


def _in_blocks(states: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(label, width) and (label,), filled up with zeros and `ABSENT` to a multiple of `BLOCK`.

    A matrix product prepares itself for every new shape; with few shapes a pre-training step took a quarter less.
    """
    missing = -len(labels) % BLOCK
    return functional.pad(states, (0, 0, 0, missing)), functional.pad(labels, (0, missing), value=ABSENT)


def best_spans(logits: torch.Tensor, starts: torch.Tensor, *, may_be_nowhere: bool = False) -> torch.Tensor:
    """(row, 4) of float64: first and last token of the best answer of at most `LONGEST_ANSWER` tokens, counted from the
    context's first; its score; and the score of no answer, -inf where there is always one.

    logits: (row, token, start and end); -inf outside the context. starts: (row,) where the context begins.
    """
    tokens = logits.shape[1]
    nowhere = logits[:, 0].sum(-1) if may_be_nowhere else logits.new_full((len(logits),), float("-inf"))
    if may_be_nowhere:
        logits = torch.cat((torch.full_like(logits[:, :1], float("-inf")), logits[:, 1:]), dim=1)
    scores = logits[:, :, 0].unsqueeze(2) + logits[:, :, 1].unsqueeze(1)
    allowed = torch.ones(tokens, tokens, dtype=torch.bool, device=logits.device).triu()
    allowed &= ~torch.ones_like(allowed).triu(LONGEST_ANSWER)
    score, best = scores.masked_fill(~allowed, float("-inf")).flatten(1).max(-1)
    first, last = best // tokens - starts, best % tokens - starts
    return torch.stack((first.double(), last.double(), score.double(), nowhere.double()), dim=1)


def head_key(name: str) -> str:
    """The name of a head as torch wants it, without full stops."""
    return name.replace(".", "/")
