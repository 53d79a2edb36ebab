"""health."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.thalian import responses
from thalweg.edge.problem import not_implemented


def get_health(ctx: Ctx) -> responses.Health:
    """Check platform and database."""
    raise not_implemented()
