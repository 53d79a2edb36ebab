"""workflow-executions."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import responses
from thalweg.edge.problem import not_implemented


def get_workflow_execution(ctx: Ctx, workflow_id: UUID, execution_id: UUID) -> responses.WorkflowExecution:
    """Read an execution."""
    raise not_implemented()


def get_execution_timeline(
    ctx: Ctx, workflow_id: UUID, execution_id: UUID, page: OffsetPage
) -> responses.WorkflowTimeline:
    """Read the timeline of an execution."""
    raise not_implemented()
