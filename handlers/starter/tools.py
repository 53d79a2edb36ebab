"""tools."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.starter import responses
from thalweg.edge.problem import not_implemented


def list_tools(ctx: Ctx) -> responses.ToolCatalogue:
    """List the tools that agents can call."""
    raise not_implemented()
