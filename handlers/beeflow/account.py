"""account."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def get_current_user(ctx: Ctx) -> responses.CurrentUser:
    """Ask who is signed in."""
    raise not_implemented()


def get_my_permissions(ctx: Ctx) -> responses.MyPermissions:
    """Ask what the caller may do."""
    raise not_implemented()


def update_profile(ctx: Ctx, body: requests.ProfileUpdate) -> responses.CurrentUser:
    """Change one's profile."""
    raise not_implemented()
