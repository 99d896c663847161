"""What is tokenised once and mapped ever after; trains nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest

from tests.torch_cpu import tiny
from trainables.data import kept, rows, tokens
from trainables.data.sequences import Rows
from trainables.data.tokens import Ragged
from trainables.settings import Visible

TASKS = (tiny.NLI, tiny.VISUAL, tiny.SQUAD, tiny.CHOICE, tiny.PARALLEL, tiny.CAPTION)


@pytest.fixture(autouse=True)
def forget():
    rows._kept.clear()


def equal(left, right) -> bool:
    if dataclasses.is_dataclass(left) and not isinstance(left, rows.images.Arrays):
        return all(equal(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(left))
    if isinstance(left, rows.images.Arrays):
        everything = np.arange(len(left))
        return np.array_equal(left[everything], right[everything])
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    return type(left) is type(right) and left == right


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_rows_come_back_from_the_disk_as_they_were(task, tmp_path):
    made = rows.rows(task, "train", None, tiny.ENCODER)
    rows._kept.clear()
    written = rows.rows(task, "train", None, tiny.ENCODER, cache=tmp_path)
    rows._kept.clear()
    mapped = rows.rows(task, "train", None, tiny.ENCODER, cache=tmp_path)
    assert equal(made, written) and equal(made, mapped)
    assert not mapped.sequences.tokens.values.flags.writeable


def test_a_second_process_tokenises_nothing(tmp_path, monkeypatch):
    rows.rows(tiny.NLI, "train", None, tiny.ENCODER, cache=tmp_path)
    rows._kept.clear()
    monkeypatch.setattr(tokens, "tokenise", lambda *_: pytest.fail("it had been tokenised"))
    monkeypatch.setattr(rows, "read", lambda *_: pytest.fail("no row need be read"))
    assert len(rows.rows(tiny.NLI, "train", None, tiny.ENCODER, cache=tmp_path)) == 48


def test_a_file_that_a_power_cut_left_torn_is_made_anew(tmp_path, caplog):
    made = rows.rows(tiny.VISUAL, "train", None, tiny.ENCODER, cache=tmp_path)
    files = [path for path in tmp_path.rglob("*.arrow") if path.is_file()]
    assert len({path.parent for path in files}) == 3  # rows, tokens and pixels
    for path in files:
        torn = path.read_bytes()[:-9]
        path.unlink()  # what is mapped keeps its content
        path.write_bytes(torn)
    rows._kept.clear()
    assert equal(rows.rows(tiny.VISUAL, "train", None, tiny.ENCODER, cache=tmp_path), made)
    assert all(f"{path} is damaged" in caplog.text for path in files)


def test_another_task_length_tokenizer_or_view_is_tokenised_anew_and_another_image_side_is_not(tmp_path):
    def files() -> int:
        return len(list((tmp_path / "tokens").iterdir()))

    rows.rows(tiny.VISUAL, "dev", None, tiny.ENCODER, cache=tmp_path)
    assert files() == 1
    looks = replace(tiny.ENCODER, patches=replace(tiny.ENCODER.patches, height=24, width=24))
    assert rows.rows(tiny.VISUAL, "dev", None, looks, cache=tmp_path).pixels.shape[1:] == (3, 24, 24)
    deeper = replace(tiny.ENCODER, text=replace(tiny.ENCODER.text, layers=2))
    rows.rows(tiny.VISUAL, "dev", None, deeper, cache=tmp_path)
    assert files() == 1
    rows.rows(tiny.VISUAL, "dev", None, tiny.ENCODER, Visible.HYPOTHESIS_ONLY, tmp_path)
    rows.rows(tiny.VISUAL, "dev", None, replace(tiny.ENCODER, maximum_tokens=20), cache=tmp_path)
    longer = replace(tiny.ENCODER, text=replace(tiny.ENCODER.text, positions=90))
    rows.rows(tiny.VISUAL, "dev", None, longer, cache=tmp_path)
    rows.rows(
        replace(tiny.VISUAL, source=replace(tiny.VISUAL.source, seed=5)), "dev", None, tiny.ENCODER, cache=tmp_path
    )
    assert files() == 5


def test_a_file_that_cannot_be_whole_is_not_there(tmp_path, monkeypatch):
    broken = replace(rows.rows(tiny.NLI, "dev", None, tiny.ENCODER), contexts=(object(),))
    with pytest.raises(Exception):  # noqa: B017
        kept.keep(broken, tmp_path / "rows.arrow")
    assert list(tmp_path.iterdir()) == []


def test_no_rows_are_kept_as_no_rows(tmp_path):
    empty = Ragged.of([])
    kept.keep(empty, tmp_path / "rows.arrow")
    assert len(kept.fetch(tmp_path / "rows.arrow", (Ragged,))) == 0


def test_every_field_of_rows_can_be_kept():
    known = {"Kind", "tuple[str, ...]", "Sequences", "Template", "np.ndarray | None", "images.Arrays | None", "bool"}
    known |= {"Ragged | None", "tuple[tuple[str, ...], ...]", "tuple[tuple[str, str], ...]"}
    assert {field.type for field in dataclasses.fields(Rows)} <= known
