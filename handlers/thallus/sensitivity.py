"""sensitivity."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_table_sensitivity(
    ctx: Ctx, org_id: UUID, page: OffsetPage, connection_id: UUID | None = None, level: str | None = None
) -> responses.TableSensitivityPage:
    """List how sensitive tables are."""
    raise not_implemented()


def list_column_sensitivity(
    ctx: Ctx, org_id: UUID, table_name: str, connection_id: UUID | None = None
) -> responses.ColumnSensitivityList:
    """List how sensitive the columns of a table are."""
    raise not_implemented()


def set_table_sensitivity(
    ctx: Ctx, org_id: UUID, table_name: str, body: requests.TableSensitivityUpdate
) -> responses.TableSensitivity:
    """Set how sensitive a table is."""
    raise not_implemented()


def mark_column_pii(
    ctx: Ctx, conn_id: UUID, table: str, col: str, body: requests.PiiMark | None
) -> responses.ColumnPii:
    """Mark a column as personal data."""
    raise not_implemented()


def unmark_column_pii(ctx: Ctx, conn_id: UUID, table: str, col: str) -> None:
    """Unmark a column as personal data."""
    raise not_implemented()
