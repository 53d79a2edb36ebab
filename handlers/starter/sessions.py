"""The caller's sessions on all devices."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain.identity import memberships, sessions
from handlers.starter import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.starter import responses


def list_sessions(
    ctx: Ctx, include_revoked: bool, page: OffsetPage, tenant_id: UUID | None = None
) -> responses.UserSessionListResponse:
    caller = memberships.caller_id(ctx)
    found = sessions.list_sessions(ctx, caller, page, organisation_id=tenant_id, include_revoked=include_revoked)
    return wire.session_page(ctx, found, page)


def revoke_session(ctx: Ctx, session_id: UUID) -> responses.SessionRevokeResponse:
    return wire.session_revoked(sessions.revoke_session(ctx, memberships.caller_id(ctx), session_id))
