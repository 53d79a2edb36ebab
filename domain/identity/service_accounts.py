"""Service accounts: programs of the platform's operators, from a closed catalogue, with tokens that can be taken back.

A token is issued against a payload that the operator's vault has signed, or by a person who may, for whom the server
signs it. What is issued is a refresh token; it is traded for access tokens and stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from domain.identity import tokens
from domain.identity.models import Organisation, ServiceToken
from domain.kernel.errors import Unauthenticated

SUBJECT = "service-account:"
SEEN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """One entry of the catalogue: the scopes that it may have, and whether it works within one tenant."""

    name: str
    scopes: frozenset[str]
    tenant: bool
    life: timedelta


def _catalogue(*accounts: ServiceAccount) -> Mapping[str, ServiceAccount]:
    return MappingProxyType({account.name: account for account in accounts})


CATALOGUE = _catalogue(
    ServiceAccount("analytics-batch", frozenset({"conversations:read"}), True, timedelta(days=30)),
    ServiceAccount("billing-worker", frozenset({"billing:read", "billing:manage"}), True, timedelta(days=30)),
    ServiceAccount("support-console", frozenset({"support:*"}), False, timedelta(days=7)),
    ServiceAccount(
        "synthetic-monitor", frozenset({"conversations:write", "tools:read", "billing:read"}), True, timedelta(days=1)
    ),
    ServiceAccount("demo-bot", frozenset({"chat:write", "conversations:read"}), False, timedelta(days=30)),
)


@dataclass(frozen=True, slots=True)
class VerifiedService:
    """What a service account's access token stands for."""

    token_id: UUID
    account: str
    organisation_id: UUID | None
    permissions: frozenset[str]
    networks: tuple[str, ...]
    expires_at: datetime
    claims: tokens.Claims


def verified_service(session: Session, claims: tokens.Claims, now: datetime) -> VerifiedService:
    """The service account behind good claims. Raises `Unauthenticated` once its token was revoked."""
    row = session.execute(
        select(
            ServiceToken.id,
            ServiceToken.account,
            ServiceToken.organisation_id,
            ServiceToken.scopes,
            ServiceToken.expires_at,
            ServiceToken.revoked_at,
            ServiceToken.seen_at,
            Organisation.deleted_at,
            Organisation.networks,
        )
        .outerjoin(Organisation, Organisation.id == ServiceToken.organisation_id)
        .where(ServiceToken.id == claims.session_id)
    ).one_or_none()
    if row is None or claims.subject != f"{SUBJECT}{row.account}" or row.deleted_at is not None:
        raise Unauthenticated("The token is not valid.", reason="invalid_token")
    if row.revoked_at is not None or row.expires_at <= now:
        raise Unauthenticated("The token is over.", reason="expired_token")
    if row.seen_at is None or row.seen_at <= now - SEEN:
        session.execute(
            update(ServiceToken)
            .where(ServiceToken.id == row.id)
            .values(seen_at=now)
            .execution_options(synchronize_session=False)
        )
    return VerifiedService(
        token_id=row.id,
        account=row.account,
        organisation_id=row.organisation_id,
        permissions=frozenset(row.scopes),
        networks=tuple(row.networks or ()),
        expires_at=min(row.expires_at, claims.expires_at),
        claims=claims,
    )
