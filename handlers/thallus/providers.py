"""providers."""

from __future__ import annotations

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_available_providers(ctx: Ctx, category: str | None = None) -> responses.ProviderList:
    """List providers that can be connected."""
    raise not_implemented()


def list_connected_providers(ctx: Ctx, page: OffsetPage, status: str | None = None) -> responses.ProviderConnectionPage:
    """List connected providers."""
    raise not_implemented()


def list_service_connections(ctx: Ctx, service: str) -> responses.ProviderConnectionList:
    """List the connections of a service."""
    raise not_implemented()


def connect_with_credentials(ctx: Ctx, body: requests.ConnectCredentialsRequest) -> responses.ProviderConnection:
    """Connect a provider with credentials."""
    raise not_implemented()


def start_provider_oauth(ctx: Ctx, body: requests.OauthStartRequest) -> responses.OauthStarted:
    """Start to connect a provider by OAuth."""
    raise not_implemented()


def complete_provider_oauth(ctx: Ctx, body: requests.OauthCallback) -> responses.ProviderConnection:
    """Finish to connect a provider by OAuth."""
    raise not_implemented()


def disconnect_provider(ctx: Ctx, body: requests.DisconnectRequest) -> responses.DisconnectResult:
    """Disconnect a provider."""
    raise not_implemented()


def refresh_provider(ctx: Ctx, provider_name: str) -> responses.ProviderRefreshResult:
    """Renew the connections of a provider."""
    raise not_implemented()
