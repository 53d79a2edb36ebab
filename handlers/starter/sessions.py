"""sessions."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.starter import responses
from thalweg.edge.problem import not_implemented


def list_sessions(
    ctx: Ctx, include_revoked: bool, page: OffsetPage, tenant_id: UUID | None = None
) -> responses.UserSessionListResponse:
    """List the caller's sessions."""
    raise not_implemented()


def revoke_session(ctx: Ctx, session_id: UUID) -> responses.SessionRevokeResponse:
    """End one of the caller's sessions."""
    raise not_implemented()
