"""Claims about a storage that the driver cannot write: it says how to go on, and shows nobody a traceback."""

from __future__ import annotations

import errno
import threading
from dataclasses import replace

import pytest

from sweep import launch, patience
from sweep.cli import main
from sweep.launch import Interrupted
from sweep.ledger import Ledger
from sweep.results import Results
from tests.libraries.test_budget import stored
from tests.pure.small_sweep import small_sweep
from trainables.faults import Invalid

SWEEP = replace(small_sweep(), name="unwritable")


def broken(*_, **__):
    raise OSError(errno.EIO, "Input/output error")


def test_a_sweep_that_is_stopped_while_its_storage_cannot_be_written_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "ROOM_SECONDS", 0.0)

    def conduct(conductor, *_):
        monkeypatch.setattr(Ledger, "record", broken)
        begun = threading.Timer(0.3, setattr, (conductor, "broken", "the sweep was stopped"))
        begun.start()
        try:
            conductor.next()
        except patience.GaveUp as error:  # Tune raises an error of its own
            raise RuntimeError("the tuner failed") from error

    monkeypatch.setattr(launch, "_conduct", conduct)
    with pytest.raises(Interrupted, match=r"the sweep was stopped, and the storage cannot .*run it again to go on"):
        launch.run(SWEEP, tmp_path)


def test_an_error_that_is_not_the_storages_is_raised_as_it_is(tmp_path, monkeypatch):
    def conduct(*_):
        raise RuntimeError("something else")

    monkeypatch.setattr(launch, "_conduct", conduct)
    with pytest.raises(RuntimeError, match="something else"):
        launch.run(SWEEP, tmp_path)


def test_a_definition_that_cannot_be_written_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setattr("sweep.record_definition.put_whole", broken)
    with pytest.raises(Invalid, match=r"must be written beside its ledger, got .*Input/output error"):
        launch.run(SWEEP, tmp_path)


def test_tables_that_cannot_be_written_are_one_message_and_the_command_to_go_on(tmp_path, monkeypatch, capsys):
    results = stored(SWEEP, str(tmp_path))
    monkeypatch.setattr("sweep.launch.run", lambda *_, **__: results)
    monkeypatch.setattr(Results, "export", broken)
    file = tmp_path / "mine.py"
    file.write_text("from sweep.presets import rehearsal\nsweep = rehearsal()\n")
    assert main(["run", str(file), "--storage", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "the tables could not be written ([Errno 5] Input/output error); once they can be: sweep run" in said
