"""chat-integrations."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def get_chat_integration_settings(ctx: Ctx, service_name: str) -> responses.ChatIntegrationSettings:
    """Read the settings of a chat service."""
    raise not_implemented()


def update_chat_integration_settings(
    ctx: Ctx, service_name: str, body: requests.ChatIntegrationSettingsUpdate
) -> responses.ChatIntegrationSettings:
    """Save the settings of a chat service."""
    raise not_implemented()


def list_user_mappings(
    ctx: Ctx, page: OffsetPage, service: str | None = None, search: str | None = None
) -> responses.UserMappingPage:
    """List user mappings."""
    raise not_implemented()


def delete_user_mapping(ctx: Ctx, mapping_id: UUID) -> None:
    """Delete a user mapping."""
    raise not_implemented()
