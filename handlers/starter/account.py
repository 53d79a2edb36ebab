"""account."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.starter import requests, responses
from thalweg.edge.problem import not_implemented


def send_verification_email(ctx: Ctx) -> responses.EmailVerificationSendResponse:
    """Send the verification mail again."""
    raise not_implemented()


def verify_email(ctx: Ctx, body: requests.EmailVerificationConfirmRequest) -> responses.SuccessResponse:
    """Verify an e-mail address."""
    raise not_implemented()


def request_password_reset(ctx: Ctx, body: requests.PasswordForgotRequest) -> responses.SuccessResponse:
    """Ask for a password reset mail."""
    raise not_implemented()


def confirm_password_reset(ctx: Ctx, body: requests.PasswordResetConfirmRequest) -> responses.SuccessResponse:
    """Set a new password with a reset token."""
    raise not_implemented()


def change_password(ctx: Ctx, body: requests.PasswordChangeRequest) -> responses.SuccessResponse:
    """Change the caller's password."""
    raise not_implemented()


def set_user_password(ctx: Ctx, body: requests.PasswordResetRequest) -> responses.SuccessResponse:
    """Set a member's password as an administrator."""
    raise not_implemented()
