"""automation-runs."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def start_automation_run(ctx: Ctx, id: UUID, body: requests.AutomationRunStart) -> responses.AutomationRun:
    """Run an automation by hand."""
    raise not_implemented()


def list_automation_runs(
    ctx: Ctx,
    id: UUID,
    page: OffsetPage,
    status: str | None = None,
    mode: str | None = None,
    from_: datetime | None = None,
    to: datetime | None = None,
) -> responses.AutomationRunPage:
    """List the runs of an automation."""
    raise not_implemented()


def get_automation_run(ctx: Ctx, id: UUID, run_id: UUID) -> responses.AutomationRunDetail:
    """Read a run with its steps and log."""
    raise not_implemented()


def cancel_automation_run(ctx: Ctx, id: UUID, run_id: UUID) -> responses.AutomationRun:
    """Cancel a run."""
    raise not_implemented()


def resume_automation_run(
    ctx: Ctx, id: UUID, run_id: UUID, body: requests.AutomationRunResume
) -> responses.AutomationRun:
    """Decide what a run waits for."""
    raise not_implemented()


def retry_automation_run(ctx: Ctx, id: UUID, run_id: UUID, step_id: str) -> responses.AutomationRun:
    """Repeat a run from a step on."""
    raise not_implemented()


def trigger_automation_webhook(
    ctx: Ctx, id: UUID, body: requests.TriggerAutomationWebhookBody
) -> responses.AutomationWebhookAccepted:
    """Trigger an automation by its webhook."""
    raise not_implemented()
