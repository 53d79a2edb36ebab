"""Service accounts: programs of the platform's operators, from a closed catalogue, with tokens that can be taken back.

A token is issued against a payload that the operator's vault has signed (`vault`), or by a person who may. What is
issued is a refresh token; it is traded for access tokens and stays as it is. It is made of the token's id with the
platform's own key, so that the same wish gets the same token again although only its digest is stored.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from domain import audit
from domain.identity import operators, revocations, roles, tokens, vault
from domain.identity.models import Organisation, ServiceToken
from domain.identity.operators import Standing
from domain.identity.policies import policy_of
from domain.kernel import crypto
from domain.kernel.context import Ctx, ServiceAccountActor, actor_name
from domain.kernel.db import across_organisations
from domain.kernel.errors import Forbidden, Invalid, NotFound, Unauthenticated
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage, Page

SUBJECT = "service-account:"
PREFIX = "rts_"
"""Of a service account's refresh token, which tells it from a person's."""
SURFACE = "starter"
SEEN = timedelta(minutes=1)
MANUAL = "tenant_admin_manual_revoke"


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
class Wish:
    """The token that somebody wants. `life` None: as long as the account's tokens live at most."""

    account: str
    scopes: frozenset[str]
    organisation_id: UUID | None = None
    life: timedelta | None = None
    fingerprint: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A service account's fresh access token."""

    token: ServiceToken
    access_token: str
    access_expires_at: datetime
    kid: str


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


def issue_to_machine(ctx: Ctx, wish: Wish, proof: str, payload: str | None) -> tuple[ServiceToken, str]:
    """A token for a machine that shows what the vault has signed; and the token in plain.

    Raises `VaultRefused`, `Unavailable` (see `vault.verify`), or `Invalid` for a payload that says something else than
    the wish, or a wish that the catalogue does not hold.
    """
    grant = vault.verify(ctx, proof, payload)
    if grant is not None and (grant.account, grant.scopes) != (wish.account, wish.scopes):
        raise Invalid("The vault payload is for another account or other scopes.", reason="vault_mismatch")
    holder = f"vault:{vault.LOCAL if grant is None else grant.holder}"
    return _issue(ctx, wish, holder, None, by_machine=True)


def issue_from_browser(ctx: Ctx, wish: Wish, standing: Standing, reason: str) -> tuple[ServiceToken, str]:
    """A token for somebody at the console; and the token in plain.

    Administrators issue within their tenant, for accounts that belong to one. Raises `Forbidden`, or `Invalid`.
    """
    known = CATALOGUE.get(wish.account)
    if not standing.operator:
        if wish.organisation_id not in (None, ctx.organisation):
            raise Forbidden("This is another tenant.", reason="tenant_mismatch")
        if known is not None and not known.tenant:
            raise Forbidden("Only operators of the platform may issue this.", reason="not_operator")
    why = reason if standing.reason is None else f"{reason} ({standing.reason})"
    return _issue(ctx, wish, actor_name(ctx.actor), why, by_machine=False)


def _issue(ctx: Ctx, wish: Wish, issued_by: str, reason: str | None, *, by_machine: bool) -> tuple[ServiceToken, str]:
    entry = _entry(ctx, wish)
    now = ctx.now()
    key = "|".join([wish.account, str(wish.organisation_id), *sorted(wish.scopes), wish.fingerprint or ""])
    ctx.session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
    token, plain = (None, "") if wish.force else _living(ctx, wish)
    again = token is not None
    if token is None:
        token_id = new_id()
        plain = next(_plain(token_id))
        token = ServiceToken(
            id=token_id,
            account=wish.account,
            organisation_id=wish.organisation_id,
            scopes=sorted(wish.scopes),
            digest=crypto.digest(plain),
            fingerprint=wish.fingerprint,
            signing_kid=tokens.signing_kid(ctx),
            issued_by=issued_by[:200],
            reason=reason,
            expires_at=now + min(wish.life or entry.life, entry.life),
        )
        ctx.session.add(token)
        ctx.session.flush()
    details = {
        "account": wish.account,
        "scopes": sorted(wish.scopes),
        "fingerprint": wish.fingerprint,
        "expires_at": token.expires_at,
        "issued_by": issued_by,
        "reason": reason,
        "again": again,
    }
    # A machine is nobody yet when it asks: what it does, it does as the account that it is given.
    actor = ServiceAccountActor(wish.account, token.id) if by_machine else None
    with operators.trail_of(ctx, wish.organisation_id, actor) as inside:
        audit.record(
            inside,
            "service_account.token_issue",
            resource_type="service_account_token",
            resource_id=token.id,
            details=details,
        )
    return token, plain


def _entry(ctx: Ctx, wish: Wish) -> ServiceAccount:
    entry = CATALOGUE.get(wish.account)
    if entry is None:
        raise Invalid("There is no such service account.", reason="unknown_account")
    beyond = sorted(wish.scopes - entry.scopes)
    if beyond:
        raise Invalid(f"This account may not have {', '.join(beyond)}.", reason="scope_not_allowed")
    if entry.tenant and wish.organisation_id is None:
        raise Invalid("This account works in a tenant: name it.", reason="tenant_needed")
    if not entry.tenant and wish.organisation_id is not None:
        raise Invalid("This account works in no tenant.", reason="tenant_refused")
    if wish.organisation_id is not None:
        with across_organisations(ctx) as platform:
            there = select(Organisation.id).where(
                Organisation.id == wish.organisation_id, Organisation.deleted_at.is_(None)
            )
            if platform.session.scalar(there) is None:
                raise Invalid("There is no such tenant.", reason="unknown_tenant")
    return entry


def _living(ctx: Ctx, wish: Wish) -> tuple[ServiceToken | None, str]:
    """The token that the same wish got before, while it works, with its plain form."""
    found = ctx.session.scalars(
        select(ServiceToken)
        .where(
            ServiceToken.account == wish.account,
            ServiceToken.organisation_id.is_not_distinct_from(wish.organisation_id),
            ServiceToken.fingerprint.is_not_distinct_from(wish.fingerprint),
            ServiceToken.scopes == sorted(wish.scopes),
            ServiceToken.revoked_at.is_(None),
            ServiceToken.expires_at > ctx.now(),
        )
        .order_by(ServiceToken.created_at.desc(), ServiceToken.id.desc())
        .limit(1)
    ).first()
    if found is not None:
        for plain in _plain(found.id):
            if crypto.digest(plain) == found.digest:
                return found, plain
    return None, ""  # none, or one made with a key that is on the ring no more


def _plain(token_id: UUID) -> Iterator[str]:
    """A token in plain as each key of the ring makes it, the current one first."""
    for key in crypto.ring().derived("service-account-token"):
        made = hmac.digest(key, token_id.bytes, hashlib.sha256)
        yield PREFIX + base64.urlsafe_b64encode(made).decode().rstrip("=")


def exchange(ctx: Ctx, plain: str) -> Exchanged:
    """An access token for a service account's refresh token, which stays as it is. Raises `Unauthenticated`."""
    now = ctx.now()
    row = None
    if plain.startswith(PREFIX) and len(plain) <= 200:
        row = ctx.session.scalars(select(ServiceToken).where(ServiceToken.digest == crypto.digest(plain))).one_or_none()
    if row is None or row.revoked_at is not None or not _open(ctx, row.organisation_id):
        raise Unauthenticated("The refresh token is not valid.", reason="refresh_invalid")
    if row.expires_at <= now:
        raise Unauthenticated("The refresh token has expired.", reason="refresh_expired")
    expires_at = min(now + policy_of(SURFACE).access, row.expires_at)
    claims: dict[str, Any] = {
        "sid": str(row.id),
        "tenant_id": None if row.organisation_id is None else str(row.organisation_id),
        "roles": [],
        "scope": " ".join(row.scopes),
        "email_verified": True,
    }
    access, kid, _ = tokens.mint(ctx, f"{SUBJECT}{row.account}", (SURFACE,), expires_at, claims)
    row.seen_at = now
    with operators.trail_of(ctx, row.organisation_id, ServiceAccountActor(row.account, row.id)) as inside:
        audit.record(inside, "session.refresh", resource_type="service_account_token", resource_id=row.id)
    return Exchanged(row, access, expires_at, kid)


def _open(ctx: Ctx, organisation_id: UUID | None) -> bool:
    if organisation_id is None:
        return True
    with across_organisations(ctx) as platform:
        closed = select(Organisation.deleted_at.is_not(None)).where(Organisation.id == organisation_id)
        return platform.session.scalar(closed) is False


def list_tokens(
    ctx: Ctx,
    page: OffsetPage,
    standing: Standing,
    *,
    account: str | None = None,
    fingerprint: str | None = None,
    status: str = "active",
    organisation_id: UUID | None = None,
    include_global: bool = False,
) -> Page[ServiceToken]:
    """Tokens, the latest first: of the caller's tenant; for operators of any, or of all (`status`: `active`, `revoked`,
    `all`). Raises `Forbidden` for what only operators may see."""
    wanted = select(ServiceToken)
    if not standing.operator:
        if include_global or organisation_id not in (None, ctx.organisation):
            raise Forbidden("Only operators of the platform see other tenants' tokens.", reason="not_operator")
        wanted = wanted.where(ServiceToken.organisation_id == ctx.organisation)
    else:
        wanted = wanted.where(_seen_by_operators(organisation_id, include_global=include_global))
    if account is not None:
        wanted = wanted.where(ServiceToken.account == account)
    if fingerprint is not None:
        wanted = wanted.where(ServiceToken.fingerprint == fingerprint)
    if status == "active":
        wanted = wanted.where(ServiceToken.revoked_at.is_(None), ServiceToken.expires_at > ctx.now())
    elif status == "revoked":
        wanted = wanted.where(ServiceToken.revoked_at.is_not(None))
    total = ctx.session.scalar(select(func.count()).select_from(wanted.subquery()))
    ordered = wanted.order_by(ServiceToken.created_at.desc(), ServiceToken.id.desc())
    found = ctx.session.scalars(ordered.limit(page.limit).offset(page.offset)).all()
    details = {"operator": standing.operator, "reason": standing.reason, "tenant": organisation_id}
    operators.record(ctx, "service_account.token_list", resource_type="service_account_token", details=details)
    return Page(found, total=total)


def _seen_by_operators(organisation_id: UUID | None, *, include_global: bool) -> ColumnElement[bool]:
    named = (
        ServiceToken.organisation_id.is_not(None)
        if organisation_id is None
        else ServiceToken.organisation_id == organisation_id
    )
    return or_(named, ServiceToken.organisation_id.is_(None)) if include_global else named


def revoke_token(ctx: Ctx, token_id: str, standing: Standing, reason: str | None) -> ServiceToken:
    """End a token and every access token made from it, at once everywhere; one that is over stays as it is.

    Raises `NotFound` for a token that there is not, or of another tenant.
    """
    try:
        wanted = UUID(token_id)
    except ValueError:
        raise NotFound from None
    token = ctx.session.get(ServiceToken, wanted, with_for_update=True)
    if token is None or not (standing.operator or token.organisation_id == ctx.organisation):
        raise NotFound
    if token.revoked_at is not None:
        return token
    token.revoked_at = ctx.now()
    token.revoked_by = actor_name(ctx.actor)
    token.revoked_reason = (reason or standing.reason or MANUAL)[:256]
    ctx.session.flush()
    revocations.announce(ctx, "service", token.id)
    with operators.trail_of(ctx, token.organisation_id) as inside:
        audit.record(
            inside,
            "service_account.token_revoke",
            resource_type="service_account_token",
            resource_id=token.id,
            details={"account": token.account, "reason": token.revoked_reason, "operator": standing.operator},
        )
    return token


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
        permissions=roles.expanded(SURFACE, row.scopes),
        networks=tuple(row.networks or ()),
        expires_at=min(row.expires_at, claims.expires_at),
        claims=claims,
    )
