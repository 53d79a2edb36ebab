"""What somebody says of an agent, checked before it is kept: everything that it names is there, and theirs to name."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select

from domain import billing, inference, knowledge
from domain.agents import builtin, rules, tools
from domain.agents.models import AgentRow, Skill
from domain.agents.people import caller, directory, groups_of, manages
from domain.kernel.context import Ctx
from domain.kernel.errors import Forbidden, Invalid, PaymentRequired, Unprocessable

FIELDS = (
    "name", "description", "category", "instructions", "avatar_url", "model", "tier", "temperature",
    "max_output_tokens", "welcome_message", "starter_prompts", "knowledge_base_ids", "skill_ids", "tools",
    "guardrails", "visibility", "group_ids",
)  # fmt: skip
"""What a person may say of an agent. Lists are replaced whole."""
_AT_THE_WEB = re.compile(r"https?://[^\s/?#]", re.IGNORECASE)
IDS = ("knowledge_base_ids", "skill_ids", "group_ids")
PRODUCT = "beeflow"
"""Whose plans sell what agents are made of: how many there are, skills, the check for sensitive data."""


def checked(ctx: Ctx, given: Mapping[str, Any], before: AgentRow | None = None) -> dict[str, Any]:
    """`given` as it is kept. What the agent names already (`before`) may stay, whoever changes the rest.

    Raises `Invalid`, `Unprocessable` (fact `field`), `Forbidden` (facts `reason` `license_feature_required`,
    `feature`).
    """
    unknown = [name for name in given if name not in FIELDS]
    if unknown:
        raise Invalid(f"An agent has no {unknown[0]}.")
    fields = dict(given)
    for name in ("name", "instructions"):
        if name in fields and not str(fields[name] or "").strip():
            raise Invalid(f"{name}: something has to stand in it.")
    if "starter_prompts" in fields:
        fields["starter_prompts"] = [str(p) for p in fields["starter_prompts"] or ()]
        if len(fields["starter_prompts"]) > 4:
            raise Invalid("starterPrompts: at most four.")
    for name in IDS:
        if name in fields:
            fields[name] = [str(UUID(str(each))) for each in dict.fromkeys(fields[name] or ())]
    if "tools" in fields:
        fields["tools"] = _tools(ctx, fields["tools"] or (), before)
    if fields.get("model") is not None:
        try:
            inference.drivers().chat(fields["model"])
        except Invalid as wrong_model:
            raise Unprocessable(f"model: {wrong_model.message}", field="model") from None
    if (picture := fields.get("avatar_url")) is not None and not _AT_THE_WEB.match(str(picture)):
        raise Unprocessable("avatarUrl: a picture is at an http or https address.", field="avatar_url")
    if "guardrails" in fields:
        fields["guardrails"] = _guardrails(ctx, fields["guardrails"] or {})
    _shared(fields, before)
    _references(ctx, fields, before)
    return fields


def room(ctx: Ctx) -> None:
    """Raise `PaymentRequired` (fact `reason`: `tier_limit`) unless the tier has room for another agent, where the
    surface sells tiers."""
    if not ctx.surface:
        return
    # Two that are made at once must not both take the last place, nor the same name for programs.
    ctx.session.execute(select(func.pg_advisory_xact_lock(0x6167, func.hashtext(str(ctx.organisation)))))
    used = ctx.session.scalar(select(func.count(AgentRow.id))) or 0
    try:
        billing.room_for(ctx, f"{ctx.surface}.agents", used)
    except billing.UnknownPlan:
        return
    except PaymentRequired as full:
        raise PaymentRequired(full.message, reason="tier_limit", **full.facts) from None


def covered(ctx: Ctx, feature: str) -> bool:
    """Whether the organisation's tier has a feature that agents are made of."""
    try:
        billing.entitled(ctx, feature, PRODUCT)
    except (PaymentRequired, billing.UnknownPlan):
        return False
    return True


def free_key(ctx: Ctx, name: str) -> str:
    """A name for programs that no agent has yet."""
    key = rules.key_of(name)
    taken = set(ctx.session.scalars(select(AgentRow.key).where(AgentRow.key.startswith(key, autoescape=True))))
    taken |= set(builtin.agents())
    number = 2
    free = key
    while free in taken:
        free = f"{key}_{number}"
        number += 1
    return free


def usable(ctx: Ctx, definition: Mapping[str, Any]) -> dict[str, Any]:
    """Of an agent that stands elsewhere or was once: what of it the caller can name here and now."""
    fields = {k: v for k, v in definition.items() if k in FIELDS}
    fields["skill_ids"] = [str(i) for i in visible_skills(ctx, fields.get("skill_ids", ()))]
    fields["knowledge_base_ids"] = [str(i) for i in _bases(ctx, fields.get("knowledge_base_ids", ()))]
    fields["tools"] = [name for name in fields.get("tools", ()) if tools.get(name) is not None]
    if fields.get("model") is not None:
        try:
            inference.drivers().chat(fields["model"])
        except Invalid:
            fields["model"] = None
    return fields


def visible_skills(ctx: Ctx, ids: Collection[Any]) -> list[UUID]:
    """Those of the ids that the caller may give to agents, in their order."""
    if not ids:
        return []
    wanted = [UUID(str(i)) for i in ids]
    found = set(
        ctx.session.scalars(
            select(Skill.id).where(
                Skill.id.in_(wanted), or_(Skill.visibility == "organisation", Skill.installed_by == caller(ctx))
            )
        )
    )
    return [each for each in wanted if each in found]


def _bases(ctx: Ctx, ids: Sequence[Any]) -> list[UUID]:
    return knowledge.marketplace.reachable(ctx, [UUID(str(each)) for each in ids])


def _tools(ctx: Ctx, given: Sequence[str], before: AgentRow | None) -> list[str]:
    named = list(dict.fromkeys(given))
    kept = set(before.tools) if before is not None else set()
    for name in named:
        tool = tools.get(name)
        here = tool is not None and (not tool.surfaces or ctx.surface is None or ctx.surface in tool.surfaces)
        if not here and name not in kept:
            raise Unprocessable(f"tools: there is no {name!r} here.", field="tools")
    return named


def _guardrails(ctx: Ctx, given: Mapping[str, Any]) -> dict[str, Any]:
    said = {k: v for k, v in given.items() if v is not None}
    beyond = said.get("dlp_mode", "ask") != "ask" or "dlp_failure_mode" in said
    if beyond and not covered(ctx, "dlp"):
        raise Forbidden(
            "The check for sensitive data needs Enterprise or higher.",
            reason="license_feature_required",
            feature="dlp",
            required_tier="enterprise",
        )
    return said


def _shared(fields: Mapping[str, Any], before: AgentRow | None) -> None:
    """A group is needed to share with one."""
    if "visibility" not in fields and "group_ids" not in fields:
        return
    visibility = fields.get("visibility", "private" if before is None else before.visibility)
    groups = fields.get("group_ids", () if before is None else before.group_ids)
    if visibility == "group" and not groups:
        raise Invalid("groupIds: visibility `group` needs at least one group.")


def _references(ctx: Ctx, fields: Mapping[str, Any], before: AgentRow | None) -> None:
    """Everything named anew is something that the caller can see."""

    def new(name: str) -> list[UUID]:
        kept = set(getattr(before, name)) if before is not None else set()
        return [UUID(each) for each in fields.get(name, ()) if each not in kept]

    if groups := set(new("group_ids")):
        known = set(directory().groups(ctx, groups))
        if not manages(ctx):
            known &= {group.id for group in groups_of(ctx, caller(ctx))}
        if groups - known:
            raise Unprocessable("groupIds: there is no such group for you.", field="group_ids")
    if (skills := new("skill_ids")) and len(visible_skills(ctx, skills)) < len(skills):
        raise Unprocessable("skillIds: there is no such skill for you.", field="skill_ids")
    if (bases := new("knowledge_base_ids")) and len(_bases(ctx, bases)) < len(bases):
        raise Unprocessable("knowledgeBaseIds: there is no such one for you.", field="knowledge_base_ids")
