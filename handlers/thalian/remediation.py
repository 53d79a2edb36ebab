"""remediation."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.thalian import requests, responses
from thalweg.edge.problem import not_implemented


def execute_action(ctx: Ctx, body: requests.ExecuteActionBody) -> responses.ActionOutcome:
    """Execute a remediation action."""
    raise not_implemented()
