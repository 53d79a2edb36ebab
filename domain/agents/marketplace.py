"""The marketplace of agents: what organisations have published and what comes with the platform, for everybody to see
and to copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    String,
    Subquery,
    Text,
    Uuid,
    cast,
    column,
    func,
    select,
    union_all,
    values,
)
from sqlalchemy.dialects.postgresql import insert

from domain import audit, identity
from domain.agents import builtin, tools
from domain.agents.definitions import agent_of, definition_of, editable, get_agent, remember
from domain.agents.drafts import FIELDS, free_key, room, usable
from domain.agents.models import AgentRow, MarketplaceAgent, PlatformAgentSetting
from domain.agents.people import caller, person
from domain.agents.spec import Agent, Publication
from domain.kernel.context import Ctx
from domain.kernel.errors import Forbidden, NotFound, Unprocessable
from domain.kernel.pages import OffsetPage, Page

CATEGORIES = (
    "productivity", "writing", "research", "sales", "support", "legal", "finance", "hr", "engineering", "education",
    "other",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shelved:
    """An agent as the marketplace shows it. `publisher` None: it comes with the platform."""

    id: UUID
    name: str
    description: str | None
    tagline: str
    category: str
    tags: tuple[str, ...]
    avatar_url: str | None
    starter_prompts: tuple[str, ...]
    publisher: str | None
    verified: bool
    version: int
    copies: int
    published_at: datetime


def publish_agent(
    ctx: Ctx,
    agent_id: UUID,
    *,
    category: str,
    tagline: str,
    tags: Sequence[str] = (),
    share_instructions: bool = False,
) -> Agent:
    """Put an agent as it is now into the marketplace; again: as its next version. Knowledge bases, skills, connected
    services and groups stay behind.

    Raises `NotFound`, `Forbidden` (not its owner; a copy of what is secret), `Unprocessable` (no description).
    """
    row = editable(ctx, agent_id)
    if row.owner_id != caller(ctx):
        raise Forbidden("Only its owner may publish an agent.")
    if row.instructions_hidden:
        raise Forbidden("A copy whose instructions are not yours to read cannot be published.")
    if not (row.description or "").strip():
        raise Unprocessable("An agent needs a description before it is published.", field="description")
    definition = definition_of(row) | {
        "knowledge_base_ids": [],
        "skill_ids": [],
        "group_ids": [],
        "guardrails": {},
        "visibility": "private",
        "tools": [name for name in row.tools if (tool := tools.get(name)) is not None and tool.service is None],
    }
    publisher = identity.get_organisation(ctx).name[:200]
    published = ctx.session.get(MarketplaceAgent, agent_id, with_for_update=True)
    if published is None:
        published = MarketplaceAgent(id=agent_id, publisher_id=ctx.organisation, version=0, copies=0)
        ctx.session.add(published)
    published.publisher_name = publisher
    published.name, published.description = row.name, row.description
    published.tagline, published.category, published.tags = tagline, category, list(dict.fromkeys(tags))[:10]
    published.avatar_url, published.starter_prompts = row.avatar_url, row.starter_prompts
    published.share_instructions, published.definition = share_instructions, definition
    published.version += 1
    published.published_at = ctx.now()
    ctx.session.flush()
    audit.record(
        ctx,
        "agent.publish",
        resource_type="agent",
        resource_id=agent_id,
        details={"version": published.version, "category": category},
    )
    return agent_of(row, published)


def read_agent(ctx: Ctx, agent_id: UUID) -> Agent:
    """One that the caller can see: to talk to (`get_agent`), or to copy from the marketplace. Raises `NotFound`."""
    try:
        return get_agent(ctx, agent_id)
    except NotFound:
        row = ctx.session.get(MarketplaceAgent, agent_id)
        publisher = None if row is None else identity.organisations.names_of(ctx, [row.publisher_id])
        if row is None or not publisher:
            raise
        return _foreign(row, publisher[row.publisher_id])


def duplicate_agent(ctx: Ctx, agent_id: UUID, *, name: str | None = None) -> Agent:
    """A private copy for the caller, of what they can see or what stands in the marketplace; what they cannot use is
    left out of it. Raises `NotFound`, `PaymentRequired`, `Invalid`."""
    owner = person(ctx)
    source = read_agent(ctx, agent_id)
    room(ctx)
    given = usable(ctx, _definition(source))
    given |= {"name": _name(name, source), "visibility": "private", "group_ids": []}
    row = AgentRow(
        key=free_key(ctx, given["name"]),
        owner_id=owner,
        copied_from=agent_id,
        instructions_hidden=source.instructions_hidden,
        version=1,
        **given,
    )
    ctx.session.add(row)
    ctx.session.flush()
    remember(ctx, row)
    _count_copy(ctx, source)
    audit.record(
        ctx, "agent.duplicate", resource_type="agent", resource_id=row.id, details={"copied_from": str(agent_id)}
    )
    return agent_of(row)


def list_marketplace(
    ctx: Ctx,
    *,
    category: str | None = None,
    search: str | None = None,
    sort: str = "popular",
    page: OffsetPage | None = None,
) -> Page[Shelved]:
    """Published agents of every organisation that is open, and those of the platform, with their `total`. Anybody may
    look; instructions are not among it."""
    page = page or OffsetPage()
    publishers = set(ctx.session.scalars(select(MarketplaceAgent.publisher_id).distinct()))
    names = identity.organisations.names_of(ctx, publishers)
    shelf = _shelf(ctx, list(names))
    conditions: list[ColumnElement[bool]] = []
    if category is not None:
        conditions.append(shelf.c.category == category)
    conditions += [shelf.c.words.icontains(word, autoescape=True) for word in (search or "").split()[:10]]
    total = ctx.session.scalar(select(func.count()).select_from(shelf).where(*conditions)) or 0
    order = {
        "newest": (shelf.c.published_at.desc(), shelf.c.id),
        "name": (func.lower(shelf.c.name), shelf.c.id),
    }.get(sort, (shelf.c.copies.desc(), func.lower(shelf.c.name), shelf.c.id))
    found = ctx.session.execute(
        select(shelf.c.id, shelf.c.copies).where(*conditions).order_by(*order).limit(page.limit).offset(page.offset)
    ).all()
    copies = {row.id: row.copies for row in found}
    shown = {agent.id: _of_platform(agent, copies[agent.id]) for agent in builtin.published() if agent.id in copies}
    for row in ctx.session.scalars(select(MarketplaceAgent).where(MarketplaceAgent.id.in_(list(copies)))):
        shown[row.id] = _of_row(row, names[row.publisher_id])
    return Page([shown[each] for each in copies if each in shown], total=total)


def _shelf(ctx: Ctx, publishers: Sequence[UUID]) -> Subquery:
    """Rows of the table and agents of the files as one relation, as far as it takes to find and to order them."""
    words = func.concat_ws(
        " ",
        MarketplaceAgent.name,
        MarketplaceAgent.tagline,
        MarketplaceAgent.description,
        func.translate(cast(MarketplaceAgent.tags, Text), '[]",', "    "),
    )
    theirs = select(
        MarketplaceAgent.id,
        MarketplaceAgent.name,
        words.label("words"),
        MarketplaceAgent.category,
        MarketplaceAgent.copies,
        MarketplaceAgent.published_at,
    ).where(MarketplaceAgent.publisher_id.in_(publishers))
    shipped = builtin.published()
    if not shipped:
        return theirs.subquery()
    counts = _copies(ctx)
    rows = []
    for agent in shipped:
        assert agent.publication is not None
        stands = agent.publication
        text = " ".join((agent.name, stands.tagline, agent.description, *stands.tags))
        rows.append((agent.id, agent.name, text, stands.category, counts.get(agent.key, 0), stands.published_at))
    ours = values(
        column("id", Uuid),
        column("name", String),
        column("words", Text),
        column("category", String),
        column("copies", Integer),
        column("published_at", DateTime(timezone=True)),
        name="shipped",
    ).data(rows)
    return union_all(theirs, select(*ours.c)).subquery("shelf")


def _copies(ctx: Ctx) -> Mapping[str, int]:
    rows = ctx.session.execute(
        select(PlatformAgentSetting.agent_key, PlatformAgentSetting.copies).where(PlatformAgentSetting.copies > 0)
    )
    return {row.agent_key: row.copies for row in rows}


def _count_copy(ctx: Ctx, source: Agent) -> None:
    """Of what stands in the marketplace: an agent of the platform, or of an organisation."""
    if source.builtin:
        ctx.session.execute(
            insert(PlatformAgentSetting)
            .values(agent_key=source.key, copies=1, overrides=0)
            .on_conflict_do_update(index_elements=["agent_key"], set_={"copies": PlatformAgentSetting.copies + 1})
        )
    elif source.publication is not None:
        row = ctx.session.get(MarketplaceAgent, source.id, with_for_update=True)
        if row is not None:
            row.copies += 1
            ctx.session.flush()


def _definition(agent: Agent) -> dict[str, Any]:
    """What can be said of an agent, as JSON."""
    said: dict[str, Any] = {name: getattr(agent, name) for name in FIELDS}
    for name, value in said.items():
        if isinstance(value, tuple):
            said[name] = [str(each) if isinstance(each, UUID) else each for each in value]
        elif isinstance(value, Mapping):
            said[name] = dict(value)
    return said


def _name(given: str | None, source: Agent) -> str:
    plain = (given or "").strip()
    return plain or f"{source.name[:110]} (copy)"


def _foreign(row: MarketplaceAgent, publisher: str) -> Agent:
    """What another organisation has published, as it was then."""
    held = {field.name for field in fields(Agent)}
    said = {name: value for name, value in row.definition.items() if name in held}
    for name in ("starter_prompts", "tools", "knowledge_base_ids", "skill_ids", "group_ids"):
        said[name] = tuple(said.get(name) or ())
    said["description"] = said.get("description") or ""
    agent = Agent(
        id=row.id,
        key="",
        publisher_id=row.publisher_id,
        publisher=publisher,
        instructions_hidden=not row.share_instructions,
        created_at=row.published_at,
        updated_at=row.published_at,
        publication=Publication(
            row.category, row.tagline, tuple(row.tags), row.share_instructions, row.version, row.published_at
        ),
        **said,
    )
    return replace(agent, visibility="organisation")


def _of_row(row: MarketplaceAgent, publisher: str) -> Shelved:
    return Shelved(
        row.id,
        row.name,
        row.description,
        row.tagline,
        row.category,
        tuple(row.tags),
        row.avatar_url,
        tuple(row.starter_prompts),
        publisher,
        row.verified,
        row.version,
        row.copies,
        row.published_at,
    )


def _of_platform(agent: Agent, copies: int) -> Shelved:
    assert agent.publication is not None
    stands = agent.publication
    return Shelved(
        agent.id,
        agent.name,
        agent.description,
        stands.tagline,
        stands.category,
        stands.tags,
        agent.avatar_url,
        agent.starter_prompts,
        None,
        True,
        stands.version,
        copies,
        stands.published_at,
    )
