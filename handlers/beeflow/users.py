"""The people of the organisation: list, invite, change, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain.identity import members
from handlers.beeflow import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.beeflow import requests, responses
    from thalweg.edge.application import Reply


def list_users(
    ctx: Ctx,
    page: OffsetPage,
    q: str | None = None,
    role: str | None = None,
    status: str | None = None,
    group_id: UUID | None = None,
) -> responses.UserPage:
    return wire.user_page(members.listed(ctx, page, q=q, surface_role=role, status=status, group_id=group_id), page)


def invite_user(ctx: Ctx, body: requests.UserInvite) -> Reply:
    made = members.invite(
        ctx,
        body.email,
        name=body.display_name,
        surface_role=body.role or "user",
        group_ids=body.group_ids or (),
        language=body.language,
        message=body.message,
    )
    return wire.invited(ctx, made)


def update_user(ctx: Ctx, id: UUID, body: requests.UserUpdate) -> responses.User:
    member = members.change(
        ctx,
        id,
        name=body.display_name,
        surface_role=body.role,
        status=body.status,
        group_ids=body.group_ids,
        language=body.language,
    )
    return wire.user(member)


def delete_user(ctx: Ctx, id: UUID) -> None:
    members.remove(ctx, id)
