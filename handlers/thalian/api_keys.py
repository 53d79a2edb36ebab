"""Keys for a workspace's MCP endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import identity
from domain.identity.organisations import require_workspace
from domain.kernel.pages import OffsetPage
from handlers.thalian import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.thalian import requests, responses

KIND = "thalian"
MOST = 10


def create_api_key(ctx: Ctx, body: requests.ApiKeyCreate) -> responses.CreatedApiKey:
    require_workspace(ctx, body.workspace_id)
    return wire.created_api_key(*identity.issue_api_key(ctx, body.name, [body.scope], KIND, most=MOST))


def list_api_keys(ctx: Ctx, workspace_id: UUID) -> responses.ApiKeyList:
    require_workspace(ctx, workspace_id)
    return wire.api_key_list(identity.list_api_keys(ctx, OffsetPage(MOST, 0), kind=KIND, active_only=True).items)


def revoke_api_key(ctx: Ctx, body: requests.ApiKeyRevoke) -> responses.RevokedApiKey:
    require_workspace(ctx, body.workspace_id)
    return wire.revoked_api_key(identity.revoke_api_key(ctx, body.key_id, kind=KIND, active=True))
