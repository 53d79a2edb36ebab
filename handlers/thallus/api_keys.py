"""api-keys."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_api_keys(ctx: Ctx, page: OffsetPage) -> responses.ApiKeyPage:
    """List API keys."""
    raise not_implemented()


def create_api_key(ctx: Ctx, body: requests.ApiKeyCreate) -> responses.ApiKeyCreated:
    """Create an API key."""
    raise not_implemented()


def revoke_api_key(ctx: Ctx, key_id: UUID) -> None:
    """Revoke an API key."""
    raise not_implemented()
