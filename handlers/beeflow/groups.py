"""Groups of the organisation's users, and who is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain.identity import groups
from handlers.beeflow import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.beeflow import requests, responses
    from thalweg.edge.application import Reply


def list_groups(
    ctx: Ctx, members: bool, page: OffsetPage, q: str | None = None, source: str | None = None
) -> responses.GroupPage:
    return wire.group_page(groups.listed(ctx, page, q=q, source=source, members=members), page)


def create_group(ctx: Ctx, body: requests.GroupCreate) -> Reply:
    made = groups.create(ctx, body.name, description=body.description, member_ids=body.member_ids or ())
    return wire.created_group(ctx, made)


def update_group(ctx: Ctx, id: UUID, body: requests.GroupUpdate) -> responses.Group:
    return wire.group(groups.update(ctx, id, body.model_dump(exclude_unset=True)))


def delete_group(ctx: Ctx, id: UUID) -> None:
    groups.remove(ctx, id)


def add_group_member(ctx: Ctx, id: UUID, body: requests.GroupMemberAdd) -> Reply:
    return wire.joined_group(ctx, groups.add_member(ctx, id, body.user_id))


def remove_group_member(ctx: Ctx, id: UUID, user_id: UUID) -> None:
    groups.remove_member(ctx, id, user_id)
