"""integrations."""

from __future__ import annotations

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def list_integrations(
    ctx: Ctx, available: bool, page: OffsetPage, category: str | None = None
) -> responses.IntegrationPage:
    """List one's integrations."""
    raise not_implemented()


def connect_integration(
    ctx: Ctx, id: str, body: requests.ConnectIntegrationBody
) -> responses.Integration | responses.IntegrationAuthorization:
    """Connect an integration."""
    raise not_implemented()


def disconnect_integration(ctx: Ctx, id: str) -> None:
    """Disconnect an integration."""
    raise not_implemented()
