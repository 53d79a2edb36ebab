"""connector."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def bootstrap_connector(ctx: Ctx) -> responses.PendingClaim | responses.Tenant:
    """Make first contact with a Nextcloud instance."""
    raise not_implemented()


def issue_handshake_token(ctx: Ctx) -> responses.HandshakeToken:
    """Get a token for a Nextcloud user."""
    raise not_implemented()


def sync_nextcloud_user(ctx: Ctx, body: requests.UserSyncEvent) -> responses.UserSyncResult:
    """Take in a change among Nextcloud's users."""
    raise not_implemented()


def record_consent(ctx: Ctx, body: requests.ConsentRecord) -> responses.Consent:
    """Agree to the privacy notice."""
    raise not_implemented()
