"""Small paths of stages for the tests of gangs and dispatcher."""

from __future__ import annotations

from trainables.catalogue.encoder import Encoder, Patches, PlantedAlignment, SmallEncoder
from trainables.catalogue.task import NLI_LABELS, Kind, LabSource, Split, Task
from trainables.settings import Settings
from trainables.stages import Evaluation, Portion, Shape, Stage, StageKind, Training

ENCODER = Encoder(
    name="tiny",
    text=SmallEncoder(
        layers=1,
        width=16,
        heads=2,
        feed_forward=32,
        positions=64,
        alignment=PlantedAlignment(distance=(("de", 0.2), ("tr", 0.6)), unaligned=("sw",)),
    ),
    patches=Patches(height=16, width=16, patch=8),
)


def task(name: str, *, kind: Kind = Kind.PAIR) -> Task:
    """A task of inference with English training rows and four languages to test in."""
    return Task(
        name=name,
        kind=kind,
        labels=NLI_LABELS,
        splits=(
            Split(name="train", languages=("en",), rows=100),
            Split(name="dev", languages=("en",), rows=100),
            Split(name="test", languages=("en", "de", "tr", "sw"), rows=100),
        ),
        source=LabSource(generator="nothing"),
        licence="CC0-1.0",
    )


def training(
    name: str, parent: str, *, steps: int = 20, seed: int = 0, learning_rate: float = 3e-4, interval: int = 10
) -> Stage:
    """A training stage of one task."""
    settings = Settings(
        learning_rate=learning_rate, maximum_steps=steps, batch_size=8, evaluation_interval_steps=interval
    )
    return Stage(
        kind=StageKind.TRAIN,
        work=Training(settings=settings, portions=(Portion(task=task(name), steps=steps),)),
        encoder=ENCODER,
        parent=parent,
        seed=seed,
        shape=Shape(workers=1, threads=1, precision="float32"),
        versions=(),
    )


def evaluation(name: str, parent: str, *, seed: int = 0) -> Stage:
    """An evaluation on the test split, one language of which the task does not have."""
    return Stage(
        kind=StageKind.EVALUATE,
        work=Evaluation(task=task(name), split="test", languages=("en", "de", "sw", "vi")),
        encoder=ENCODER,
        parent=parent,
        seed=seed,
        shape=Shape(workers=1, threads=1, precision="float32"),
        versions=(),
    )


def path(*, first: str = "text_nli", then: str = "visual_nli", steps: int = 20, seed: int = 0) -> tuple[Stage, ...]:
    """An intermediate stage, the target training and its evaluation."""
    one = training(first, "", steps=steps, seed=seed)
    two = training(then, one.digest, steps=steps, seed=seed)
    return (one, two, evaluation(then, two.digest, seed=seed))
