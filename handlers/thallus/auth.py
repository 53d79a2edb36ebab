"""auth."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def register(ctx: Ctx, body: requests.RegisterRequest) -> responses.RegisterResponse:
    """Create an account."""
    raise not_implemented()


def login(ctx: Ctx, body: requests.LoginRequest) -> responses.TokenResponse:
    """Sign in with e-mail and password."""
    raise not_implemented()


def logout(ctx: Ctx) -> responses.Message:
    """Sign out of this session."""
    raise not_implemented()


def refresh_token(ctx: Ctx) -> responses.TokenResponse:
    """Trade the refresh cookie for the next pair."""
    raise not_implemented()


def get_current_user(ctx: Ctx) -> responses.User:
    """Read the current user."""
    raise not_implemented()


def update_profile(ctx: Ctx, body: requests.ProfileUpdate) -> responses.User:
    """Replace the profile."""
    raise not_implemented()


def update_settings(ctx: Ctx, body: requests.SettingsUpdate) -> responses.UserSettings:
    """Change preferences."""
    raise not_implemented()


def change_password(ctx: Ctx, body: requests.PasswordChangeRequest) -> responses.TokenResponse:
    """Change the password."""
    raise not_implemented()


def verify_email(ctx: Ctx, body: requests.VerifyEmailRequest) -> responses.Message:
    """Verify the e-mail address."""
    raise not_implemented()


def resend_verification(ctx: Ctx, body: requests.ResendVerificationRequest) -> responses.Message:
    """Send the verification mail again."""
    raise not_implemented()


def forgot_password(ctx: Ctx, body: requests.ForgotPasswordRequest) -> responses.Message:
    """Ask for a password reset mail."""
    raise not_implemented()


def reset_password(ctx: Ctx, body: requests.ResetPasswordRequest) -> responses.Message:
    """Set a new password with a reset token."""
    raise not_implemented()


def request_account_deletion(ctx: Ctx, body: requests.AccountDeleteRequest) -> responses.AccountDeletion:
    """Ask for the account to be deleted."""
    raise not_implemented()
