"""Word pairs and plain text of a user's own, as tasks; reads none of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainables.catalogue.files import LANGUAGE, SentenceFiles, WordFiles
from trainables.catalogue.task import Kind, Split, Task
from trainables.faults import refuse


def word_pair_task(
    name: str,
    *,
    train: str | Path,
    languages: Sequence[str],
    dev: str | Path = "",
    shuffled: bool = False,
    licence: str = "stated by its owner",
) -> Task:
    """English words with their translations, for `align_words`: the dictionaries of MUSE, or a user's own.

    `train="muse/en-{language}.0-5000.txt", dev="muse/en-{language}.5000-6500.txt"` are MUSE's own halves; without
    `dev` a quarter of the English words is held back, the same ones in every language. No word of the control split is
    trained on. `shuffled` makes the control whose training pairs mean nothing.

    Raises:
        Invalid: for English among the languages, or a path that names no language where there are several.
    """
    spoken = tuple(languages)
    faults = _path_faults((train, dev), spoken)
    if "en" in spoken:
        faults.append(f"languages must be others than English, which is on the left of every pair, got {spoken!r}")
    refuse(f"task {name!r}", faults)
    return Task(
        name=name,
        kind=Kind.WORDS,
        splits=tuple(Split(name=split, languages=spoken) for split in ("train", "dev")),
        source=WordFiles(train=_place(train), dev=_place(dev), shuffled=shuffled),
        licence=licence,
    )


def sentence_task(
    name: str, *, train: str | Path, languages: Sequence[str], rows: int = 0, licence: str = "stated by its owner"
) -> Task:
    """Text in several languages for masked language modelling, in `pretrain` or beside intermediate tasks.

    `train="text/{language}.txt"`: an example on each line, cut to the encoder's length; empty lines are none. How much
    each language weighs is how many lines its file has. `rows` counts those of one language, their mean where languages
    differ, for `Proportions`; a plan compares it with the files.

    Raises:
        Invalid: for a path that names no language where there are several.
    """
    spoken = tuple(languages)
    refuse(f"task {name!r}", _path_faults((train,), spoken))
    return Task(
        name=name,
        kind=Kind.MASKED_LM,
        splits=(Split(name="train", languages=spoken, rows=rows),),
        source=SentenceFiles(train=_place(train)),
        licence=licence,
    )


def _path_faults(paths: Sequence[str | Path], languages: tuple[str, ...]) -> list[str]:
    return [
        f"a path must hold {LANGUAGE!r} where there are {len(languages)} languages, got {str(path)!r}; give a file each"
        for path in paths
        if str(path) and len(languages) > 1 and LANGUAGE not in str(path)
    ]


def _place(path: str | Path) -> str:
    return str(Path(path).expanduser()) if str(path) else ""
