"""What a chain knows on its way: the invocation, the brain, and what each role has said. Rebuilt from the database
after a crash, so all but what is being looked up is JSON that was committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.brains.plan import Plan

# Where a text belongs when the triage could not say.
UNREAD = "intent_clarification.global.general.general"


@dataclass(frozen=True, slots=True)
class Result:
    """How a role ended."""

    role: str
    status: str
    reason: str | None
    output: Mapping[str, Any]
    duration_ms: int


@dataclass(slots=True)
class State:
    trace_id: UUID
    brain_id: UUID
    session_id: str
    entity_id: str | None
    input_type: str
    content: str
    removed_characters: int
    blocked_terms: tuple[str, ...]
    plan: Plan
    results: dict[str, Result] = field(default_factory=dict)
    finished: bool = False
    ended_at: datetime | None = None
    documents: Sequence[Mapping[str, Any]] | None = None
    """What the role that thinks now has looked up; None where nothing could be. No part of the record: what an answer
    rests on stands in its role's result."""

    def said(self, role: str) -> Mapping[str, Any] | None:
        """What a completed role said, else None."""
        result = self.results.get(role)
        return result.output if result is not None and result.status == "complete" else None

    def failed(self, role: str) -> bool:
        result = self.results.get(role)
        return result is not None and result.status == "failed"

    @property
    def text(self) -> str | None:
        """The input as text; None for a medium that the triage could not make into text."""
        if self.input_type == "text":
            return self.content
        heard = self.said("triage")
        return None if heard is None else str(heard["text"])

    @property
    def address_key(self) -> str:
        triage = self.said("triage")
        return UNREAD if triage is None else str(triage["address_key"])

    @property
    def intent(self) -> str:
        return self.address_key.split(".", 1)[0]
