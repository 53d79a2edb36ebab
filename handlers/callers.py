"""Callers: from a credential, as a surface's contract names its scheme, to whoever acts with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from domain import identity
from domain.identity import connector, roles, rules
from domain.identity.service_accounts import VerifiedService
from domain.kernel.context import Actor, AnonymousActor, ApiKeyActor, ServiceAccountActor, UserActor
from domain.kernel.crypto import Secret
from domain.kernel.db import Database
from domain.kernel.errors import Forbidden, Unauthenticated
from thalweg.edge.application import Caller, Credential, Facts

REMEMBER_SECONDS = 30.0
"""How long an API process may believe a verified credential. A revocation is heard of at once all the same."""

NOT_VERIFIED = "Email verification required."


@dataclass(frozen=True, slots=True)
class Signed:
    """A caller with an account: what the edge needs of it, and the actor that verbs see."""

    key: str
    user_key: str
    actor: Actor
    organisation_id: UUID | None
    permissions: frozenset[str]
    rate_override: str | None = None
    refusal: str | None = None
    """Why a permission is missing, where that can be said better than by naming it."""
    role: str | None = None
    networks: tuple[str, ...] = ()
    """The organisation's IP allowlist."""
    presented: Secret | None = field(default=None, repr=False)
    """A credential that the verb itself has to judge."""
    origin: str | None = None
    """Of the page that the credential was made for, where it was made for one."""


Verifier = Callable[[Database, Credential, Facts], tuple[Caller, float]]


def anonymous(facts: Facts) -> Signed:
    """A caller of a public operation, known by the address alone."""
    address = facts.address or "unknown"
    return Signed(f"address:{address}", f"address:{address}", AnonymousActor(facts.address), None, frozenset())


def authenticate(database: Database, credential: Credential, facts: Facts) -> tuple[Caller, float]:
    """The caller, and for how many seconds that may be remembered. Raises `Unauthenticated`."""
    verify = VERIFIERS.get((facts.surface, credential.scheme))
    if verify is None:
        raise Unauthenticated("This kind of credential is not taken here.")
    return verify(database, credential, facts)


def admit(caller: Caller, facts: Facts) -> Caller:
    """What has to be asked for each request anew: where it comes from, and in which role it wants to act.

    Raises `Forbidden`.
    """
    if not isinstance(caller, Signed):
        return caller
    if caller.networks and not rules.inside(facts.address, caller.networks):
        raise Forbidden("Requests from this address are not allowed.", reason="address_not_allowed")
    if caller.origin is not None:
        _from_its_page(caller.origin, facts)
    if facts.surface == "starter" and not isinstance(caller.actor, AnonymousActor):
        return _in_tenant(caller, facts)
    return caller


# --- sessions ----------------------------------------------------------------------------------------------


def _session(database: Database, credential: Credential, facts: Facts) -> tuple[Caller, float]:
    known = identity.sessions.verify_access_token(database, credential.value, facts.surface)
    if isinstance(known, VerifiedService):
        return _service(known, credential)
    # Starter lets people in before their address is proved: what its tokens open elsewhere waits for that too.
    verified = known.email_verified or known.surface != "starter"
    caller = Signed(
        key=f"session:{known.session_id}",
        user_key=f"user:{known.account_id}",
        actor=known.actor,
        organisation_id=known.organisation_id,
        permissions=known.permissions if verified else frozenset(),
        refusal=None if verified else NOT_VERIFIED,
        role=known.role,
        networks=known.networks,
        origin=known.origin,
        presented=Secret(credential.value) if facts.surface == "starter" else None,  # it answers a token's own claims
    )
    return caller, _left(known.expires_at)


def _service(known: VerifiedService, credential: Credential) -> tuple[Caller, float]:
    caller = Signed(
        key=f"service:{known.token_id}",
        user_key=f"service:{known.token_id}",
        actor=ServiceAccountActor(known.account, known.token_id),
        organisation_id=known.organisation_id,
        permissions=known.permissions,
        networks=known.networks,
        presented=Secret(credential.value),
    )
    return caller, _left(known.expires_at)


def _from_its_page(origin: str, facts: Facts) -> None:
    """A frame's token counts in the page that it was made for and in the frame itself, whose pages are the server's.

    Browsers send `Origin` with whatever a page asks of another site. Raises `Unauthenticated`.
    """
    sent = facts.headers.get("origin")
    own = f"{facts.scheme}://{facts.headers.get('host', '')}"
    if sent is not None and rules.origin_of(sent) not in {origin, rules.origin_of(own)}:
        raise Unauthenticated("The token is not for pages of this origin.", reason="invalid_token")


def _in_tenant(caller: Signed, facts: Facts) -> Signed:
    """`X-Tenant-Id` has to be the token's own tenant; `X-Tenant-Role` can only lower what the caller is."""
    tenant, wanted = facts.headers.get("x-tenant-id"), facts.headers.get("x-tenant-role")
    if tenant is not None and tenant.strip().lower() != str(caller.organisation_id):
        raise Forbidden("X-Tenant-Id is not the tenant of this token.", reason="tenant_mismatch")
    if wanted is None or caller.role is None:
        return caller
    rung = roles.GIVEN["starter"].get(wanted.strip().lower())
    if rung is None or roles.ROLES[rung] > roles.ROLES[caller.role]:
        raise Forbidden("X-Tenant-Role can only lower the role.", reason="role_not_held")
    return replace(caller, permissions=caller.permissions & roles.permissions_of("starter", rung), role=rung)


def _shown(database: Database, credential: Credential, facts: Facts) -> tuple[Caller, float]:
    """A credential that the verb itself judges: a refresh token in a cookie, a vault's signature."""
    return replace(anonymous(facts), presented=Secret(credential.value)), 0.0


# --- API keys ----------------------------------------------------------------------------------------------


def _api_key(kind: str) -> Verifier:
    def verify(database: Database, credential: Credential, facts: Facts) -> tuple[Caller, float]:
        known = identity.verify_api_key(database, credential.value, kind)
        caller = Signed(
            key=f"key:{known.key_id}",
            user_key=f"key:{known.key_id}" if known.account_id is None else f"user:{known.account_id}",
            actor=ApiKeyActor(known.key_id, known.account_id),
            organisation_id=known.organisation_id,
            permissions=known.permissions,
            rate_override=None if known.requests_per_minute is None else f"{known.requests_per_minute}/minute",
            role=known.role,
            networks=known.networks,
        )
        return caller, math.inf if known.expires_at is None else _left(known.expires_at)

    def bounded(database: Database, credential: Credential, facts: Facts) -> tuple[Caller, float]:
        caller, left = verify(database, credential, facts)
        return caller, min(REMEMBER_SECONDS, left)

    return bounded


def _session_or_key(kind: str) -> Verifier:
    by_key = _api_key(kind)

    def verify(database: Database, credential: Credential, facts: Facts) -> tuple[Caller, float]:
        is_key = rules.is_key(credential.value, kind)
        return by_key(database, credential, facts) if is_key else _session(database, credential, facts)

    return verify


def _connector(database: Database, credential: Credential, facts: Facts) -> tuple[Caller, float]:
    """A Nextcloud connector; without an organisation as long as it only holds the enrolment key."""
    known = connector.signature.verify(database, credential.value, facts, credential.body)
    key = f"connector:{known.instance_id}"
    return Signed(key, key, known.actor, known.organisation_id, frozenset()), 0.0


def _left(expires_at: datetime) -> float:
    return min(REMEMBER_SECONDS, (expires_at - datetime.now(UTC)).total_seconds())


def person(actor: Actor) -> UUID | None:
    """The account behind an actor, where there is one."""
    return actor.user_id if isinstance(actor, UserActor | ApiKeyActor) else None


VERIFIERS: dict[tuple[str, str], Verifier] = {
    ("thalium", "apiKey"): _api_key("thalium"),
    ("thallus", "bearerAuth"): _session,
    ("thallus", "apiKey"): _api_key("thallus"),
    ("thallus", "refreshCookie"): _shown,
    ("thalian", "session"): _session,
    ("thalian", "apiKey"): _api_key("thalian"),
    ("beeflow", "bearerAuth"): _session_or_key("beeflow"),
    ("beeflow", "sessionCookie"): _session,
    ("beeflow", "connectorSignature"): _connector,
    ("starter", "bearerAuth"): _session,
    ("starter", "vaultSignature"): _shown,
}
"""(surface, security scheme) to what verifies it."""
