"""Which agent works in which container. An agent without one works in a fresh one each time."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from domain import audit
from domain.containers import holding, rules
from domain.containers.models import Container, ContainerBinding
from domain.kernel.context import Ctx
from domain.kernel.errors import Conflict


def bind(ctx: Ctx, agent_key: str, container_id: UUID) -> None:
    """Give an agent a container, in place of one that it had. Whoever calls knows that there is such an agent.

    Raises `NotFound`, `Conflict` for a container that is gone or was never made.
    """
    found = holding.get(ctx, container_id)
    if found.state not in rules.LIVE:
        raise Conflict("The container is gone, and its files with it. Make another one.", reason="container_gone")
    row = {
        "organisation_id": ctx.organisation,
        "agent_key": agent_key,
        "container_id": container_id,
        "created_at": ctx.now(),
    }
    ctx.session.execute(
        insert(ContainerBinding)
        .values(row)
        .on_conflict_do_update(
            index_elements=["organisation_id", "agent_key"],
            set_={"container_id": row["container_id"], "created_at": row["created_at"]},
        )
    )
    audit.record(
        ctx, "container.bind", resource_type="container", resource_id=container_id, details={"agent": agent_key}
    )


def unbind(ctx: Ctx, agent_key: str) -> None:
    """Take an agent's container away; the same when it has none."""
    had = ctx.session.scalar(
        delete(ContainerBinding)
        .where(ContainerBinding.agent_key == agent_key)
        .returning(ContainerBinding.container_id)
        .execution_options(synchronize_session=False)
    )
    audit.record(ctx, "container.unbind", resource_type="container", resource_id=had, details={"agent": agent_key})


def of(ctx: Ctx, agent_key: str) -> Container | None:
    """The container of an agent, None where it has none."""
    return ctx.session.scalars(
        select(Container)
        .join(ContainerBinding, ContainerBinding.container_id == Container.id)
        .where(ContainerBinding.agent_key == agent_key)
    ).one_or_none()
