"""team."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def invite_team_member(ctx: Ctx, body: requests.TeamInvite) -> responses.TeamInvitation:
    """Invite somebody to the organisation."""
    raise not_implemented()


def list_team_members(
    ctx: Ctx, page: OffsetPage, search: str | None = None, role: str | None = None
) -> responses.TeamPage:
    """List the members of the organisation."""
    raise not_implemented()


def remove_team_member(ctx: Ctx, user_id: UUID) -> None:
    """Remove a member from the organisation."""
    raise not_implemented()
