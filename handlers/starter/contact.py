"""contact."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.starter import requests, responses
from thalweg.edge.problem import not_implemented


def submit_contact(ctx: Ctx, body: requests.ContactSubmissionRequest) -> responses.ContactResponse:
    """Write to the people behind the platform."""
    raise not_implemented()
