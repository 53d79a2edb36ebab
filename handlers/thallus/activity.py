"""activity."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import responses
from thalweg.edge.problem import not_implemented


def list_my_activity(
    ctx: Ctx,
    page: OffsetPage,
    action: str | None = None,
    actions: list[str] | None = None,
    category: str | None = None,
    outcome: str | None = None,
    conversation_id: UUID | None = None,
    resource_type: str | None = None,
    resource_id: str | None = None,
    start_date: datetime | None = None,
    end_date: datetime | None = None,
) -> responses.AuditLogPage:
    """List one's own activity."""
    raise not_implemented()


def get_my_activity_stats(
    ctx: Ctx, start_date: datetime | None = None, end_date: datetime | None = None
) -> responses.ActivityStats:
    """Read statistics of one's own activity."""
    raise not_implemented()


def list_my_conversation_activity(
    ctx: Ctx, page: OffsetPage, start_date: datetime | None = None, end_date: datetime | None = None
) -> responses.ActivityConversationPage:
    """List one's own activity by conversation."""
    raise not_implemented()


def export_my_activity(
    ctx: Ctx,
    action: str | None = None,
    actions: list[str] | None = None,
    category: str | None = None,
    outcome: str | None = None,
    conversation_id: UUID | None = None,
    resource_type: str | None = None,
    resource_id: str | None = None,
    start_date: datetime | None = None,
    end_date: datetime | None = None,
) -> Any:
    """Export one's own activity as CSV."""
    raise not_implemented()


def list_activity_categories(ctx: Ctx) -> responses.ActivityCategoryList:
    """List the kinds of actions."""
    raise not_implemented()


def list_audit_actions(ctx: Ctx) -> responses.AuditActionList:
    """List the words for actions."""
    raise not_implemented()


def list_audit_outcomes(ctx: Ctx) -> responses.AuditOutcomeList:
    """List the words for outcomes."""
    raise not_implemented()
