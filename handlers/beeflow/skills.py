"""skills: abilities that agents can be given."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import agents
from handlers.beeflow import wire_agents as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.beeflow import requests, responses


def list_skills(ctx: Ctx, page: OffsetPage, q: str | None = None) -> responses.SkillPage:
    return wire.skill_page(ctx, page, agents.skills.list_skills(ctx, search=q, page=page))


def install_skill(ctx: Ctx, body: requests.SkillInstall) -> responses.Skill:
    installed = agents.skills.install_skill(
        ctx,
        body.marketplace_id,
        permissions=body.permissions,
        version=body.version,
        visibility=body.visibility,
        settings=body.settings,
    )
    return wire.skill(ctx, installed)


def uninstall_skill(ctx: Ctx, id: UUID) -> None:
    agents.skills.uninstall_skill(ctx, id)
