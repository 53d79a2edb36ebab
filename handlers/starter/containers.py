"""containers."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.starter import requests, responses
from thalweg.edge.problem import not_implemented


def create_container(ctx: Ctx, body: requests.ContainerCreateRequest) -> responses.ContainerResponse:
    """Create a container."""
    raise not_implemented()


def list_containers(ctx: Ctx, page: OffsetPage) -> responses.ContainerListResponse:
    """List containers."""
    raise not_implemented()


def get_container(ctx: Ctx, container_id: UUID) -> responses.ContainerResponse:
    """Read a container."""
    raise not_implemented()


def delete_container(ctx: Ctx, container_id: UUID) -> None:
    """Delete a container."""
    raise not_implemented()


def bind_agent_container(ctx: Ctx, agent_key: str, body: requests.ContainerBindRequest) -> None:
    """Give an agent a container."""
    raise not_implemented()


def unbind_agent_container(ctx: Ctx, agent_key: str) -> None:
    """Take an agent's container away."""
    raise not_implemented()
