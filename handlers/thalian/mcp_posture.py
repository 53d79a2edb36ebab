"""mcp-posture."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from generated.thalian import responses
from thalweg.edge.problem import not_implemented


def get_risk_score(ctx: Ctx, workspace_id: UUID | None = None) -> responses.RiskScoreReport:
    """Get the risk score."""
    raise not_implemented()


def get_posture_summary(ctx: Ctx, workspace_id: UUID | None = None) -> responses.PostureSummary:
    """Get the posture in plain language."""
    raise not_implemented()


def list_detection_rules(ctx: Ctx, workspace_id: UUID | None = None) -> responses.DetectionRuleList:
    """List active detection rules."""
    raise not_implemented()
