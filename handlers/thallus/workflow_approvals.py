"""workflow-approvals."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_pending_approvals(
    ctx: Ctx, page: OffsetPage, workflow_id: UUID | None = None
) -> responses.WorkflowApprovalPage:
    """List pending approvals."""
    raise not_implemented()


def get_approval(ctx: Ctx, approval_id: UUID) -> responses.WorkflowApproval:
    """Read an approval."""
    raise not_implemented()


def approve_step(
    ctx: Ctx, approval_id: UUID, body: requests.WorkflowApproveRequest | None
) -> responses.WorkflowApproval:
    """Approve a waiting step."""
    raise not_implemented()


def reject_step(ctx: Ctx, approval_id: UUID, body: requests.WorkflowRejectRequest | None) -> responses.WorkflowApproval:
    """Reject a waiting step."""
    raise not_implemented()
