"""Brains: an input goes through a chain of roles over memory rings, and becomes an answer that says what it rests on.

`start` promises a chain, `run` carries it out in a worker, `events_after` is its record. `create_brain`, `get_brain`,
`find_brain`, `list_brains`, `update_brain`, `archive_brain`; `status`; `list_memory`.
"""

from __future__ import annotations

from uuid import UUID

from domain import memory
from domain.brains.administration import archive_brain, create_brain, find_brain, get_brain, list_brains, update_brain
from domain.brains.artifact import TERMINAL
from domain.brains.chain import announce, channel, give_up, run
from domain.brains.invocations import events_after, get_invocation, start
from domain.brains.models import Brain, Invocation, InvocationEvent
from domain.brains.operation import BrainStatus, Pulse, bind_pulse, status
from domain.kernel.context import Ctx
from domain.kernel.pages import CursorPage, Page
from domain.memory import RingEntry

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


def list_memory(
    ctx: Ctx,
    brain_id: UUID,
    *,
    ring: str | None = None,
    address_key: str | None = None,
    session_id: str | None = None,
    entity_id: str | None = None,
    page: CursorPage | None = None,
) -> Page[RingEntry]:
    """What a brain remembers, newest first (see `memory.list_entries`). Raises `NotFound`, `Invalid`."""
    brain = get_brain(ctx, brain_id)
    return memory.list_entries(
        ctx, brain.id, ring=ring, address_key=address_key, session_id=session_id, entity_id=entity_id, page=page
    )


def warm() -> None:
    """Load the models and the triage's examples: what an `interactive` worker does before its first job."""
    from domain import inference
    from domain.brains import triage
    from domain.inference import Deadline

    inference.warm()
    triage.read("Is everything warm?", None, inference.drivers().embedder, Deadline(60))
