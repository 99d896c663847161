"""Claims about stopping a sweep through its storage: the run that is meant hears it, and no other one."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest
from pyarrow import fs

from sweep import Results, lock
from sweep.cli import main
from sweep.lock import held
from sweep.stop_request import FILE, StopRequest, ask_to_stop, await_end
from tests.pure import fake_sweep as fake


@pytest.fixture(params=["disk", "object store"])
def place(request, tmp_path, monkeypatch):
    """A filesystem and the root of a storage in it; on an object store a lease says who runs a sweep."""
    monkeypatch.setattr(lock, "SETTLING_SECONDS", 0.0)
    (tmp_path / "sweeps/mine").mkdir(parents=True)
    if request.param == "disk":
        return fs.LocalFileSystem(), str(tmp_path)
    return fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), ""


def path(place) -> str:
    return f"{place[1]}/sweeps/mine/{FILE}"


def written(place) -> bool:
    return place[0].get_file_info(path(place)).type == fs.FileType.File


def test_the_run_that_holds_the_sweep_is_asked_and_the_request_goes_with_it(place):
    with held(*place, "mine"):
        request = StopRequest(*place, "mine")
        assert not request.has_come()
        asked = ask_to_stop(*place, "mine")
        assert asked and asked["process"] == lock._me()["process"]
        assert request.has_come()
        assert not await_end(*place, "mine", asked, seconds=0)
        request.take_away()
        assert not request.has_come() and not written(place)
    assert await_end(*place, "mine", asked, seconds=0)


def test_a_request_that_came_too_late_stops_no_later_run(place, monkeypatch):
    with held(*place, "mine"):
        ask_to_stop(*place, "mine")
    me = lock._me()
    monkeypatch.setattr(lock, "_me", lambda: me | {"since": "later"})
    assert written(place)
    with held(*place, "mine"):
        request = StopRequest(*place, "mine")
        assert not request.has_come()
        request.take_away()
        assert written(place)  # it is not this run's to take away
        ask_to_stop(*place, "mine")
        assert request.has_come()


def test_where_nobody_runs_the_sweep_nothing_is_asked(place):
    assert ask_to_stop(*place, "mine") is None
    assert not written(place)


def test_a_request_that_is_not_whole_is_none(place):
    with held(*place, "mine"):
        request = StopRequest(*place, "mine")
        ask_to_stop(*place, "mine")
        with place[0].open_output_stream(path(place)) as stream:
            stream.write(b'{"ho')
        assert not request.has_come()


def test_the_command_says_that_nobody_runs_it_and_refuses_a_sweep_that_is_not_there(tmp_path, capsys):
    fake.write(str(tmp_path))
    assert main(["stop", "fake", "--storage", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "no process runs it now\n"
    assert not (tmp_path / "sweeps/fake" / FILE).exists()
    assert main(["stop", "fale", "--storage", str(tmp_path)]) == 2
    assert "has no sweep 'fale'" in capsys.readouterr().err


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_the_command_says_that_a_sweep_has_ended_when_it_has_though_the_clocks_differ(
    tmp_path, capsys, monkeypatch, ahead
):
    monkeypatch.setattr(lock, "SETTLING_SECONDS", 0.0)
    monkeypatch.setattr("sweep.submit.STOP_SECONDS", -30.0)
    fake.write(str(tmp_path))
    storage = f"fsspec+file://{tmp_path}"  # with a lease, as on an object store
    place, true = Results.open(storage, "fake").place, time.time
    with held(*place, "fake"):
        monkeypatch.setattr(lock, "time", SimpleNamespace(**vars(time) | {"time": lambda: true() + ahead}))
        assert main(["stop", "fake", "--storage", storage]) == 1
        assert f"process {os.getpid()} on " in (said := capsys.readouterr().out)
        assert said.endswith(" still runs it; the request stays until it ends\n")
    assert main(["stop", "fake", "--storage", storage]) == 0
    assert capsys.readouterr().out == "no process runs it now\n"


@pytest.mark.parametrize("words", [[], ["--address", "http://x", "--storage", "there"]])
def test_the_command_needs_the_cluster_or_the_storage(words, capsys):
    with pytest.raises(SystemExit):
        main(["stop", "lab", *words])
    assert "--address" in capsys.readouterr().err
