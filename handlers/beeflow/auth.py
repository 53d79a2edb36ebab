"""auth."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def get_setup_status(ctx: Ctx) -> responses.SetupStatus:
    """Ask how one can sign in here."""
    raise not_implemented()


def set_up_server(ctx: Ctx, body: requests.SetupRequest) -> responses.Session:
    """Set up the first administrator."""
    raise not_implemented()


def login(ctx: Ctx, body: requests.LoginRequest) -> responses.Session:
    """Sign in with address and password."""
    raise not_implemented()


def logout(ctx: Ctx) -> None:
    """End the session."""
    raise not_implemented()


def create_session_token(ctx: Ctx, body: requests.SessionTokenCreate) -> responses.SessionToken:
    """Make a token for an embedded frame."""
    raise not_implemented()
