"""billing."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.thalian import requests, responses
from thalweg.edge.problem import not_implemented


def create_checkout_session(ctx: Ctx, body: requests.CheckoutCreate) -> responses.CheckoutSession:
    """Create a checkout session."""
    raise not_implemented()


def create_portal_session(ctx: Ctx, body: requests.PortalCreate) -> responses.PortalSession:
    """Open the customer portal."""
    raise not_implemented()
