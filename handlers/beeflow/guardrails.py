"""guardrails."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import responses
from thalweg.edge.problem import not_implemented


def list_guardrail_events(
    ctx: Ctx,
    page: OffsetPage,
    from_: datetime | None = None,
    to: datetime | None = None,
    type: str | None = None,
    user: UUID | None = None,
    agent: UUID | None = None,
    action: str | None = None,
    direction: str | None = None,
    org: UUID | None = None,
) -> responses.GuardrailEventPage:
    """Query the guardrail log."""
    raise not_implemented()


def export_guardrail_events(
    ctx: Ctx,
    from_: datetime | None = None,
    to: datetime | None = None,
    type: str | None = None,
    user: UUID | None = None,
    agent: UUID | None = None,
    action: str | None = None,
    direction: str | None = None,
    org: UUID | None = None,
) -> Any:
    """Export the guardrail log as CSV."""
    raise not_implemented()
