"""api-keys."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from generated.thalian import requests, responses
from thalweg.edge.problem import not_implemented


def create_api_key(ctx: Ctx, body: requests.ApiKeyCreate) -> responses.CreatedApiKey:
    """Create an API key."""
    raise not_implemented()


def list_api_keys(ctx: Ctx, workspace_id: UUID) -> responses.ApiKeyList:
    """List active API keys."""
    raise not_implemented()


def revoke_api_key(ctx: Ctx, body: requests.ApiKeyRevoke) -> responses.RevokedApiKey:
    """Revoke an API key."""
    raise not_implemented()
