"""service-accounts."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.starter import requests, responses
from thalweg.edge.problem import not_implemented


def issue_service_account_token(
    ctx: Ctx, body: requests.ServiceAccountIssueRequest
) -> responses.ServiceAccountTokenResponse:
    """Issue a service account's token to a machine."""
    raise not_implemented()


def issue_service_account_token_from_browser(
    ctx: Ctx, body: requests.BrowserServiceAccountIssueRequest
) -> responses.ServiceAccountTokenResponse:
    """Issue a service account's token from the console."""
    raise not_implemented()


def list_service_account_tokens(
    ctx: Ctx,
    status: str,
    include_global: bool,
    page: OffsetPage,
    account: str | None = None,
    fingerprint: str | None = None,
    tenant_id: UUID | None = None,
) -> responses.ServiceAccountTokenListResponse:
    """List service account tokens."""
    raise not_implemented()


def revoke_service_account_token(
    ctx: Ctx, jti: str, body: requests.ServiceAccountTokenRevokeRequest
) -> responses.ServiceAccountTokenRevokeResponse:
    """Revoke a service account's token."""
    raise not_implemented()
