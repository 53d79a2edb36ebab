"""automations."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def list_automations(
    ctx: Ctx, page: OffsetPage, q: str | None = None, status: str | None = None, trigger: str | None = None
) -> responses.AutomationPage:
    """List automations."""
    raise not_implemented()


def create_automation(ctx: Ctx, body: requests.AutomationCreate) -> responses.Automation:
    """Create an automation."""
    raise not_implemented()


def get_automation(ctx: Ctx, id: UUID) -> responses.Automation:
    """Read an automation."""
    raise not_implemented()


def update_automation(ctx: Ctx, id: UUID, body: requests.AutomationUpdate) -> responses.Automation:
    """Change an automation."""
    raise not_implemented()


def delete_automation(ctx: Ctx, id: UUID) -> None:
    """Delete an automation."""
    raise not_implemented()


def validate_automation(ctx: Ctx, body: requests.AutomationDraft) -> responses.AutomationValidation:
    """Check a draft graph."""
    raise not_implemented()
