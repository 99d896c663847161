"""On which of a machine's network interfaces the workers of a gang listen to one another; opens no connection."""

from __future__ import annotations

import os

import psutil

#: Read by Gloo. Without it, Gloo listens at whatever the machine's name resolves to. That is the loopback address
#: wherever /etc/hosts says so, as Debian's does, and then no worker on another machine reaches this one.
VARIABLE = "GLOO_SOCKET_IFNAME"


def interface_of(address: str) -> str:
    """The interface of this machine that has this address; empty where none has."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == address for one in addresses):
            return name
    return ""


def listen_at(address: str) -> None:
    """Have Gloo listen at this address of this machine, unless the user has named an interface."""
    name = interface_of(address)
    if name:
        os.environ.setdefault(VARIABLE, name)
