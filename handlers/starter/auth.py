"""auth."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.starter import requests, responses
from thalweg.edge.problem import not_implemented


def login(ctx: Ctx, body: requests.UserLoginRequest) -> responses.UserSessionResponse:
    """Sign in with e-mail and password."""
    raise not_implemented()


def refresh_session(ctx: Ctx, body: requests.UserRefreshRequest) -> responses.UserSessionResponse:
    """Trade a refresh token for a new pair."""
    raise not_implemented()


def logout(ctx: Ctx, body: requests.UserLogoutRequest) -> responses.LogoutResponse:
    """End one session by its refresh token."""
    raise not_implemented()


def logout_everywhere(ctx: Ctx) -> responses.LogoutAllResponse:
    """End all sessions of the caller."""
    raise not_implemented()


def get_current_user(ctx: Ctx) -> responses.CurrentUserResponse:
    """Ask whom the token stands for."""
    raise not_implemented()
