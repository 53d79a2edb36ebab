"""Setting the server up, signing in and out, and handing a session on to a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.identity import federation, frames, sessions, setup, signin, signup_settings
from handlers.beeflow import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.beeflow import requests, responses
    from thalweg.edge.application import Reply

SURFACE = "beeflow"


def get_setup_status(ctx: Ctx) -> responses.SetupStatus:
    return wire.setup_status(
        done=setup.is_done(ctx),
        token_needed=setup.token_needed(),
        mode=signup_settings.of_server(ctx).settings.mode,
        ways=federation.registry.current().ways(),
        saml=federation.saml_flow.is_offered(ctx),
        base_path=ctx.base_path,
    )


def set_up_server(ctx: Ctx, body: requests.SetupRequest) -> Reply:
    signed_in = setup.set_up(
        ctx,
        email=body.email,
        password=body.password,
        name=body.display_name,
        organisation_name=body.organization_name,
        language=body.locale,
        setup_token=body.setup_token,
    )
    return wire.opened(ctx, signed_in, location="/api/organisation")


def login(ctx: Ctx, body: requests.LoginRequest) -> Reply:
    signed_in = signin.sign_in(ctx, SURFACE, body.email, body.password, invite_token=body.invite_token)
    return wire.opened(ctx, signed_in)


def logout(ctx: Ctx) -> Reply:
    sessions.sign_out(ctx)
    return wire.signed_out()


def create_session_token(ctx: Ctx, body: requests.SessionTokenCreate) -> Reply:
    return wire.frame_token(frames.issue(ctx, body.origin))
