"""status."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import CursorPage
from generated.starter import requests, responses
from thalweg.edge.problem import not_implemented


def get_platform_status(ctx: Ctx) -> responses.PlatformStatusResponse:
    """Read the platform's status."""
    raise not_implemented()


def get_status_feed(ctx: Ctx) -> Any:
    """Read the incidents as a feed."""
    raise not_implemented()


def create_status_subscription(
    ctx: Ctx, body: requests.StatusSubscriptionCreateRequest
) -> responses.StatusSubscriptionResponse:
    """Subscribe to status news."""
    raise not_implemented()


def list_status_subscriptions(
    ctx: Ctx, all: bool, page: CursorPage, tenant_id: UUID | None = None
) -> responses.StatusSubscriptionListResponse:
    """List status subscriptions."""
    raise not_implemented()


def verify_status_subscription(
    ctx: Ctx, body: requests.StatusSubscriptionVerifyRequest
) -> responses.StatusSubscriptionResponse:
    """Confirm a mail subscription."""
    raise not_implemented()


def confirm_status_webhook(
    ctx: Ctx, body: requests.StatusSubscriptionChallengeRequest
) -> responses.StatusSubscriptionResponse:
    """Confirm a webhook subscription."""
    raise not_implemented()


def revoke_status_subscription(ctx: Ctx, subscription_id: UUID, token: str | None = None) -> None:
    """End a status subscription."""
    raise not_implemented()


def resend_status_incident(
    ctx: Ctx, incident_id: str, body: requests.StatusIncidentResendRequest
) -> responses.StatusIncidentResendResponse:
    """Send an incident's news again."""
    raise not_implemented()


def get_status_feed_alias(ctx: Ctx) -> Any:
    """Read the incidents as a feed, by its short address."""
    raise not_implemented()
