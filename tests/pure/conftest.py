"""Keeps the tier what it says it is."""

import sys

import pytest

HEAVY = {"torch", "ray", "transformers", "matplotlib", "statsmodels", "sklearn", "moto"}


@pytest.fixture(scope="package", autouse=True)
def nothing_heavy_is_loaded():
    before = HEAVY & set(sys.modules)
    yield
    loaded = sorted(HEAVY & set(sys.modules) - before)
    assert not loaded, f"the pure tier must load none of these, got {loaded}; move the test to another tier"
