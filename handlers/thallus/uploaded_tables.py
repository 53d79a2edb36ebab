"""uploaded-tables."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def upload_table(ctx: Ctx, body: requests.TableUpload) -> responses.UploadedTable:
    """Upload a CSV or XLSX file as a table."""
    raise not_implemented()


def list_uploaded_tables(ctx: Ctx, page: OffsetPage, status: str | None = None) -> responses.UploadedTablePage:
    """List uploaded tables."""
    raise not_implemented()


def get_uploaded_table(ctx: Ctx, table_id: UUID) -> responses.UploadedTable:
    """Read an uploaded table."""
    raise not_implemented()


def update_uploaded_table(ctx: Ctx, table_id: UUID, body: requests.UploadedTableUpdate) -> responses.UploadedTable:
    """Change an uploaded table."""
    raise not_implemented()


def delete_uploaded_table(ctx: Ctx, table_id: UUID) -> None:
    """Delete an uploaded table."""
    raise not_implemented()


def download_uploaded_table(ctx: Ctx, table_id: UUID, format: str) -> Any:
    """Download an uploaded table."""
    raise not_implemented()
