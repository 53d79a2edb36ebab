"""audit."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_audit_logs(
    ctx: Ctx,
    page: OffsetPage,
    user_id: UUID | None = None,
    action: str | None = None,
    actions: list[str] | None = None,
    category: str | None = None,
    outcome: str | None = None,
    correlation_id: str | None = None,
    conversation_id: UUID | None = None,
    resource_type: str | None = None,
    resource_id: str | None = None,
    start_date: datetime | None = None,
    end_date: datetime | None = None,
) -> responses.AuditLogPage:
    """Query the audit trail."""
    raise not_implemented()


def get_audit_log(ctx: Ctx, log_id: UUID) -> responses.AuditLog:
    """Read an entry of the audit trail."""
    raise not_implemented()


def list_correlated_audit_logs(ctx: Ctx, correlation_id: str, page: OffsetPage) -> responses.AuditLogPage:
    """Read what one request did."""
    raise not_implemented()


def get_audit_stats(
    ctx: Ctx, start_date: datetime | None = None, end_date: datetime | None = None
) -> responses.AuditStats:
    """Read audit statistics."""
    raise not_implemented()


def list_audit_user_stats(
    ctx: Ctx, page: OffsetPage, start_date: datetime | None = None, end_date: datetime | None = None
) -> responses.AuditUserStatsPage:
    """Read audit statistics by user."""
    raise not_implemented()


def get_audit_retention_stats(ctx: Ctx) -> responses.AuditRetentionStats:
    """Read how long the audit trail is kept."""
    raise not_implemented()


def start_audit_cleanup(ctx: Ctx, body: requests.AuditCleanupCreate | None) -> responses.AuditCleanup:
    """Start a clean-up of the audit trail."""
    raise not_implemented()


def delete_user_audit_logs(ctx: Ctx, user_id: UUID, reason: str | None = None) -> responses.AuditUserDeletion:
    """Delete a user's audit entries."""
    raise not_implemented()
