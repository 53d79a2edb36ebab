"""Claims: a Nextcloud asks to be bound to an organisation, and one of its administrators decides, from a mail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import func, select

from domain import audit, notifications
from domain.identity import links, organisations
from domain.identity.models import Account, ConnectorClaim, Membership
from domain.identity.roles import MANAGERS
from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.db import across_organisations, acting_for
from domain.kernel.errors import Gone, LimitExceeded, NotFound
from domain.kernel.ids import new_id

LIFE = timedelta(minutes=30)
MOST = 5
"""Open claims of one organisation."""
COLLECTED = timedelta(hours=24)
"""How long an accepted claim waits for its connector."""
PREFIX = "clm_"


@dataclass(frozen=True, slots=True)
class Pending:
    """A claim that waits for an administrator."""

    id: UUID
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """What an administrator is asked."""

    id: UUID
    organisation_id: UUID
    organisation: str
    instance_id: str
    base_url: str
    administrator: str
    expires_at: datetime
    accepted: bool | None


def open_claim(inside: Ctx, instance_id: str, base_url: str, facts: Mapping[str, Any]) -> Pending:
    """Ask the administrators of the context's organisation, by mail. Raises `LimitExceeded` at the sixth open claim."""
    now = inside.now()
    organisation = organisations.get_organisation(inside)
    inside.session.execute(select(func.pg_advisory_xact_lock(_lock(organisation.id))))
    open_now = inside.session.scalars(
        select(ConnectorClaim.expires_at)
        .where(ConnectorClaim.expires_at > now, ConnectorClaim.decided_at.is_(None))
        .order_by(ConnectorClaim.expires_at)
    ).all()
    if len(open_now) >= MOST:
        wait = max(1, int((open_now[0] - now).total_seconds()))
        raise LimitExceeded("Too many instances ask for this organisation at once.", retry_after=wait)
    token = crypto.token(PREFIX)
    claim = ConnectorClaim(
        id=new_id(),
        organisation_id=organisation.id,
        instance_id=instance_id,
        base_url=base_url,
        facts=dict(facts),
        digest=crypto.digest(token),
        expires_at=now + LIFE,
    )
    inside.session.add(claim)
    inside.session.flush()
    for email, language in _managers(inside):
        notifications.send_mail(
            inside,
            "pending_claim",
            email,
            facts={
                "organisation": organisation.name,
                "instance": urlsplit(base_url).hostname or instance_id,
                "link": links.page("claim", "beeflow", token),
            },
            language=language,
        )
    return pending(claim)


def pending(claim: ConnectorClaim) -> Pending:
    return Pending(claim.id, claim.expires_at)


def get(inside: Ctx, claim_id: UUID) -> ConnectorClaim:
    """A claim on the context's organisation, locked. Raises `NotFound`."""
    found = inside.session.scalars(
        select(ConnectorClaim).where(ConnectorClaim.id == claim_id).with_for_update()
    ).one_or_none()
    if found is None:
        raise NotFound
    return found


def look(ctx: Ctx, token: str) -> Claim:
    """What the token of a mail asks. Raises `Gone` for one that is unknown or too old."""
    claim, name = _by_token(ctx, token)
    return _shown(claim, name)


def decide(ctx: Ctx, token: str, *, accepted: bool) -> Claim:
    """Accept a claim or turn it down, with the token of the mail. Raises `Gone` once that is decided, or too late."""
    found, name = _by_token(ctx, token)
    with acting_for(ctx, found.organisation_id) as inside:
        claim = get(inside, found.id)
        if claim.decided_at is not None:
            raise Gone("This was decided already.")
        claim.decided_at, claim.accepted = inside.now(), accepted
        if accepted:
            claim.expires_at = inside.now() + COLLECTED
        audit.record(
            inside,
            "connector.claim_accept" if accepted else "connector.claim_decline",
            resource_type="connector_claim",
            resource_id=claim.id,
            details={"instance": claim.instance_id, "base_url": claim.base_url},
        )
        return _shown(claim, name)


def _by_token(ctx: Ctx, token: str) -> tuple[ConnectorClaim, str]:
    with across_organisations(ctx) as wide:
        claim = wide.session.scalars(
            select(ConnectorClaim).where(ConnectorClaim.digest == crypto.digest(token))
        ).one_or_none()
    if claim is None or claim.expires_at <= ctx.now():
        raise Gone("This question is not open any more.")
    with acting_for(ctx, claim.organisation_id) as inside:
        return claim, organisations.get_organisation(inside).name


def _shown(claim: ConnectorClaim, organisation: str) -> Claim:
    return Claim(
        claim.id,
        claim.organisation_id,
        organisation,
        claim.instance_id,
        claim.base_url,
        str(claim.facts.get("name") or ""),
        claim.expires_at,
        claim.accepted,
    )


def _managers(inside: Ctx) -> list[tuple[str, str]]:
    rows = inside.session.execute(
        select(Account.email, Account.language)
        .join(Membership, Membership.account_id == Account.id)
        .where(
            Membership.role.in_(MANAGERS),
            Membership.status == "active",
            Account.deactivated_at.is_(None),
            Account.erased_at.is_(None),
        )
        .order_by(Membership.joined_at)
        .limit(10)
    ).all()
    return [(row.email, row.language) for row in rows]


def _lock(organisation_id: UUID) -> int:
    return int.from_bytes(crypto.digest(f"connector_claim:{organisation_id}")[:8], "big", signed=True)
