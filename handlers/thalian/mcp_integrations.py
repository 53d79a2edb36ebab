"""mcp-integrations."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from generated.thalian import requests, responses
from thalweg.edge.problem import not_implemented


def list_integrations(ctx: Ctx, workspace_id: UUID | None = None) -> responses.ConnectedIntegrationList:
    """List connected platforms."""
    raise not_implemented()


def trigger_sync(
    ctx: Ctx, body: requests.SyncTrigger | None, workspace_id: UUID | None = None
) -> responses.TriggeredSync:
    """Synchronise all connected integrations."""
    raise not_implemented()
