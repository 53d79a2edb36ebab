"""How far a transcription is, as numbered events: written beside the change that they tell of, published after it.

Channel `transcription:<id>`; events `transcription.progress`, then `transcription.completed` or `transcription.failed`.
The last `KEPT` are in the row, for a stream that was torn off.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from domain.kernel.context import Work
from domain.transcriptions import rules
from domain.transcriptions.models import Transcription

KEPT = 40
AGAIN = 4
"""Events that are published once more when a job begins: the one before may have died before it could."""

Event = tuple[int, str, dict[str, Any]]


def channel(transcription_id: UUID) -> str:
    return f"transcription:{transcription_id}"


def tell(row: Transcription, name: str = "transcription.progress") -> Event:
    """Note an event in the transaction of `row`, which is locked; publish it after the commit."""
    data = {
        "transcription_id": str(row.id),
        "status": row.state,
        "percent": rules.percent(row.state, row.position, row.duration, row.content is not None),
        "error": None if row.failure_code is None else {"code": row.failure_code, "message": row.failure},
    }
    row.event_number += 1
    row.events = [*row.events, [row.event_number, name, data]][-KEPT:]
    return row.event_number, name, data


def publish(work: Work, transcription_id: UUID, *events: Event | None) -> None:
    for event in events:
        if event is not None:
            work.publish(channel(transcription_id), *event)


def latest(row: Transcription) -> list[Event]:
    return [(number, name, data) for number, name, data in row.events[-AGAIN:]]
