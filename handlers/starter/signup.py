"""How new tenants come in."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain.identity import signup
from handlers.starter import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.starter import requests, responses
    from thalweg.edge.application import Reply


def get_signup_policy(ctx: Ctx) -> responses.SignupAccessPolicyResponse:
    return wire.signup_policy()


def register_tenant(ctx: Ctx, body: requests.UserRegisterRequest) -> Reply:
    wish = signup.Registration(
        body.email,
        body.password,
        body.tenant_name,
        body.display_name,
        body.plan_code,
        body.trial_days,
        bool(body.accept_terms),
        body.invite_token,
    )
    return wire.founded(ctx, signup.register(ctx, wish))


def request_access(ctx: Ctx, body: requests.SignupRequestPublicRequest) -> responses.SignupAccessPolicyResponse:
    signup.request_access(
        ctx,
        email=body.email,
        organisation=body.organization,
        name=body.full_name,
        message=body.message,
        accept_terms=body.accept_terms,
        honeypot=body.honeypot,
    )
    return wire.signup_policy()


def list_signup_requests(ctx: Ctx, page: OffsetPage, status: str | None = None) -> responses.SignupRequestListResponse:
    return wire.signup_request_page(signup.list_requests(ctx, page, status))


def approve_signup_request(ctx: Ctx, request_id: UUID, body: requests.SignupRequestApprovalRequest) -> Reply:
    request, issued = signup.approve(ctx, request_id, note=body.note, life=wire.hours(body.invite_expires_in_hours))
    return wire.approved(request, issued, ctx.now())


def reject_signup_request(
    ctx: Ctx, request_id: UUID, body: requests.SignupRequestRejectionRequest
) -> responses.SignupRequestDecisionResponse:
    return wire.rejected(signup.reject(ctx, request_id, body.reason))
