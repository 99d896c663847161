"""Files in the documented Parquet format, written for tests; asserts nothing."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_visual(folder: Path, **languages: str) -> None:
    """A Parquet file per split, with a row in each of the languages stated, every one with a picture of its own."""
    for split, codes in languages.items():
        each = list(enumerate(codes.split()))
        columns = {
            "image": [f"{split}{number}".encode() for number, _ in each],
            "hypothesis": [f"{split} {number} in {code}" for number, code in each],
            "label": [number % 3 for number, _ in each],
            "language": [code for _, code in each],
            "id": [f"{split}-{number}" for number, _ in each],
        }
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
