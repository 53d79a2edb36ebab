"""mcp-identities."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from generated.thalian import responses
from thalweg.edge.problem import not_implemented


def get_identity(ctx: Ctx, email: str, workspace_id: UUID | None = None) -> responses.IdentityDetails:
    """Look up an identity by e-mail address."""
    raise not_implemented()
