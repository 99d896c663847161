"""Claims about what a machine is said to have: bfloat16 is taken where the hardware multiplies it, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainables import machine
from trainables.settings import Precision


@pytest.fixture
def has(tmp_path, monkeypatch):
    """Sets the processor's flags and what the driver's tool says of the GPUs; None where there is no such tool."""

    def set_up(flags: str = "", gpus: str | None = None, status: int = 0) -> None:
        info = tmp_path / "cpuinfo"
        info.write_text(f"flags\t\t: fpu {flags}\n")
        monkeypatch.setattr(machine, "Path", lambda path: info if path == "/proc/cpuinfo" else Path(path))
        monkeypatch.setenv("PATH", str(tmp_path))
        if gpus is not None:
            tool = tmp_path / "nvidia-smi"
            tool.write_text(f"#!/bin/sh\nprintf '{gpus}'\nexit {status}\n")
            tool.chmod(0o755)

    caches = (machine.bfloat16_is_native, machine._compute_capabilities)
    for one in caches:
        one.cache_clear()
    yield set_up
    for one in caches:
        one.cache_clear()


@pytest.mark.parametrize(
    ("flags", "native"), [("avx512f avx512_bf16", True), ("amx_bf16 amx_tile", True), ("avx2 avx512f", False)]
)
def test_auto_takes_bfloat16_on_a_processor_that_multiplies_it(has, flags, native):
    has(flags)
    assert machine.bfloat16_is_native("cpu") is native
    assert machine.resolved_precision(Precision.AUTO, "cpu") == ("bfloat16" if native else "float32")


def test_a_processor_of_which_nothing_is_known_has_no_bfloat16(has, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / "none")
    assert machine.resolved_precision(Precision.AUTO, "cpu") == "float32"


@pytest.mark.parametrize(
    ("gpus", "status", "count", "precision"),
    [
        (r"8.0\n", 0, 1, "bfloat16"),
        (r"9.0\n8.6\n", 0, 2, "bfloat16"),
        (r"8.0\n7.5\n", 0, 2, "float32"),
        (r"no devices were found\n", 6, 0, "float32"),
        (None, 0, 0, "float32"),
    ],
)
def test_auto_takes_bfloat16_on_gpus_from_ampere_on_if_all_are(has, gpus, status, count, precision):
    has("avx512_bf16", gpus, status)
    assert machine.graphics_processors() == count
    assert machine.resolved_precision(Precision.AUTO, "cuda") == precision


@pytest.mark.parametrize("stated", [one for one in Precision if one is not Precision.AUTO])
def test_a_stated_precision_is_taken_as_it_is(has, stated):
    has("avx512_bf16", r"9.0\n")
    assert machine.resolved_precision(stated, "cuda") == machine.resolved_precision(stated, "cpu") == str(stated)
