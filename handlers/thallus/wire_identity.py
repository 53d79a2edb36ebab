"""Accounts, sessions and keys as Thallus shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from domain.identity import roles
from handlers.wiring import page_of, timestamp
from thalweg.edge.application import Reply
from thalweg.edge.cookies import cookie, expired

if TYPE_CHECKING:
    from datetime import datetime

    from domain.identity import Account, ApiKey
    from domain.identity.memberships import Belonging
    from domain.identity.sessions import SignedIn
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage, Page
    from generated.thallus import responses

COOKIE = "refresh_token"
PREFERENCES: dict[str, Any] = {
    "theme": "system",
    "default_chat_mode": "auto",
    "memory_enabled": True,
    "email_notifications": True,
}
"""What holds before somebody has chosen."""


def cookie_path(base_path: str) -> str:
    return f"{base_path}/api/v1/auth"


def token(ctx: Ctx, signed_in: SignedIn) -> Reply:
    """The access token in the body, the refresh token in its cookie."""
    assert signed_in.refresh_token is not None
    assert signed_in.refresh_expires_at is not None
    session = signed_in.session
    kept = max(1, int((signed_in.refresh_expires_at - ctx.now()).total_seconds())) if session.remembered else None
    body: responses.TokenResponse = {
        "access_token": signed_in.access_token,
        "token_type": "Bearer",
        "expires_in": max(1, int((signed_in.access_expires_at - ctx.now()).total_seconds())),
        "user": {
            "id": str(signed_in.account.id),
            "email": signed_in.account.email,
            "name": signed_in.account.name,
        },
    }
    refresh = cookie(COOKIE, signed_in.refresh_token, path=cookie_path(ctx.base_path), max_age=kept, same_site="Strict")
    return Reply(body, headers={"Cache-Control": "no-store"}, cookies=[refresh])


def signed_out(ctx: Ctx) -> Reply:
    body = message("You are signed out.")
    return Reply(body, cookies=[expired(COOKIE, path=cookie_path(ctx.base_path), same_site="Strict")])


def message(text: str) -> responses.Message:
    return {"message": text}


def registered(email: str, expires_at: datetime) -> responses.RegisterResponse:
    return {
        "message": "Almost done: follow the link in the mail that is on its way.",
        "email": email,
        "verification_required": True,
        "verification_expires_at": timestamp(expires_at),
    }


def user(account: Account, belonging: Belonging, plan: str) -> responses.User:
    return {
        "id": str(account.id),
        "email": account.email,
        "email_verified": account.email_verified_at is not None,
        "name": account.name,
        "job_title": account.job_title,
        "avatar_url": account.avatar_url,
        "timezone": account.timezone,
        "role": cast(
            "Literal['user', 'admin', 'superadmin']", roles.called("thallus", belonging.role, account.platform_role)
        ),
        "organization": {
            "id": str(belonging.organisation_id),
            "name": belonging.name,
            "is_personal": belonging.personal,
            "plan": cast("Literal['trial', 'starter', 'pro', 'enterprise']", plan),
        },
        "settings": settings(account),
        "has_password": account.password_hash is not None,
        "deletion_scheduled_at": timestamp(account.deletion_due_at),
        "created_at": timestamp(account.created_at),
        "last_login_at": timestamp(account.last_sign_in_at),
    }


def settings(account: Account) -> responses.UserSettings:
    chosen = PREFERENCES | {name: account.preferences[name] for name in PREFERENCES if name in account.preferences}
    return cast("responses.UserSettings", {**chosen, "language": account.language})


def deletion(account: Account) -> responses.AccountDeletion:
    assert account.deletion_requested_at is not None
    assert account.deletion_due_at is not None
    due = timestamp(account.deletion_due_at)
    return {
        "message": "Your account will be deleted. Sign in before then to keep it.",
        "requested_at": timestamp(account.deletion_requested_at),
        "deletion_scheduled_at": due,
        "cancellable_until": due,
    }


def api_key(key: ApiKey, now: datetime) -> responses.ApiKey:
    over = key.expires_at is not None and key.expires_at <= now
    return {
        "id": str(key.id),
        "name": key.name,
        "masked_key": f"{key.prefix}…{key.suffix or ''}",
        "status": "revoked" if key.revoked_at is not None else "expired" if over else "active",
        "expires_at": timestamp(key.expires_at),
        "last_used_at": timestamp(key.last_used_at),
        "revoked_at": timestamp(key.revoked_at),
        "created_at": timestamp(key.created_at),
    }


def created_api_key(key: ApiKey, plain: str, now: datetime) -> responses.ApiKeyCreated:
    return {"key": plain, **api_key(key, now)}


def api_key_page(found: Page[ApiKey], page: OffsetPage, now: datetime) -> responses.ApiKeyPage:
    return {
        "items": [api_key(key, now) for key in found.items],
        **page_of(found, page),
    }
