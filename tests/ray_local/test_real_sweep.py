"""A whole sweep on gangs that really train, with a cell whose data are damaged: tiny, and with nothing but the lab."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from search_spaces import Cell
from sweep import Results, Search, Sweep, run
from sweep.cli import main
from sweep.launch import COUNTS_FILE
from sweep.records import State
from tests.benchmarks.bench_overhead import tiny_sweep
from trainables.catalogue.task import NLI_LABELS
from trainables.catalogue.xtreme_m import parquet_task

DEFINITION = "from tests.ray_local.test_real_sweep import made\nsweep = made({folder!r})\n"


def made(folder: str, gangs: int = 1) -> Sweep:
    """Three cells of two trials; the intermediate task of the third has a row that holds no image."""
    base = tiny_sweep()
    broken = Cell(name="broken", intermediates=(parquet_task("broken", folder, languages=("en",)),))
    search = Search(trials=2, fan_out=2)
    return replace(base, cells=(*base.cells, broken), search=search, gangs=replace(base.gangs, count=gangs))


def write_rows(folder: Path) -> None:
    rng = np.random.default_rng(1)
    for split in ("train", "dev", "test"):
        rows = []
        for number in range(16):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (36, 36, 3), dtype=np.uint8)).save(buffer, format="PNG")
            data = b"no image" if (split, number) == ("train", 5) else buffer.getvalue()
            said = {"hypothesis": "a red circle", "label": NLI_LABELS[number % 3], "language": "en"}
            rows.append({"image": {"bytes": data, "path": ""}, "id": f"{split}-{number}", **said})
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")


@pytest.fixture(scope="module")
def ended(cluster, tmp_path_factory) -> tuple[int, Results, Results]:
    """The exit status of the command on one gang, and the results on one gang and on two, each in its own storage."""
    folder = tmp_path_factory.mktemp("real_sweep")
    write_rows(folder)
    (folder / "mine.py").write_text(DEFINITION.format(folder=str(folder)))
    status = main(["run", str(folder / "mine.py"), "--storage", str(folder / "one")])
    two = run(made(str(folder), gangs=2), folder / "two")
    return status, Results.open(str(folder / "one"), two.name), two


def counts(results: Results) -> tuple[int, int]:
    said = json.loads((Path(results.storage) / "sweeps" / results.name / COUNTS_FILE).read_text())
    return said["gangs_started"], said["gangs_restarted"]


@pytest.mark.timeout(300)
def test_one_gang_and_two_that_train_export_the_same_bytes(ended, tmp_path):
    _, *results = ended
    one, two = (
        {Path(path).name: Path(path).read_bytes() for path in each.export(str(tmp_path / str(number)))}
        for number, each in enumerate(results)
    )
    assert one == two and "per_language.parquet" in one
    rows = results[0].per_language(cells=["nli"]).to_pylist()
    assert len(rows) > 15 and all(row["accuracy"] is not None and row["gain"] is not None for row in rows)


@pytest.mark.timeout(300)
def test_search_failures_and_confirmation_start_no_gang_that_trains_anew(ended):
    _, one, two = ended
    assert (counts(one), counts(two)) == ((1, 0), (2, 0))


@pytest.mark.timeout(300)
def test_a_damaged_image_fails_its_cell_in_one_line_that_names_it_and_the_exit_status_is_one(ended):
    status, one, _ = ended
    assert status == 1
    failed = [record for record in one.standing().records.values() if record.state is State.FAILED]
    assert [record.key.cell for record in failed] == ["broken"] * 2
    assert re.fullmatch(
        r"the images cannot be used: every image must be a whole PNG or JPEG, got one that is not \(of no format that "
        r"is known\) in \S+/train\.parquet, split 'train', id 'train-5'; replace or drop that row",
        failed[0].reason,
    )
    rows = one.per_language(cells=["broken"]).to_pylist()
    assert rows and all(row["accuracy"] is None and "train-5" in row["absent_reason"] for row in rows)
