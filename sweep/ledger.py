"""The ledger: one small Parquet fragment per happening of a trial, many folded into one; decides nothing."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from sweep.meter import seconds_run
from sweep.records import Happening, Phase, TrialKey, What
from trainables.faults import Invalid
from trainables.whole_files import put_whole

_log = logging.getLogger(__name__)

T = TypeVar("T")

SCHEMA_VERSION = 3

SCHEMA = pa.schema(
    [
        pa.field("sweep", pa.string(), nullable=False),
        pa.field("cell", pa.string(), nullable=False),
        pa.field("phase", pa.string(), nullable=False),
        pa.field("number", pa.int32(), nullable=False),
        pa.field("what", pa.string(), nullable=False),
        pa.field("sequence", pa.int32(), nullable=False),
        pa.field(
            "payload", pa.string(), nullable=False, metadata={"meaning": "JSON, by kind: sweep.records.Happening"}
        ),
        pa.field("generation", pa.int32(), nullable=False, metadata={"meaning": "how often the trial was begun anew"}),
    ],
    metadata={"schema_version": str(SCHEMA_VERSION)},
)

#: Loose fragments that are folded into one file: reading one costs a third of a millisecond, wherever it lies, and
#: each takes at least a block of the disk.
FOLD_AT = 1024

#: A folded file is written once and read often, so it may take a tenth of a second to pack. Twice the time saves 1%.
_LEVEL = 15


class Ledger:
    """What happened to the trials of one sweep, under `<root>/sweeps/<name>/ledger`.

    A happening is a fragment of its own when it is recorded. Many fragments are folded into one file of `folded/`, and
    deleted after that; a happening found twice counts once. A file is written under another name, brought to the disk
    and moved into place, or put whole on an object store: a reader never sees half of one.

    One process at a time may write; any may read.
    """

    def __init__(self, filesystem: pafs.FileSystem, root: str, sweep: str) -> None:
        self.filesystem = filesystem
        self.sweep = sweep
        self.directory = f"{root.rstrip('/')}/sweeps/{sweep}/ledger"
        self._writes = False
        self._loose: dict[str, Happening] = {}
        """By name, what this process knows to be a fragment of its own."""
        self._known: set[str] = set()
        """Names of all that this process has read or written."""
        self.torn: list[str] = []
        """Paths of files that could not be read, by this object."""

    def open(self) -> Ledger:
        """Become the one that writes: make the folder where there is none, and set what is torn aside when reading."""
        self.filesystem.create_dir(f"{self.directory}/folded", recursive=True)
        self._writes = True
        return self

    def record(self, happening: Happening) -> None:
        """Write one fragment, unless it is there already."""
        path = self._path(happening.name)
        if happening.name in self._known or self.filesystem.get_file_info(path).type != pafs.FileType.NotFound:
            return
        put_whole(self.filesystem, path, _file([happening], self.sweep, compression="none"))
        self._loose[happening.name] = happening
        self._known.add(happening.name)
        if len(self._loose) >= FOLD_AT:
            self.fold()

    def fold(self) -> None:
        """Put all loose fragments into one file. The file is whole before the first of them is deleted."""
        if not self._loose:
            return
        numbers = [int(_base(path).partition(".")[0]) for path in self._folded()]
        path = f"{self.directory}/folded/{max(numbers, default=0) + 1:06d}.parquet"
        data = _file([self._loose[name] for name in sorted(self._loose)], self.sweep, compression="zstd")
        put_whole(self.filesystem, path, data)
        self._drop(self._loose)
        self._loose = {}

    def happenings(self) -> list[Happening]:
        """All that has been recorded, sorted by name; a sweep that never ran has none.

        Raises:
            Invalid: where a later version of this package has written it.
        """
        # Fragments come first: one that is folded in between is found again in its folded file, never the other way.
        read = self._happenings_in
        loose = {one.name: one for path in self._files(self.directory) for one in self._readable(path, read) or ()}
        folded = {one.name: one for path in self._folded() for one in self._readable(path, read) or ()}
        if self._writes:
            self._drop(set(loose) & set(folded))
            self._loose = {name: entry for name, entry in loose.items() if name not in folded}
            self._known = loose.keys() | folded.keys()
        found = loose | folded
        return [found[name] for name in sorted(found)]

    def seconds_run(self) -> float:
        """Seconds that the sweep has run, as was kept beside the ledger while it did: entries can be hours apart."""
        return seconds_run(self.filesystem, self.directory.rpartition("/")[0])

    def table(self) -> pa.Table:
        """All that has been recorded as it lies there, in no order: for looking at very many trials at once.

        What is folded meanwhile may be there twice.

        Raises:
            Invalid: as `happenings`.
        """
        loose = [self._readable(path, self._rows) for path in self._files(self.directory)]
        folded = [self._readable(path, self._rows) for path in self._folded()]
        tables = [rows for rows in (*loose, *folded) if rows is not None]
        return pa.concat_tables(tables, promote_options="default") if tables else SCHEMA.empty_table()

    def _path(self, name: str) -> str:
        return f"{self.directory}/{name}.parquet"

    def _folded(self) -> list[str]:
        return self._files(f"{self.directory}/folded")

    def _files(self, folder: str) -> list[str]:
        info = self.filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
        return sorted(entry.path for entry in info if entry.path.endswith(".parquet"))

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                self.filesystem.delete_file(self._path(name))
            except FileNotFoundError:
                continue  # an earlier fold came this far

    def _readable(self, path: str, read: Callable[[str], T]) -> T | None:
        """What a file says. One that a power cut left torn says nothing; the writer sets it aside, to be done again."""
        try:
            return read(path)
        except FileNotFoundError:
            return None  # folded since the folder was listed
        except (pa.ArrowInvalid, OSError, ValueError, KeyError) as error:
            if isinstance(error, Invalid) or getattr(error, "errno", None) is not None:
                raise  # not torn: of a later version, or a disk that cannot be read now
            _log.warning("the ledger's file %s cannot be read (%s); its work will be done again", path, error)
            self.torn.append(path)
            if self._writes:
                self.filesystem.move(path, f"{path}.damaged")
            return None

    def _rows(self, path: str) -> pa.Table:
        with self.filesystem.open_input_file(path) as file:
            parquet = pq.ParquetFile(file)
            version = int((parquet.schema_arrow.metadata or {}).get(b"schema_version", b"1"))
            if version > SCHEMA_VERSION:
                fault = f"its files must be of version {SCHEMA_VERSION} at most, got {version} in {path}"
                raise Invalid(f"the ledger of sweep {self.sweep!r}", [f"{fault}; use the newer transfer-sweep"])
            return parquet.read()

    def _happenings_in(self, path: str) -> list[Happening]:
        return [
            Happening(
                trial=TrialKey(cell=row["cell"], phase=Phase(row["phase"]), number=row["number"]),
                what=What(row["what"]),
                sequence=row["sequence"],
                generation=row.get("generation", 0),
                payload=json.loads(row["payload"]),
            )
            for row in self._rows(path).to_pylist()
        ]


def best_runs(table: pa.Table) -> dict[str, dict[str, float]]:
    """By cell, the scores per language of its confirmation run with the best score, from what `Ledger.table` gives.

    Where no run has a development score, as of retrieval, it is the first run.
    """
    ended = table.filter(
        pc.and_(pc.equal(table["what"], What.FINISHED.value), pc.equal(table["phase"], Phase.CONFIRMATION.value))
    )
    columns = (ended[name].to_pylist() for name in ("cell", "number", "generation", "payload"))
    latest: dict[tuple[str, int], tuple[int, str]] = {}
    for cell, number, generation, payload in zip(*columns, strict=True):
        latest[cell, number] = max(latest.get((cell, number), (-1, "")), (generation or 0, payload))
    best: dict[str, dict[str, Any]] = {}
    for (cell, _), (_, payload) in sorted(latest.items()):
        said = json.loads(payload)
        if "accuracy" in said and (cell not in best or _score(said) > _score(best[cell])):
            best[cell] = said
    return {cell: said["accuracy"] for cell, said in best.items()}


def _score(said: Mapping[str, Any]) -> float:
    return -math.inf if said["score"] is None else said["score"]


def _file(happenings: Sequence[Happening], sweep: str, *, compression: str) -> pa.Buffer:
    rows = [
        {
            "sweep": sweep,
            "cell": entry.trial.cell,
            "phase": str(entry.trial.phase),
            "number": entry.trial.number,
            "what": str(entry.what),
            "sequence": entry.sequence,
            "payload": entry.payload_json(),
            "generation": entry.generation,
        }
        for entry in happenings
    ]
    sink = pa.BufferOutputStream()
    level = _LEVEL if compression == "zstd" else None
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    repeated = ["sweep", "cell", "phase", "what"]  # a payload is never twice the same
    pq.write_table(table, sink, compression=compression, compression_level=level, use_dictionary=repeated)
    return sink.getvalue()


def _base(path: str) -> str:
    return path.rpartition("/")[2]
