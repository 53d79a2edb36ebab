"""containers: workspaces in which agents run code, and which agent works in which."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import containers
from handlers.starter import wire_containers as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.starter import requests, responses
    from thalweg.edge.application import Reply


def create_container(ctx: Ctx, body: requests.ContainerCreateRequest) -> Reply:
    made = containers.create(
        ctx,
        body.name,
        memory=body.memory_limit,
        rest_minutes=None if body.expires_after is None else body.expires_after.minutes,
        file_ids=body.file_ids or (),
        notes=body.metadata,
    )
    return wire.created(ctx, made)


def list_containers(ctx: Ctx, page: OffsetPage) -> responses.ContainerListResponse:
    return wire.container_page(containers.list_containers(ctx, page))


def get_container(ctx: Ctx, container_id: UUID) -> responses.ContainerResponse:
    return wire.container(containers.get(ctx, container_id))


def delete_container(ctx: Ctx, container_id: UUID) -> None:
    containers.delete_container(ctx, container_id)


def bind_agent_container(ctx: Ctx, agent_key: str, body: requests.ContainerBindRequest) -> None:
    containers.bind(ctx, wire.agent(ctx, agent_key), body.container_id)


def unbind_agent_container(ctx: Ctx, agent_key: str) -> None:
    containers.unbind(ctx, wire.agent(ctx, agent_key))
