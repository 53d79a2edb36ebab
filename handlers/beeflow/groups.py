"""groups."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def list_groups(
    ctx: Ctx, members: bool, page: OffsetPage, q: str | None = None, source: str | None = None
) -> responses.GroupPage:
    """List groups."""
    raise not_implemented()


def create_group(ctx: Ctx, body: requests.GroupCreate) -> responses.Group:
    """Create a group."""
    raise not_implemented()


def update_group(ctx: Ctx, id: UUID, body: requests.GroupUpdate) -> responses.Group:
    """Change a group."""
    raise not_implemented()


def delete_group(ctx: Ctx, id: UUID) -> None:
    """Delete a group."""
    raise not_implemented()


def add_group_member(ctx: Ctx, id: UUID, body: requests.GroupMemberAdd) -> responses.GroupMember:
    """Add a user to a group."""
    raise not_implemented()


def remove_group_member(ctx: Ctx, id: UUID, user_id: UUID) -> None:
    """Remove a user from a group."""
    raise not_implemented()
