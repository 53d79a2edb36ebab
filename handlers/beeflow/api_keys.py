"""Keys for programs that act as their owner: list, create, revoke."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain.identity import personal_keys
from handlers.beeflow import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.beeflow import requests, responses
    from thalweg.edge.application import Reply


def list_api_keys(ctx: Ctx, page: OffsetPage) -> responses.ApiKeyPage:
    return wire.api_key_page(personal_keys.listed(ctx, page), page)


def create_api_key(ctx: Ctx, body: requests.ApiKeyCreate) -> Reply:
    return wire.created_api_key(ctx, *personal_keys.create(ctx, body.name, body.scope or "full"))


def revoke_api_key(ctx: Ctx, id: UUID) -> None:
    personal_keys.revoke(ctx, id)
