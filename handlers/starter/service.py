"""service."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.starter import responses
from thalweg.edge.problem import not_implemented


def get_service(ctx: Ctx) -> responses.ServiceInfo:
    """Ask what this server is."""
    raise not_implemented()
