"""Signing in through an organisation's SAML identity provider.

way = saml_flow.way_to(organisation_id)                        # no transaction: metadata may be fetched
departure = saml_flow.depart(ctx, way, redirect="/chat")       # the browser goes, with a cookie
reading = saml_flow.read(encoded, clock)                       # no transaction: metadata again, keys are slow
landing = saml_flow.land(ctx, reading, relay, browser=cookie)  # a transaction: once-only, account, pickup code

An answer is taken from the browser that asked for it. One that nobody asked for is no sign-in, because anybody could
have posted their own into somebody else's browser: where the operator lets the identity provider begin, the browser is
sent back there with a request, and signs in by the answer to that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

import structlog
from sqlalchemy import select

from domain import audit, billing
from domain.identity import nonces, organisations
from domain.identity.federation import flows, registry, rules, saml, saml_metadata, saml_request
from domain.identity.federation.entrance import Vouched
from domain.identity.federation.flows import Departure, Landing
from domain.identity.federation.saml_metadata import IdentityProvider
from domain.identity.models import Organisation
from domain.kernel.clock import Clock
from domain.kernel.context import Ctx
from domain.kernel.db import across_organisations, acting_for
from domain.kernel.errors import DomainError, Forbidden, NotFound, PaymentRequired, Unavailable

log = structlog.get_logger("domain.identity.federation")

MEDIA_TYPE = saml_metadata.MEDIA_TYPE
FEATURE = "saml_sso"
SURFACE = "beeflow"
_SENT_BACK = "asked-anew-"
"""Begins the cookie of a browser that came without having been asked for, until it is back with an answer."""


class FeatureNeeded(Forbidden):
    """The organisation's tier has no SAML. Facts `reason`, `feature`."""

    default = "SAML needs Enterprise or higher."

    def __init__(self) -> None:
        super().__init__(reason="license_feature_required", feature=FEATURE)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a response turned out to be."""

    issuer: str
    idp: IdentityProvider | None
    result: saml.Assertion | saml.Untrusted | saml.Denied


def metadata(ctx: Ctx, organisation_id: UUID | None) -> bytes:
    """This server's metadata for an organisation. Raises `NotFound` where it has no provider, `FeatureNeeded` where its
    tier has no SAML."""
    wanted = registry.current().saml_organisation(organisation_id)
    _entitled(ctx, wanted)
    return saml_metadata.write_service_provider(registry.current().service_provider(wanted))


def is_offered(ctx: Ctx) -> bool:
    """Whether a sign-in page should show this way: an organisation has a provider, and the tier for it."""
    return any(_has_tier(ctx, organisation_id) for organisation_id in registry.current().saml)


def organisation_named(ctx: Ctx, slug: str) -> UUID:
    """The organisation that signs in by its own provider, by its short name. Raises `NotFound`, for one without a
    provider like for none at all."""
    with across_organisations(ctx) as wide:
        found = wide.session.scalar(
            select(Organisation.id).where(Organisation.slug == slug.strip().lower(), Organisation.deleted_at.is_(None))
        )
    if found is None:
        raise NotFound("There is no SAML identity provider for this organisation.")
    return registry.current().saml_organisation(found)


def way_to(organisation_id: UUID | None = None) -> IdentityProvider:
    """The identity provider of an organisation, or the only one that there is. May read the metadata: not inside an
    open transaction. Raises `NotFound`, `Unavailable`."""
    known = registry.current()
    return known.identity_provider(known.saml_organisation(organisation_id))


def depart(ctx: Ctx, idp: IdentityProvider, *, redirect: str | None = None, mode: str = "redirect") -> Departure:
    """Begin a sign-in. Raises `NotFound`, `FeatureNeeded`, or `Unavailable` where the provider takes no requests."""
    _entitled(ctx, idp.organisation_id)
    departure = _ask(ctx, idp, flows.new_browser(), flows.landing_page(redirect, mode))
    if departure is None:
        raise Unavailable("This identity provider takes no requests: begin at its own page.")
    return departure


def _ask(ctx: Ctx, idp: IdentityProvider, browser: str, redirect: str) -> Departure | None:
    sp = registry.current().service_provider(idp.organisation_id)
    url = saml_request.url(idp, sp, ctx.now(), browser, redirect)
    return None if url is None else Departure(url, browser)


def read(encoded: str, clock: Clock) -> Reading:
    """Check a posted response. Raises `saml.Unreadable`, or `Unavailable` without metadata to check it with."""
    known = registry.current()
    response = saml.read(encoded)
    untrusted = saml.Untrusted("the issuer is not known")
    for idp in known.identity_providers(response.issuer):
        try:
            assertion = saml.verify(response, idp, known.service_provider(idp.organisation_id), clock.now())
            return Reading(response.issuer, idp, assertion)
        except saml.Denied as denied:
            return Reading(response.issuer, idp, denied)
        except saml.Untrusted as refused:
            untrusted = refused
    return Reading(response.issuer, None, untrusted)


def land(ctx: Ctx, reading: Reading, relay_state: str | None, *, browser: str | None) -> Landing:
    """Let somebody in, or not; `browser`: what its cookie holds.

    Raises `saml.Untrusted` (which is remembered in the audit trail) and `FeatureNeeded`.
    """
    result, idp = reading.result, reading.idp
    if isinstance(result, saml.Denied):
        return flows.refused(ctx, "saml", "access_denied", surface=SURFACE)
    if isinstance(result, saml.Untrusted) or idp is None:
        raise _refuse(ctx, reading, result if isinstance(result, saml.Untrusted) else saml.Untrusted("no provider"))
    _entitled(ctx, idp.organisation_id)
    redirect = rules.own_path(relay_state)
    if result.in_response_to is None:
        return _send_back(ctx, reading, idp, redirect, browser)
    if browser is None or not saml_request.is_ours(result.in_response_to, idp.organisation_id, ctx.now(), browser):
        raise _refuse(ctx, reading, saml.Untrusted("it answers no request of ours, or of another browser"))
    if not nonces.spend(ctx, "saml_request", result.in_response_to, ctx.now() + rules.FLOW_LIFE):
        raise _refuse(ctx, reading, saml.Untrusted("the request was answered before"))
    if not nonces.spend(ctx, "saml_assertion", f"{result.issuer}\n{result.id}", result.not_on_or_after):
        raise _refuse(ctx, reading, saml.Untrusted("it was taken before"))
    vouched = Vouched(
        "saml",
        result.issuer,
        result.subject,
        result.email,
        result.email is not None,
        result.display_name,
        idp.organisation_id,
        result.session_ends_at,
    )
    fresh = flows.new_browser() if browser.startswith(_SENT_BACK) else None
    landing = flows.let_in(ctx, vouched, surface=SURFACE, redirect=redirect, browser=fresh or browser)
    return replace(landing, browser=fresh)


def _send_back(ctx: Ctx, reading: Reading, idp: IdentityProvider, redirect: str, browser: str | None) -> Landing:
    """To the identity provider with a request of our own: whoever is signed in there comes back with its answer."""
    if not idp.unsolicited:
        raise _refuse(ctx, reading, saml.Untrusted("nobody asked for it"))
    if browser is not None and browser.startswith(_SENT_BACK):
        raise _refuse(ctx, reading, saml.Untrusted("the provider was asked and did not answer that"))
    asked = _ask(ctx, idp, _SENT_BACK + flows.new_browser(), redirect)
    if asked is None:
        raise _refuse(ctx, reading, saml.Untrusted("nobody asked for it, and the provider takes no requests"))
    flows.note(ctx, "saml", "denied", {"issuer": reading.issuer[:200], "reason": "sent back with a request"})
    return Landing(asked.location, asked.browser)


def _refuse(ctx: Ctx, reading: Reading, why: saml.Untrusted) -> DomainError:
    log.warning("saml_refused", issuer=reading.issuer[:200], why=why.why, request_id=ctx.request_id)
    details = {"provider": "saml", "issuer": reading.issuer[:200], "reason": why.why}
    with across_organisations(ctx) as wide:
        audit.record(wide, "sso.sign_in", outcome="failure", details=details)
    return why.keeping()


def _has_tier(ctx: Ctx, organisation_id: UUID) -> bool:
    try:
        _entitled(ctx, organisation_id)
    except (NotFound, FeatureNeeded):
        return False
    return True


def _entitled(ctx: Ctx, organisation_id: UUID) -> None:
    with acting_for(ctx, organisation_id) as inside:
        try:
            organisations.get_organisation(inside)
        except NotFound:
            raise NotFound("There is no SAML identity provider for this organisation.") from None
        try:
            billing.entitled(inside, FEATURE, product="beeflow")
        except PaymentRequired:
            raise FeatureNeeded from None
