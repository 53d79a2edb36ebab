"""billing."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_billing_plans(ctx: Ctx) -> responses.BillingPlanList:
    """List plans and prices."""
    raise not_implemented()


def get_billing_status(ctx: Ctx) -> responses.BillingStatus:
    """Read how billing stands."""
    raise not_implemented()


def create_checkout_session(ctx: Ctx, body: requests.CheckoutCreate) -> responses.CheckoutSession:
    """Start a checkout."""
    raise not_implemented()


def create_portal_session(ctx: Ctx, body: requests.PortalCreate | None) -> responses.PortalSession:
    """Open the payment portal."""
    raise not_implemented()


def activate_subscription(ctx: Ctx, body: requests.ActivateRequest) -> responses.BillingStatus:
    """Activate a subscription after checkout."""
    raise not_implemented()


def set_overage_cap(ctx: Ctx, body: requests.OverageCapUpdate) -> responses.BillingOverage:
    """Set the cap on overage."""
    raise not_implemented()
