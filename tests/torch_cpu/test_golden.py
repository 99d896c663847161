"""The first losses of every kind of stage and the right answers to every kind of task, against a file.

It knows no lab, whose rows may change on their own.

A trace that changed means that stages already in a store no longer stand for what the code would make. Raise the
version of the stage kind in `trainables/stages.py` and write the file anew: `python -m tests.torch_cpu.test_golden`.
It refuses to be written where a trace changed and its version did not.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tests.torch_cpu import tiny
from trainables.catalogue.task import Kind
from trainables.data import rows as laid_out
from trainables.data import tokens
from trainables.data.reading import SCHEMA_OF
from trainables.settings import Alignment
from trainables.stages import SCORING_VERSIONS, VERSIONS, StageKind
from trainables.training.loop import run_stage

FILE = Path(__file__).parents[1] / "fixtures" / "golden_losses.json"
WORDS = {
    "en": ("red", "blue", "circle", "square", "left", "right", "is", "a"),
    "de": ("rot", "blau", "kreis", "quadrat", "links", "rechts", "ist", "ein"),
}
FORMS = {language: dict(zip(words, WORDS["en"], strict=True)) for language, words in WORDS.items()}

STAGES = {
    "pretrain": tiny.training(tiny.PARALLEL, kind=StageKind.PRETRAIN, dropout=0.0),
    "align_words": tiny.training(tiny.WORDS, kind=StageKind.ALIGN_WORDS, dropout=0.0, word_layer=1),
    "align_images": tiny.training(tiny.CAPTION, kind=StageKind.ALIGN_IMAGES, dropout=0.0),
    "align_images, contrastive": tiny.training(
        tiny.CAPTION, kind=StageKind.ALIGN_IMAGES, dropout=0.0, alignment=Alignment.CONTRASTIVE
    ),
    "align_images, by words": tiny.training(
        tiny.CAPTION, kind=StageKind.ALIGN_IMAGES, dropout=0.0, alignment=Alignment.WORDS
    ),
    "pretrain, replaced": tiny.training(tiny.PARALLEL, kind=StageKind.PRETRAIN, dropout=0.0, replaced_share=0.5),
    "train": tiny.training(tiny.NLI, tiny.VISUAL, tiny.SQUAD, tiny.CHOICE, dropout=0.0),
    "train, dropout": tiny.training(tiny.NLI, tiny.VISUAL, tiny.SQUAD, tiny.CHOICE, dropout=0.1),
}

TAGS = tiny.task("tags", Kind.TAGGING, "tags", ("A", "B", "C"), test=("en",))
FOUND = tiny.task("found", Kind.RETRIEVAL, "found", (), test=("de",))
ASKED = (tiny.NLI, tiny.VISUAL, tiny.SQUAD, tiny.CHOICE, TAGS, FOUND)

#: What is evaluated: trained for so few steps that another processor's rounding turns next to no answer.
TRAINED = tiny.training(*(one for one in ASKED if one is not FOUND), dropout=0.0)

#: Nats. Float32 sums in another order, on another processor, move these losses by less than 1e-5 in six steps.
TOLERANCE = 1e-4

#: Right answers of forty: one may be so near to another that such a difference turns it.
ANSWERS_TOLERANCE = 1.0


def made_up(task, split, languages, cache) -> pa.Table:
    """Forty rows of the task's kind, in English, drawn once and for all."""
    rng = np.random.default_rng(3)

    def say(language: str = "en", words: int = 4) -> str:
        return " ".join(WORDS[language][number] for number in rng.integers(0, 8, words))

    def image() -> dict:
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (36, 36, 3), dtype=np.uint8)).save(buffer, format="PNG")
        return {"bytes": buffer.getvalue(), "path": None}

    def row(number: int) -> dict:
        common = {"id": str(number), "language": "en"}
        label = int(rng.integers(0, 3))
        match task.kind:
            case Kind.PAIR:
                return {**common, "premise": say(words=7), "hypothesis": say(), "label": label}
            case Kind.IMAGE_TEXT:
                return {**common, "image": image(), "hypothesis": say(), "label": label}
            case Kind.SPAN:
                return {
                    **common,
                    "context": "a red circle is left",
                    "question": say(),
                    "answer_text": "red",
                    "answer_start": 2,
                }
            case Kind.CHOICE:
                return {**common, "context": say(words=6), "endings": [say() for _ in range(3)], "label": label}
            case Kind.CAPTION:
                return {**common, "image": image(), "caption": say()}
            case Kind.TAGGING:
                places = rng.integers(0, 8, 5)
                tags = [int(place) % 3 for place in places]
                return {**common, "tokens": [WORDS["en"][place] for place in places], "tags": tags}
            case Kind.RETRIEVAL:
                pair, is_english = number // 2, bool(number % 2)
                text = " ".join(WORDS["en" if is_english else "de"][(pair * step + step) % 8] for step in (1, 3, 5))
                match = "" if is_english else f"{number + 1}"
                told = {"is_english": is_english, "text": text, "match": match}
                return {"id": str(number), "language": "de", **told}
            case Kind.WORDS:
                place = int(rng.integers(0, 8))
                pair = {"source": WORDS["en"][place], "target": WORDS["de"][place]}
                return {"id": str(number), "source_language": "en", "target_language": "de", **pair}
        return {
            "id": str(number),
            "source_language": "en",
            "source": say(),
            "target_language": "de",
            "target": say("de"),
        }

    return pa.Table.from_pylist([row(number) for number in range(40)], schema=SCHEMA_OF[task.kind])


@contextmanager
def on_made_up_rows() -> Iterator[Path]:
    """A folder for outputs, while all rows are made up."""
    tokens._tokenizer.cache_clear()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(laid_out, "read", made_up),
        mock.patch.object(tokens, "lab_forms", lambda: FORMS),
        mock.patch("trainables.model.encoder.lab_forms", lambda: FORMS),
        mock.patch.object(laid_out, "_kept", type(laid_out._kept)()),
        mock.patch("trainables.training.attempt.LOSS_WINDOW_STEPS", 4),
    ):
        try:
            yield Path(folder)
        finally:
            tokens._tokenizer.cache_clear()


def trace(name: str) -> list[float]:
    """Mean loss of each task over its steps, in order of name."""
    with on_made_up_rows() as folder:
        run_stage(STAGES[name], parent=None, output=folder)
        windows = json.loads((folder / "losses.json").read_text())
    return [loss["loss"] for window in windows for loss in window["losses"]]


def right_answers() -> dict[str, list[float]]:
    """By the kind of task, how many items each score counts as right; of an F1 its share of them."""
    found = {}
    with on_made_up_rows() as folder:
        run_stage(TRAINED, parent=None, output=folder / "trained")
        for asked in ASKED:
            languages = asked.split("test").languages[:1]
            stage = tiny.evaluation(asked, TRAINED.digest, languages, layer=1 if asked is FOUND else 0)
            outcome = run_stage(stage, parent=folder / "trained", output=folder / asked.name)
            found[str(asked.kind)] = [score.value * score.count for score in outcome.scores]
    return found


def version_of(kind: Kind) -> str:
    """The versions that right answers depend on: of the training, then of the scoring."""
    return f"{VERSIONS[StageKind.TRAIN]}.{SCORING_VERSIONS.get(kind, VERSIONS[StageKind.EVALUATE])}"


@pytest.mark.parametrize("name", STAGES)
def test_losses_are_those_of_the_stated_version(name):
    golden = json.loads(FILE.read_text())[name]
    kind = STAGES[name].kind
    assert golden["version"] == VERSIONS[kind], "write the file anew: python -m tests.torch_cpu.test_golden"
    assert trace(name) == pytest.approx(golden["losses"], abs=TOLERANCE), (
        f"what {kind} puts out has changed: raise VERSIONS[StageKind.{kind.name}] and write the file anew"
    )


def test_right_answers_are_those_of_the_stated_version():
    golden = json.loads(FILE.read_text())
    found = right_answers()
    for kind, right in found.items():
        one = golden[f"evaluate, {kind}"]
        assert one["version"] == version_of(Kind(kind)), "write the file anew: python -m tests.torch_cpu.test_golden"
        assert right == pytest.approx(one["right"], abs=ANSWERS_TOLERANCE), (
            f"what evaluate makes of {kind} has changed: raise its version in trainables/stages.py, write the file anew"
        )


def main() -> None:
    old = json.loads(FILE.read_text()) if FILE.is_file() else {}
    new = {name: {"version": VERSIONS[stage.kind], "losses": trace(name)} for name, stage in STAGES.items()}
    for kind, right in right_answers().items():
        new[f"evaluate, {kind}"] = {"version": version_of(Kind(kind)), "right": right}
    for name, one in new.items():
        if name in old and one["version"] == old[name]["version"]:
            what, tolerance = ("losses", TOLERANCE) if "losses" in one else ("right", ANSWERS_TOLERANCE)
            if old[name][what] != pytest.approx(one[what], abs=tolerance):
                raise SystemExit(f"{name} has changed: raise its version in trainables/stages.py first")
            new[name] = old[name]
    FILE.write_text(json.dumps(new, indent=1) + "\n")


if __name__ == "__main__":
    main()
