"""Signing in through others: redirects, cookies and sessions as Bee Flow's contract has them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from domain.identity import federation, roles
from handlers.wiring import timestamp
from thalweg.edge.application import File, Outside, Reply
from thalweg.edge.cookies import cookie

if TYPE_CHECKING:
    from domain.identity.federation.flows import Arrival, Departure, Journey, Landing
    from domain.identity.sessions import SignedIn
    from domain.kernel.context import Ctx
    from generated.beeflow import responses

STATE_SECONDS = 600
SESSION_COOKIE = "bf_session"


def departure(left: Departure) -> Reply:
    """On to the provider, with the cookie that ties the answer to this browser."""
    return _on(left.location, state_cookie(left.browser))


def state_cookie(browser: str) -> str:
    """What ties a sign-in to one browser. `SameSite=None`: a SAML answer is posted by another site."""
    return cookie(
        federation.flows.COOKIE,
        browser,
        path=f"{federation.registry.current().path}/auth",
        max_age=STATE_SECONDS,
        same_site="None",
    )


def journey(way: Journey, code: str) -> Outside:
    """Ask the provider, with no transaction open, and go on from what it says."""
    return Outside(lambda: way.ask(code), lambda ctx, news: landing(federation.flows.land(ctx, way, news)))


def landing(landed: Landing) -> Reply:
    """On to the pickup, to the sign-in page, or back to a provider that was not asked."""
    return _on(landed.location, *(() if landed.browser is None else (state_cookie(landed.browser),)))


def metadata(document: bytes) -> File:
    """SAML metadata, to be shown and not saved."""
    tag = f'"{hashlib.sha256(document).hexdigest()[:32]}"'
    return File(federation.saml_flow.MEDIA_TYPE, data=document, inline=True, etag=tag)


def arrival(ctx: Ctx, arrived: Arrival, format_: str) -> Reply:
    """The session: as a cookie and on, or in the body. A cookie is for the browser that set out alone."""
    cookies = [session_cookie(ctx, arrived.signed_in)] if arrived.same_browser else []
    if format_ == "json":
        body = session(arrived.signed_in)
        return Reply(body, status=200, headers={"Cache-Control": "no-store"}, cookies=cookies)
    return _on(arrived.redirect, *cookies)


def _on(location: str, *cookies: str) -> Reply:
    return Reply(status=302, headers={"Location": location, "Cache-Control": "no-store"}, cookies=cookies)


def session_cookie(ctx: Ctx, signed_in: SignedIn) -> str:
    """The session for browsers, for as long as it can slide."""
    ends = signed_in.session.ends_at or signed_in.session.expires_at
    return cookie(
        SESSION_COOKIE, signed_in.access_token, path="/", max_age=max(1, int((ends - ctx.now()).total_seconds()))
    )


def session(signed_in: SignedIn) -> responses.Session:
    return {
        "token": signed_in.access_token,
        "tokenType": "Bearer",
        "expiresAt": timestamp(signed_in.access_expires_at),
        "user": user(signed_in),
    }


def user(signed_in: SignedIn) -> responses.SessionUser:
    account, belonging = signed_in.account, signed_in.belonging
    return {
        "id": str(account.id),
        "email": account.email,
        "displayName": account.name,
        "role": "admin" if belonging is None or roles.called("beeflow", belonging.role) == "admin" else "user",
    }
