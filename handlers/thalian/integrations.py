"""integrations."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.thalian import requests, responses
from thalweg.edge.problem import not_implemented


def connect_integration(ctx: Ctx, body: requests.IntegrationConnect) -> responses.IntegrationConnected:
    """Connect a new integration."""
    raise not_implemented()


def sync_integration(ctx: Ctx, body: requests.IntegrationReference) -> responses.IntegrationSync:
    """Synchronise an integration."""
    raise not_implemented()


def disconnect_integration(ctx: Ctx, body: requests.IntegrationReference) -> responses.IntegrationDisconnected:
    """Remove an integration."""
    raise not_implemented()
