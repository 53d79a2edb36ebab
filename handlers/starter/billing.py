"""billing."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import CursorPage
from generated.starter import requests, responses
from thalweg.edge.problem import not_implemented


def list_billing_plans(ctx: Ctx) -> responses.ListBillingPlansResponse:
    """List the plans."""
    raise not_implemented()


def get_tenant_subscription(ctx: Ctx, tenant_id: UUID) -> responses.TenantSubscriptionResponse:
    """Read the tenant's subscription."""
    raise not_implemented()


def start_subscription(
    ctx: Ctx, tenant_id: UUID, body: requests.StartSubscriptionRequest
) -> responses.TenantSubscriptionResponse:
    """Start a subscription."""
    raise not_implemented()


def update_subscription(
    ctx: Ctx, tenant_id: UUID, body: requests.UpdateSubscriptionRequest
) -> responses.TenantSubscriptionResponse:
    """Change the subscription."""
    raise not_implemented()


def cancel_subscription(
    ctx: Ctx, tenant_id: UUID, body: requests.CancelSubscriptionRequest
) -> responses.TenantSubscriptionResponse:
    """Cancel the subscription."""
    raise not_implemented()


def record_usage(ctx: Ctx, tenant_id: UUID, body: requests.UsageRecordRequest) -> responses.UsageRecordResponse:
    """Record metered usage."""
    raise not_implemented()


def list_billing_events(
    ctx: Ctx, tenant_id: UUID, page: CursorPage, event_type: str | None = None, processing_status: str | None = None
) -> responses.BillingEventHistoryResponse:
    """List billing events."""
    raise not_implemented()


def stream_billing_events(ctx: Ctx) -> Any:
    """Watch billing events."""
    raise not_implemented()
