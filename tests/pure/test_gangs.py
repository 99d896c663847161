"""Claims about how many gangs a machine can hold, and about definitions of gangs that cannot work."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.faults import Invalid
from trainables.gangs import RUNNERS, GangKind, Gangs


def test_the_defaults_fit_one_processor_and_no_gpu():
    assert Gangs().fits(cpus=1, gpus=0) == ()
    assert Gangs().names == ("gang-0",)
    assert set(RUNNERS) == set(GangKind)


def test_the_arithmetic_is_printed_when_gangs_do_not_fit():
    (processors, gpus) = Gangs(count=3, workers=2, gpus_per_worker=1).fits(cpus=4, gpus=1)
    assert processors == ("there must be processors for every worker: 3 gangs × 2 workers × 1 = 6, got 4; use count=2")
    assert gpus == (
        "there must be GPUs for every worker: 3 gangs × 2 workers × 1 = 6, got 1; "
        "one gang alone needs 2: use fewer workers or a larger machine"
    )


def test_more_threads_than_processors_do_not_fit():
    assert Gangs(threads=2).fits(cpus=2, gpus=0) == ()
    (fault,) = Gangs(threads=64).fits(cpus=2, gpus=0)
    assert "threads must be at most the 2 processors that are there, got 64" in fault


@given(count=st.integers(1, 20), workers=st.integers(1, 8), cpus=st.integers(0, 64))
def test_gangs_fit_exactly_where_their_workers_do(count, workers, cpus):
    assert (Gangs(count=count, workers=workers).fits(cpus=cpus, gpus=0) == ()) is (count * workers <= cpus)


def test_a_ceiling_of_money_needs_the_price_of_a_machine():
    assert Gangs(price=100.0, price_per_node_hour=2.5).price == 100.0
    with pytest.raises(
        Invalid, match=r"price_per_node_hour must be above 0 where a price is the ceiling \(100\), got 0"
    ):
        Gangs(price=100.0)
    with pytest.raises(Invalid, match="price must be a number above 0, got 0"):
        Gangs(price=0.0, price_per_node_hour=2.5)
    with pytest.raises(Invalid, match="price_per_node_hour must be a finite number of at least 0, got -1"):
        Gangs(price_per_node_hour=-1)
    with pytest.raises(Invalid, match="price must be a number above 0, got '5'"):
        Gangs(price="5")


def test_a_rehearsal_fits_anywhere():
    assert Gangs(kind=GangKind.REHEARSAL, count=100).fits(cpus=0, gpus=0) == ()


def test_all_faults_are_named_at_once():
    with pytest.raises(Invalid) as refused:
        Gangs(count=0, workers=2, threads=True, gpus_per_worker=0.5, kind="train")
    assert [fault.split(" must")[0] for fault in refused.value.faults] == ["count", "threads", "workers", "kind"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"gpus_per_worker": 1.5}, "must be whole above 1, got 1.5; use 1 or 2"),
        ({"cpus_per_worker": float("nan")}, "cpus_per_worker must be a finite number"),
        ({"rehearsal_step_seconds": -1.0}, "rehearsal_step_seconds must be a finite number"),
        ({"workers": 2, "kind": GangKind.REHEARSAL}, "workers must be 1 in a rehearsal, got 2"),
        ({"checkpoint_interval_steps": 0}, "checkpoint_interval_steps must be a whole number of at least 1, got 0"),
        ({"explosion_multiple": 1.0}, r"must be a number above 1, got 1\.0; use float\('inf'\) to ask nothing"),
        ({"explosion_multiple": float("nan")}, "explosion_multiple must be a number above 1, got nan"),
    ],
)
def test_what_cannot_work_is_refused(given, text):
    with pytest.raises(Invalid, match=text):
        Gangs(**given)


def test_a_gang_asks_for_the_accelerator_that_it_names_on_every_machine_and_takes_a_crumb_of_it():
    gangs = Gangs(workers=2, gpus_per_worker=1.0, accelerator="L4", elastic=True)
    assert gangs.asks == {"CPU": 1.0, "GPU": 1.0, "accelerator_type:L4": 0.001}
    other, right = (
        {"CPU": 8.0, "GPU": 8.0, "accelerator_type:T4": 1.0},
        {"CPU": 8.0, "GPU": 1.0, "accelerator_type:L4": 1.0},
    )
    assert gangs.waits_for([other, right]) == (
        "for machines: a gang asks for 2 workers of 1 CPU, 1 GPU of type L4, got room for 1 (machines: 8 CPU, 1 GPU; "
        "8 CPU, 8 GPU)"
    )
    assert gangs.waits_for([right, right]) == ""
    assert (gangs.room_for_gangs([other, right]), gangs.room_for_gangs([right] * 5)) == (0, 2)
    assert Gangs(kind=GangKind.REHEARSAL).room_for_gangs([]) == Gangs(cpus_per_worker=0).room_for_gangs([]) == math.inf
    assert Gangs(gpus_per_worker=0.5).asks == {"CPU": 1.0, "GPU": 0.5}
    assert Gangs(cpus_per_worker=0.0).waits_for([]) == Gangs(kind=GangKind.REHEARSAL).waits_for([]) == ""
