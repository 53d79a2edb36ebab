"""signup."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def sign_up(ctx: Ctx, body: requests.SignupRequest) -> responses.SignupResult:
    """Create an account."""
    raise not_implemented()


def get_invite(ctx: Ctx, token: str) -> responses.Invite:
    """Look at an invitation."""
    raise not_implemented()


def get_signup_settings(ctx: Ctx) -> responses.SignupSettings:
    """Read who may come in."""
    raise not_implemented()


def update_signup_settings(ctx: Ctx, body: requests.SignupSettingsUpdate) -> responses.SignupSettings:
    """Set who may come in."""
    raise not_implemented()


def list_waitlist(ctx: Ctx, status: str, page: OffsetPage, q: str | None = None) -> responses.WaitlistPage:
    """List who waits to come in."""
    raise not_implemented()


def approve_waitlist_entry(ctx: Ctx, user_id: UUID, body: requests.WaitlistDecision | None) -> responses.WaitlistEntry:
    """Let somebody in from the waiting list."""
    raise not_implemented()


def reject_waitlist_entry(ctx: Ctx, user_id: UUID, body: requests.WaitlistRejection | None) -> responses.WaitlistEntry:
    """Turn somebody on the waiting list down."""
    raise not_implemented()


def join_waitlist(ctx: Ctx, body: requests.WaitlistJoin) -> responses.WaitlistJoined:
    """Ask to be let in."""
    raise not_implemented()


def list_public_organisations(ctx: Ctx, page: OffsetPage, slug: str | None = None) -> responses.PublicOrganisationPage:
    """List organisations with a public chat."""
    raise not_implemented()
