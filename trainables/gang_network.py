"""How the workers of a gang reach one another, on one machine or on several; knows no stage."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import psutil
import ray
from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend


def interface_of(address: str) -> str:
    """The network interface of this machine that has this address; empty where none has."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == address for one in addresses):
            return name
    return ""


def use_own_interface() -> None:
    """Have Gloo listen where Ray reaches this machine, unless GLOO_SOCKET_IFNAME says otherwise.

    Left to itself it listens at whatever the machine's name resolves to. That is the loopback address wherever
    /etc/hosts says so, as Debian's does, and then no worker on another machine can reach this one.
    """
    name = interface_of(ray.util.get_node_ip_address())
    if name:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)


class _GangBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        worker_group.execute(use_own_interface)
        super().on_start(worker_group, backend_config)


@dataclass
class GangTorch(TorchConfig):
    """Ray Train's own set-up of torch.distributed, on the right interface."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """What Ray Train sets the workers up with."""
        return _GangBackend
