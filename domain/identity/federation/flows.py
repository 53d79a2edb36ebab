"""The way to a provider and back: `depart`, `come_back`, `Journey.ask`, `land`, and `pick_up`.

    departure = flows.depart(ctx, "google", redirect="/chat")       # the browser goes, with a cookie
    journey = flows.come_back(ctx, "google", state=..., browser=...) # a transaction: the flow is used up
    news = journey.ask(code)                                         # no transaction: the provider is called
    landing = flows.land(ctx, journey, news)                         # a transaction: account, pickup code
    arrival = flows.pick_up(ctx, code, browser=...)                  # a transaction: the session

What ties the steps together is one row: the state (by digest), the browser (by the digest of its cookie), the PKCE
verifier and the nonce (encrypted). It is good once, for ten minutes, at the callback of its own provider alone, so an
answer cannot be mixed up with another provider's, nor slipped into another person's browser.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from domain import audit
from domain.identity import links, memberships, onetime, sessions, waitlist
from domain.identity.federation import registry, rules
from domain.identity.federation.admission import admit
from domain.identity.federation.entrance import NotAdmitted, Vouched
from domain.identity.federation.providers import CodeRefused, Profile, Provider, Trip
from domain.identity.models import Account, SignInFlow
from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.db import across_organisations
from domain.kernel.errors import DomainError, Gone, Invalid
from domain.kernel.ids import new_id

COOKIE = "bf_oauth_state"
POPUP_PAGE = "/account/popup"
"""Where a sign-in in a window ends up unless told otherwise: that page hands the news to its opener."""
SAML_PAGE = "/account/saml"
"""Where a sign-in through an organisation's own identity provider begins."""


@dataclass(frozen=True, slots=True)
class Departure:
    """Where to send the browser, and what its cookie has to hold."""

    location: str
    browser: str


@dataclass(frozen=True, slots=True)
class Journey:
    """A sign-in that came back. Its row is used up already, whatever becomes of it."""

    provider: Provider
    trip: Trip
    surface: str
    redirect: str
    invite_token: str | None
    browser: str
    at: datetime

    def ask(self, code: str) -> Profile | DomainError:
        """Trade the code: whom it stands for, or what went wrong. Calls the provider; not inside a transaction."""
        try:
            return self.provider.arrival(self.trip, code, self.at)
        except DomainError as failed:
            return failed


@dataclass(frozen=True, slots=True)
class Landing:
    """Where the browser goes when the provider has spoken; `browser`: what its cookie has to hold from now on, where
    that is something else than before."""

    location: str
    browser: str | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A session that was picked up, and where the sign-in was to lead. `same_browser`: it is the one that set out, so
    a cookie may be given to it."""

    signed_in: sessions.SignedIn
    redirect: str
    same_browser: bool


def depart(
    ctx: Ctx,
    provider: str,
    *,
    surface: str = "beeflow",
    redirect: str | None = None,
    mode: str = "redirect",
    invite_token: str | None = None,
    instance: str | None = None,
) -> Departure:
    """Begin a sign-in. Raises `Unavailable` where the provider is not configured, `UpstreamFailed` when it is away."""
    way = registry.current().provider(provider, instance)
    # 43 and 64 characters: enough for PKCE's verifier (RFC 7636 4.1), and no guessing for any of them.
    trip = Trip(_callback(provider), _text(32), _text(16), _text(48))
    location = way.departure(trip)  # before the first statement: the provider may be slow
    browser = new_browser()
    now = ctx.now()
    flow = SignInFlow(
        id=new_id(),
        provider=provider,
        state=crypto.digest(trip.state),
        browser=crypto.digest(browser),
        surface=surface,
        facts={"redirect": landing_page(redirect, mode), "instance": instance},
        created_at=now,
        expires_at=now + rules.FLOW_LIFE,
    )
    crypto.seal(flow, "secrets", json.dumps({"nonce": trip.nonce, "verifier": trip.verifier, "invite": invite_token}))
    ctx.session.add(flow)
    ctx.session.flush()
    return Departure(location, browser)


def come_back(
    ctx: Ctx, provider: str, *, state: str, browser: str | None, further: Mapping[str, str] | None = None
) -> Journey:
    """Take up a sign-in at its provider's callback. Raises `Invalid` for a state that is unknown, used, too old, of
    another provider or of another browser."""
    wrong = Invalid("This sign-in is not known here any more, or belongs to another browser. Start again.")
    flow = ctx.session.scalars(
        select(SignInFlow).where(SignInFlow.state == crypto.digest(state)).with_for_update()
    ).one_or_none()
    now = ctx.now()
    if flow is None or flow.provider != provider or flow.used_at is not None or flow.expires_at <= now:
        raise wrong
    if browser is None or flow.browser is None or not crypto.same(crypto.digest(browser), flow.browser):
        raise wrong
    way = registry.current().provider(provider, flow.facts.get("instance"))
    issuer = (further or {}).get("iss")
    if issuer is not None and not way.speaks_for(issuer):
        raise wrong
    flow.used_at = now
    sealed = crypto.unseal(flow, "secrets")
    kept: dict[str, Any] = {} if sealed is None else json.loads(sealed.reveal())
    flow.secrets = None
    ctx.session.flush()
    trip = Trip(_callback(provider), state, kept["nonce"], kept["verifier"])
    redirect = rules.own_path(flow.facts.get("redirect"))
    return Journey(way, trip, flow.surface, redirect, kept.get("invite"), browser, now)


def land(ctx: Ctx, journey: Journey, news: Profile | DomainError) -> Landing:
    """What becomes of the browser, now that the provider has spoken.

    What the provider or the rules refuse leads to the sign-in page with `error`. Raises the `UpstreamFailed` of a
    provider that is away or whose answer cannot be believed.
    """
    name = journey.provider.name
    if isinstance(news, CodeRefused):
        return refused(ctx, name, "access_denied", surface=journey.surface)
    if isinstance(news, DomainError):
        note(ctx, name, "failure", {"reason": type(news).__name__})
        raise news.keeping()
    vouched = Vouched(
        news.provider,
        news.issuer,
        news.subject,
        news.email,
        news.email_verified,
        news.display_name,
    )
    return let_in(
        ctx,
        vouched,
        surface=journey.surface,
        redirect=journey.redirect,
        browser=journey.browser,
        invite_token=journey.invite_token,
    )


def let_in(
    ctx: Ctx,
    vouched: Vouched,
    *,
    surface: str,
    redirect: str,
    browser: str,
    invite_token: str | None = None,
) -> Landing:
    """Admit somebody and leave a code for the session, or send them to the sign-in page with the reason.

    `browser`: the secret of the browser that set out. The session is for that one alone.
    """
    try:
        with ctx.session.begin_nested():
            admitted = admit(ctx, vouched, surface=surface, invite_token=invite_token)
    except NotAdmitted as refusal:
        if refusal.asks and vouched.email is not None:
            waitlist.join(ctx, email=vouched.email, name=vouched.display_name or vouched.email.partition("@")[0])
        return refused(ctx, vouched.provider, str(refusal.facts["reason"]), surface=surface, email=vouched.email)
    account, belonging = admitted.account, admitted.belonging
    code = onetime.issue(
        ctx,
        "login_pickup",
        rules.PICKUP_LIFE,
        account_id=account.id,
        organisation_id=None if belonging is None else belonging.organisation_id,
        facts={
            "method": vouched.provider,
            "surface": surface,
            "redirect": redirect,
            "browser": crypto.digest(browser).hex(),
            "ends_at": None if vouched.session_ends_at is None else vouched.session_ends_at.isoformat(),
        },
        replace=False,
    )
    if belonging is not None:
        with memberships.as_member(ctx, account.id, belonging.organisation_id) as inside:
            audit.record(
                inside,
                "sso.sign_in",
                resource_type="user",
                resource_id=account.id,
                details={"provider": vouched.provider, "issuer": vouched.issuer},
            )
    else:
        note(ctx, vouched.provider, "success", {"account": str(account.id)})
    return Landing(rules.with_query(f"{registry.current().base_url}/auth/login-pickup", code=code))


def refused(ctx: Ctx, provider: str, reason: str, *, surface: str, email: str | None = None) -> Landing:
    """To the sign-in page, which says why."""
    note(ctx, provider, "denied", {"reason": reason, "email": email})
    return Landing(rules.with_query(links.page("sign-in", surface), error=reason))


def pick_up(ctx: Ctx, code: str, *, browser: str | None = None, anywhere: bool = False) -> Arrival:
    """Trade a pickup code for its session; `anywhere`: in another browser than the one that set out, too.

    Raises `Gone` for a code that is unknown, used or older than a minute, or is not for this browser, and for one of a
    person who may not come in any more.
    """
    gone = Gone("This sign-in was picked up already, or took too long. Sign in again.")
    token = onetime.take(ctx, "login_pickup", code)
    if token is None:
        raise gone
    account = None if token.account_id is None else ctx.session.get(Account, token.account_id)
    if account is None or account.deactivated_at is not None or account.erased_at is not None:
        raise gone.keeping()
    belonging = None
    if token.organisation_id is not None:
        mine = memberships.organisations_of(ctx, account.id)
        belonging = next((one for one in mine if one.organisation_id == token.organisation_id), None)
        if belonging is None:
            raise gone.keeping()
    facts = token.facts
    same = browser is not None and crypto.same(crypto.digest(browser).hex(), facts["browser"])
    if not same and not anywhere:
        raise gone.keeping()  # whoever was sent this link would end up in somebody else's account
    signed_in = sessions.open_session(
        ctx,
        account,
        belonging,
        surface=facts["surface"],
        method=facts["method"],
        ends_at=None if facts.get("ends_at") is None else datetime.fromisoformat(facts["ends_at"]),
    )
    return Arrival(signed_in, rules.own_path(facts.get("redirect")), same)


def note(ctx: Ctx, provider: str, outcome: audit.Outcome, details: Mapping[str, Any]) -> None:
    """Write into the audit trail what became of a sign-in that is nobody's organisation's."""
    with across_organisations(ctx) as wide:
        audit.record(wide, "sso.sign_in", outcome=outcome, details={"provider": provider, **details})


def new_browser() -> str:
    """A secret that ties a sign-in to one browser, for its cookie."""
    return _text(32)


def landing_page(redirect: str | None, mode: str) -> str:
    """Where a sign-in ends up: a path of this server."""
    return rules.own_path(redirect, POPUP_PAGE if mode == "popup" else "/")


def _callback(provider: str) -> str:
    return f"{registry.current().base_url}/auth/{provider}/callback"


def _text(size: int) -> str:
    return secrets.token_urlsafe(size)
