"""SHA-256 fingerprints of the files behind a task or an encoder; reads bytes, never what they mean."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from trainables.catalogue.encoder import Encoder, HubEncoder, LocalEncoder, Tower
from trainables.catalogue.files import LANGUAGE, SentenceFiles, TextFiles, VisualFiles, WordFiles, XvnliSource
from trainables.catalogue.task import ORACLE_DEV, ORACLE_HALF, LabSource, ParquetSource, PublishedSource, Task
from trainables.data.hub import MODEL_FILES, model_folder
from trainables.data.model_files import missing
from trainables.faults import nearest, refuse

_taken: dict[tuple[str, int, int], str] = {}

_SPOKEN = {".parquet": "Parquet", ".tsv": "TSV", ".csv": "CSV", ".jsonl": "JSONL", ".txt": "TXT"}


def file_fingerprint(path: Path) -> str:
    """SHA-256 of one file, kept for the process as long as its size and time of change (in ns) stay."""
    status = path.stat()
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
    if key not in _taken:
        with path.open("rb") as file:
            _taken[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _taken[key]


def _fingerprint(files: Iterable[tuple[str, Path]], beside: str = "") -> str:
    whole = hashlib.sha256(beside.encode())
    for name, path in sorted(files):
        whole.update(f"{name}\0{file_fingerprint(path)}\n".encode())
    return whole.hexdigest()[:32]


def resolve(task: Task) -> Task:
    """The task with the fingerprint of each of its files taken now; a lab task comes back as it is.

    So does a published task whose files are not here (`places.absence` says how to get them); the task that a target
    is learned from is resolved with it.

    Raises:
        Invalid: naming every missing file, with the nearest name beside it.
    """
    source = task.source
    if task.learned_from is not None:
        task = replace(task, learned_from=resolve(task.learned_from))
    if isinstance(source, PublishedSource):
        from trainables.data.places import located  # only published tasks need it

        return located(task)
    if isinstance(source, XvnliSource):
        return replace(task, source=_resolved_visual(task, source))
    if isinstance(source, WordFiles | SentenceFiles):
        return replace(task, source=replace(source, fingerprint=_spoken_fingerprint(task, source)))
    if not isinstance(source, ParquetSource | TextFiles):
        return task
    held = [split.name for split in task.splits if split.name != ORACLE_HALF]
    files = [(split, Path(source.path("dev" if split == ORACLE_DEV else split))) for split in held]
    refuse(f"task {task.name!r}", (_missing(split, path) for split, path in files if not path.is_file()))
    taken = " ".join(f"{split}:{_fingerprint([(split, path)])}" for split, path in sorted(files))
    return replace(task, source=replace(source, fingerprint=taken))


def spoken_paths(pattern: str, languages: Iterable[str]) -> dict[str, Path]:
    """By language, the file that a path with `{language}` in it names."""
    return {code: Path(pattern.replace(LANGUAGE, code)).expanduser() for code in languages}


def _spoken_fingerprint(task: Task, source: WordFiles | SentenceFiles) -> str:
    """`split:hash` of the files of each split, one per language."""
    found = {split.name: spoken_paths(source.path(split.name), split.languages) for split in task.splits}
    missing = [
        f"{_missing(split, path)}; get it or leave {code!r} out"
        for split, paths in found.items()
        for code, path in paths.items()
        if not path.is_file()
    ]
    refuse(f"task {task.name!r}", missing)
    return " ".join(f"{split}:{_fingerprint(paths.items())}" for split, paths in sorted(found.items()))


def missing_visual(task: Task) -> list[str]:
    """What of XVNLI's files is not here, with the way to get it: a clause for each split and each folder of images."""
    source = task.source
    assert isinstance(source, XvnliSource)
    splits = [split for split in task.splits if split.name != ORACLE_HALF]
    ways: dict[str, list[str]] = {}
    for split in splits:
        files = source.files(split.name)
        absent = [language for language, paths in visual_paths(files, split.languages).items() if not paths]
        if absent:
            told = f"{split.name!r} in {' '.join(absent)} ({files.path})"
            ways.setdefault(files.format.way, []).append(told)
    missing = [f"the files of {', '.join(told)} must exist, got none; {way}" for way, told in ways.items()]
    folders = dict.fromkeys(source.files(split.name).images for split in splits)
    missing += [
        f"the images must lie in a folder, got {folder!r}, which is none; Flickr30k's owners give its JPEG files to "
        "researchers on request, or give no folder for a text proxy"
        for folder in folders
        if folder and not Path(folder).is_dir()
    ]
    return missing


def _resolved_visual(task: Task, source: XvnliSource) -> XvnliSource:
    refuse(f"task {task.name!r}", missing_visual(task))
    taken: dict[str, VisualFiles] = {}
    for split in task.splits:
        if split.name == ORACLE_HALF:
            continue
        files = source.files(split.name)
        found = visual_paths(files, split.languages)
        named = [(f"{language}/{path.name}", path) for language, paths in found.items() for path in paths]
        taken[split.name] = replace(files, fingerprint=_fingerprint(named, _listing(files.images)))
    return replace(source, **taken)


def visual_paths(files: VisualFiles, languages: Iterable[str]) -> dict[str, list[Path]]:
    """By language, the files of a split, sorted by name; an empty list where there is none."""
    found = {}
    for language in languages:
        pattern = Path(files.path.format(language=language)).expanduser()
        found[language] = sorted(path for path in pattern.parent.glob(pattern.name) if path.is_file())
    return found


def _listing(folder: str) -> str:
    """Names and sizes of the images in a folder: to hash the contents of 4 GB would take longer than a short sweep."""
    if not folder:
        return ""
    with os.scandir(folder) as entries:
        return "\n".join(sorted(f"{entry.name}\0{entry.stat().st_size}" for entry in entries if entry.is_file()))


def _missing(split: str, path: Path) -> str:
    kind = path.suffix or ".parquet"
    beside = [other.name for other in path.parent.glob(f"*{kind}")] if path.parent.is_dir() else []
    hint = nearest(path.name, beside) if beside else f"that folder holds no {_SPOKEN.get(kind, kind)} file"
    return f"the file of split {split!r} must exist, got {str(path)!r}; {hint}"


def is_pinned(task: Task) -> bool:
    """Whether the task's value says what its rows are, so that something may be kept under its name."""
    source = task.source
    if isinstance(source, LabSource):
        return True
    if isinstance(source, XvnliSource):
        return all(source.files(s.name).fingerprint for s in task.splits if s.name != ORACLE_HALF)
    return bool(source.fingerprint)


def resolve_encoder(encoder: Encoder) -> Encoder:
    """The encoder with the fingerprints of its directories taken now; a small one with patches comes back as it is.

    Covers configuration, weights and tokenizer files, not notes such as README.md. A revision of the hub becomes the
    commit that it stands for.

    Raises:
        Invalid: where a directory, its config.json, its safetensors weights, its tokenizer's vocabulary or its image
            processor are missing, or texts are longer than the encoder's positions.
    """
    text, patches = encoder.text, encoder.patches
    if isinstance(text, LocalEncoder | HubEncoder):
        text = _resolved_model(text, f"encoder {encoder.name!r}", encoder.maximum_tokens)
    if isinstance(patches, Tower):
        patches = replace(patches, model=_resolved_model(patches.model, f"the vision tower of {encoder.name!r}", 0))
    return replace(encoder, text=text, patches=patches)


def _resolved_model(model: LocalEncoder | HubEncoder, what: str, tokens: int) -> LocalEncoder | HubEncoder:
    folder = model_folder(model)
    faults = list(missing(folder, tower=not tokens))
    if isinstance(model, HubEncoder):
        again = f"hf download {model.repository} --revision {model.revision}"
        faults = [f"{fault}; or where the hub has more than this copy, `{again}` completes it" for fault in faults]
    refuse(what, faults or _length_faults(folder, tokens))
    files = [(path.name, path) for pattern in MODEL_FILES for path in folder.glob(pattern)]
    if isinstance(model, HubEncoder):
        model = replace(model, revision=folder.name)  # a snapshot's folder is named by its commit
    return replace(model, fingerprint=_fingerprint(files))


#: Kinds of encoder, beside RoBERTa's own, that count positions from after the padding's number, as RoBERTa does.
_KIN = frozenset({"camembert", "data2vec-text", "esm", "longformer", "luke", "mpnet", "xmod"})


def _length_faults(folder: Path, tokens: int) -> list[str]:
    """Whether the encoder has positions for so many tokens. RoBERTa's kin lose as many as the padding's number + 1."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        return [f"{folder}/config.json must be a JSON object, got something else; save the model again"]
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int) or not tokens:
        return []
    kind = str(config.get("model_type"))
    usable = positions - (config.get("pad_token_id", 1) + 1 if "roberta" in kind or kind in _KIN else 0)
    if tokens <= usable:
        return []
    return [f"maximum_tokens must be at most the {usable} positions of {folder}, got {tokens}"]


#: Files that decide how text becomes tokens.
_TOKENIZER_FILES = (
    *("tokenizer*", "vocab*", "merges.txt", "bpe.codes", "*.model"),
    *("special_tokens_map.json", "added_tokens.json"),
)


def tokenizer_fingerprint(folder: Path) -> str:
    """Of the tokenizer in a model's directory alone: encoders that differ in weights share what was tokenised."""
    files = {path.name: path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern) if path.is_file()}
    return _fingerprint(files.items())
