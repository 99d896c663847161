"""Pairs of words from a user's dictionaries, checked and in the schema; knows no other source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from trainables.catalogue.files import WordFiles
from trainables.catalogue.task import Kind, Split, Task
from trainables.data.fingerprint import spoken_paths
from trainables.data.schema import PARALLEL
from trainables.data.seeds import seed_of
from trainables.faults import refuse

#: Of the English words of a dictionary that comes without a control split, the share that is held back as one.
CONTROL_PERCENT = 25

#: At most so many offending lines are shown in one fault.
_SHOWN = 3

Pairs = dict[str, list[tuple[str, str]]]
"""Language → (English word, translation), in the order of the file, each pair once."""


def read_words(task: Task, split: Split, languages: tuple[str, ...]) -> pa.Table:
    """The pairs of a split in `schema.PARALLEL`, English on the left.

    A pair of the control split is left out where either of its words is trained on: the English one in any language,
    the other in its own.

    Raises:
        Invalid: naming every fault of the files.
    """
    source = task.source
    assert isinstance(source, WordFiles)
    pairs, faults = _split_pairs(task, split)
    refuse(f"task {task.name!r}", faults)
    if source.shuffled and split.name == "train":
        pairs = _dealt(pairs)
    rows = [
        {
            "id": f"{split.name}-{language}-{number:06d}",
            "source_language": "en",
            "source": word,
            "target_language": language,
            "target": translation,
        }
        for language in languages
        for number, (word, translation) in enumerate(pairs[language])
    ]
    return pa.Table.from_pylist(rows, schema=PARALLEL)


def inspect_words(task: Task) -> list[str]:
    """Every fault of a task's dictionaries, or an empty list."""
    found = (fault for split in task.splits for fault in _split_pairs(task, split)[1])
    return list(dict.fromkeys(found))


def _split_pairs(task: Task, split: Split) -> tuple[Pairs, list[str]]:
    """The pairs of a split in every language, and what is wrong with the files."""
    source = task.source
    assert isinstance(source, WordFiles)
    if task.kind is not Kind.WORDS:
        return {}, [f"files of word pairs hold {Kind.WORDS} rows, got kind {task.kind}"]
    train = task.split("train")
    assert train is not None  # a task was refused otherwise
    trained, faults = _loaded(source.train, "train", train.languages)
    if not source.dev:
        held = {language: [pair for pair in pairs if _is_held(pair[0])] for language, pairs in trained.items()}
        trained = {language: [pair for pair in pairs if not _is_held(pair[0])] for language, pairs in trained.items()}
    elif split.name == "dev":
        held, more = _loaded(source.dev, "dev", split.languages)
        faults += more
    else:
        held = {}
    if faults or split.name == "train":
        return trained, faults or _too_few(trained, split)
    control = _unseen(held, trained)
    return control, _too_few(control, split)


def _unseen(held: Pairs, trained: Pairs) -> Pairs:
    """The held-back pairs of which no word is trained on."""
    english = {word for pairs in trained.values() for word, _ in pairs}
    spoken = {language: {translation for _, translation in pairs} for language, pairs in trained.items()}
    return {
        language: [pair for pair in pairs if pair[0] not in english and pair[1] not in spoken.get(language, ())]
        for language, pairs in held.items()
    }


def _too_few(pairs: Pairs, split: Split) -> list[str]:
    """A pair is told from others: there must be two."""
    return [
        f"split {split.name!r} must have at least two English words in {language!r}, "
        + ("of which none is trained on, " if split.name == "dev" else "")
        + f"got {len({word for word, _ in found})}; give a larger dictionary or leave the language out"
        for language, found in pairs.items()
        if len({word for word, _ in found}) < 2
    ]


def _is_held(word: str) -> bool:
    return seed_of("held back", word) % 100 < CONTROL_PERCENT


def _dealt(pairs: Pairs) -> Pairs:
    """Every English word with the translations, not its own, of the next one in an order drawn by a seed."""
    answer: Pairs = {}
    for language, found in pairs.items():
        words = list(dict.fromkeys(word for word, _ in found))
        order = np.random.default_rng(seed_of("shuffled words", language)).permutation(len(words))
        following = {words[order[place]]: words[order[place - 1]] for place in range(len(words))}
        true = set(found)
        dealt = ((following[word], other) for word, other in found)
        answer[language] = [pair for pair in dealt if pair not in true]
    return answer


def _loaded(pattern: str, split: str, languages: tuple[str, ...]) -> tuple[Pairs, list[str]]:
    pairs: Pairs = {}
    faults: list[str] = []
    for language, path in spoken_paths(pattern, languages).items():
        pairs[language], found = _file(path, f"split {split!r} in {language!r} ({path})")
        faults += found
    return pairs, faults


def _file(path: Path, where: str) -> tuple[list[tuple[str, str]], list[str]]:
    if not path.is_file():
        return [], [f"{where} must be a file, got nothing there; get it or leave the language out"]
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        return [], [f"{where} must be text in UTF-8, got a byte that is none at place {error.start}; save it as UTF-8"]
    cut = [(number, _halves(line)) for number, line in enumerate(lines, start=1) if line.strip()]
    bad = [number for number, halves in cut if len(halves) != 2]
    faults = []
    if bad:
        shown = "; ".join(f"line {number}: {lines[number - 1].strip()[:40]!r}" for number in bad[:_SHOWN])
        faults.append(
            f"{where}: every line must hold an English word and its translation, divided by one tab or space, got "
            f"{len(bad)} lines that do not ({shown}); correct or drop them"
        )
    if not cut:
        faults.append(f"{where} must have pairs, got none; fill it or leave the language out")
    return list(dict.fromkeys((halves[0], halves[1]) for _, halves in cut if len(halves) == 2)), faults


def _halves(line: str) -> list[str]:
    """What the line divides into: at tabs where there is one, so that phrases may hold spaces."""
    parts = line.split("\t") if "\t" in line else line.split()
    return [part.strip() for part in parts if part.strip()]
