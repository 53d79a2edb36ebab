"""Listener: recalls what the rings hold that bears on the input, and how little was to be expected."""

from __future__ import annotations

from typing import Any

from domain import memory
from domain.brains import triage
from domain.brains.roles.role import Role
from domain.brains.state import State
from domain.inference import Deadline, Drivers, Vector
from domain.kernel.context import Ctx
from domain.kernel.errors import Unprocessable

RECALLED = 12
KEPT_TEXT = 2_000


def _think(state: State, drivers: Drivers, deadline: Deadline) -> Vector:
    if state.text is None:
        raise Unprocessable("There is no text to listen to.")
    vector: Vector = drivers.embedder.embed([triage.focus(state.text)], deadline)[0]
    return vector


def _note(ctx: Ctx, state: State, vector: Vector) -> dict[str, Any]:
    found = memory.recall(
        ctx,
        state.brain_id,
        vector,
        address_key=state.address_key,
        session_id=state.session_id,
        entity_id=state.entity_id,
        limit=RECALLED,
    )
    return {
        "prediction_error": memory.prediction_error(found.relevant),
        "relevant": found.relevant,
        "nearest": found.nearest,
        "entries": [
            {
                "id": str(entry.id),
                "ring": entry.ring,
                "address_key": entry.address_key,
                "score": entry.score,
                "similarity": entry.similarity,
                "text": entry.text[:KEPT_TEXT],
                "kind": entry.kind,
                "confidence": entry.confidence,
                "contested": entry.status == "contested",
                "age_days": round((ctx.now() - entry.created_at).total_seconds() / 86400, 3),
            }
            for entry in found.entries
        ],
    }


ROLE = Role(
    name="listener",
    purpose="Recalls what memory holds that bears on the input, and measures how surprising the input is.",
    runs_on="memory",
    failure="Memory was not consulted; the answer rests on the input alone.",
    think=_think,
    note=_note,
)
