"""Signing up, in and out; the caller's own account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain import billing, identity
from domain.identity import accounts, captcha, invites, memberships, sessions, signin
from handlers.thallus import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.thallus import requests, responses
    from thalweg.edge.application import Reply

SURFACE = "thallus"


def register(ctx: Ctx, body: requests.RegisterRequest) -> responses.RegisterResponse:
    captcha.verify(ctx, body.captcha_token)
    made = invites.register(
        ctx,
        SURFACE,
        email=body.email,
        password=body.password,
        name=body.name,
        language=body.language,
        invite_token=body.invite_token,
    )
    return wire.registered(body.email, made.verification_expires_at)


def login(ctx: Ctx, body: requests.LoginRequest) -> Reply:
    signed_in = signin.sign_in(ctx, SURFACE, body.email, body.password, remembered=bool(body.remember_me))
    return wire.token(ctx, signed_in)


def logout(ctx: Ctx) -> Reply:
    sessions.sign_out(ctx)
    return wire.signed_out(ctx)


def refresh_token(ctx: Ctx) -> Reply:
    return wire.token(ctx, sessions.refresh_presented(ctx, SURFACE))


def get_current_user(ctx: Ctx) -> responses.User:
    return _user(ctx, memberships.caller(ctx))


def update_profile(ctx: Ctx, body: requests.ProfileUpdate) -> responses.User:
    account = accounts.update_profile(
        ctx,
        name=body.name,
        job_title=body.job_title,
        avatar_url=None if body.avatar_url is None else str(body.avatar_url),
        timezone=body.timezone or "UTC",
    )
    return _user(ctx, account)


def update_settings(ctx: Ctx, body: requests.SettingsUpdate) -> responses.UserSettings:
    changes = body.model_dump(mode="json", exclude_unset=True)
    account = accounts.update_preferences(ctx, changes, language=changes.pop("language", None))
    return wire.settings(account)


def change_password(ctx: Ctx, body: requests.PasswordChangeRequest) -> Reply:
    account = accounts.change_password(ctx, SURFACE, body.current_password, body.new_password)
    return wire.token(ctx, sessions.reopen(ctx, account))


def verify_email(ctx: Ctx, body: requests.VerifyEmailRequest) -> responses.Message:
    accounts.verify_email(ctx, body.token)
    return wire.message("Your address is verified. You can sign in now.")


def resend_verification(ctx: Ctx, body: requests.ResendVerificationRequest) -> responses.Message:
    accounts.resend_verification(ctx, SURFACE, body.email)
    return wire.message("If this address needs verification, an email is on its way.")


def forgot_password(ctx: Ctx, body: requests.ForgotPasswordRequest) -> responses.Message:
    captcha.verify(ctx, body.captcha_token)
    accounts.request_password_reset(ctx, SURFACE, body.email)
    return wire.message("If there is such an account, an email is on its way.")


def reset_password(ctx: Ctx, body: requests.ResetPasswordRequest) -> responses.Message:
    accounts.reset_password(ctx, SURFACE, body.token, body.new_password)
    return wire.message("Your password is set. Sign in with it.")


def request_account_deletion(ctx: Ctx, body: requests.AccountDeleteRequest) -> responses.AccountDeletion:
    account = accounts.request_deletion(
        ctx, SURFACE, password=body.password, confirmed=body.confirmation == "DELETE", reason=body.reason
    )
    return wire.deletion(account)


def _user(ctx: Ctx, account: identity.Account) -> responses.User:
    return wire.user(account, memberships.current(ctx), billing.plan_of(ctx, SURFACE).name)
