"""Claims about how workers of a gang reach one another; the cluster tier tries it between hosts."""

from __future__ import annotations

import os

import pytest
import ray

from trainables.gang_network import GangTorch, interface_of, use_own_interface


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """The variable is as it was after each test, also where the code under test sets it."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "")
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")


def test_gloo_listens_on_the_interface_by_which_ray_reaches_the_machine(monkeypatch):
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    use_own_interface()
    assert os.environ["GLOO_SOCKET_IFNAME"] == interface_of("127.0.0.1") != ""


def test_an_interface_that_the_user_has_named_stays(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "ib0")
    use_own_interface()
    assert os.environ["GLOO_SOCKET_IFNAME"] == "ib0"


def test_where_no_interface_has_the_address_gloo_is_left_to_itself(monkeypatch):
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "203.0.113.9")
    use_own_interface()
    assert "GLOO_SOCKET_IFNAME" not in os.environ


def test_the_interface_is_chosen_on_every_worker_before_torch_is_set_up():
    done = []

    class Workers:
        def execute(self, work, *words, **more):
            done.append(work)

        def __getattr__(self, name):
            raise LookupError(name)  # what Ray's own part asks for next

    with pytest.raises(LookupError):
        GangTorch().backend_cls().on_start(Workers(), GangTorch())
    assert done == [use_own_interface]
