"""Claims about the ledger: nothing recorded is lost or told twice, wherever the process that writes it ends."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from sweep import ledger as ledgers
from sweep.ledger import Ledger, best_runs
from sweep.records import Happening, Phase, TrialKey, What, proposed, trial_records
from trainables.faults import Invalid


def happening(number: int, what: What = What.SCORED, sequence: int = 0) -> Happening:
    trial = TrialKey(cell="nli+qqp", phase=Phase.SEARCH, number=number)
    return Happening(trial=trial, what=what, sequence=sequence, payload={"step": sequence, "score": 0.1 * number})


MANY = [happening(number, sequence=step) for number in range(10) for step in (10, 20)]


def reader(folder) -> Ledger:
    return Ledger(pafs.LocalFileSystem(), str(folder), "mine")


def writer(folder) -> Ledger:
    return reader(folder).open()


def fill(ledger: Ledger, entries=MANY) -> Ledger:
    for entry in entries:
        ledger.record(entry)
    return ledger


def files(ledger: Ledger) -> tuple[int, int]:
    """How many loose fragments and how many folded files there are."""
    return len(ledger._files(ledger.directory)), len(ledger._folded())


def test_what_was_recorded_is_told_once_and_in_order_loose_or_folded(tmp_path, monkeypatch):
    monkeypatch.setattr(ledgers, "FOLD_AT", 8)
    ledger = fill(writer(tmp_path))
    fill(ledger)
    assert reader(tmp_path).happenings() == sorted(MANY, key=lambda entry: entry.name)
    assert files(ledger) == (4, 2)
    ledger.fold()
    assert files(ledger) == (0, 3)
    assert reader(tmp_path).happenings() == sorted(MANY, key=lambda entry: entry.name)
    ledger.fold()
    assert files(ledger) == (0, 3)


def test_a_writer_that_comes_back_folds_what_the_one_before_it_left(tmp_path, monkeypatch):
    fill(writer(tmp_path), MANY[:7])
    monkeypatch.setattr(ledgers, "FOLD_AT", 8)
    ledger = writer(tmp_path)
    ledger.happenings()
    fill(ledger, MANY[7:9])
    assert files(ledger) == (1, 1)


class Killed(BaseException):
    """The process is gone."""


class Dying(pafs.LocalFileSystem):
    """A disk whose process ends at its n-th change."""

    lives = 0

    def _live(self) -> None:
        Dying.lives -= 1
        if Dying.lives < 0:
            raise Killed

    def move(self, source, target):
        self._live()
        super().move(source, target)

    def delete_file(self, path):
        self._live()
        super().delete_file(path)


@pytest.mark.parametrize("lives", range(22))
def test_a_writer_that_dies_anywhere_in_a_fold_loses_and_repeats_nothing(tmp_path, lives, monkeypatch):
    monkeypatch.setattr(ledgers, "FOLD_AT", 10)
    ledger = Ledger(Dying(), str(tmp_path), "mine").open()
    Dying.lives = lives
    try:
        fill(ledger, MANY[:10])
        survived = True
    except Killed:
        survived = False
    assert survived is (lives >= 21)
    Dying.lives = 10**6
    recorded = {entry.name for entry in MANY[: min(lives, 10)]}
    assert {entry.name for entry in reader(tmp_path).happenings()} == recorded
    again = writer(tmp_path)
    assert [entry.name for entry in again.happenings()] == sorted(recorded)
    fill(again, [entry for entry in MANY if entry.name not in recorded])
    assert reader(tmp_path).happenings() == sorted(MANY, key=lambda entry: entry.name)


def test_a_fragment_folded_between_its_listing_and_its_reading_is_not_missed(tmp_path, monkeypatch):
    ledger, other = fill(writer(tmp_path)), reader(tmp_path)
    listed = other._files

    def then_folded(folder: str) -> list[str]:
        found = listed(folder)
        ledger.fold()
        return found

    monkeypatch.setattr(other, "_files", then_folded)
    assert len(other.happenings()) == len(MANY)


def test_a_torn_file_is_passed_over_by_a_reader_and_set_aside_by_the_writer(tmp_path, caplog):
    ledger = fill(writer(tmp_path), MANY[:3])
    torn = ledger._path(MANY[1].name)
    with Path(torn).open("r+b") as file:
        file.truncate(100)
    kept = [MANY[0].name, MANY[2].name]
    assert [entry.name for entry in reader(tmp_path).happenings()] == kept
    assert Path(torn).exists() and "its work will be done again" in caplog.text
    again = writer(tmp_path)
    assert [entry.name for entry in again.happenings()] == kept
    assert not Path(torn).exists() and Path(f"{torn}.damaged").exists()
    again.record(MANY[1])
    assert len(reader(tmp_path).happenings()) == 3


def test_a_ledger_of_a_later_version_is_refused_and_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(ledgers, "SCHEMA", ledgers.SCHEMA.with_metadata({"schema_version": "99"}))
    ledger = fill(writer(tmp_path), MANY[:1])
    with pytest.raises(Invalid, match=r"its files must be of version \d+ at most, got 99 in .*; use the newer"):
        ledger.happenings()
    assert files(ledger) == (1, 0)


def test_a_ledger_of_the_first_version_is_read(tmp_path):
    ledger = fill(writer(tmp_path), MANY[:1])
    path = ledger._path(MANY[0].name)
    old = pq.read_table(path, partitioning=None).drop_columns(["generation"])
    pq.write_table(old.replace_schema_metadata({"schema_version": "1"}), path)
    assert reader(tmp_path).happenings() == MANY[:1]


def test_a_fragment_is_brought_to_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(os, "fsync", lambda handle: said.append(Path(f"/proc/self/fd/{handle}").readlink()))
    ledger = fill(writer(tmp_path), MANY[:1])
    (aside,) = said
    assert aside.parent == Path(ledger.directory) and aside.name.startswith(Path(ledger._path(MANY[0].name)).name)
    assert aside.suffix == ".partial"


@pytest.mark.parametrize("name", ["draws", "draws of shares"])
def test_the_draws_of_a_trial_are_read_as_each_version_wrote_them(name):
    values = {"target.dropout": 0.1, "share.a": 0.25, "share.b": 0.75}
    draws = {"target.dropout": 0.1, "share.a": 0.6, "share.b": 0.3}
    key = TrialKey(cell="a", phase=Phase.SEARCH, number=0)
    said = proposed(values, draws, 0) if name == "draws of shares" else {"values": values, "draws": draws, "seed": 0}
    assert name in said
    entry = Happening(trial=key, what=What.PROPOSED, payload={**said, "stages": []})
    assert trial_records([entry])[key].draws == draws


def test_the_best_confirmation_of_each_cell_is_found_in_its_latest_generation(tmp_path):
    ledger = writer(tmp_path)
    runs = [("a", 0, 0, 0.9), ("a", 0, 1, 0.3), ("a", 1, 0, 0.5), ("b", 0, 0, 0.1)]
    for cell, number, generation, score in runs:
        key = TrialKey(cell=cell, phase=Phase.CONFIRMATION, number=number)
        payload = {"score": score, "accuracy": {"de": score / 2}}
        ledger.record(Happening(trial=key, what=What.FINISHED, generation=generation, payload=payload))
    for number, value in enumerate((0.6, 0.7)):  # nothing was trained that a development split could score
        key = TrialKey(cell="c", phase=Phase.CONFIRMATION, number=number)
        ledger.record(Happening(trial=key, what=What.FINISHED, payload={"score": None, "accuracy": {"de": value}}))
    older = TrialKey(cell="d", phase=Phase.CONFIRMATION, number=0)
    ledger.record(Happening(trial=older, what=What.FINISHED, payload={"score": None}))
    search = TrialKey(cell="a", phase=Phase.SEARCH, number=0)
    ledger.record(Happening(trial=search, what=What.FINISHED, payload={"score": 1.0}))
    ledger.fold()
    assert best_runs(ledger.table()) == {"a": {"de": 0.25}, "b": {"de": 0.05}, "c": {"de": 0.6}}
    assert best_runs(reader(tmp_path / "elsewhere").table()) == {}


def test_what_is_folded_between_listing_and_reading_is_found_and_what_is_torn_is_passed_over(tmp_path, monkeypatch):
    ledger, looking = fill(writer(tmp_path)), reader(tmp_path)
    (tmp_path / "sweeps/mine/ledger/000-torn.parquet").write_bytes(b"PAR1")
    rows, read = looking._rows, []

    def folding(path: str):
        if len(read) == 3:
            ledger.fold()
        read.append(path)
        return rows(path)

    monkeypatch.setattr(looking, "_rows", folding)
    found = looking.table()
    told = {(row["number"], row["sequence"]) for row in found.to_pylist()}
    assert told == {(entry.trial.number, entry.sequence) for entry in MANY}
    assert [Path(path).name for path in looking.torn] == ["000-torn.parquet"]
