"""Sessions, tokens, sign-up and tenant settings as Starter shows them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from domain.identity import invites, rules
from domain.identity.signup import policy
from domain.kernel import crypto
from domain.kernel.context import UserActor
from handlers.wiring import page_of, timestamp
from thalweg.edge.application import Reply

if TYPE_CHECKING:
    from datetime import datetime

    from domain.identity import UserSession
    from domain.identity.models import Invite, ServiceToken, SignupRequest
    from domain.identity.service_accounts import Exchanged
    from domain.identity.sessions import SignedIn
    from domain.identity.settings_tenant import TenantSettings
    from domain.identity.signup import Founded, Issued, Shown
    from domain.identity.tokens import Claims
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage, Page
    from generated.starter import responses

NO_STORE = {"Cache-Control": "no-store"}
CLAIMS = ("sub", "tenant_id", "roles", "scope", "sid", "email_verified", "token_use", "jti", "iss", "aud", "iat", "exp")
"""Of a token, what the contract shows of it."""


# --- sessions ------------------------------------------------------------------------------------------------


def session(signed_in: SignedIn) -> Reply:
    return Reply(_session(signed_in), headers=NO_STORE)


def exchanged(made: Exchanged, refresh_token: str) -> Reply:
    """A service account's pair: its refresh token stays as it is."""
    token = made.token
    body: responses.UserSessionResponse = {
        "access_token": made.access_token,
        "refresh_token": refresh_token,
        "token_type": "bearer",
        "expires_at": timestamp(made.access_expires_at),
        "refresh_expires_at": timestamp(token.expires_at),
        "kid": made.kid,
        "refresh_kid": token.signing_kid,
        "scopes": list(token.scopes),
        "tenant_id": None if token.organisation_id is None else str(token.organisation_id),
        "user_id": str(token.id),
        "email_verified": True,
        "session_id": str(token.id),
    }
    return Reply(body, headers=NO_STORE)


def founded(ctx: Ctx, made: Founded) -> Reply:
    signed_in = made.signed_in
    assert signed_in.belonging is not None
    body: responses.UserRegisterResponse = {
        **_session(signed_in),
        "tenant_id": str(signed_in.belonging.organisation_id),
        "tenant_slug": made.slug,
    }
    return Reply(body, headers={**NO_STORE, "Location": f"{ctx.base_path}/api/v1/tenants/settings"})


def me(claims: Claims) -> responses.CurrentUserResponse:
    kind, _, name = claims.subject.partition(":")
    payload = {name: claims.raw[name] for name in CLAIMS}
    return {
        "success": True,
        "message": "User info retrieved successfully.",
        "data": {
            "user_id": name if kind == "user" else str(claims.session_id),
            "token_payload": cast("responses.TokenPayload", payload),
        },
    }


def session_page(ctx: Ctx, found: Page[UserSession], page: OffsetPage) -> responses.UserSessionListResponse:
    current = ctx.actor.session_id if isinstance(ctx.actor, UserActor) else None
    return {
        "sessions": [_listed(one, current=one.id == current) for one in found.items],
        **page_of(found, page),
    }


def done(message: str) -> responses.SuccessResponse:
    return {"success": True, "message": message, "data": None}


def logged_out(revoked: bool) -> responses.LogoutResponse:
    message = "Session revoked successfully." if revoked else "The session was over already."
    return {"success": True, "message": message, "data": {"revoked": revoked}}


def logged_out_everywhere(revoked: int) -> responses.LogoutAllResponse:
    return {"success": True, "message": "Sessions revoked successfully.", "data": {"revoked": revoked}}


def session_revoked(one: UserSession) -> responses.SessionRevokeResponse:
    return {"success": True, "message": "Session revoked successfully.", "data": {"session_id": str(one.id)}}


def verification_sent(sent: bool) -> responses.EmailVerificationSendResponse:
    message = "Verification email sent." if sent else "The address is verified already."
    return {"success": True, "message": message, "data": {"email_verified": not sent}}


def _session(signed_in: SignedIn) -> responses.UserSessionResponse:
    assert signed_in.refresh_token is not None
    assert signed_in.refresh_expires_at is not None
    belonging = signed_in.belonging
    return {
        "access_token": signed_in.access_token,
        "refresh_token": signed_in.refresh_token,
        "token_type": "bearer",
        "expires_at": timestamp(signed_in.access_expires_at),
        "refresh_expires_at": timestamp(signed_in.refresh_expires_at),
        "kid": signed_in.kid,
        "refresh_kid": signed_in.kid,  # refresh tokens are opaque: no key signs them
        "scopes": sorted(signed_in.permissions),
        "tenant_id": None if belonging is None else str(belonging.organisation_id),
        "user_id": str(signed_in.account.id),
        "email_verified": signed_in.account.email_verified_at is not None,
        "session_id": str(signed_in.session.id),
    }


def _listed(one: UserSession, *, current: bool) -> responses.UserSessionItem:
    client, place = one.client or {}, one.location
    return {
        "id": str(one.id),
        "tenant_id": None if one.organisation_id is None else str(one.organisation_id),
        "created_at": timestamp(one.created_at),
        "last_seen_at": timestamp(one.seen_at),
        "revoked_at": timestamp(one.revoked_at),
        "ip_address_masked": rules.masked_address(one.address),
        "fingerprint": None if one.user_agent is None else crypto.digest(one.user_agent).hex()[:16],
        "client": {
            "platform": client.get("platform"),
            "browser": client.get("browser"),
            "device": client.get("device"),
            "user_agent": one.user_agent,
        },
        "location": None
        if place is None
        else {"city": place.get("city"), "region": place.get("region"), "country": place.get("country")},
        "current": current,
    }


# --- service accounts ----------------------------------------------------------------------------------------


def service_token(ctx: Ctx, token: ServiceToken, plain: str) -> Reply:
    body: responses.ServiceAccountTokenResponse = {
        "refresh_token": plain,
        "expires_at": timestamp(token.expires_at),
        "issued_at": timestamp(token.created_at),
        "scopes": list(token.scopes),
        "tenant_id": None if token.organisation_id is None else str(token.organisation_id),
        "kid": token.signing_kid,
        "account": token.account,
        "token_use": "refresh",
        "session_id": str(token.id),
    }
    where = f"{ctx.base_path}/api/v1/auth/service-accounts/tokens?account={token.account}"
    return Reply(body, headers={**NO_STORE, "Location": where})


def service_token_page(found: Page[ServiceToken], page: OffsetPage) -> responses.ServiceAccountTokenListResponse:
    return {
        "items": [
            {
                "jti": str(token.id),
                "account": token.account,
                "tenant_id": None if token.organisation_id is None else str(token.organisation_id),
                "scopes": list(token.scopes),
                "issued_at": timestamp(token.created_at),
                "expires_at": timestamp(token.expires_at),
                "revoked_at": timestamp(token.revoked_at),
                "revoked_reason": token.revoked_reason,
                "fingerprint": token.fingerprint,
                "signing_kid": token.signing_kid,
            }
            for token in found.items
        ],
        **page_of(found, page),
    }


def service_token_revoked(token: ServiceToken) -> responses.ServiceAccountTokenRevokeResponse:
    return {"success": True, "message": "Service-account token revoked.", "data": {"jti": str(token.id)}}


def hours(count: int | None) -> timedelta | None:
    """A wish for so many hours; None for none."""
    return None if count is None else timedelta(hours=count)


# --- signing up ----------------------------------------------------------------------------------------------


def signup_policy() -> responses.SignupAccessPolicyResponse:
    held = policy()
    asked = held != "public"
    return {"policy": held, "invite_required": asked, "request_access_enabled": asked}


def signup_request(request: SignupRequest, hint: str | None) -> responses.SignupRequestResponse:
    return {
        "id": str(request.id),
        "email": request.email,
        "organization": request.company,
        "full_name": request.name,
        "status": cast("Literal['pending', 'approved', 'rejected']", request.status),
        "created_at": timestamp(request.created_at),
        "decision_reason": request.reason,
        "invite_token_hint": hint,
    }


def signup_request_page(found: Page[Shown]) -> responses.SignupRequestListResponse:
    return {"requests": [signup_request(one.request, one.hint) for one in found.items], "total": found.total or 0}


def approved(request: SignupRequest, issued: Issued, now: datetime) -> Reply:
    body: responses.SignupRequestDecisionResponse = {
        "request": signup_request(request, issued.invite.hint),
        "invite": _issued(issued, now),
    }
    return Reply(body, headers=NO_STORE)


def rejected(request: SignupRequest) -> responses.SignupRequestDecisionResponse:
    return {"request": signup_request(request, None), "invite": None}


def invite(one: Invite, now: datetime) -> responses.SignupInviteResponse:
    state: Any = invites.status_of(one, now)
    return {
        "id": str(one.id),
        "token_hint": one.hint,
        "invited_email": one.email,
        "status": state,
        "max_redemptions": one.max_redemptions,
        "redeemed_count": one.redemptions,
        "expires_at": timestamp(one.expires_at),
        "created_at": timestamp(one.created_at),
        "signup_request_id": None if one.signup_request_id is None else str(one.signup_request_id),
        "note": one.note,
    }


def invite_issued(ctx: Ctx, issued: Issued) -> Reply:
    headers = {**NO_STORE, "Location": f"{ctx.base_path}/api/v1/auth/invites"}
    return Reply(_issued(issued, ctx.now()), headers=headers)


def invite_page(found: Page[Invite], now: datetime) -> responses.SignupInviteListResponse:
    return {"invites": [invite(one, now) for one in found.items], "total": found.total or 0}


def _issued(issued: Issued, now: datetime) -> responses.SignupInviteIssueResponse:
    return {**invite(issued.invite, now), "invite_token": issued.token}


# --- tenants ---------------------------------------------------------------------------------------------------


def tenant_settings(settings: TenantSettings) -> responses.TenantSettingsResponse:
    return {
        "tenant_id": str(settings.organisation_id),
        "billing_contacts": [
            {
                "name": contact.name,
                "email": contact.email,
                "role": contact.role,
                "phone": contact.phone,
                "notify_billing": contact.notify_billing,
            }
            for contact in settings.contacts
        ],
        "billing_webhook_url": settings.webhook_url,
        "plan_metadata": dict(settings.plan_metadata),
        "flags": dict(settings.flags),
        "updated_at": timestamp(settings.updated_at),
    }
