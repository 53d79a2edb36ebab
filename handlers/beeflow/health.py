"""health."""

from __future__ import annotations

from typing import Any

from domain.kernel.context import Ctx
from generated.beeflow import responses
from thalweg.edge.problem import not_implemented


def get_health(ctx: Ctx) -> responses.Health:
    """Ask whether the server lives and can work."""
    raise not_implemented()


def get_metrics(ctx: Ctx) -> Any:
    """Read the metrics."""
    raise not_implemented()


def get_database_health(ctx: Ctx) -> responses.ComponentHealth:
    """Check the connection to the database."""
    raise not_implemented()


def get_redis_health(ctx: Ctx) -> responses.ComponentHealth:
    """Check the connection to Redis."""
    raise not_implemented()


def get_integration_health(ctx: Ctx) -> responses.IntegrationHealthList:
    """Ask how each integration is doing."""
    raise not_implemented()
