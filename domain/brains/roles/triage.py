"""Triage: makes the input text, says what it asks for and where it belongs, and notices what is new."""

from __future__ import annotations

from typing import Any

from domain import memory
from domain.brains import media, triage
from domain.brains.roles.role import Role
from domain.brains.state import State
from domain.inference import Deadline, Drivers, clean
from domain.kernel.context import Ctx
from domain.kernel.errors import Unprocessable

MAX_TEXT = 200_000


def _think(state: State, drivers: Drivers, deadline: Deadline) -> tuple[str, triage.Reading]:
    text = _heard(state, drivers, deadline)
    return text, triage.read(text, state.entity_id, drivers.embedder, deadline)


def _heard(state: State, drivers: Drivers, deadline: Deadline) -> str:
    if state.input_type == "text":
        return state.content
    medium = media.decoded(state.input_type, state.content)
    if state.input_type == "audio":
        text = drivers.transcriber.transcribe(medium.data, deadline)
    else:
        text = drivers.describer.describe(medium.data, medium.media_type, deadline)
    text = clean(text)[0].strip()[:MAX_TEXT]
    if not text:
        raise Unprocessable(f"Nothing could be made out in the {state.input_type}.")
    return text


def _note(ctx: Ctx, state: State, thought: tuple[str, triage.Reading]) -> dict[str, Any]:
    text, reading = thought
    found = memory.recall(
        ctx, state.brain_id, reading.vector, session_id=state.session_id, entity_id=state.entity_id, limit=1
    )
    said: dict[str, Any] = {
        "intent": reading.address.intent,
        "address_key": str(reading.address),
        "confidence": reading.confidence,
        "novelty": round(1 - found.nearest, 4),
        "novel": found.relevant == 0,
    }
    return said if state.input_type == "text" else {**said, "text": text}


ROLE = Role(
    name="triage",
    purpose="Says what kind of request this is and where it belongs, as an address key; notices what is new.",
    runs_on="embeddings",
    failure="The input was not classified; it is filed under intent_clarification.",
    think=_think,
    note=_note,
)
