"""Tools: what agents can call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers.starter import wire_conversations as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.starter import responses


def list_tools(ctx: Ctx) -> responses.ToolCatalogue:
    return wire.tools(ctx)
