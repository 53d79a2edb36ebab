"""Signing in, trading tokens, signing out; who the caller is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.identity import memberships, service_accounts, sessions, signin
from handlers.starter import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.starter import requests, responses
    from thalweg.edge.application import Reply

SURFACE = "starter"


def login(ctx: Ctx, body: requests.UserLoginRequest) -> Reply:
    signed_in = signin.sign_in(ctx, SURFACE, body.email, body.password, organisation_id=body.tenant_id, choose=True)
    return wire.session(signed_in)


def refresh_session(ctx: Ctx, body: requests.UserRefreshRequest) -> Reply:
    if body.refresh_token.startswith(service_accounts.PREFIX):
        return wire.exchanged(service_accounts.exchange(ctx, body.refresh_token), body.refresh_token)
    return wire.session(sessions.refresh_session(ctx, body.refresh_token, SURFACE))


def logout(ctx: Ctx, body: requests.UserLogoutRequest) -> responses.LogoutResponse:
    return wire.logged_out(sessions.end_by_refresh_token(ctx, body.refresh_token))


def logout_everywhere(ctx: Ctx) -> responses.LogoutAllResponse:
    return wire.logged_out_everywhere(sessions.revoke_sessions(ctx, memberships.caller_id(ctx), "signed_out"))


def get_current_user(ctx: Ctx) -> responses.CurrentUserResponse:
    return wire.me(sessions.presented_claims(ctx))
