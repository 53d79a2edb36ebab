"""mcp-app-policy."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from generated.thalian import requests, responses
from thalweg.edge.problem import not_implemented


def get_app_policy(ctx: Ctx, app_name: str, workspace_id: UUID | None = None) -> responses.AppPolicy:
    """Get an application's policy status."""
    raise not_implemented()


def set_app_policy(
    ctx: Ctx, body: requests.AppPolicyUpdate, workspace_id: UUID | None = None
) -> responses.AppPolicyChange:
    """Set an application's policy status."""
    raise not_implemented()
