"""users."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def list_users(
    ctx: Ctx,
    page: OffsetPage,
    q: str | None = None,
    role: str | None = None,
    status: str | None = None,
    group_id: UUID | None = None,
) -> responses.UserPage:
    """List users of the organisation."""
    raise not_implemented()


def invite_user(ctx: Ctx, body: requests.UserInvite) -> responses.InvitedUser:
    """Invite a user."""
    raise not_implemented()


def update_user(ctx: Ctx, id: UUID, body: requests.UserUpdate) -> responses.User:
    """Change a user."""
    raise not_implemented()


def delete_user(ctx: Ctx, id: UUID) -> None:
    """Delete a user."""
    raise not_implemented()
