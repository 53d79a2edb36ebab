"""Containers: named workspaces of limited size in which agents run code.

`create`, `get`, `list_containers`, `delete_container`; `bind` and `unbind` an agent; `run` code as an agent;
`configure` at start-up. Where a container is, its driver knows (`drivers/`): a folder of this server with a confined
interpreter, or OpenAI's containers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.kernel.lazily import offers

if TYPE_CHECKING:
    from domain.containers.bindings import bind, unbind
    from domain.containers.choice import Off, chosen, configure
    from domain.containers.holding import (
        create,
        delete_container,
        discard,
        expire,
        get,
        give_up,
        list_containers,
        prepare,
    )
    from domain.containers.models import Container
    from domain.containers.ports import Declined, Gone, Left, Outcome
    from domain.containers.running import available, run
    from domain.containers.upkeep import sweep
else:
    __getattr__ = offers(__name__, __file__)

__all__ = [
    "Container",
    "Declined",
    "Gone",
    "Left",
    "Off",
    "Outcome",
    "available",
    "bind",
    "chosen",
    "configure",
    "create",
    "delete_container",
    "discard",
    "expire",
    "get",
    "give_up",
    "list_containers",
    "prepare",
    "run",
    "sweep",
    "unbind",
]
