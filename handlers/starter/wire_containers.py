"""Containers as Starter shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from domain import agents
from domain.kernel.errors import NotFound
from handlers.wiring import timestamp
from thalweg.edge.application import Reply

if TYPE_CHECKING:
    from typing import Literal

    from domain.containers import Container
    from domain.kernel.context import Ctx
    from domain.kernel.pages import Page
    from generated.starter import responses

SURFACE = "starter"


def created(ctx: Ctx, made: Container) -> Reply:
    return Reply(container(made), headers={"Location": f"{ctx.base_path}/api/v1/containers/{made.id}"})


def container(held: Container) -> responses.ContainerResponse:
    return {
        "id": str(held.id),
        "openai_id": held.external_id or "",
        "tenant_id": str(held.organisation_id),
        "owner_user_id": None if held.created_by is None else str(held.created_by),
        "name": held.name,
        "memory_limit": cast("Literal['1g', '4g', '16g', '64g']", held.memory),
        "status": cast("Literal['creating', 'running', 'expired', 'error']", held.state),
        "expires_after": {"anchor": "last_active_at", "minutes": held.rest_minutes},
        "last_active_at": timestamp(held.last_active_at),
        "metadata": held.notes,
        "created_at": timestamp(held.created_at),
        "updated_at": timestamp(held.updated_at),
    }


def container_page(found: Page[Container]) -> responses.ContainerListResponse:
    return {"items": [container(each) for each in found.items], "total": found.total or 0}


def agent(ctx: Ctx, key: str) -> str:
    """The key of an agent that Starter offers. Raises `NotFound`."""
    found = agents.find_agent(ctx, key)
    if not agents.builtin.offers(found, SURFACE):
        raise NotFound("There is no such agent.")
    return found.key
