"""mcp-findings."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from generated.thalian import requests, responses
from thalweg.edge.problem import not_implemented


def list_open_findings(
    ctx: Ctx,
    limit: int,
    workspace_id: UUID | None = None,
    severity: list[str] | None = None,
    category: str | None = None,
) -> responses.OpenFindingList:
    """List open findings."""
    raise not_implemented()


def snooze_finding(
    ctx: Ctx, body: requests.FindingSnooze, workspace_id: UUID | None = None
) -> responses.SnoozedFinding:
    """Snooze an open finding."""
    raise not_implemented()


def dismiss_finding(
    ctx: Ctx, body: requests.FindingDismiss, workspace_id: UUID | None = None
) -> responses.DismissedFinding:
    """Dismiss an open finding."""
    raise not_implemented()


def remediate_finding(
    ctx: Ctx, body: requests.FindingRemediate, workspace_id: UUID | None = None
) -> responses.QueuedRemediation:
    """Queue a remediation for an open finding."""
    raise not_implemented()
