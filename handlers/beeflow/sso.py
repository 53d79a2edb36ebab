"""sso."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from domain.kernel.context import Ctx
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def start_google_login(ctx: Ctx, mode: str, redirect: str | None = None, invite_token: str | None = None) -> None:
    """Start to sign in with Google."""
    raise not_implemented()


def finish_google_login(
    ctx: Ctx,
    state: str,
    code: str | None = None,
    error: str | None = None,
    error_description: str | None = None,
    further: Any | None = None,
) -> None:
    """Come back from Google."""
    raise not_implemented()


def start_microsoft_login(ctx: Ctx, mode: str, redirect: str | None = None, invite_token: str | None = None) -> None:
    """Start to sign in with Microsoft."""
    raise not_implemented()


def finish_microsoft_login(
    ctx: Ctx,
    state: str,
    code: str | None = None,
    error: str | None = None,
    error_description: str | None = None,
    further: Any | None = None,
) -> None:
    """Come back from Microsoft."""
    raise not_implemented()


def start_github_login(ctx: Ctx, mode: str, redirect: str | None = None, invite_token: str | None = None) -> None:
    """Start to sign in with GitHub."""
    raise not_implemented()


def finish_github_login(
    ctx: Ctx,
    state: str,
    code: str | None = None,
    error: str | None = None,
    error_description: str | None = None,
    further: Any | None = None,
) -> None:
    """Come back from GitHub."""
    raise not_implemented()


def start_nextcloud_login(
    ctx: Ctx, mode: str, redirect: str | None = None, invite_token: str | None = None, instance: str | None = None
) -> None:
    """Start to sign in with Nextcloud."""
    raise not_implemented()


def finish_nextcloud_login(
    ctx: Ctx,
    state: str,
    code: str | None = None,
    error: str | None = None,
    error_description: str | None = None,
    further: Any | None = None,
) -> None:
    """Come back from Nextcloud."""
    raise not_implemented()


def get_saml_metadata(ctx: Ctx, organization_id: UUID | None = None) -> Any:
    """Get the SAML metadata of this server."""
    raise not_implemented()


def consume_saml_assertion(ctx: Ctx, body: requests.SamlResponse) -> None:
    """Come back from a SAML identity provider."""
    raise not_implemented()


def pick_up_login(ctx: Ctx, code: str, format: str) -> responses.Session:
    """Pick up the session of a finished sign-in."""
    raise not_implemented()
