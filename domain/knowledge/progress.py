"""How far a document is, as numbered events: written beside the change that they tell of, published after it.

Channel `document:<id>`; events `document.progress`, then `document.completed` or `document.failed`. The last `KEPT` are
in the document's row, for a stream that was torn off.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select

from domain.kernel.context import Ctx, Work
from domain.kernel.errors import NotFound
from domain.knowledge.models import CollectionEntry, Document

KEPT = 40
AGAIN = 4
"""Events that are published once more when a job begins: the one before may have died before it could."""

Event = tuple[int, str, dict[str, Any]]


def channel(document_id: UUID) -> str:
    return f"document:{document_id}"


def tell(document: Document, entry: CollectionEntry, name: str = "document.progress", **more: Any) -> Event:
    """Note an event in the transaction of `document`, whose row is locked; publish it after the commit."""
    data = {
        "document_id": str(document.id),
        "collection_id": str(entry.collection_id),
        "status": entry.state,
        "stage": entry.stage,
        "progress": entry.progress,
        "error": None if entry.failure_code is None else {"code": entry.failure_code, "message": entry.failure},
        **more,
    }
    document.event_number += 1
    document.events = [*document.events, [document.event_number, name, data]][-KEPT:]
    return document.event_number, name, data


def publish(work: Work, document_id: UUID, *events: Event | None) -> None:
    for event in events:
        if event is not None:
            work.publish(channel(document_id), *event)


def latest(document: Document) -> list[Event]:
    return [(number, name, data) for number, name, data in document.events[-AGAIN:]]


def events_after(ctx: Ctx, document_id: UUID, number: int = 0) -> list[Event]:
    """The kept events with a number above `number`, in order. Raises `NotFound`."""
    document = ctx.session.scalars(select(Document).where(Document.id == document_id)).one_or_none()
    if document is None:
        raise NotFound("There is no such document.")
    return [(count, name, data) for count, name, data in document.events if count > number]
