"""signup."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.starter import requests, responses
from thalweg.edge.problem import not_implemented


def get_signup_policy(ctx: Ctx) -> responses.SignupAccessPolicyResponse:
    """Ask how new tenants come in."""
    raise not_implemented()


def register_tenant(ctx: Ctx, body: requests.UserRegisterRequest) -> responses.UserRegisterResponse:
    """Register a tenant and its owner."""
    raise not_implemented()


def request_access(ctx: Ctx, body: requests.SignupRequestPublicRequest) -> responses.SignupAccessPolicyResponse:
    """Ask to be let in."""
    raise not_implemented()


def list_signup_requests(ctx: Ctx, page: OffsetPage, status: str | None = None) -> responses.SignupRequestListResponse:
    """List access requests."""
    raise not_implemented()


def approve_signup_request(
    ctx: Ctx, request_id: UUID, body: requests.SignupRequestApprovalRequest
) -> responses.SignupRequestDecisionResponse:
    """Approve an access request."""
    raise not_implemented()


def reject_signup_request(
    ctx: Ctx, request_id: UUID, body: requests.SignupRequestRejectionRequest
) -> responses.SignupRequestDecisionResponse:
    """Reject an access request."""
    raise not_implemented()
