"""Skills: versioned packs of instructions and tools, installed from the marketplace and given to agents."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Text, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB, array, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import undefer

from domain import audit
from domain.agents import builtin, tools
from domain.agents.models import AgentRow, Skill, SkillInstalls
from domain.agents.people import caller, manages, person
from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.errors import Conflict, Forbidden, NotFound, Unprocessable
from domain.kernel.pages import OffsetPage, Page


@dataclass(frozen=True, slots=True)
class MarketplaceSkill:
    id: UUID
    name: str
    description: str
    category: str
    tags: tuple[str, ...]
    permissions: tuple[str, ...]
    version: str
    """The latest."""
    installs: int
    published_at: datetime
    publisher: str | None = None
    """None: it comes with the platform."""
    verified: bool = True


@dataclass(frozen=True, slots=True)
class InstalledSkill:
    id: UUID
    marketplace_id: UUID
    name: str
    description: str
    version: str
    latest_version: str | None
    permissions: tuple[str, ...]
    tools: tuple[tuple[str, str], ...]
    """Name and description of each."""
    settings: Mapping[str, Any]
    """Secret ones are masked."""
    visibility: str
    agent_count: int
    installed_by: UUID | None
    installed_at: datetime


def list_marketplace_skills(
    ctx: Ctx,
    *,
    category: str | None = None,
    search: str | None = None,
    sort: str = "popular",
    page: OffsetPage | None = None,
) -> Page[MarketplaceSkill]:
    """Anybody may look."""
    page = page or OffsetPage()
    words = (search or "").lower().split()[:10]
    installs = {row.marketplace_id: row.installs for row in ctx.session.scalars(select(SkillInstalls))}
    found = [
        _offered(entry, installs.get(skill_id, 0))
        for skill_id, entry in builtin.skills().items()
        if category in (None, entry["category"]) and all(word in _said(entry) for word in words)
    ]
    keys: dict[str, Any] = {
        "newest": lambda s: (-s.published_at.timestamp(), s.name),
        "name": lambda s: s.name.lower(),
    }
    found.sort(key=keys.get(sort, lambda s: (-s.installs, s.name.lower())))
    return Page(found[page.offset : page.offset + page.limit], total=len(found))


def list_skills(ctx: Ctx, *, search: str | None = None, page: OffsetPage | None = None) -> Page[InstalledSkill]:
    """Those that the caller may give to agents, by name."""
    page = page or OffsetPage()
    query = (
        select(Skill)
        .where(or_(Skill.visibility == "organisation", Skill.installed_by == caller(ctx)))
        .options(undefer(Skill.settings))
    )
    for word in (search or "").split()[:10]:
        query = query.where(or_(*(c.icontains(word, autoescape=True) for c in (Skill.name, Skill.description))))
    total = ctx.session.scalar(query.with_only_columns(func.count(Skill.id))) or 0
    rows = ctx.session.scalars(query.order_by(Skill.name, Skill.id).limit(page.limit).offset(page.offset)).all()
    return Page(_installed(ctx, rows), total=total)


def install_skill(
    ctx: Ctx,
    marketplace_id: UUID,
    *,
    permissions: Sequence[str],
    version: str | None = None,
    visibility: str = "private",
    settings: Mapping[str, Any] | None = None,
) -> InstalledSkill:
    """Install a skill; `permissions` must be all that it asks for. Its settings become part of what it says.

    Raises `NotFound` (no such skill or version), `Forbidden` (for the organisation only administrators install),
    `Conflict` (installed already), `Unprocessable` (permissions or settings that do not fit).
    """
    user = person(ctx)
    entry = builtin.skills().get(marketplace_id)
    if entry is None:
        raise NotFound("There is no such skill in the marketplace.")
    chosen = next((v for v in entry["versions"] if version in (None, v["version"])), None)
    if chosen is None:
        raise NotFound("The marketplace has no such version of this skill.")
    if visibility == "organisation" and not manages(ctx):
        raise Forbidden("Only administrators install skills for the whole organisation.")
    if set(permissions) != set(entry["permissions"]):
        raise Unprocessable("permissions: grant exactly what the skill asks for.", field="permissions")
    given = _settings(entry, settings or {})
    _turn(ctx, marketplace_id)
    row = Skill(
        marketplace_id=marketplace_id,
        name=entry["name"],
        description=entry["description"],
        version=chosen["version"],
        instructions=_filled(chosen["instructions"], entry, given),
        permissions=list(entry["permissions"]),
        tools=list(chosen["tools"]),
        visibility=visibility,
        installed_by=user,
        installed_for=None if visibility == "organisation" else user,
    )
    if given:
        crypto.seal(row, "settings", json.dumps(given))
    first = ctx.session.scalars(select(Skill.id).where(Skill.marketplace_id == marketplace_id).limit(1)).first() is None
    try:
        with ctx.session.begin_nested():
            ctx.session.add(row)
    except IntegrityError as taken:
        raise Conflict("This skill is installed already.", reason="duplicate") from taken
    if first:
        _count(ctx, marketplace_id, 1)
    audit.record(
        ctx,
        "skill.install",
        resource_type="skill",
        resource_id=row.id,
        details={"skill": row.name, "version": row.version, "permissions": row.permissions, "visibility": visibility},
    )
    return _installed(ctx, [row])[0]


def uninstall_skill(ctx: Ctx, skill_id: UUID) -> None:
    """Take it out, from every agent too; they go on without it. Raises `NotFound`, `Forbidden`."""
    user = caller(ctx)
    row = ctx.session.scalars(
        select(Skill).where(Skill.id == skill_id, or_(Skill.visibility == "organisation", Skill.installed_by == user))
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such skill.")
    if row.visibility == "organisation" and row.installed_by != user and not manages(ctx):
        raise Forbidden("It is the organisation's: only who installed it and administrators may take it out.")
    _turn(ctx, row.marketplace_id)
    ctx.session.delete(row)
    ctx.session.flush()
    named = AgentRow.skill_ids.contains([str(skill_id)])
    rest = AgentRow.skill_ids.op("-", return_type=JSONB())(cast(str(skill_id), Text))
    ctx.session.execute(
        update(AgentRow)
        .where(named)
        .values(skill_ids=rest, updated_at=AgentRow.updated_at)
        .execution_options(synchronize_session=False)
    )
    left = select(Skill.id).where(Skill.marketplace_id == row.marketplace_id).limit(1)
    if ctx.session.scalars(left).first() is None:
        _count(ctx, row.marketplace_id, -1)
    audit.record(ctx, "skill.uninstall", resource_type="skill", resource_id=skill_id, details={"skill": row.name})


def _offered(entry: Mapping[str, Any], installs: int) -> MarketplaceSkill:
    return MarketplaceSkill(
        entry["id"],
        entry["name"],
        entry["description"],
        entry["category"],
        tuple(entry["tags"]),
        tuple(entry["permissions"]),
        entry["versions"][0]["version"],
        installs,
        entry["published_at"],
    )


def _said(entry: Mapping[str, Any]) -> str:
    return " ".join((entry["name"], entry["description"], *entry["tags"])).lower()


def _settings(entry: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """Raises `Unprocessable` for one that the skill does not have, or that does not fit."""
    declared: Mapping[str, Mapping[str, Any]] = entry.get("settings", {})
    for name, value in given.items():
        if name not in declared:
            raise Unprocessable(f"settings: the skill has no setting {name[:64]!r}.", field="settings")
        if not re.fullmatch(declared[name]["pattern"], value):
            raise Unprocessable(f"settings: {name} is {declared[name]['means']}.", field="settings")
    return dict(given)


def _filled(instructions: str, entry: Mapping[str, Any], given: Mapping[str, str]) -> str:
    """The instructions with the settings in them, or what holds without. Secrets never become words for a model."""
    declared: Mapping[str, Mapping[str, Any]] = entry.get("settings", {})
    for name, setting in declared.items():
        if not setting.get("secret"):
            instructions = instructions.replace(f"{{{name}}}", given.get(name, setting["default"]))
    return instructions


def _turn(ctx: Ctx, marketplace_id: UUID) -> None:
    """One installation at a time of a skill in an organisation: the first and the last are counted."""
    key = func.hashtext(f"{ctx.organisation}:{marketplace_id}")
    ctx.session.execute(select(func.pg_advisory_xact_lock(0x736B, key)))


def _used(ctx: Ctx, rows: Sequence[Skill]) -> Counter[str]:
    """How many agents have each."""
    if not rows:
        return Counter()
    wanted = [str(row.id) for row in rows]
    held = ctx.session.scalars(select(AgentRow.skill_ids).where(AgentRow.skill_ids.has_any(array(wanted))))
    return Counter(each for ids in held for each in ids)


def _installed(ctx: Ctx, rows: Sequence[Skill]) -> list[InstalledSkill]:
    used = _used(ctx, rows)
    return [_shown(row, used[str(row.id)]) for row in rows]


def _shown(row: Skill, agents: int) -> InstalledSkill:
    entry = builtin.skills().get(row.marketplace_id)
    sealed = crypto.unseal(row, "settings") if row.settings is not None else None
    declared: Mapping[str, Any] = entry.get("settings", {}) if entry else {}
    settings = json.loads(sealed.reveal()) if sealed is not None else {}
    shown = {k: crypto.MASK if declared.get(k, {}).get("secret") else v for k, v in settings.items()}
    described = []
    for name in row.tools:
        tool = tools.get(name)
        described.append((name, tool.description if tool else ""))
    return InstalledSkill(
        row.id, row.marketplace_id, row.name, row.description, row.version,
        entry["versions"][0]["version"] if entry else None, tuple(row.permissions), tuple(described), shown,
        row.visibility, agents, row.installed_by, row.created_at,
    )  # fmt: skip


def _count(ctx: Ctx, marketplace_id: UUID, step: int) -> None:
    ctx.session.execute(
        insert(SkillInstalls)
        .values(marketplace_id=marketplace_id, installs=max(step, 0))
        .on_conflict_do_update(
            index_elements=["marketplace_id"], set_={"installs": func.greatest(SkillInstalls.installs + step, 0)}
        )
    )
