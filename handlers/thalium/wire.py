"""Domain objects as Thalium shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from domain import brains
from domain.kernel.errors import Invalid
from thalweg.edge.application import Event, Stream

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import Page
    from domain.memory import RingEntry
    from generated.thalium import requests, responses


@dataclass(frozen=True, slots=True)
class EventId:
    """The `id` of an event on the wire: `<trace_id>:<number>`."""

    trace_id: UUID
    number: int


def event_id(text: str | None) -> EventId | None:
    """Raises `Invalid` for what was never an id of ours: going on from nowhere would lose events silently."""
    if text is None:
        return None
    trace, _, number = text.rpartition(":")
    try:
        return EventId(UUID(trace), int(number))
    except ValueError:
        raise Invalid("Last-Event-ID is not the id of an event of this stream.") from None


def timestamp(moment: datetime) -> str:
    """UTC, ISO 8601 with `Z`, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def role_config(given: requests.RoleConfig | None) -> dict[str, Any] | None:
    return None if given is None else given.model_dump(mode="json", exclude_none=True)


def stream(trace_id: UUID, after: int = 0) -> Stream:
    """The events of an invocation, wherever they are by now."""

    def history(ctx: Ctx, number: int) -> Sequence[Event]:
        return [Event(e.number, e.name, e.data) for e in brains.events_after(ctx, trace_id, number)]

    return Stream(
        channel=brains.channel(trace_id),
        terminal=frozenset({brains.TERMINAL}),
        history=history,
        prefix=str(trace_id),
        after=after,
        headers={"X-Trace-ID": str(trace_id)},
        replay={"kind": "invocation", "id": str(trace_id)},
    )


def reopened(kept: Mapping[str, str]) -> Stream:
    """The stream of which an idempotency record keeps the invocation's id."""
    return stream(UUID(kept["id"]))


def brain_status(status: brains.BrainStatus) -> responses.BrainStatus:
    return {
        "brain_id": str(status.brain_id),
        "operational_state": status.operational_state,
        "domain_uncertainty": status.domain_uncertainty,
        "active_chain_count": status.active_chain_count,
        "queued_chain_count": status.queued_chain_count,
        "workers": status.workers,
        "rings": {
            "session": status.rings["session"],
            "entity": status.rings["entity"],
            "institutional": status.rings["institutional"],
        },
        "checked_at": timestamp(status.checked_at),
    }


def memory_entry(entry: RingEntry) -> responses.MemoryEntry:
    assert entry.source != "conversation", "what a person's conversations taught is theirs: no brain lists it"
    return {
        "id": str(entry.id),
        "ring": entry.ring,
        "session_id": entry.session_id,
        "entity_id": entry.entity_id,
        "address_key": entry.address_key,
        "level": entry.level,
        "status": entry.status,
        "source": entry.source,
        "role": entry.role,
        "text": entry.text,
        "confidence": entry.confidence,
        "trace_id": None if entry.trace_id is None else str(entry.trace_id),
        "created_at": timestamp(entry.created_at),
    }


def memory_page(page: Page[RingEntry]) -> responses.MemoryPage:
    return {
        "results": [memory_entry(entry) for entry in page.items],
        "total": page.total or 0,
        "next_cursor": page.next_cursor,
    }
