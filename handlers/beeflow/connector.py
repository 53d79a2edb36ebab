"""The Nextcloud connector: first contact, tokens for its users, their changes, their consent."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain.identity import connector
from handlers.beeflow import wire_connector as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.beeflow import requests, responses
    from thalweg.edge.application import Outside, Reply


def bootstrap_connector(
    ctx: Ctx,
    x_beeflow_nc_instance_id: str,
    x_beeflow_nc_base_url: str,
    x_beeflow_nc_admin_uid: str,
    x_beeflow_nc_admin_email: str,
    x_beeflow_nc_admin_display_name: str | None = None,
    x_beeflow_connector_callback_url: str | None = None,
    pending_id: UUID | None = None,
    idempotency_key: str | None = None,
) -> Outside:
    return wire.first_contact(
        wire.hello(
            ctx,
            x_beeflow_nc_instance_id,
            x_beeflow_nc_base_url,
            x_beeflow_nc_admin_uid,
            x_beeflow_nc_admin_email,
            x_beeflow_nc_admin_display_name,
            x_beeflow_connector_callback_url,
            pending_id,
            idempotency_key,
        )
    )


def issue_handshake_token(
    ctx: Ctx,
    x_beeflow_nc_uid: str,
    x_beeflow_nc_email: str | None = None,
    x_beeflow_nc_display_name: str | None = None,
) -> Reply:
    shaken = connector.users.handshake(ctx, x_beeflow_nc_uid, email=x_beeflow_nc_email, name=x_beeflow_nc_display_name)
    return wire.handshake(ctx, shaken)


def sync_nextcloud_user(ctx: Ctx, body: requests.UserSyncEvent) -> responses.UserSyncResult:
    return wire.synced(body.event, connector.events.take(ctx, wire.event(body)))


def record_consent(ctx: Ctx, body: requests.ConsentRecord) -> responses.Consent:
    return wire.consent(connector.consents.record(ctx, body.version, language=body.language))
