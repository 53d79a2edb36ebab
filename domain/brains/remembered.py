"""What a brain remembers, for its owner."""

from __future__ import annotations

from uuid import UUID

from domain import memory
from domain.brains.administration import get_brain
from domain.kernel.context import Ctx
from domain.kernel.pages import CursorPage, Page
from domain.memory import RingEntry


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
