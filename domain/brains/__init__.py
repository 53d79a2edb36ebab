"""Brains: an input goes through a chain of roles over memory rings, and becomes an answer that says what it rests on.

`start` promises a chain, `run` carries it out in a worker, `events_after` is its record. `create_brain`, `get_brain`,
`find_brain`, `list_brains`, `update_brain`, `archive_brain`; `status`; `list_memory`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.kernel.lazily import offers

if TYPE_CHECKING:
    from domain.brains.administration import (
        archive_brain,
        create_brain,
        find_brain,
        get_brain,
        list_brains,
        update_brain,
    )
    from domain.brains.artifact import TERMINAL
    from domain.brains.chain import announce, channel, give_up, run
    from domain.brains.invocations import events_after, get_invocation, start
    from domain.brains.models import Brain, Invocation, InvocationEvent
    from domain.brains.operation import BrainStatus, Pulse, bind_pulse, status
    from domain.brains.remembered import list_memory
    from domain.brains.warming import warm
else:
    __getattr__ = offers(__name__, __file__)

__all__ = [
    "TERMINAL",
    "Brain",
    "BrainStatus",
    "Invocation",
    "InvocationEvent",
    "Pulse",
    "announce",
    "archive_brain",
    "bind_pulse",
    "channel",
    "create_brain",
    "events_after",
    "find_brain",
    "get_brain",
    "get_invocation",
    "give_up",
    "list_brains",
    "list_memory",
    "run",
    "start",
    "status",
    "update_brain",
    "warm",
]
