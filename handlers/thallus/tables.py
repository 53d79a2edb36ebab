"""tables."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_tables(
    ctx: Ctx, connection_id: UUID, page: OffsetPage, search: str | None = None, schema_name: str | None = None
) -> responses.DataTablePage:
    """List the tables of a connection."""
    raise not_implemented()


def get_schema(ctx: Ctx, connection_id: UUID) -> responses.DatabaseSchema:
    """Read the full schema of a connection."""
    raise not_implemented()


def get_table(ctx: Ctx, table_id: UUID) -> responses.DataTable:
    """Read a table."""
    raise not_implemented()


def update_table(ctx: Ctx, table_id: UUID, body: requests.TableUpdate) -> responses.DataTable:
    """Replace the description of a table."""
    raise not_implemented()


def update_table_metadata(
    ctx: Ctx, connection_id: UUID, table_name: str, body: requests.TableMetadataUpdate
) -> responses.DataTable:
    """Change descriptions of columns."""
    raise not_implemented()
