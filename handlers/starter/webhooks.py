"""webhooks."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.starter import requests, responses
from thalweg.edge.problem import not_implemented


def receive_stripe_event(ctx: Ctx, body: requests.StripeEvent) -> responses.StripeWebhookResponse:
    """Take an event from Stripe."""
    raise not_implemented()
