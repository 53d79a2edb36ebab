"""workflows."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_workflows(
    ctx: Ctx, page: OffsetPage, status: str | None = None, trigger: str | None = None, search: str | None = None
) -> responses.WorkflowPage:
    """List workflows."""
    raise not_implemented()


def create_workflow(ctx: Ctx, body: requests.WorkflowCreate) -> responses.Workflow:
    """Create a workflow."""
    raise not_implemented()


def get_workflow(ctx: Ctx, workflow_id: UUID) -> responses.Workflow:
    """Read a workflow."""
    raise not_implemented()


def update_workflow(ctx: Ctx, workflow_id: UUID, body: requests.WorkflowUpdate) -> responses.Workflow:
    """Save a workflow."""
    raise not_implemented()


def delete_workflow(ctx: Ctx, workflow_id: UUID) -> None:
    """Delete a workflow."""
    raise not_implemented()


def activate_workflow(ctx: Ctx, workflow_id: UUID) -> responses.Workflow:
    """Activate a workflow."""
    raise not_implemented()


def pause_workflow(ctx: Ctx, workflow_id: UUID) -> responses.Workflow:
    """Pause a workflow."""
    raise not_implemented()


def run_workflow(
    ctx: Ctx, workflow_id: UUID, body: requests.WorkflowRunRequest | None
) -> responses.WorkflowExecutionStarted:
    """Run a workflow."""
    raise not_implemented()


def generate_workflow(ctx: Ctx, body: requests.WorkflowGenerateRequest) -> responses.WorkflowGeneration:
    """Generate a workflow from words."""
    raise not_implemented()


def update_workflow_node(
    ctx: Ctx, workflow_id: UUID, node_id: str, body: requests.WorkflowNodeUpdate
) -> responses.WorkflowNode:
    """Change a node."""
    raise not_implemented()


def suggest_node_agents(
    ctx: Ctx, workflow_id: UUID, node_id: str, body: requests.AgentSuggestionRequest | None
) -> responses.AgentSuggestions:
    """Suggest agents for a node."""
    raise not_implemented()


def get_workflow_usage(ctx: Ctx) -> responses.WorkflowUsage:
    """Read the use of the execution allowance."""
    raise not_implemented()
