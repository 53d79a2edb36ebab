"""service."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.beeflow import responses
from thalweg.edge.problem import not_implemented


def get_api_info(ctx: Ctx) -> responses.ApiInfo:
    """Ask what this server is."""
    raise not_implemented()
