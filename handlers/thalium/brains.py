"""Brains: invoke, status, memory."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import brains
from handlers.thalium import wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import CursorPage
    from generated.thalium import requests, responses
    from thalweg.edge.application import Stream


def invoke_brain(ctx: Ctx, brain_id: UUID, body: requests.InvokeRequest, last_event_id: str | None = None) -> Stream:
    resumed = wire.event_id(last_event_id)
    if resumed is not None:
        invocation = brains.get_invocation(ctx, resumed.trace_id, brain_id=brain_id)
        return wire.stream(invocation.id, after=resumed.number)
    invocation = brains.start(
        ctx,
        brain_id,
        session_id=body.session_id,
        entity_id=body.entity_id,
        input_type=body.input.type,
        content=body.input.content,
        role_config=wire.role_config(body.role_config),
    )
    return wire.stream(invocation.id)


def get_brain_status(ctx: Ctx, brain_id: UUID) -> responses.BrainStatus:
    return wire.brain_status(brains.status(ctx, brain_id))


def list_brain_memory(
    ctx: Ctx,
    brain_id: UUID,
    page: CursorPage,
    ring: str | None = None,
    address_key: str | None = None,
    session_id: str | None = None,
    entity_id: str | None = None,
) -> responses.MemoryPage:
    found = brains.list_memory(
        ctx, brain_id, ring=ring, address_key=address_key, session_id=session_id, entity_id=entity_id, page=page
    )
    return wire.memory_page(found)
