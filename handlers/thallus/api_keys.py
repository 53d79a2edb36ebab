"""API keys of the caller."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from domain import identity
from domain.identity import memberships
from handlers.thallus import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.thallus import requests, responses

KIND = "thallus"
MOST = 25
SHOWN = timedelta(days=90)


def list_api_keys(ctx: Ctx, page: OffsetPage) -> responses.ApiKeyPage:
    found = identity.list_api_keys(
        ctx, page, kind=KIND, account_id=memberships.caller_id(ctx), over_after=ctx.now() - SHOWN
    )
    return wire.api_key_page(found, page, ctx.now())


def create_api_key(ctx: Ctx, body: requests.ApiKeyCreate) -> responses.ApiKeyCreated:
    owner = memberships.caller_id(ctx)
    key, plain = identity.issue_api_key(ctx, body.name, ["full"], KIND, body.expires_at, account_id=owner, most=MOST)
    return wire.created_api_key(key, plain, ctx.now())


def revoke_api_key(ctx: Ctx, key_id: UUID) -> None:
    identity.revoke_api_key(ctx, key_id, kind=KIND, account_id=memberships.caller_id(ctx))
