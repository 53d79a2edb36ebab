"""health."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.starter import responses
from thalweg.edge.problem import not_implemented


def get_health(ctx: Ctx) -> responses.HealthResponse:
    """Ask whether the process lives."""
    raise not_implemented()


def get_readiness(ctx: Ctx) -> responses.HealthResponse:
    """Ask whether the server can work."""
    raise not_implemented()


def get_storage_health(ctx: Ctx) -> responses.HealthResponse:
    """Ask how the object storage is."""
    raise not_implemented()
