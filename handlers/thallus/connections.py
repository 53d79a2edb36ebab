"""connections."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_connections(
    ctx: Ctx, page: OffsetPage, type: str | None = None, status: str | None = None
) -> responses.ConnectionPage:
    """List database connections."""
    raise not_implemented()


def create_connection(ctx: Ctx, body: requests.ConnectionCreate) -> responses.DataConnection:
    """Create a database connection."""
    raise not_implemented()


def get_connection(ctx: Ctx, connection_id: UUID) -> responses.DataConnection:
    """Read a database connection."""
    raise not_implemented()


def update_connection(ctx: Ctx, connection_id: UUID, body: requests.ConnectionUpdate) -> responses.DataConnection:
    """Replace a database connection."""
    raise not_implemented()


def delete_connection(ctx: Ctx, connection_id: UUID) -> None:
    """Delete a database connection."""
    raise not_implemented()


def test_connection_configuration(ctx: Ctx, body: requests.ConnectionTestRequest) -> responses.ConnectionTestResult:
    """Test credentials before saving."""
    raise not_implemented()


def test_connection(ctx: Ctx, connection_id: UUID) -> responses.ConnectionTestResult:
    """Test a saved connection."""
    raise not_implemented()


def discover_schema(ctx: Ctx, connection_id: UUID, body: requests.DiscoveryRequest | None) -> responses.SchemaDiscovery:
    """Discover the schema of a database."""
    raise not_implemented()


def refresh_schema(ctx: Ctx, connection_id: UUID) -> responses.SchemaDiscovery:
    """Refresh the cached schema."""
    raise not_implemented()
