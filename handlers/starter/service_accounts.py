"""Tokens for machines."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from domain.identity import operators, service_accounts
from handlers.starter import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.starter import requests, responses
    from thalweg.edge.application import Reply


def issue_service_account_token(
    ctx: Ctx, body: requests.ServiceAccountIssueRequest, x_vault_payload: str | None = None
) -> Reply:
    proof = "" if ctx.presented is None else ctx.presented.reveal()
    return wire.service_token(ctx, *service_accounts.issue_to_machine(ctx, _wish(body), proof, x_vault_payload))


def issue_service_account_token_from_browser(
    ctx: Ctx,
    body: requests.BrowserServiceAccountIssueRequest,
    x_operator_override: bool = False,
    x_operator_reason: str | None = None,
) -> Reply:
    standing = operators.standing(ctx, override=x_operator_override, reason=x_operator_reason)
    return wire.service_token(ctx, *service_accounts.issue_from_browser(ctx, _wish(body), standing, body.reason))


def list_service_account_tokens(
    ctx: Ctx,
    status: str,
    include_global: bool,
    page: OffsetPage,
    account: str | None = None,
    fingerprint: str | None = None,
    tenant_id: UUID | None = None,
    x_operator_override: bool = False,
    x_operator_reason: str | None = None,
) -> responses.ServiceAccountTokenListResponse:
    found = service_accounts.list_tokens(
        ctx,
        page,
        operators.standing(ctx, override=x_operator_override, reason=x_operator_reason),
        account=account,
        fingerprint=fingerprint,
        status=status,
        organisation_id=tenant_id,
        include_global=include_global,
    )
    return wire.service_token_page(found, page)


def revoke_service_account_token(
    ctx: Ctx,
    jti: str,
    body: requests.ServiceAccountTokenRevokeRequest,
    x_operator_override: bool = False,
    x_operator_reason: str | None = None,
) -> responses.ServiceAccountTokenRevokeResponse:
    standing = operators.standing(ctx, override=x_operator_override, reason=x_operator_reason or body.reason)
    return wire.service_token_revoked(service_accounts.revoke_token(ctx, jti, standing, body.reason))


def _wish(
    body: requests.ServiceAccountIssueRequest | requests.BrowserServiceAccountIssueRequest,
) -> service_accounts.Wish:
    return service_accounts.Wish(
        body.account,
        frozenset(str(scope) for scope in body.scopes),
        body.tenant_id,
        None if body.lifetime_minutes is None else timedelta(minutes=body.lifetime_minutes),
        body.fingerprint,
        bool(body.force),
    )
