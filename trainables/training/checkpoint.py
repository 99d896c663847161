"""Weights and running state to directories and back, as safetensors and JSON; runs nothing that it reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from trainables.canonical import canonical, decode
from trainables.catalogue.encoder import Encoder
from trainables.data.tokens import tokenizer
from trainables.faults import Invalid
from trainables.model import encoder as trunks
from trainables.model.lora_folded import folded
from trainables.model.reader import Reader, head_key
from trainables.scores import Progress

EXTRAS = "extras.safetensors"

#: The folder of an output, and of a checkpoint under way, that holds weights of steps before the last.
KEPT_WEIGHTS = "kept"
STATE = "state.safetensors"
STATE_JSON = "state.json"


def write_model(reader: Reader, encoder: Encoder, folder: Path) -> None:
    """Trunk and tokenizer as `AutoModel` and `AutoTokenizer` load them, image side and heads beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    with trunks.quiet():
        reader.trunk.save_pretrained(folder)
        tokenizer(encoder).save_pretrained(folder)
    extras = {f"vision.{name}": value.cpu().contiguous() for name, value in reader.vision.state_dict().items()}
    for name, head in reader.named_heads():
        extras |= {
            f"heads.{head_key(name)}.{key}": value.cpu().contiguous() for key, value in head.state_dict().items()
        }
    sizes = {name: reader.head_outputs[name] for name, _ in reader.named_heads()}
    save_file(extras, folder / EXTRAS, metadata={"heads": json.dumps(sizes, sort_keys=True)})


def read_model(folder: Path | None, encoder: Encoder, *, seed: int, dropout: float, carry_heads: bool) -> Reader:
    """The model that a stage starts from: what its parent wrote, or a new one where it has none.

    Raises:
        Invalid: where the folder holds no model, or one with an image side of another size.
    """
    if folder is None:
        return Reader(trunks.build(encoder, seed, dropout), encoder, seed, dropout)
    reader = Reader(trunks.load(folder, dropout), encoder, seed, dropout)
    path = folder / EXTRAS
    if not path.is_file():
        raise Invalid(str(folder), [f"it must hold {EXTRAS} beside the trunk, got none; it is no output of a stage"])
    extras = load_file(path)
    with safe_open(path, framework="pt") as file:
        sizes: dict[str, int] = json.loads((file.metadata() or {}).get("heads", "{}"))
    try:
        if not _has_unseen(extras, reader):
            reader.vision.load_state_dict(_under("vision.", extras))
    except RuntimeError as error:
        raise Invalid(str(folder), [f"its image side must fit {encoder.patches}, got: {error}"]) from error
    for name, outputs in sizes.items() if carry_heads else ():
        reader.head(name, outputs).load_state_dict(_under(f"heads.{head_key(name)}.", extras))
    return reader


def write_trained(reader: Reader, path: Path) -> None:
    """The trained parameters as the output of the stage would have them if it ended now; the rest are its output's."""
    adapted = folded(reader.trunk)
    tensors = {f"trunk.{name}": value.cpu().contiguous() for name, value in adapted.items()}
    for name, parameter in reader.named_parameters():
        if parameter.requires_grad and not (adapted and name.startswith("trunk.")):
            tensors[name] = parameter.detach().cpu().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".writing-{path.name}")
    save_file(tensors, aside)
    aside.rename(path)


def read_trained(path: Path) -> dict[str, torch.Tensor]:
    """What `write_trained` wrote."""
    return load_file(path)


def lay_over(reader: Reader, tensors: dict[str, torch.Tensor]) -> None:
    """Give a model the parameters of one of its checkpoints.

    Raises:
        ValueError: where one does not fit; the model is then as it was.
    """
    known = dict(reader.named_parameters())
    for name, value in tensors.items():
        if name not in known or known[name].shape != value.shape:
            shape = tuple(known[name].shape) if name in known else None
            raise ValueError(
                f"{name} of a checkpoint must have the shape {shape} of its run's output, got {tuple(value.shape)}; "
                "remove that stage from the store, and the same command trains it again"
            )
    with torch.no_grad():
        for name, value in tensors.items():
            known[name].copy_(value)


def kept_weights(output: Path, step: int) -> Path:
    """Where a stage's output has its trained weights as they were after a step before the last."""
    return output / KEPT_WEIGHTS / f"{step:09d}.safetensors"


def weights_of(
    before: tuple[int, ...], end: int, parent: Path, reader: Reader
) -> dict[tuple[int, ...], dict[str, torch.Tensor]]:
    """The trained weights of each checkpoint by its step, and the mean of all by all their steps."""
    kept = {step: read_trained(kept_weights(parent, step)) for step in before}
    for step, tensors in kept.items():
        if _has_unseen(tensors, reader):
            kept[step] = {name: value for name, value in tensors.items() if not name.startswith("vision.")}
    names = sorted({name for tensors in kept.values() for name in tensors})
    known = dict(reader.named_parameters())
    kept[end] = {name: known[name].detach().cpu().clone() for name in names}
    mean = {name: torch.stack([tensors[name].double() for tensors in kept.values()]).mean(0).float() for name in names}
    return {**{(step,): tensors for step, tensors in kept.items()}, tuple(kept): mean}


def write_checkpoint(
    parent: Path, encoder: Encoder, kept: tuple[int, ...], end: int, steps: tuple[int, ...], folder: Path
) -> None:
    """Write one of the checkpoints of a training stage, or the mean of all of them, as its output would be.

    `parent` is the output after step `end`, beside the weights `kept` of earlier steps; `steps` names the checkpoint,
    as its scores do.
    """
    reader = read_model(parent, encoder, seed=0, dropout=0.0, carry_heads=True)
    if steps != (end,):
        lay_over(reader, weights_of(kept, end, parent, reader)[steps])
    write_model(reader, encoder, folder)


def _has_unseen(tensors: dict[str, torch.Tensor], reader: Reader) -> bool:
    """Whether their image side has never seen an image: one as wide as the layers of an encoder with narrower words.

    All were made so once, and stand in outputs of stages that read texts alone: any image beside such words was an
    error. A new one serves as well.
    """
    segment = tensors.get("vision.segment")
    return segment is not None and len(segment) == reader.width != reader.words.embedding_dim


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a stage has come: steps done, the loss of each, and its reports with scores."""

    step: int
    losses: torch.Tensor
    history: tuple[Progress, ...]


def write_running(
    folder: Path, *, digest: str, reader: Reader, optimiser: torch.optim.Optimizer, position: Position
) -> None:
    """All that a bit-exact resume needs: trained weights, moments, steps done, losses, history.

    Frozen weights are the parent's, and random numbers a function of (seed, step): neither is written.
    """
    tensors = {"losses": position.losses.cpu().contiguous()}
    for name, parameter in reader.named_parameters():
        if parameter.requires_grad:
            tensors[f"model.{name}"] = parameter.detach().cpu().contiguous()
            for key, value in optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{key}.{name}"] = value.cpu().contiguous()
    save_file(tensors, folder / STATE)
    text = canonical({"digest": digest, "step": position.step, "history": position.history})
    (folder / STATE_JSON).write_text(text)


def read_running(folder: Path, *, digest: str, reader: Reader, optimiser: torch.optim.Optimizer) -> Position | None:
    """Load what `write_running` wrote into model and optimiser; None where it belongs to another stage.

    Raises:
        ValueError: where it does not fit the model; model and optimiser are then as they were.
    """
    said = json.loads((folder / STATE_JSON).read_text())
    if said["digest"] != digest:
        return None
    tensors = load_file(folder / STATE)
    trained = {name: parameter for name, parameter in reader.named_parameters() if parameter.requires_grad}
    for name, parameter in trained.items():
        found = tensors.get(f"model.{name}")
        if found is None or found.shape != parameter.shape:
            shape = None if found is None else tuple(found.shape)
            raise ValueError(f"{name} must have the shape {tuple(parameter.shape)}, got {shape}")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(tensors[f"model.{name}"])
            state = {}
            for key in ("step", "exp_avg", "exp_avg_sq"):
                value = tensors.get(f"optimiser.{key}.{name}")
                if value is not None:
                    state[key] = value.clone().to(parameter.device)
            if state:
                optimiser.state[parameter] = state
    history = tuple(decode(Progress, item) for item in said["history"])
    return Position(step=said["step"], losses=tensors["losses"].clone(), history=history)
