"""Signing in through an organisation's SAML identity provider.

url = saml_flow.sign_in_url(ctx, organisation_id)          # for a sign-in page
reading = saml_flow.read(encoded)                          # no transaction: metadata may be fetched, keys are slow
landing = saml_flow.land(ctx, reading, relay_state)        # a transaction: once-only, account, pickup code
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import structlog

from domain import audit, billing
from domain.identity import nonces, organisations
from domain.identity.federation import flows, registry, rules, saml, saml_metadata, saml_request
from domain.identity.federation.entrance import Vouched
from domain.identity.federation.flows import Landing
from domain.identity.federation.saml_metadata import IdentityProvider
from domain.kernel.clock import Clock
from domain.kernel.context import Ctx
from domain.kernel.db import across_organisations, acting_for
from domain.kernel.errors import DomainError, Forbidden, NotFound, PaymentRequired

log = structlog.get_logger("domain.identity.federation")

MEDIA_TYPE = saml_metadata.MEDIA_TYPE
FEATURE = "saml_sso"
SURFACE = "beeflow"


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


def sign_in_url(ctx: Ctx, organisation_id: UUID | None = None, *, redirect: str = "/") -> str | None:
    """Where a sign-in page leads; None where the identity provider takes no requests. May read the metadata: not inside
    an open transaction. Raises `NotFound`, `Unavailable`."""
    known = registry.current()
    wanted = known.saml_organisation(organisation_id)
    return saml_request.url(known.identity_provider(wanted), known.service_provider(wanted), ctx.now(), redirect)


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


def land(ctx: Ctx, reading: Reading, relay_state: str | None) -> Landing:
    """Let somebody in, or not. Raises `saml.Untrusted` (which is remembered in the audit trail) and `FeatureNeeded`."""
    result, idp = reading.result, reading.idp
    if isinstance(result, saml.Denied):
        return flows.refused(ctx, "saml", "access_denied", surface=SURFACE)
    if isinstance(result, saml.Untrusted) or idp is None:
        raise _refuse(ctx, reading, result if isinstance(result, saml.Untrusted) else saml.Untrusted("no provider"))
    _entitled(ctx, idp.organisation_id)
    if result.in_response_to is None:
        if not idp.unsolicited:
            raise _refuse(ctx, reading, saml.Untrusted("nobody asked for it"))
    else:
        if not saml_request.is_ours(result.in_response_to, idp.organisation_id, ctx.now()):
            raise _refuse(ctx, reading, saml.Untrusted("it answers no request of ours"))
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
    return flows.let_in(ctx, vouched, surface=SURFACE, redirect=rules.own_path(relay_state))


def _refuse(ctx: Ctx, reading: Reading, why: saml.Untrusted) -> DomainError:
    log.warning("saml_refused", issuer=reading.issuer[:200], why=why.why, request_id=ctx.request_id)
    details = {"provider": "saml", "issuer": reading.issuer[:200], "reason": why.why}
    with across_organisations(ctx) as wide:
        audit.record(wide, "sso.sign_in", outcome="failure", details=details)
    return why.keeping()


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
