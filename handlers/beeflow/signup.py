"""How people come in: registration, invitations, the waiting list and its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain.identity import newcomers, organisation_settings, roles, signup_settings, waitlist
from handlers.beeflow import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.beeflow import requests, responses
    from thalweg.edge.application import Reply

SURFACE = "beeflow"


def sign_up(ctx: Ctx, body: requests.SignupRequest) -> Reply:
    made = newcomers.sign_up(
        ctx,
        email=body.email,
        password=body.password,
        name=body.display_name,
        invite_token=body.invite_token,
        organisation_name=body.organization_name,
        language=body.language,
    )
    return wire.newcomer(ctx, made)


def get_invite(ctx: Ctx, token: str) -> responses.Invite:
    return wire.invite(newcomers.look(ctx, token))


def get_signup_settings(ctx: Ctx) -> responses.SignupSettings:
    return _settings(ctx, signup_settings.get(ctx))


def update_signup_settings(ctx: Ctx, body: requests.SignupSettingsUpdate) -> responses.SignupSettings:
    changed = signup_settings.update(
        ctx,
        mode=body.mode,
        allowed_domains=body.allowed_domains,
        default_role=roles.GIVEN[SURFACE][body.default_role],
        default_group_ids=body.default_group_ids,
        provision_from_sso=body.provision_from_sso,
        notify_email=body.notify_email,
    )
    return _settings(ctx, changed)


def list_waitlist(ctx: Ctx, status: str, page: OffsetPage, q: str | None = None) -> responses.WaitlistPage:
    return wire.waitlist_page(waitlist.listed(ctx, page, status=status, q=q), page)


def approve_waitlist_entry(ctx: Ctx, user_id: UUID, body: requests.WaitlistDecision | None) -> responses.WaitlistEntry:
    entry = waitlist.approve(
        ctx,
        user_id,
        surface_role=None if body is None else body.role,
        group_ids=None if body is None else body.group_ids,
        message=None if body is None else body.message,
    )
    return wire.waitlist_entry(entry)


def reject_waitlist_entry(ctx: Ctx, user_id: UUID, body: requests.WaitlistRejection | None) -> responses.WaitlistEntry:
    reason, notify = (None, False) if body is None else (body.reason, bool(body.notify))
    return wire.waitlist_entry(waitlist.reject(ctx, user_id, reason=reason, notify=notify))


def join_waitlist(ctx: Ctx, body: requests.WaitlistJoin) -> responses.WaitlistJoined:
    waitlist.join(
        ctx,
        email=body.email,
        name=body.display_name,
        company=body.organization_name,
        message=body.message,
        language=body.language,
    )
    return wire.joined_waitlist()


def list_public_organisations(ctx: Ctx, page: OffsetPage, slug: str | None = None) -> responses.PublicOrganisationPage:
    return wire.public_organisations(organisation_settings.public_profiles(ctx, page, slug=slug), page)


def _settings(ctx: Ctx, settings: signup_settings.SignupSettings) -> responses.SignupSettings:
    return wire.signup_settings(settings, signup_settings.updated_by(ctx, settings))
