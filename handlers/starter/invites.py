"""invites."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.starter import requests, responses
from thalweg.edge.problem import not_implemented


def list_invites(
    ctx: Ctx, page: OffsetPage, status: str | None = None, email: str | None = None, request_id: UUID | None = None
) -> responses.SignupInviteListResponse:
    """List invites."""
    raise not_implemented()


def issue_invite(ctx: Ctx, body: requests.SignupInviteIssueRequest) -> responses.SignupInviteIssueResponse:
    """Issue an invite."""
    raise not_implemented()


def revoke_invite(ctx: Ctx, invite_id: UUID) -> responses.SignupInviteResponse:
    """Take an invite back."""
    raise not_implemented()
