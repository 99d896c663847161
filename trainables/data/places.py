"""Where published data sets lie on this machine, and how to get those that do not; reads none of their rows.

Each part of a data set is looked for in the mirror folder (`--data DIR`, or the variable SWEEP_DATA), then, if it is of
the Hugging Face hub, in the hub's cache, and is downloaded only if its source says so. In the mirror each
repository has a folder of its own name, with the files as their publisher names them:
DIR/nyu-mll/glue/mnli/train-00000-of-00001.parquet.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from trainables.catalogue.task import ORACLE_DEV, ORACLE_HALF, Layout, Part, PublishedSource, Shaping, Split, Task
from trainables.data.fetching import NotFetched, NotOnHub, copy_of, fetched
from trainables.faults import Invalid, refuse

#: The environment variable that names the mirror folder; `--data` sets it.
MIRROR = "SWEEP_DATA"

#: Files of a part in its repository's folder: the first alternative whose every pattern matches counts.
_FILES: dict[Layout, tuple[tuple[str, ...], ...]] = {
    Layout.HUB: (
        ("{config}/{origin}-*.parquet",),
        ("{config}/{origin}/*.parquet",),  # the hub's converted branch
        ("{config}/{origin}.parquet",),
    ),
    Layout.COSMOS_QA: (("{config}/{origin}.csv",),),
    Layout.XQUAD: (("xquad.{config}.json",),),
    Layout.LASER: (
        ("data/tatoeba/v1/tatoeba.{config}-eng.{config}", "data/tatoeba/v1/tatoeba.{config}-eng.eng"),
        ("tatoeba.{config}-eng.{config}", "tatoeba.{config}-eng.eng"),
    ),
    Layout.BUCC: (
        (
            "{config}-en/{config}-en.{origin}.{config}",
            "{config}-en/{config}-en.{origin}.en",
            "{config}-en/{config}-en.{origin}.gold",
        ),
    ),
    Layout.CCGBANK: (("data/{config}/{origin}/*.auto",), ("ccgbank_1_1/data/{config}/{origin}/*.auto",)),
}

#: A config called default has its files in `data`.
_DEFAULT_CONFIG = (("data/{origin}-*.parquet",), ("data/{origin}.parquet",))

_WAYS = {
    Layout.HUB: "hf download {repository} --repo-type dataset{revision} {include} --local-dir DIR/{repository}",
    Layout.BUCC: "unpack the sample and training archives of the BUCC 2018 shared task "
    "(comparable.limsi.fr/bucc2018) so that DIR/{repository}/{config}-en/{config}-en.{origin}.{config} exists",
    Layout.CCGBANK: "license CCGbank ({repository}) from the Linguistic Data Consortium and copy it so that "
    "DIR/{repository}/data/{config}/{origin} holds its .auto files",
}
#: Beginning of the repositories of translations: the rest is the language and the repository that was translated.
TRANSLATED = "translated/"

_CLONE = "git clone https://github.com/{repository} DIR/{repository}"


def files_of(part: Part, folder: Path) -> tuple[Path, ...]:
    """The files of a part in its repository's folder, in the order in which they are read; empty where they are not."""
    named = {"config": part.config, "origin": part.origin}
    default = _DEFAULT_CONFIG if part.layout is Layout.HUB and part.config == "default" else ()
    for alternative in (*default, *_FILES[part.layout]):
        found = [sorted(folder.glob(pattern.format(**named))) for pattern in alternative]
        if all(found):
            return tuple(path for paths in found for path in paths)
    return ()


def id_beginning(source: PublishedSource, part: Part) -> str:
    """What the ids of a part's rows begin with, where its file holds other languages too; empty where it does not.

    A translation keeps the ids of the English rows that it was made from.
    """
    language = "en" if part.repository.startswith(TRANSLATED) else part.language
    named = dict(source.fields).get(f"language.{language}", "")
    return f"{named}-" if named and part.repository.endswith("tydiqa") else ""


Chosen = dict[tuple[str, str], tuple[tuple[Part, tuple[Path, ...]], ...]]
"""(split, language) → the parts that are read for it, each with its files."""


def chosen(source: PublishedSource) -> Chosen:
    """What the source's folders hold: its parts, or where one of a split and language is absent those `instead`."""

    def found(parts: Iterable[Part]) -> tuple[tuple[Part, tuple[Path, ...]], ...]:
        pairs = [(part, _first(part, folders_of(source, part.repository))) for part in parts]
        return tuple(pair for pair in pairs if pair[1])

    answer: Chosen = {}
    for key in dict.fromkeys((part.split, part.language) for part in source.parts):
        for parts in (source.parts, source.instead):
            mine = [part for part in parts if (part.split, part.language) == key]
            here = found(mine)
            if mine and len(here) == len(mine):
                answer[key] = here
                break
    return answer


def folders_of(source: PublishedSource, repository: str) -> tuple[Path, ...]:
    """The folders of a repository that were found: the first that has a part is the one that it is read from."""
    return tuple(Path(folder) for name, folder in source.folders if name == repository)


def _first(part: Part, folders: Iterable[Path]) -> tuple[Path, ...]:
    """The files of a part in the first of the folders that has all of it, or some; empty where none has."""
    found = [files for folder in folders if (files := files_of(part, folder))]
    return next((files for files in found if not file_counts(files)), found[0] if found else ())


#: The end of the name of one of several files of a split: its number, counted from 0, and how many there are.
_NUMBERED = re.compile(r"-(\d{5})-of-(\d{5})$")


def file_counts(files: Collection[Path]) -> list[int]:
    """How many files there should be of a split, by their names, where not all of them are here; else empty."""
    numbered = [int(found[2]) for path in files if (found := _NUMBERED.search(path.stem))]
    counts = sorted(set(numbered))
    return [] if not numbered or counts == [len(files)] else counts


def located(task: Task) -> Task:
    """The task with the folders of its published files and their fingerprint; as it is where none is here.

    Supertags take their labels from the training sections that were found.

    Raises:
        Invalid: where the source allows a download that fails, as of a revision that does not exist or lacks the files,
            or where the files that labels are taken from cannot be read.
    """
    source = task.source
    assert isinstance(source, PublishedSource)
    repositories = dict.fromkeys(part.repository for part in (*source.parts, *source.instead))
    folders = [(name, str(folder)) for name in repositories for folder in _folders(source, name)]
    source = replace(source, folders=tuple(folders), fingerprint="")
    if source.download:
        folders += _downloaded(task, source)
        source = replace(source, folders=tuple(dict.fromkeys(folders)))
    files = chosen(source)
    if not files:
        return replace(task, source=replace(source, folders=()))
    if source.shaping is Shaping.SUPERTAGS:
        from trainables.data.ccgbank import frequent_tags

        train = [
            path for (split, _), parts in files.items() if split == "train" for _, found in parts for path in found
        ]
        try:
            task = replace(task, labels=frequent_tags(train))
        except Invalid as error:
            raise Invalid(f"task {task.name!r}", [f"{error.what}: {fault}" for fault in error.faults]) from error
    return replace(task, source=replace(source, fingerprint=fingerprint(source)))


def fingerprint(source: PublishedSource) -> str:
    """SHA-256 over the files that are read and what each is read as; 32 hexadecimal digits.

    Of those that an oracle alone is shown `oracle_dev:` and as many, so that what never reads them is named as without.
    """
    from trainables.data.fingerprint import file_fingerprint

    whole, shown = hashlib.sha256(), hashlib.sha256()
    here = sorted(chosen(source).items())
    for (split, language), parts in here:
        for part, files in parts:
            for path in files:
                name = f"{split}\0{language}\0{part.repository}\0{part.config}\0{part.origin}\0{path.name}"
                into = shown if split == ORACLE_DEV else whole
                into.update(f"{name}\0{file_fingerprint(path)}\n".encode())
    taken = whole.hexdigest()[:32]
    return f"{taken} {ORACLE_DEV}:{shown.hexdigest()[:32]}" if any(of == ORACLE_DEV for (of, _), _ in here) else taken


def _folders(source: PublishedSource, repository: str) -> list[Path]:
    """Where parts of a repository lie on this machine: in the mirror, and what that lacks in the hub's cache."""
    parts = [part for part in (*source.parts, *source.instead) if part.repository == repository]
    found: list[Path] = []
    mirror = os.environ.get(MIRROR, "")
    if mirror:
        folder = Path(mirror).expanduser().resolve() / repository
        if any(files_of(part, folder) for part in parts):
            found.append(folder)
    lacking = [part for part in parts if not _whole(part, found)]
    if not _is_of_hub(parts[0]) or not lacking:
        return found
    cached = _snapshot(repository, dict(source.revisions).get(repository))
    if cached is not None and any(files_of(part, cached) for part in lacking):
        found.append(cached)
    return found


def _whole(part: Part, folders: Iterable[Path]) -> bool:
    files = _first(part, folders)
    return bool(files) and not file_counts(files)


def _is_of_hub(part: Part) -> bool:
    return part.layout is Layout.HUB and not part.repository.startswith(TRANSLATED)


def _other_commits(source: PublishedSource, repositories: Iterable[str]) -> Iterator[str]:
    """Which commits the hub's cache has of these repositories, where it has not the one that is read."""
    try:
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name
    except ImportError:
        return
    for repository in repositories:
        parts = [part for part in source.parts if part.repository == repository]
        if not _is_of_hub(parts[0]):
            continue
        kept = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="dataset")
        pinned = dict(source.revisions).get(repository, "main")
        named = kept / "refs" / pinned  # a branch or a tag is read at the commit that is noted there
        read = named.read_text().strip() if named.is_file() else pinned
        here = (folder for folder in kept.glob("snapshots/*") if any(files_of(part, folder) for part in parts))
        if commits := sorted(folder.name for folder in here if folder.name != read):
            yield (
                f"the hub's cache has {repository} at {', '.join(commits)}, and {pinned} is read: fetch that, or state "
                "another in `revisions` of the task's source"
            )


def _snapshot(repository: str, revision: str | None) -> Path | None:
    """The folder that the hub's cache has of a repository at a revision, whatever it lacks."""
    return copy_of(repository, revision, kind="dataset")


def _downloaded(task: Task, source: PublishedSource) -> list[tuple[str, str]]:
    """(repository, folder) of what was fetched of the parts that this machine has neither whole nor another for.

    Raises:
        Invalid: naming every repository that does not give its files, with the reason.
    """
    here = {
        key
        for key, parts in chosen(source).items()
        if all(_whole(part, folders_of(source, part.repository)) for part, _ in parts)
    }
    wanted: dict[str, list[Part]] = {}
    for part in (*source.parts, *source.instead):
        if _is_of_hub(part) and (part.split, part.language) not in here:
            if not _whole(part, folders_of(source, part.repository)):
                wanted.setdefault(part.repository, []).append(part)
    known = {part.repository for part in source.parts}
    found, faults = [], []
    for repository, parts in wanted.items():
        revision = dict(source.revisions).get(repository)
        at = f"{repository} at revision {revision or 'main'!r}"
        try:
            folder = fetched(repository, revision, kind="dataset", patterns=sorted({_include(part) for part in parts}))
        except NotFetched as error:
            other = "" if isinstance(error, NotOnHub) else f"; or {way(task, known & {repository})}"
            faults.append(f"{at} must be downloadable from the hub, got {error}{other}")
            continue
        found.append((repository, str(folder)))
        faults += [f"{at} {fault}" for fault in _lacking_splits(source, repository, parts, folder)]
    refuse(f"task {task.name!r}", faults)
    return found


def _lacking_splits(source: PublishedSource, repository: str, wanted: list[Part], folder: Path) -> Iterator[str]:
    """Of which splits the revision that was fetched has no file, nor this machine another."""
    folders = (*folders_of(source, repository), folder)
    for split in dict.fromkeys(part.split for part in wanted):
        parts = [part for part in source.parts if part.split == split and part.repository == repository]
        if parts and not any(_first(part, folders) for part in parts):
            names = ", ".join(sorted({_include(part) for part in parts})[:3])
            yield (
                f"must have files of {split!r} ({names}{', …' if len(parts) > 3 else ''}), got none; state a revision "
                "that has them in `revisions` of the task's source, or try again if the hub was out of reach"
            )


def _include(part: Part) -> str:
    return f"{_inside(part)}/{part.origin}*"


def _inside(part: Part) -> str:
    """The folder of a part's files in its repository on the hub."""
    return "data" if part.config == "default" else part.config


def _all_of(parts: list[Part]) -> str:
    """Patterns for the files of all parts of a repository: as few as leave out the splits of hundreds of megabytes that
    other configurations have beside the one that is read.
    """
    origins: dict[str, set[str]] = {}
    for part in parts:
        origins.setdefault(_inside(part), set()).add(part.origin)
    if len(origins) == 1:
        patterns = [f"{folder}/*" for folder in origins]
    elif any(folder.count(".") > 1 for folder in origins):  # MLQA's 49 pairs of languages, 7 of them read
        patterns = [f"{folder}/{origin}*" for folder, names in origins.items() for origin in sorted(names)]
    else:
        families = {folder.partition(".")[0] for folder in origins if "." in folder}
        anywhere = f"{min(families)}.*" if len(families) == 1 and all("." in folder for folder in origins) else "*"
        times = Counter(origin for names in origins.values() for origin in names)
        patterns = []
        for folder, names in origins.items():
            own = sorted(origin for origin in names if times[origin] == 1)
            patterns += [f"{folder}/*"] if len(own) > 1 else [f"{folder}/{origin}*" for origin in own]
        patterns += [f"{anywhere}/{origin}*" for origin, count in sorted(times.items()) if count > 1]
    return " ".join(f"--include '{pattern}'" for pattern in patterns)


def way(task: Task, repositories: Collection[str] = ()) -> str:
    """How to get a published task's files, or those of some of its repositories, into a mirror folder."""
    source = task.source
    if not isinstance(source, PublishedSource):
        return ""
    revisions = dict(source.revisions)
    ways: dict[str, Part] = {}
    for part in source.parts:
        if not repositories or part.repository in repositories:
            ways.setdefault(part.repository, part)
    told = []
    for repository, part in ways.items():
        if repository.startswith(TRANSLATED):
            original = repository.removeprefix(TRANSLATED).partition("/")[2]
            told.append(f"translate {original} into {part.language!r} and put it, laid out alike, in DIR/{repository}")
            continue
        parts = [other for other in source.parts if other.repository == repository]
        pinned = f" --revision {revisions[repository]}" if repository in revisions else ""
        told.append(
            _WAYS.get(part.layout, _CLONE).format(
                repository=repository,
                revision=pinned,
                include=_all_of(parts),
                config=part.config,
                origin=part.origin,
            )
        )
    return "; ".join([*told, "then pass --data DIR"])


def absence(task: Task) -> str:
    """Why a published task cannot be used here and how to get it; empty where it can, or where it is no such task.

    It can where each of its splits is here in one language at least; `missing` has the others.
    """
    if not isinstance(task.source, PublishedSource):
        return ""
    try:
        task = task if task.source.folders else located(task)
    except Invalid as error:
        return "; ".join(error.faults)
    source = task.source
    assert isinstance(source, PublishedSource)
    lost = [name for name, languages in missing(task).items() if len(languages) == len(_split(task, name).languages)]
    if not lost:
        return ""
    which = "" if len(lost) == len(_read(task)) else f"{' or '.join(lost)} "
    gone = [p for p in source.parts if p.split in lost and not _first(p, folders_of(source, p.repository))]
    names = list(dict.fromkeys(part.repository for part in gone))
    lacking = "" if {part.repository for part in source.parts} == set(names) else f" (lacking: {', '.join(names)})"
    told = [f"no {which}files of {task.name} in the mirror folder or the hub's cache{lacking}"]
    return "; ".join([*told, *_other_commits(source, names), way(task, names)])


def missing(task: Task) -> dict[str, tuple[str, ...]]:
    """By split of a located published task, the languages whose files are not here, where there are any."""
    if not isinstance(task.source, PublishedSource):
        return {}
    here = chosen(task.source)
    gone = {
        split.name: tuple(language for language in split.languages if (split.name, language) not in here)
        for split in _read(task)
    }
    return {name: languages for name, languages in gone.items() if languages}


def _read(task: Task) -> tuple[Split, ...]:
    """The splits that files hold; an oracle's half is of the test's."""
    return tuple(split for split in task.splits if split.name != ORACLE_HALF)


def _split(task: Task, name: str) -> Split:
    return next(split for split in task.splits if split.name == name)
