"""The ledger: one small Parquet fragment per happening of a trial, on any filesystem; decides nothing."""

from __future__ import annotations

import json
import logging

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from sweep.records import Happening, Phase, TrialKey, What

_log = logging.getLogger(__name__)

SCHEMA_VERSION = 1

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
    ],
    metadata={"schema_version": str(SCHEMA_VERSION)},
)


class Ledger:
    """The fragments of one sweep under `<root>/sweeps/<name>/ledger`.

    A fragment is written under another name first and moved into place, or put whole on an object store: a reader
    never sees half of one. Recording the same happening twice keeps the first.
    """

    def __init__(self, filesystem: pafs.FileSystem, root: str, sweep: str) -> None:
        self.filesystem = filesystem
        self.sweep = sweep
        self.directory = f"{root.rstrip('/')}/sweeps/{sweep}/ledger"

    def open(self) -> Ledger:
        """Make the folder where there is none yet."""
        self.filesystem.create_dir(self.directory, recursive=True)
        return self

    def record(self, happening: Happening) -> None:
        """Write one fragment, unless it is there already."""
        path = f"{self.directory}/{happening.name}.parquet"
        if self.filesystem.get_file_info(path).type != pafs.FileType.NotFound:
            return
        trial = happening.trial
        row = {
            "sweep": self.sweep,
            "cell": trial.cell,
            "phase": str(trial.phase),
            "number": trial.number,
            "what": str(happening.what),
            "sequence": happening.sequence,
            "payload": happening.payload_json(),
        }
        table = pa.Table.from_pylist([row], schema=SCHEMA)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="none")
        put_whole(self.filesystem, path, sink.getvalue())

    def happenings(self) -> list[Happening]:
        """All that has been recorded, sorted by name; a sweep that never ran has none."""
        info = self.filesystem.get_file_info(pafs.FileSelector(self.directory, allow_not_found=True))
        paths = sorted(entry.path for entry in info if entry.path.endswith(".parquet"))
        return [happening for path in paths for happening in self._readable(path)]

    def _readable(self, path: str) -> list[Happening]:
        """What a fragment says. One that a power cut left torn says nothing and makes room for what is done again."""
        try:
            return self._read(path)
        except (pa.ArrowInvalid, ValueError, KeyError) as error:
            _log.warning(
                "the ledger's fragment %s cannot be read (%s); it is taken away and its work done again", path, error
            )
            self.filesystem.delete_file(path)
            return []

    def _read(self, path: str) -> list[Happening]:
        with self.filesystem.open_input_file(path) as file:
            rows = pq.ParquetFile(file).read().to_pylist()
        return [
            Happening(
                trial=TrialKey(cell=row["cell"], phase=Phase(row["phase"]), number=row["number"]),
                what=What(row["what"]),
                sequence=row["sequence"],
                payload=json.loads(row["payload"]),
            )
            for row in rows
        ]


def put_whole(filesystem: pafs.FileSystem, path: str, data: pa.Buffer | bytes) -> None:
    """Write a file that a reader sees whole or not at all: moved into place on a disk, one put on an object store."""
    local = isinstance(filesystem, pafs.LocalFileSystem)
    target = f"{path}.partial" if local else path
    with filesystem.open_output_stream(target) as stream:
        stream.write(data)
    if local:
        filesystem.move(target, path)
