"""The tenant's own settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.identity import settings_tenant
from domain.identity.settings_tenant import Contact
from handlers.starter import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.starter import requests, responses


def get_tenant_settings(ctx: Ctx) -> responses.TenantSettingsResponse:
    return wire.tenant_settings(settings_tenant.read(ctx))


def update_tenant_settings(ctx: Ctx, body: requests.TenantSettingsUpdateRequest) -> responses.TenantSettingsResponse:
    given = body.model_dump(mode="json")
    settings = settings_tenant.write(
        ctx,
        contacts=[Contact(**contact) for contact in given["billing_contacts"]],
        webhook_url=given["billing_webhook_url"],
        plan_metadata=given["plan_metadata"],
        flags=given["flags"],
    )
    return wire.tenant_settings(settings)
