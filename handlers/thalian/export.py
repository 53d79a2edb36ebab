"""export."""

from __future__ import annotations

from typing import Any

from domain.kernel.context import Ctx
from generated.thalian import requests, responses
from thalweg.edge.problem import not_implemented


def export_audit_log(ctx: Ctx, body: requests.AuditLogExportRequest) -> responses.AuditLogExport:
    """Export the audit log."""
    raise not_implemented()


def export_workspace(ctx: Ctx, body: requests.WorkspaceExportRequest) -> Any:
    """Export all workspace data."""
    raise not_implemented()
