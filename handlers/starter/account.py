"""Proving an e-mail address; resetting, changing and setting passwords."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.identity import accounts, member_passwords
from handlers.starter import wire_identity as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.starter import requests, responses

SURFACE = "starter"


def send_verification_email(ctx: Ctx) -> responses.EmailVerificationSendResponse:
    return wire.verification_sent(accounts.verify_own(ctx, SURFACE))


def verify_email(ctx: Ctx, body: requests.EmailVerificationConfirmRequest) -> responses.SuccessResponse:
    accounts.verify_email(ctx, body.token)
    return wire.done("Email verified successfully.")


def request_password_reset(ctx: Ctx, body: requests.PasswordForgotRequest) -> responses.SuccessResponse:
    accounts.request_password_reset(ctx, SURFACE, body.email)
    return wire.done("If the account exists, a reset link has been sent.")


def confirm_password_reset(ctx: Ctx, body: requests.PasswordResetConfirmRequest) -> responses.SuccessResponse:
    accounts.reset_password(ctx, SURFACE, body.token, body.new_password)
    return wire.done("Password has been reset successfully.")


def change_password(ctx: Ctx, body: requests.PasswordChangeRequest) -> responses.SuccessResponse:
    accounts.change_password(ctx, SURFACE, body.current_password, body.new_password)
    return wire.done("Password updated successfully.")


def set_user_password(ctx: Ctx, body: requests.PasswordResetRequest) -> responses.SuccessResponse:
    member_passwords.set_member_password(ctx, SURFACE, body.user_id, body.new_password)
    return wire.done("Password reset successfully.")
