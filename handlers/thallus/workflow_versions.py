"""workflow-versions."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_workflow_versions(ctx: Ctx, workflow_id: UUID, page: OffsetPage) -> responses.WorkflowVersionPage:
    """List the versions of a workflow."""
    raise not_implemented()


def get_workflow_version(ctx: Ctx, workflow_id: UUID, version_id: UUID) -> responses.WorkflowVersion:
    """Read a version of a workflow."""
    raise not_implemented()


def restore_workflow_version(
    ctx: Ctx, workflow_id: UUID, version_id: UUID, body: requests.WorkflowRestoreRequest | None
) -> responses.Workflow:
    """Restore a version of a workflow."""
    raise not_implemented()


def compare_workflow_versions(
    ctx: Ctx, workflow_id: UUID, from_version_id: UUID, to_version_id: UUID | None = None
) -> responses.WorkflowComparisonResult:
    """Compare two versions of a workflow."""
    raise not_implemented()
