"""Agents and their tools, skills, and what stands in the Marketplace, as Bee Flow shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from domain import agents, knowledge
from handlers.beeflow.wire_people import Known, among, person
from handlers.wiring import page_of, timestamp
from thalweg.edge.application import Reply

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.agents import Agent, Shelved
    from domain.agents.own_settings import OfferedTool
    from domain.agents.skills import InstalledSkill, MarketplaceSkill
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage, Page
    from domain.knowledge.marketplace import PublicBase
    from generated.beeflow import requests, responses

OURS = "Bee Flow"
"""What publishes what comes with the platform."""
_WHY = {"denied": "disabled_by_admin"}
"""Reasons of the domain that Bee Flow calls otherwise."""


# --- agents ------------------------------------------------------------------------------------------------------


def given(body: requests.AgentCreate | requests.AgentUpdate) -> dict[str, Any]:
    """What was said of an agent; what was left out stays as it is."""
    return body.model_dump(exclude_unset=True)


def created_agent(ctx: Ctx, made: Agent) -> Reply:
    return Reply(agent(ctx, made), headers={"Location": f"{ctx.base_path}/api/agents/{made.id}"})


def agent(ctx: Ctx, shown: Agent) -> responses.Agent:
    """Knowledge bases and groups that are gone since are left out."""
    groups = agents.directory().groups(ctx, shown.group_ids)
    return {
        **agent_summary(ctx, shown),
        "instructions": shown.shown_instructions,
        "temperature": shown.temperature,
        "maxOutputTokens": shown.max_output_tokens,
        "welcomeMessage": shown.welcome_message,
        "knowledgeBaseIds": [str(each) for each in knowledge.marketplace.existing(ctx, shown.knowledge_base_ids)],
        "skillIds": [str(each) for each in shown.skill_ids],
        "tools": list(shown.tools),
        "guardrails": {
            "dlpMode": shown.guardrails.get("dlp_mode"),
            "dlpFailureMode": shown.guardrails.get("dlp_failure_mode"),
            "privacyShield": shown.guardrails.get("privacy_shield"),
        },
        "groupIds": [str(each) for each in shown.group_ids if each in groups],
        "copiedFrom": None if shown.copied_from is None else str(shown.copied_from),
    }


def agent_summary(ctx: Ctx, shown: Agent, known: Known | None = None) -> responses.AgentSummary:
    return {
        "id": str(shown.id),
        "name": shown.name,
        "description": shown.description[:1000] or None,
        "avatarUrl": shown.avatar_url,
        "model": shown.model,
        "starterPrompts": list(shown.starter_prompts),
        "visibility": cast("responses.AgentVisibility", shown.visibility),
        "owner": _owner(ctx, shown, known),
        "canEdit": agents.may_edit(ctx, shown),
        "publication": _publication(shown),
        "createdAt": timestamp(_known(shown.created_at)),
        "updatedAt": timestamp(_known(shown.updated_at)),
    }


def agent_page(ctx: Ctx, page: OffsetPage, found: Page[Agent]) -> responses.AgentPage:
    known = among(ctx, (each.owner_id for each in found.items if not each.builtin and each.publisher_id is None))
    return {"items": [agent_summary(ctx, each, known) for each in found.items], **page_of(found, page)}


def agent_tools(shown: Agent, offered: Sequence[OfferedTool]) -> responses.AgentTools:
    return {"agentId": str(shown.id), "tools": [_tool(each) for each in offered if each.enabled]}


def _tool(offered: OfferedTool) -> responses.AgentTool:
    tool = offered.tool
    source = "integration" if offered.source == "builtin" and tool.service is not None else offered.source
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "source": cast("Any", source),
        "sourceId": tool.service if source == "integration" else offered.source_id,
        "available": offered.available,
        "unavailableReason": cast("Any", None if offered.reason is None else _WHY.get(offered.reason, offered.reason)),
        "needsApproval": offered.needs_confirmation,
        "parameters": dict(tool.parameters),
    }


def _owner(ctx: Ctx, shown: Agent, known: Known | None) -> responses.UserReference:
    if shown.builtin:
        return {"id": str(agents.builtin.NAMESPACE), "displayName": OURS, "avatarUrl": None}
    if shown.publisher_id is not None:
        return {"id": str(shown.publisher_id), "displayName": (shown.publisher or "")[:200], "avatarUrl": None}
    return person(ctx, shown.owner_id, known)


def _publication(shown: Agent) -> responses.AgentPublication | None:
    if shown.publication is None:
        return None
    stands = shown.publication
    return {
        "category": cast("responses.MarketplaceCategory", stands.category),
        "tagline": stands.tagline,
        "tags": list(stands.tags),
        "shareInstructions": stands.share_instructions,
        "version": stands.version,
        "publishedAt": timestamp(stands.published_at),
    }


def _known(moment: datetime | None) -> datetime:
    assert moment is not None  # every agent knows since when it is there
    return moment


# --- the Marketplace -----------------------------------------------------------------------------------------------


def marketplace_agents(page: OffsetPage, found: Page[Shelved]) -> responses.MarketplaceAgentPage:
    return {"items": [_shelved(each) for each in found.items], **page_of(found, page)}


def marketplace_bases(page: OffsetPage, found: Page[PublicBase]) -> responses.MarketplaceKnowledgeBasePage:
    return {"items": [_public_base(each) for each in found.items], **page_of(found, page)}


def marketplace_skills(page: OffsetPage, found: Page[MarketplaceSkill]) -> responses.MarketplaceSkillPage:
    return {"items": [_offered_skill(each) for each in found.items], **page_of(found, page)}


def _shelved(stands: Shelved) -> responses.MarketplaceAgent:
    return {
        "id": str(stands.id),
        "name": stands.name,
        "tagline": stands.tagline,
        "description": None if stands.description is None else stands.description[:1000],
        "category": cast("responses.MarketplaceCategory", stands.category),
        "tags": list(stands.tags),
        "avatarUrl": stands.avatar_url,
        "starterPrompts": list(stands.starter_prompts),
        "publisher": _publisher(stands.publisher, verified=stands.verified),
        "version": stands.version,
        "copies": stands.copies,
        "publishedAt": timestamp(stands.published_at),
    }


def _public_base(shown: PublicBase) -> responses.MarketplaceKnowledgeBase:
    return {
        "id": str(shown.id),
        "name": shown.name[:120],
        "description": None if shown.description is None else shown.description[:2000],
        "language": shown.language,
        "tags": list(dict.fromkeys(each[:40] for each in shown.tags)),
        "publisher": _publisher(shown.publisher, verified=False),
        "documentCount": shown.documents,
        "updatedAt": timestamp(shown.updated_at),
    }


def _offered_skill(skill: MarketplaceSkill) -> responses.MarketplaceSkill:
    return {
        "id": str(skill.id),
        "name": skill.name,
        "description": skill.description,
        "category": cast("responses.MarketplaceCategory", skill.category),
        "tags": list(skill.tags),
        "publisher": _publisher(skill.publisher, verified=skill.verified),
        "version": skill.version,
        "permissions": cast("Any", list(skill.permissions)),
        "installs": skill.installs,
        "publishedAt": timestamp(skill.published_at),
    }


def _publisher(name: str | None, *, verified: bool) -> responses.MarketplacePublisher:
    return {"name": (OURS if name is None else name)[:200], "verified": verified}


# --- skills --------------------------------------------------------------------------------------------------------


def skill(ctx: Ctx, installed: InstalledSkill, known: Known | None = None) -> responses.Skill:
    return {
        "id": str(installed.id),
        "marketplaceId": str(installed.marketplace_id),
        "name": installed.name,
        "description": installed.description,
        "version": installed.version,
        "latestVersion": installed.latest_version,
        "permissions": cast("Any", list(installed.permissions)),
        "tools": [{"name": name, "description": description} for name, description in installed.tools],
        "settings": dict(installed.settings),
        "visibility": cast("Any", installed.visibility),
        "agentCount": installed.agent_count,
        "installedBy": person(ctx, installed.installed_by, known),
        "installedAt": timestamp(installed.installed_at),
    }


def skill_page(ctx: Ctx, page: OffsetPage, found: Page[InstalledSkill]) -> responses.SkillPage:
    known = among(ctx, (each.installed_by for each in found.items))
    return {"items": [skill(ctx, each, known) for each in found.items], **page_of(found, page)}
