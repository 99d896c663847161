"""Claims about where workers listen; the cluster tier tries it between hosts whose names mean the loopback address."""

from __future__ import annotations

import os

import pytest

from trainables.interface import VARIABLE, interface_of, listen_at


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """The variable is as it was after each test, also where the code under test sets it."""
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)


def test_gloo_listens_on_the_interface_that_has_the_address():
    listen_at("127.0.0.1")
    assert os.environ[VARIABLE] == interface_of("127.0.0.1") != ""


def test_an_interface_that_the_user_has_named_stays(monkeypatch):
    monkeypatch.setenv(VARIABLE, "ib0")
    listen_at("127.0.0.1")
    assert os.environ[VARIABLE] == "ib0"


def test_where_no_interface_has_the_address_gloo_is_left_to_itself():
    listen_at("203.0.113.9")
    assert VARIABLE not in os.environ
