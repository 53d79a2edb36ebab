"""Invites that registration takes."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain.identity import signup
from handlers.starter import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.starter import requests, responses
    from thalweg.edge.application import Reply


def list_invites(
    ctx: Ctx, page: OffsetPage, status: str | None = None, email: str | None = None, request_id: UUID | None = None
) -> responses.SignupInviteListResponse:
    return wire.invite_page(
        signup.list_invites(ctx, page, status=status, email=email, request_id=request_id), ctx.now()
    )


def issue_invite(ctx: Ctx, body: requests.SignupInviteIssueRequest) -> Reply:
    issued = signup.issue_invite(
        ctx,
        email=body.invited_email,
        uses=body.max_redemptions or 1,
        life=wire.hours(body.expires_in_hours),
        note=body.note,
        request_id=body.signup_request_id,
    )
    return wire.invite_issued(ctx, issued)


def revoke_invite(ctx: Ctx, invite_id: UUID) -> responses.SignupInviteResponse:
    return wire.invite(signup.revoke_invite(ctx, invite_id), ctx.now())
