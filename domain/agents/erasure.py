"""A person's agents, when their account is erased: those that nobody else sees go, shared ones lose their owner."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import delete, update

from domain.agents import tiers
from domain.agents.models import (
    AgentAccess,
    AgentRow,
    AgentVersion,
    Confirmation,
    PlatformAgentSetting,
    Skill,
)
from domain.kernel.context import Ctx


def erase_person(ctx: Ctx, account_id: UUID) -> None:
    """Erase, in the context's organisation, the person's private agents, their own settings of agents, and what waited
    for their word."""
    tiers.forget_person(ctx, account_id)
    for table, mine in (
        (Confirmation, Confirmation.user_id == account_id),
        (AgentRow, (AgentRow.owner_id == account_id) & (AgentRow.visibility == "private")),
    ):
        ctx.session.execute(delete(table).where(mine).execution_options(synchronize_session=False))
    for column in (
        AgentRow.owner_id,
        AgentVersion.changed_by,
        AgentAccess.updated_by,
        PlatformAgentSetting.updated_by,
        Skill.installed_by,
    ):
        ctx.session.execute(
            update(column.class_)
            .where(column == account_id)
            .values({column.key: None})
            .execution_options(synchronize_session=False)
        )
