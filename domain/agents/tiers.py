"""What platform, organisation, groups and users have set for agents: read at once for as many agents as there are, and
written one at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from domain.agents import rules
from domain.agents.models import AgentAccess, AgentSetting, PlatformAgentSetting
from domain.agents.people import caller
from domain.agents.rules import Settings
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid
from domain.kernel.ids import new_id

_NAMED = 100
"""Keys that a query names; for more agents than this it asks for what there is."""


@dataclass(frozen=True, slots=True)
class Tiers:
    """What is set for agents, as far as it bears on the groups and users that were asked about."""

    platform: Mapping[str, PlatformAgentSetting]
    rows: Mapping[tuple[str, str], Sequence[AgentAccess]]
    """By agent and tier."""

    def row(self, key: str, tier: str, subject: UUID | None = None) -> AgentAccess | None:
        return next((row for row in self.rows.get((key, tier), ()) if row.subject_id == subject), None)

    def said(self, key: str, groups: Collection[UUID] = (), user: UUID | None = None) -> Settings:
        """What each tier says of an agent for a user in these groups."""
        platform = self.platform.get(key)
        organisation = self.row(key, "organisation")
        own = None if user is None else self.row(key, "user", user)
        return Settings(
            platform=None if platform is None else platform.access,
            organisation="inherit" if organisation is None else organisation.access,
            groups=tuple(row.access for row in self.rows.get((key, "group"), ()) if row.subject_id in groups),
            user="inherit" if own is None else own.access,
        )


def read(ctx: Ctx, keys: Collection[str], *, groups: Collection[UUID] = (), users: Collection[UUID] = ()) -> Tiers:
    """What platform and organisation have set for the agents, and these groups and users: two queries."""
    settings = select(PlatformAgentSetting)
    query = select(AgentAccess).where(
        (AgentAccess.tier == "organisation") | AgentAccess.subject_id.in_([*groups, *users])
    )
    if len(keys) <= _NAMED:
        settings = settings.where(PlatformAgentSetting.agent_key.in_(keys))
        query = query.where(AgentAccess.agent_key.in_(keys))
    rows: dict[tuple[str, str], list[AgentAccess]] = {}
    for row in ctx.session.scalars(query):
        rows.setdefault((row.agent_key, row.tier), []).append(row)
    return Tiers({row.agent_key: row for row in ctx.session.scalars(settings)}, rows)


def write(
    ctx: Ctx,
    tier: rules.Tier,
    subject: UUID | None,
    key: str,
    access: str,
    *,
    model_tier: str | None = None,
    reason: str | None = None,
) -> str:
    """Set what a tier says of an agent; answers what it said before. Two who do so at once do it one after the other.

    Raises `Invalid`.
    """
    if access not in rules.ACCESS:
        raise Invalid("access: allow, deny or inherit.")
    if model_tier is not None and model_tier not in rules.MODEL_TIERS:
        raise Invalid("model_tier: fast, medium or large.")
    ctx.session.execute(
        insert(AgentAccess).on_conflict_do_nothing(),
        [
            {
                "id": new_id(),
                "organisation_id": ctx.organisation,
                "tier": tier,
                "subject_id": subject,
                "agent_key": key,
                "access": "inherit",
                "created_at": ctx.now(),
                "updated_at": ctx.now(),
            }
        ],
    )
    row = ctx.session.scalars(
        select(AgentAccess)
        .where(
            AgentAccess.tier == tier,
            AgentAccess.subject_id.is_not_distinct_from(subject),
            AgentAccess.agent_key == key,
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()
    before = row.access
    row.access, row.model_tier, row.reason = access, model_tier, reason
    row.updated_by, row.updated_at = caller(ctx), ctx.now()
    ctx.session.flush()
    return before


def count_override(ctx: Ctx, key: str, step: int) -> None:
    """One organisation more (or fewer) says something of its own about an agent of the platform."""
    ctx.session.execute(
        insert(PlatformAgentSetting)
        .values(agent_key=key, overrides=max(step, 0))
        .on_conflict_do_update(index_elements=["agent_key"], set_={"overrides": PlatformAgentSetting.overrides + step})
    )


def forget(ctx: Ctx, key: str) -> None:
    """Remove all that was set for an agent that is gone: another one may get its name."""
    for table in (AgentAccess, AgentSetting):
        ctx.session.execute(delete(table).where(table.agent_key == key).execution_options(synchronize_session=False))


def forget_person(ctx: Ctx, user_id: UUID) -> None:
    """Remove what somebody has set for themselves and what was set for them: for the erasure of an account."""
    for statement in (
        delete(AgentSetting).where(AgentSetting.user_id == user_id),
        delete(AgentAccess).where(AgentAccess.tier == "user", AgentAccess.subject_id == user_id),
    ):
        ctx.session.execute(statement.execution_options(synchronize_session=False))


def recount(ctx: Ctx) -> None:
    """Count anew how many organisations have set each agent themselves: some are gone. Needs a platform context."""
    # Whoever counts up or down meanwhile waits here, or is waited for; what they have set is then seen or added.
    ctx.session.execute(select(PlatformAgentSetting.agent_key).order_by("agent_key").with_for_update())
    said = (
        select(func.count(AgentAccess.id))
        .where(
            AgentAccess.agent_key == PlatformAgentSetting.agent_key,
            AgentAccess.tier == "organisation",
            AgentAccess.access != "inherit",
        )
        .scalar_subquery()
    )
    ctx.session.execute(
        update(PlatformAgentSetting).values(overrides=said).execution_options(synchronize_session=False)
    )
