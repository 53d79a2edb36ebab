"""tenants."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.starter import requests, responses
from thalweg.edge.problem import not_implemented


def get_tenant_settings(ctx: Ctx) -> responses.TenantSettingsResponse:
    """Read the tenant's settings."""
    raise not_implemented()


def update_tenant_settings(ctx: Ctx, body: requests.TenantSettingsUpdateRequest) -> responses.TenantSettingsResponse:
    """Replace the tenant's settings."""
    raise not_implemented()
