"""skills."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def list_skills(ctx: Ctx, page: OffsetPage, q: str | None = None) -> responses.SkillPage:
    """List installed skills."""
    raise not_implemented()


def install_skill(ctx: Ctx, body: requests.SkillInstall) -> responses.Skill:
    """Install a skill."""
    raise not_implemented()


def uninstall_skill(ctx: Ctx, id: UUID) -> None:
    """Uninstall a skill."""
    raise not_implemented()
