"""Agents that people make: create, read, change, delete, copy, and the versions they leave."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, or_, select

from domain import audit, billing, inference, knowledge
from domain.agents import builtin, rules, tools
from domain.agents.models import AgentRow, AgentVersion, MarketplaceAgent, Skill
from domain.agents.people import caller, directory, groups_of, manages, person
from domain.agents.spec import Agent, Publication
from domain.kernel.context import Ctx
from domain.kernel.errors import Forbidden, Invalid, NotFound, PaymentRequired, Unprocessable
from domain.kernel.pages import OffsetPage, Page

FIELDS = (
    "name", "description", "category", "instructions", "avatar_url", "model", "tier", "temperature",
    "max_output_tokens", "welcome_message", "starter_prompts", "knowledge_base_ids", "skill_ids", "tools",
    "guardrails", "visibility", "group_ids",
)  # fmt: skip
"""What a person may say of an agent. Lists are replaced whole."""
_IDS = ("knowledge_base_ids", "skill_ids", "group_ids")


def create_agent(ctx: Ctx, *, name: str, instructions: str, **given: Any) -> Agent:
    """Make an agent that belongs to the caller; `given` are further `FIELDS`.

    Raises `PaymentRequired` (the tier has no room), `Unprocessable` (names something that the caller cannot see),
    `Invalid`.
    """
    owner = person(ctx)
    _room(ctx)
    fields = _checked(ctx, {"name": name, "instructions": instructions, **given})
    row = AgentRow(key=_free_key(ctx, fields["name"]), owner_id=owner, version=1, **fields)
    ctx.session.add(row)
    ctx.session.flush()
    _remember(ctx, row)
    audit.record(ctx, "agent.create", resource_type="agent", resource_id=row.id, details={"name": row.name})
    return agent_of(row)


def get_agent(ctx: Ctx, agent_id: UUID) -> Agent:
    """One that the caller can see: built in, their own, or shared with them. Raises `NotFound`."""
    known = builtin.agents_by_id().get(agent_id)
    if known is not None:
        return known
    row = ctx.session.scalars(select(AgentRow).where(AgentRow.id == agent_id, _visible(ctx))).one_or_none()
    if row is None:
        raise NotFound("There is no such agent.")
    return agent_of(row, _publications(ctx, [row.id]).get(row.id))


def find_agent(ctx: Ctx, key: str) -> Agent:
    """By its name for programs. Raises `NotFound`."""
    known = builtin.agents().get(key)
    if known is not None:
        return known
    row = ctx.session.scalars(select(AgentRow).where(AgentRow.key == key, _visible(ctx))).one_or_none()
    if row is None:
        raise NotFound("There is no such agent.")
    return agent_of(row, _publications(ctx, [row.id]).get(row.id))


def names_of(ctx: Ctx, ids: Collection[UUID]) -> dict[UUID, str]:
    """What agents are called, for lists of conversations; those that are gone are left out."""
    known = {i: a.name for i, a in builtin.agents_by_id().items() if i in set(ids)}
    rest = [i for i in ids if i not in known]
    if rest:
        rows = ctx.session.execute(select(AgentRow.id, AgentRow.name).where(AgentRow.id.in_(rest)))
        known.update({row.id: row.name for row in rows})
    return known


def list_agents(
    ctx: Ctx,
    *,
    search: str | None = None,
    visibility: str | None = None,
    mine: bool = False,
    page: OffsetPage | None = None,
) -> Page[Agent]:
    """The caller's own agents and those shared with them, the last changed first, with their `total`. Built-in ones are
    not among them."""
    page = page or OffsetPage()
    conditions = [_visible(ctx)]
    if mine:
        conditions.append(AgentRow.owner_id == caller(ctx))
    if visibility is not None:
        conditions.append(AgentRow.visibility == visibility)
    if search is not None:
        held = [column.icontains(search, autoescape=True) for column in (AgentRow.name, AgentRow.description)]
        conditions.append(or_(*held))
    total = ctx.session.scalar(select(func.count(AgentRow.id)).where(*conditions)) or 0
    rows = ctx.session.scalars(
        select(AgentRow)
        .where(*conditions)
        .order_by(AgentRow.updated_at.desc(), AgentRow.id.desc())
        .limit(page.limit)
        .offset(page.offset)
    ).all()
    publications = _publications(ctx, [row.id for row in rows])
    return Page([agent_of(row, publications.get(row.id)) for row in rows], total=total)


def may_edit(ctx: Ctx, agent: Agent) -> bool:
    """The owner, and administrators; nobody changes what is built in."""
    return not agent.builtin and (manages(ctx) or (agent.owner_id is not None and agent.owner_id == caller(ctx)))


def update_agent(ctx: Ctx, agent_id: UUID, **changes: Any) -> Agent:
    """Change what is named; the rest stays. Raises `NotFound`, `Forbidden`, `Unprocessable`, `Invalid`."""
    row = _editable(ctx, agent_id)
    fields = _checked(ctx, changes)
    if "instructions" in fields:
        row.instructions_hidden = False
    for name, value in fields.items():
        setattr(row, name, value)
    row.version += 1
    row.updated_at = ctx.now()
    ctx.session.flush()
    _remember(ctx, row)
    audit.record(ctx, "agent.update", resource_type="agent", resource_id=row.id, details={"fields": sorted(fields)})
    return agent_of(row, _publications(ctx, [row.id]).get(row.id))


def delete_agent(ctx: Ctx, agent_id: UUID) -> None:
    """Remove it, from the marketplace too; copies stay. Raises `NotFound`, `Forbidden`."""
    row = _editable(ctx, agent_id)
    ctx.session.execute(
        delete(MarketplaceAgent).where(MarketplaceAgent.id == row.id, MarketplaceAgent.publisher_id == ctx.organisation)
    )
    ctx.session.delete(row)
    ctx.session.flush()
    audit.record(ctx, "agent.delete", resource_type="agent", resource_id=agent_id, details={"name": row.name})


def list_versions(ctx: Ctx, agent_id: UUID) -> Sequence[AgentVersion]:
    """What it was after each change, the latest first. For those who may change it."""
    _editable(ctx, agent_id)
    return ctx.session.scalars(
        select(AgentVersion).where(AgentVersion.agent_id == agent_id).order_by(AgentVersion.number.desc()).limit(200)
    ).all()


def restore_version(ctx: Ctx, agent_id: UUID, number: int) -> Agent:
    """Make it what it was, as a new version. Raises `NotFound`, `Forbidden`."""
    _editable(ctx, agent_id)
    kept = ctx.session.scalars(
        select(AgentVersion).where(AgentVersion.agent_id == agent_id, AgentVersion.number == number)
    ).one_or_none()
    if kept is None:
        raise NotFound("There is no such version.")
    return update_agent(ctx, agent_id, **{k: v for k, v in kept.definition.items() if k in FIELDS})


def duplicate_agent(ctx: Ctx, agent_id: UUID, *, name: str | None = None) -> Agent:
    """A private copy for the caller, of what they can see or what stands in the marketplace; what they cannot use is
    left out of it. Raises `NotFound`, `PaymentRequired`."""
    owner = person(ctx)
    source, definition, hidden = _original(ctx, agent_id)
    _room(ctx)
    fields = {k: v for k, v in definition.items() if k in FIELDS}
    fields |= {"name": (name or f"{definition['name'][:110]} (copy)")[:120], "visibility": "private", "group_ids": []}
    fields["skill_ids"] = [str(i) for i in _visible_skills(ctx, fields.get("skill_ids", ()))]
    bases = [UUID(str(i)) for i in fields.get("knowledge_base_ids", ())]
    fields["knowledge_base_ids"] = [str(i) for i in _bases(ctx, bases)]
    row = AgentRow(
        key=_free_key(ctx, fields["name"]),
        owner_id=owner,
        copied_from=agent_id,
        instructions_hidden=hidden,
        version=1,
        **fields,
    )
    ctx.session.add(row)
    ctx.session.flush()
    _remember(ctx, row)
    if source is not None:
        source.copies += 1
    audit.record(
        ctx, "agent.duplicate", resource_type="agent", resource_id=row.id, details={"copied_from": str(agent_id)}
    )
    return agent_of(row)


def agent_of(row: AgentRow, published: MarketplaceAgent | None = None) -> Agent:
    return Agent(
        id=row.id,
        key=row.key,
        name=row.name,
        description=row.description or "",
        instructions=row.instructions,
        category=row.category,
        model=row.model,
        tier=row.tier,
        temperature=row.temperature,
        max_output_tokens=row.max_output_tokens,
        welcome_message=row.welcome_message,
        starter_prompts=tuple(row.starter_prompts),
        tools=tuple(row.tools),
        knowledge_base_ids=tuple(UUID(i) for i in row.knowledge_base_ids),
        skill_ids=tuple(UUID(i) for i in row.skill_ids),
        guardrails=row.guardrails,
        visibility=row.visibility,
        group_ids=tuple(UUID(i) for i in row.group_ids),
        owner_id=row.owner_id,
        avatar_url=row.avatar_url,
        instructions_hidden=row.instructions_hidden,
        copied_from=row.copied_from,
        publication=None if published is None else publication_of(published),
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def publication_of(row: MarketplaceAgent) -> Publication:
    return Publication(
        row.category, row.tagline, tuple(row.tags), row.share_instructions, row.version, row.published_at
    )


def definition_of(row: AgentRow) -> dict[str, Any]:
    """What can be said of an agent, as JSON."""
    return {name: getattr(row, name) for name in FIELDS}


def _bases(ctx: Ctx, ids: Sequence[UUID]) -> Sequence[UUID]:
    """Those knowledge bases that the caller can see."""
    return [held.id for held in knowledge.get_many(ctx, ids)] if ids else ()


def _visible(ctx: Ctx) -> ColumnElement[bool]:
    """Own, everybody's, and those of one's groups; administrators see all."""
    if manages(ctx):
        return AgentRow.id.is_not(None)
    who = caller(ctx)
    ways: list[ColumnElement[bool]] = [AgentRow.visibility == "organisation"]
    if who is not None:
        ways.append(AgentRow.owner_id == who)
        ways += [
            (AgentRow.visibility == "group") & AgentRow.group_ids.contains([str(group.id)])
            for group in groups_of(ctx, who)
        ]
    return or_(*ways)


def _editable(ctx: Ctx, agent_id: UUID) -> AgentRow:
    if agent_id in builtin.agents_by_id():
        raise Forbidden("What comes with the platform cannot be changed: make a copy of it.")
    row = ctx.session.scalars(
        select(AgentRow).where(AgentRow.id == agent_id, _visible(ctx)).with_for_update()
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such agent.")
    if not may_edit(ctx, agent_of(row)):
        raise Forbidden("Only its owner and administrators may change an agent.")
    return row


def _original(ctx: Ctx, agent_id: UUID) -> tuple[MarketplaceAgent | None, Mapping[str, Any], bool]:
    """What a copy is made of: the row of the marketplace, if it is one; the definition; whether to hide it."""
    try:
        agent = get_agent(ctx, agent_id)
    except NotFound:
        row = ctx.session.scalars(
            select(MarketplaceAgent).where(MarketplaceAgent.id == agent_id).with_for_update()
        ).one_or_none()
        if row is None:
            raise
        return row, row.definition, not row.share_instructions
    definition: dict[str, Any] = {name: getattr(agent, name) for name in FIELDS}
    for name, value in definition.items():
        if isinstance(value, tuple):
            definition[name] = [str(each) if isinstance(each, UUID) else each for each in value]
        elif isinstance(value, Mapping):
            definition[name] = dict(value)
    return None, definition, agent.instructions_hidden


def _publications(ctx: Ctx, ids: Sequence[UUID]) -> dict[UUID, MarketplaceAgent]:
    if not ids:
        return {}
    rows = ctx.session.scalars(select(MarketplaceAgent).where(MarketplaceAgent.id.in_(ids)))
    return {row.id: row for row in rows}


def _remember(ctx: Ctx, row: AgentRow) -> None:
    ctx.session.add(
        AgentVersion(
            agent_id=row.id,
            number=row.version,
            definition=definition_of(row),
            changed_by=caller(ctx),
            created_at=ctx.now(),
        )
    )
    ctx.session.flush()


def _room(ctx: Ctx) -> None:
    """The tier's number of agents, where the surface sells one."""
    if not ctx.surface:
        return
    # Two that are made at once must not both take the last place.
    ctx.session.execute(select(func.pg_advisory_xact_lock(0x6167, func.hashtext(str(ctx.organisation)))))
    used = ctx.session.scalar(select(func.count(AgentRow.id))) or 0
    try:
        billing.room_for(ctx, f"{ctx.surface}.agents", used)
    except billing.UnknownPlan:
        return
    except PaymentRequired as full:
        raise PaymentRequired(full.message, reason="tier_limit", **full.facts) from None


def _free_key(ctx: Ctx, name: str) -> str:
    key = rules.key_of(name)
    taken = set(ctx.session.scalars(select(AgentRow.key).where(AgentRow.key.startswith(key, autoescape=True))))
    taken |= set(builtin.agents())
    number = 2
    free = key
    while free in taken:
        free = f"{key}_{number}"
        number += 1
    return free


def _checked(ctx: Ctx, given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = [name for name in given if name not in FIELDS]
    if unknown:
        raise Invalid(f"An agent has no {unknown[0]}.")
    fields = dict(given)
    if "name" in fields and not str(fields["name"] or "").strip():
        raise Invalid("name: an agent needs one.")
    if "starter_prompts" in fields:
        fields["starter_prompts"] = [str(p) for p in fields["starter_prompts"] or ()]
        if len(fields["starter_prompts"]) > 4:
            raise Invalid("starterPrompts: at most four.")
    for name in _IDS:
        if name in fields:
            fields[name] = [str(UUID(str(each))) for each in dict.fromkeys(fields[name] or ())]
    if "tools" in fields:
        fields["tools"] = list(dict.fromkeys(fields["tools"] or ()))
        if wrong := [name for name in fields["tools"] if tools.get(name) is None]:
            raise Unprocessable(f"tools: there is no {wrong[0]!r} here.", field="tools")
    if fields.get("model") is not None:
        try:
            inference.drivers().chat(fields["model"])
        except Invalid as wrong_model:
            raise Unprocessable(f"model: {wrong_model.message}", field="model") from None
    if "guardrails" in fields:
        fields["guardrails"] = {k: v for k, v in dict(fields["guardrails"] or {}).items() if v is not None}
    _references(ctx, fields)
    return fields


def _references(ctx: Ctx, fields: Mapping[str, Any]) -> None:
    """Everything named is something that the caller can see."""
    if ids := fields.get("group_ids"):
        wanted = {UUID(i) for i in ids}
        known = set(directory().groups(ctx, wanted))
        if not manages(ctx):
            known &= {group.id for group in groups_of(ctx, caller(ctx))}
        if wanted - known:
            raise Unprocessable("groupIds: there is no such group for you.", field="group_ids")
    if (ids := fields.get("skill_ids")) and len(_visible_skills(ctx, ids)) < len(ids):
        raise Unprocessable("skillIds: there is no such skill for you.", field="skill_ids")
    if (ids := fields.get("knowledge_base_ids")) and len(_bases(ctx, [UUID(i) for i in ids])) < len(ids):
        raise Unprocessable("knowledgeBaseIds: there is no such one for you.", field="knowledge_base_ids")


def _visible_skills(ctx: Ctx, ids: Collection[Any]) -> list[UUID]:
    if not ids:
        return []
    return list(
        ctx.session.scalars(
            select(Skill.id).where(
                Skill.id.in_([UUID(str(i)) for i in ids]),
                or_(Skill.visibility == "organisation", Skill.installed_by == caller(ctx)),
            )
        )
    )
