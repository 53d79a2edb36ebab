"""The Nextcloud connector's answers, as Bee Flow's contract has them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain.identity.connector import claims, events, instances
from handlers.beeflow.wire_sso import user
from handlers.wiring import timestamp
from thalweg.edge.application import Outside, Reply

if TYPE_CHECKING:
    from domain.identity.connector.users import Handshake
    from domain.identity.models import Consent
    from domain.kernel.context import Ctx
    from generated.beeflow import requests, responses

BOOTSTRAP = "/auth/connector/bootstrap"
ORGANISATION = "/api/organisation"


def first_contact(hello: instances.Hello) -> Outside:
    """Ask the instance who it is, with no transaction open, and go on from what it says."""
    return Outside(
        lambda: instances.read(hello), lambda ctx, told: _outcome(ctx, instances.bootstrap(ctx, hello, told))
    )


def _outcome(ctx: Ctx, outcome: instances.Bound | claims.Pending) -> Reply:
    if isinstance(outcome, claims.Pending):
        waiting = pending(ctx, outcome)
        return Reply(waiting, status=202, headers={"Location": waiting["pollUrl"], "Cache-Control": "no-store"})
    headers = {"Cache-Control": "no-store"}
    if outcome.is_new:
        headers["Location"] = f"{ctx.base_path}{ORGANISATION}"
    return Reply(tenant(outcome), status=201 if outcome.is_new else 200, headers=headers)


def tenant(bound: instances.Bound) -> responses.Tenant:
    return {
        "status": "bound",
        "tenantKey": bound.tenant_key,
        "organizationId": str(bound.organisation_id),
        "organizationName": bound.organisation_name,
        "isNew": bound.is_new,
        "ncVersion": bound.version,
    }


def pending(ctx: Ctx, waiting: claims.Pending) -> responses.PendingClaim:
    return {
        "status": "pending_claim",
        "pendingId": str(waiting.id),
        "pollUrl": f"{ctx.base_path}{BOOTSTRAP}?pendingId={waiting.id}",
        "expiresAt": timestamp(waiting.expires_at),
    }


def handshake(ctx: Ctx, shaken: Handshake) -> Reply:
    signed_in = shaken.signed_in
    body: responses.HandshakeToken = {
        "token": signed_in.access_token,
        "tokenType": "Bearer",
        "expiresIn": max(1, int((signed_in.access_expires_at - ctx.now()).total_seconds())),
        "expiresAt": timestamp(signed_in.access_expires_at),
        "user": user(signed_in),
        "consentRequired": shaken.consent_required,
    }
    return Reply(body, headers={"Cache-Control": "no-store"})


def event(body: requests.UserSyncEvent) -> events.Event:
    return events.Event(
        kind=body.event,
        uid=body.nc_uid,
        group_id=body.group_id,
        email=body.email,
        name=body.display_name,
        occurred_at=body.occurred_at,
    )


def synced(kind: str, applied: bool) -> responses.UserSyncResult:
    return {"status": "applied" if applied else "ignored", "event": kind}


def consent(agreed: Consent) -> responses.Consent:
    return {
        "id": str(agreed.id),
        "userId": str(agreed.account_id),
        "version": agreed.version,
        "language": agreed.language,
        "acceptedAt": timestamp(agreed.accepted_at),
    }


def hello(
    ctx: Ctx,
    instance_id: str,
    base_url: str,
    admin_uid: str,
    admin_email: str,
    admin_name: str | None,
    callback_url: str | None,
    pending_id: UUID | None,
    idempotency_key: str | None,
) -> instances.Hello:
    """What the connector says of itself. Its organisation is known when it signed with the tenant key."""
    return instances.Hello(
        instance_id=instance_id,
        base_url=base_url,
        admin_uid=admin_uid,
        admin_email=admin_email,
        admin_name=admin_name,
        callback_url=callback_url,
        enrolling=ctx.organisation_id is None,
        pending_id=pending_id,
        idempotency_key=idempotency_key,
    )
