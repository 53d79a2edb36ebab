"""workflows."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import CursorPage
from generated.starter import requests, responses
from thalweg.edge.problem import not_implemented


def list_workflows(ctx: Ctx) -> responses.ListWorkflowsResponse:
    """List the workflows that can be run."""
    raise not_implemented()


def run_workflow(ctx: Ctx, workflow_key: str, body: requests.WorkflowRunRequestBody) -> responses.WorkflowRunResponse:
    """Run a workflow and wait for its outcome."""
    raise not_implemented()


def list_workflow_runs(
    ctx: Ctx,
    page: CursorPage,
    workflow_key: str | None = None,
    run_status: str | None = None,
    started_before: datetime | None = None,
    started_after: datetime | None = None,
    conversation_id: UUID | None = None,
) -> responses.WorkflowRunListResponse:
    """List workflow runs."""
    raise not_implemented()


def get_workflow_run(ctx: Ctx, run_id: UUID) -> responses.WorkflowRunDetail:
    """Read a workflow run."""
    raise not_implemented()


def cancel_workflow_run(ctx: Ctx, run_id: UUID) -> responses.WorkflowCancelResponse:
    """Cancel a workflow run."""
    raise not_implemented()


def stream_workflow(ctx: Ctx, workflow_key: str, body: requests.WorkflowRunRequestBody) -> Any:
    """Run a workflow and watch it."""
    raise not_implemented()


def get_workflow(ctx: Ctx, workflow_key: str) -> responses.WorkflowDescriptorResponse:
    """Read how a workflow is built."""
    raise not_implemented()
