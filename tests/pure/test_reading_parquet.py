import io
import os
import struct
from pathlib import Path
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainables.catalogue import lab
from trainables.catalogue.task import NLI_LABELS, Kind, LabSource, ParquetSource, Split, Task
from trainables.data import reading
from trainables.data.fingerprint import resolve
from trainables.data.images import content_hash
from trainables.data.reading import image_bytes, inspect_parquet, read
from trainables.data.schema import IMAGE_TEXT, PAIR
from trainables.faults import Invalid

REAL = Path(__file__).parents[2].parent / "shared" / "real" / "emoji-vnli"
LANGUAGES = {"train": ("en",), "dev": ("en",), "test": ("en", "de")}


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def columns(split: str, rows: int = 4) -> dict:
    start = 100 * list(LANGUAGES).index(split)
    languages = [language for language in LANGUAGES[split] for _ in range(rows)]
    numbers = [start + number for _ in LANGUAGES[split] for number in range(rows)]
    return {
        "image": [{"bytes": png(number), "path": None} for number in numbers],
        "hypothesis": [f"claim {number}" for number in numbers],
        "label": [number % 3 for number in numbers],
        "language": languages,
        "id": [f"{split}-{number}" for number in numbers],
    }


@pytest.fixture
def task(tmp_path) -> Task:
    for split in LANGUAGES:
        pq.write_table(pa.table(columns(split)), tmp_path / f"{split}.parquet")
    return Task(
        name="mine",
        kind=Kind.IMAGE_TEXT,
        labels=NLI_LABELS,
        splits=tuple(Split(name=name, languages=languages) for name, languages in LANGUAGES.items()),
        source=ParquetSource(**{split: str(tmp_path / f"{split}.parquet") for split in LANGUAGES}),
        licence="mine",
    )


def rewrite(task: Task, split: str, **changed) -> None:
    kept = {name: values for name, values in (columns(split) | changed).items() if values is not None}
    pq.write_table(pa.table(kept), task.source.path(split))


def test_good_files_have_no_fault_and_are_read_in_the_schema(task):
    assert inspect_parquet(task) == []
    table = read(task, "test", None, None)
    assert table.schema == IMAGE_TEXT and table.num_rows == 8
    assert read(task, "test", ("de",), None)["language"].to_pylist() == ["de"] * 4
    assert read(task, "test", ("fr",), None).num_rows == 0


def test_binary_images_and_label_names_are_read_alike(task):
    before = read(task, "train", None, None)
    made = columns("train")
    rewrite(
        task,
        "train",
        image=[image["bytes"] for image in made["image"]],
        label=[NLI_LABELS[label] for label in made["label"]],
    )
    assert inspect_parquet(task) == []
    assert read(task, "train", None, None).equals(before)


def test_all_faults_are_told_at_once(task):
    rewrite(task, "train", hypothesis=None, hypotesis=["x"] * 4)
    rewrite(task, "dev", label=[0, 7, 1, -1])
    rewrite(task, "test", language=["en"] * 4 + ["deu"] * 4)
    faults = inspect_parquet(task)
    assert len(faults) == 3
    assert "must have a column 'hypothesis', got none; did you mean 'hypotesis'?" in faults[0]
    assert "got -1, 7 in 2 rows (first row 1, id 'dev-101')" in faults[1]
    assert "must have rows in 'de', got none; did you mean 'deu'?" in faults[2]


@pytest.mark.parametrize(
    ("split", "changed", "words"),
    [
        ("dev", {"label": ["entailment", "yes", "no", "neutral"]}, "got 'no', 'yes' in 2 rows"),
        ("dev", {"label": [0.0, 1.0, 2.0, 0.0]}, "column 'label' must hold int64 or strings, got double"),
        ("dev", {"id": [1, 2, 3, 4]}, "column 'id' must hold strings, got int64"),
        ("dev", {"image": ["a", "b", "c", "d"]}, "must be binary or struct<bytes: binary, path: string>, got string"),
        ("dev", {"image": [{"bytes": [1, 2]}] * 4}, "got struct<bytes: list<element: int64>>; store the bytes"),
        (
            "dev",
            {"image": [{"bytes": png(number) if number else None, "path": "x.png"} for number in (0, 1, 2, 3)]},
            "must hold the bytes of every image, got 1 rows without (id dev-100)",
        ),
        ("dev", {"hypothesis": ["a", None, "c", "d"]}, "column 'hypothesis' must have no empty value, got 1"),
        ("dev", {"id": ["a", "a", "b", "c"]}, "ids must differ within 'en', got 1 repeated"),
        ("dev", {"id": ["train-0", "b", "c", "d"]}, "must share no id, got 1 in both (train-0)"),
        (
            "dev",
            {"image": [{"bytes": png(number), "path": None} for number in (0, 101, 102, 103)]},
            "must share no image, got 1 in both (id 'train-0' and id 'dev-100')",
        ),
        (
            "test",
            {"id": [f"t{number}" for number in (0, 1, 2, 3, 0, 1, 2, 9)]},
            "the ids of 'de' must be those of 'en', got 2 in only one of them (t3, t9)",
        ),
    ],
)
def test_each_fault_says_what_must_hold_and_what_arrived(task, split, changed, words):
    rewrite(task, split, **changed)
    faults = inspect_parquet(task)
    assert len(faults) == 1 and words in faults[0]


def test_images_are_compared_across_languages_only_where_a_split_has_several(task, monkeypatch):
    hashed = []
    monkeypatch.setattr(reading, "content_hash", lambda data: hashed.append(data) or content_hash(data))
    assert inspect_parquet(task) == []
    assert len(hashed) == 4 + 4 + 8 + 8  # across the splits, and once more those of test across its two languages


def test_a_file_that_is_absent_empty_or_no_parquet_is_told(task):
    Path(task.source.train).rename(Path(task.source.train).with_name("trian.parquet"))
    Path(task.source.dev).write_text("no table")
    pq.write_table(pa.table(columns("test")).slice(0, 0), task.source.test)
    faults = inspect_parquet(task)
    assert "must be a file, got nothing there; did you mean 'trian.parquet'?" in faults[0]
    assert "must be a Parquet file, got one that cannot be read" in faults[1]
    assert "must have rows, got none" in faults[2]


def test_a_corrupt_image_is_refused_when_it_is_read(task):
    made = columns("dev")
    made["image"][2]["bytes"] = made["image"][2]["bytes"][:40]
    rewrite(task, "dev", image=made["image"])
    with pytest.raises(Invalid, match="split 'dev', id 'dev-102'") as refused:
        read(task, "dev", None, None)
    assert task.source.dev in str(refused.value)


def test_an_image_whose_header_claims_a_huge_size_is_refused_by_name(task):
    made = columns("dev")
    data = made["image"][2]["bytes"]
    size = struct.pack(">II", 60_000, 60_000) + data[24:29]
    made["image"][2]["bytes"] = data[:16] + size + struct.pack(">I", crc32(b"IHDR" + size)) + data[33:]
    rewrite(task, "dev", image=made["image"])
    with pytest.raises(Invalid, match=r"more than .* pixels.* split 'dev', id 'dev-102'"):
        read(task, "dev", None, None)


def test_files_that_changed_since_they_were_planned_are_refused(task):
    planned = resolve(task)
    assert read(planned, "dev", None, None).num_rows == 4
    rewrite(task, "dev", hypothesis=["other"] * 4)
    with pytest.raises(Invalid, match="must be those that were planned"):
        read(planned, "dev", None, None)


def test_generated_rows_are_kept_and_mapped(tmp_path):
    task = Task(
        name="nli",
        kind=Kind.PAIR,
        labels=NLI_LABELS,
        splits=(Split(name="train", languages=("en", "de"), rows=6),),
        source=LabSource(generator="nli"),
        licence="generated",
    )
    first = read(task, "train", None, tmp_path)
    assert first.schema == PAIR and first.num_rows == 12
    (kept,) = tmp_path.iterdir()
    before = kept.stat().st_mtime_ns
    assert read(task, "train", None, tmp_path).equals(first)
    assert kept.stat().st_mtime_ns == before
    assert read(task, "train", None, None).equals(first)


@pytest.mark.parametrize("left", [b"", b"ARROW1", None])
def test_a_kept_file_that_a_power_cut_left_torn_is_made_anew_and_is_on_the_disk_before_it_has_its_name(
    tmp_path, left, monkeypatch, caplog
):
    task = lab.visual_nli(train=20)
    first = read(task, "train", None, tmp_path)
    (kept,) = tmp_path.iterdir()
    torn = kept.read_bytes()[:-9] if left is None else left
    kept.unlink()  # what is mapped keeps its content
    kept.write_bytes(torn)
    settled = []
    monkeypatch.setattr(os, "fsync", lambda handle: settled.append((os.fstat(handle).st_ino, kept.stat().st_ino)))
    assert read(task, "train", None, tmp_path).equals(first)
    ((written, before),) = settled
    assert written == kept.stat().st_ino != before
    assert f"{kept} is damaged" in caplog.text
    assert read(task, "train", None, tmp_path).equals(first) and len(settled) == 1


def test_a_split_that_is_not_there_is_refused(task):
    with pytest.raises(Invalid, match=r"split 'tset' must exist, did you mean 'test'\?"):
        read(task, "tset", None, None)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real samples (shared/real/emoji-vnli) are not on this machine")
def test_a_real_data_set_of_fifteen_languages_is_read():
    languages = ("en", "de", "fr", "es", "ru", "bg", "el", "ar", "ur", "hi", "tr", "sw", "th", "vi", "zh")
    real = Task(
        name="emoji-vnli",
        kind=Kind.IMAGE_TEXT,
        labels=NLI_LABELS,
        splits=(
            Split(name="train", languages=("en",)),
            Split(name="dev", languages=("en",)),
            Split(name="test", languages=languages),
        ),
        source=ParquetSource(**{split: str(REAL / f"{split}.parquet") for split in ("train", "dev", "test")}),
        licence="Unicode License v3, Apache-2.0",
    )
    assert inspect_parquet(real) == []
    table = read(real, "test", ("sw",), None)
    assert table.num_rows == 300 and len(image_bytes(table["image"])) == 300
