"""Sign in with Google, Microsoft, GitHub, Nextcloud or a SAML identity provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from domain.identity import federation
from handlers.beeflow import wire_sso as wire

if TYPE_CHECKING:
    from uuid import UUID

    from domain.kernel.context import Ctx
    from generated.beeflow import requests
    from thalweg.edge.application import File, Outside, Reply


def start_google_login(ctx: Ctx, mode: str, redirect: str | None = None, invite_token: str | None = None) -> Reply:
    return wire.departure(
        federation.flows.depart(ctx, "google", redirect=redirect, mode=mode, invite_token=invite_token)
    )


def finish_google_login(
    ctx: Ctx,
    state: str,
    code: str | None = None,
    error: str | None = None,
    error_description: str | None = None,
    further: Mapping[str, str] | None = None,
    bf_oauth_state: str | None = None,
) -> Reply | Outside:
    return _finish(ctx, "google", state, code, error, further, bf_oauth_state)


def start_microsoft_login(ctx: Ctx, mode: str, redirect: str | None = None, invite_token: str | None = None) -> Reply:
    return wire.departure(
        federation.flows.depart(ctx, "microsoft", redirect=redirect, mode=mode, invite_token=invite_token)
    )


def finish_microsoft_login(
    ctx: Ctx,
    state: str,
    code: str | None = None,
    error: str | None = None,
    error_description: str | None = None,
    further: Mapping[str, str] | None = None,
    bf_oauth_state: str | None = None,
) -> Reply | Outside:
    return _finish(ctx, "microsoft", state, code, error, further, bf_oauth_state)


def start_github_login(ctx: Ctx, mode: str, redirect: str | None = None, invite_token: str | None = None) -> Reply:
    return wire.departure(
        federation.flows.depart(ctx, "github", redirect=redirect, mode=mode, invite_token=invite_token)
    )


def finish_github_login(
    ctx: Ctx,
    state: str,
    code: str | None = None,
    error: str | None = None,
    error_description: str | None = None,
    further: Mapping[str, str] | None = None,
    bf_oauth_state: str | None = None,
) -> Reply | Outside:
    return _finish(ctx, "github", state, code, error, further, bf_oauth_state)


def start_nextcloud_login(
    ctx: Ctx, mode: str, redirect: str | None = None, invite_token: str | None = None, instance: str | None = None
) -> Reply:
    return wire.departure(
        federation.flows.depart(
            ctx, "nextcloud", redirect=redirect, mode=mode, invite_token=invite_token, instance=instance
        )
    )


def finish_nextcloud_login(
    ctx: Ctx,
    state: str,
    code: str | None = None,
    error: str | None = None,
    error_description: str | None = None,
    further: Mapping[str, str] | None = None,
    bf_oauth_state: str | None = None,
) -> Reply | Outside:
    return _finish(ctx, "nextcloud", state, code, error, further, bf_oauth_state)


def get_saml_metadata(ctx: Ctx, organization_id: UUID | None = None) -> File:
    return wire.metadata(federation.saml_flow.metadata(ctx, organization_id))


def consume_saml_assertion(ctx: Ctx, body: requests.SamlResponse, bf_oauth_state: str | None = None) -> Reply:
    # Read before the first statement, which opens the transaction: the provider's metadata may have to be fetched.
    reading = federation.saml_flow.read(body.saml_response, ctx.clock)
    return wire.landing(federation.saml_flow.land(ctx, reading, body.relay_state, browser=bf_oauth_state))


def pick_up_login(ctx: Ctx, code: str, format: str, bf_oauth_state: str | None = None) -> Reply:
    arrived = federation.flows.pick_up(ctx, code, browser=bf_oauth_state, anywhere=format == "json")
    return wire.arrival(ctx, arrived, format)


def _finish(
    ctx: Ctx,
    provider: str,
    state: str,
    code: str | None,
    error: str | None,
    further: Mapping[str, str] | None,
    browser: str | None,
) -> Reply | Outside:
    way = federation.flows.come_back(ctx, provider, state=state, browser=browser, further=further)
    if code is None or error is not None:
        return wire.landing(federation.flows.refused(ctx, provider, "access_denied", surface=way.surface))
    return wire.journey(way, code)
