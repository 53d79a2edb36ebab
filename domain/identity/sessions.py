"""Sessions: opened by a sign-in, prolonged by refresh tokens or by use, ended at once everywhere.

A refresh token is traded once. Whoever trades it a second time holds a copy: then the whole session ends, for the thief
and for the owner, who signs in again. An access token is good as long as its session is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, func, select, text, update
from sqlalchemy.orm import Session, aliased, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from domain import audit
from domain.identity import clients, guard, revocations, roles, tokens
from domain.identity.memberships import Belonging, as_member, organisations_of
from domain.identity.models import Account, Membership, Organisation, RefreshToken, UserSession
from domain.identity.policies import Policy, policy_of
from domain.identity.service_accounts import SUBJECT, VerifiedService, verified_service
from domain.kernel import crypto
from domain.kernel.context import Ctx, UserActor
from domain.kernel.db import Database, across_organisations
from domain.kernel.errors import Forbidden, NotFound, Unauthenticated
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage, Page

SEEN = timedelta(minutes=1)
"""A session's `seen_at` is written at most this often."""
PREFIX = "rt_"
INACTIVE = "The session ended because it was not used for too long."


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session with its fresh tokens. `refresh_token` is None where the surface has none."""

    account: Account
    session: UserSession
    belonging: Belonging | None
    access_token: str
    access_expires_at: datetime
    kid: str
    refresh_token: str | None
    refresh_expires_at: datetime | None
    permissions: frozenset[str]


@dataclass(frozen=True, slots=True)
class VerifiedSession:
    """What a good access token stands for. `left`: how many seconds that can be believed at most."""

    session_id: UUID
    account_id: UUID
    organisation_id: UUID | None
    surface: str
    """Where the person signed in."""
    role: str | None
    platform_role: str | None
    permissions: frozenset[str]
    email_verified: bool
    networks: tuple[str, ...]
    expires_at: datetime
    claims: tokens.Claims
    origin: str | None = None
    """The origin of the page that holds the frame which the token was made for: pages of others may not use it."""

    @property
    def actor(self) -> UserActor:
        return UserActor(self.account_id, self.session_id)


class SignInRefused(Forbidden):
    """The proof was right and the person may not come in. Fact `reason`: `email_unverified`, `account_disabled`,
    `sso_required`, `pending_approval` or `no_organisation`."""


def open_session(
    ctx: Ctx,
    account: Account,
    belonging: Belonging | None,
    *,
    surface: str,
    method: str,
    remembered: bool = False,
    parent: UserSession | None = None,
    origin: str | None = None,
    life: timedelta | None = None,
    ends_at: datetime | None = None,
) -> SignedIn:
    """Open a session for somebody whose proof was checked, and make its first tokens.

    `life`: for a session that neither slides nor is refreshed (frames, handshakes). `ends_at`: the identity provider's
    own end. Leaves `session.create` in the audit trail of the organisation.
    """
    policy, now = policy_of(surface), ctx.now()
    span = life or (policy.remembered if remembered else policy.session)
    latest = now + (policy.longest if policy.sliding and life is None else span)
    if ends_at is not None:
        latest = min(latest, ends_at)
    if parent is not None:
        latest = min(latest, parent.ends_at or parent.expires_at)
    session = UserSession(
        id=new_id(),
        account_id=account.id,
        organisation_id=None if belonging is None else belonging.organisation_id,
        parent_id=None if parent is None else parent.id,
        surface=surface,
        method=method,
        address=ctx.address,
        user_agent=None if ctx.user_agent is None else ctx.user_agent[:512],
        client=clients.described(ctx.user_agent),
        location=clients.located(ctx.address),
        remembered=remembered,
        origin=origin,
        idle_seconds=_idle(account, belonging),
        seen_at=now,
        expires_at=min(now + span, latest),
        ends_at=latest,
    )
    refreshed = life is None and not policy.sliding
    refresh_token = crypto.token(PREFIX) if refreshed else None
    _write(ctx, account, session, refresh_token)
    if belonging is not None:
        with as_member(ctx, account.id, belonging.organisation_id, session.id) as inside:
            audit.record(
                inside,
                "session.create",
                resource_type="session",
                resource_id=session.id,
                details={"method": method, "surface": surface},
            )
    return _with_tokens(ctx, account, session, belonging, policy, refresh_token)


def _write(ctx: Ctx, account: Account, session: UserSession, refresh_token: str | None) -> None:
    """Store a session, its first refresh token, and when the person was seen: in one round trip."""
    now = ctx.now()
    session.created_at = session.updated_at = now
    with across_organisations(ctx) as wide:
        wide.session.connection().execute(
            _OPEN,
            {
                "id": session.id,
                "account_id": account.id,
                "organisation_id": session.organisation_id,
                "parent_id": session.parent_id,
                "surface": session.surface,
                "method": session.method,
                "address": session.address,
                "user_agent": session.user_agent,
                "client": session.client,
                "location": session.location,
                "remembered": session.remembered,
                "origin": session.origin,
                "idle_seconds": session.idle_seconds,
                "expires_at": session.expires_at,
                "ends_at": session.ends_at,
                "token_id": new_id(),
                "digest": None if refresh_token is None else crypto.digest(refresh_token),
                "now": now,
            },
        )
    make_transient_to_detached(session)
    ctx.session.add(session)
    set_committed_value(account, "last_sign_in_at", now)


_OPEN = text("""
WITH opened AS (
    INSERT INTO user_session (
        id, account_id, organisation_id, parent_id, surface, method, address, user_agent, client, location, remembered,
        origin, idle_seconds, seen_at, expires_at, ends_at, created_at, updated_at
    )
    VALUES (
        :id, :account_id, :organisation_id, :parent_id, :surface, :method, :address, :user_agent, :client, :location,
        :remembered, :origin, :idle_seconds, :now, :expires_at, :ends_at, :now, :now
    )
), seen AS (
    UPDATE membership SET seen_at = :now WHERE account_id = :account_id AND organisation_id = :organisation_id
), came AS (
    UPDATE account SET last_sign_in_at = :now, updated_at = :now WHERE id = :account_id
)
INSERT INTO refresh_token (id, session_id, digest, created_at, expires_at)
SELECT :token_id, :id, CAST(:digest AS bytea), :now, :expires_at WHERE CAST(:digest AS bytea) IS NOT NULL
""").bindparams(
    *(
        bindparam(column.name, type_=column.type)
        for column in UserSession.__table__.columns
        if column.name not in ("seen_at", "revoked_at", "revoked_reason", "created_at", "updated_at")
    ),
    bindparam("token_id", type_=RefreshToken.__table__.c.id.type),
    bindparam("digest", type_=RefreshToken.__table__.c.digest.type),
    bindparam("now", type_=UserSession.__table__.c.seen_at.type),
)


def refresh_session(ctx: Ctx, plain: str, surface: str) -> SignedIn:
    """Trade a refresh token for the next pair.

    Raises `Unauthenticated` for one that is unknown, too old, of another surface, of an ended session, or traded
    before: that one ends the session too. Raises `SignInRefused` when the person may not come in any more, `Locked`
    where a locked account keeps out.
    """
    if not plain.startswith(PREFIX) or len(plain) > 200:
        raise Unauthenticated("The refresh token is not valid.", reason="refresh_invalid")
    policy, now = policy_of(surface), ctx.now()
    token = ctx.session.scalars(
        select(RefreshToken).where(RefreshToken.digest == crypto.digest(plain)).with_for_update()
    ).one_or_none()
    session = None if token is None else ctx.session.get(UserSession, token.session_id, with_for_update=True)
    if token is None or session is None or session.surface != surface:
        raise Unauthenticated("The refresh token is not valid.", reason="refresh_invalid")
    if session.revoked_at is not None:
        raise Unauthenticated("The session is over.", reason="refresh_invalid")
    if token.used_at is not None:
        _end(ctx, session, "refresh_reuse")
        raise Unauthenticated(
            "The refresh token was used before. The session was ended for safety: sign in again.",
            reason="refresh_reused",
        ).keeping()
    if token.expires_at <= now or session.expires_at <= now:
        raise Unauthenticated("The refresh token has expired.", reason="refresh_expired")
    account = ctx.session.get(Account, session.account_id)
    assert account is not None
    belonging = still_in(ctx, account, session)
    if policy.locks_refresh:
        guard.refuse_locked(ctx, account.email_key)
    if _idle_too_long(session, _idle(account, belonging), now):
        _end(ctx, session, "inactivity")
        raise Unauthenticated(INACTIVE, reason="inactive").keeping()
    token.used_at = now
    session.seen_at = now
    session.idle_seconds = _idle(account, belonging)
    if ctx.address is not None:
        session.address = ctx.address
    refresh_token = crypto.token(PREFIX)
    ctx.session.add(
        RefreshToken(
            id=new_id(),
            session_id=session.id,
            digest=crypto.digest(refresh_token),
            created_at=now,
            expires_at=session.expires_at,
        )
    )
    ctx.session.flush()
    if belonging is not None:
        with as_member(ctx, account.id, belonging.organisation_id, session.id) as inside:
            audit.record(inside, "session.refresh", resource_type="session", resource_id=session.id)
    return _with_tokens(ctx, account, session, belonging, policy, refresh_token)


def refresh_presented(ctx: Ctx, surface: str) -> SignedIn:
    """Trade the refresh token that came in a cookie (see `refresh_session`)."""
    if ctx.presented is None:
        raise Unauthenticated("The refresh token is missing.", reason="refresh_invalid")
    return refresh_session(ctx, ctx.presented.reveal(), surface)


def presented_claims(ctx: Ctx) -> tokens.Claims:
    """What the access token says that the caller has shown. Raises `Unauthenticated`."""
    if ctx.presented is None or ctx.surface is None:
        raise Unauthenticated("The access token is missing.", reason="missing_token")
    return tokens.read(ctx.session, ctx.presented.reveal(), ctx.surface)


def end_by_refresh_token(ctx: Ctx, plain: str) -> bool:
    """End the caller's session that a refresh token belongs to; False when it is over already.

    Raises `Unauthenticated` for a token that there is not, `Forbidden` for somebody else's, which stays as it is.
    """
    session = find_by_refresh_token(ctx, plain)
    if session is None:
        raise Unauthenticated("The refresh token is not valid.", reason="refresh_invalid")
    if not isinstance(ctx.actor, UserActor) or session.account_id != ctx.actor.user_id:
        raise Forbidden("The refresh token is somebody else's.", reason="not_own_token")
    ctx.session.refresh(session, with_for_update=True)
    if session.revoked_at is not None or session.expires_at <= ctx.now():
        return False
    _end(ctx, session, "signed_out")
    return True


def sign_out(ctx: Ctx) -> None:
    """End the session that asks, and what was made from it. Harmless when it is over already."""
    actor = ctx.actor
    if not isinstance(actor, UserActor) or actor.session_id is None:
        raise Forbidden("Only a session can be signed out.", reason="no_session")
    session = ctx.session.get(UserSession, actor.session_id, with_for_update=True)
    if session is not None and session.revoked_at is None:
        _end(ctx, session, "signed_out")


def reopen(ctx: Ctx, account: Account) -> SignedIn:
    """A fresh session in the place of the one that asks, which was ended with all others."""
    actor = ctx.actor
    assert isinstance(actor, UserActor)
    assert actor.session_id is not None
    former = ctx.session.get(UserSession, actor.session_id)
    assert former is not None
    belonging = still_in(ctx, account, former)
    return open_session(
        ctx,
        account,
        belonging,
        surface=former.surface,
        method=former.method,
        remembered=former.remembered,
        ends_at=former.ends_at if former.method == "saml" else None,
    )


def still_in(ctx: Ctx, account: Account, session: UserSession) -> Belonging | None:
    """The organisation of the session, if the person is still a member. Raises `SignInRefused`."""
    if account.deactivated_at is not None or account.erased_at is not None:
        raise SignInRefused("This account is deactivated.", reason="account_disabled")
    if session.organisation_id is None:
        return None
    for belonging in organisations_of(ctx, account.id):
        if belonging.organisation_id == session.organisation_id:
            return belonging
    raise SignInRefused("This account does not belong to the organisation any more.", reason="account_disabled")


def verify_access_token(database: Database, plain: str, surface: str) -> VerifiedSession | VerifiedService:
    """Who an access token stands for on `surface`: a person, or a service account. Raises `Unauthenticated` (`reason`).

    One query by the session's key; `seen_at` is written at most once a minute, and where sessions slide that prolongs
    them.
    """
    now = datetime.now(UTC)  # real time, not a context's clock: there is no context yet
    with database.session(None, platform=True) as session:
        claims = tokens.read(session, plain, surface, now)
        if claims.subject.startswith(SUBJECT):
            return verified_service(session, claims, now)
        if claims.session_id is None:
            raise Unauthenticated("The token is not valid.", reason="invalid_token")
        return _verified(session, claims, surface, now)


def _verified(session: Session, claims: tokens.Claims, surface: str, now: datetime) -> VerifiedSession:
    parent = aliased(UserSession)
    row = session.execute(
        select(
            UserSession.id,
            UserSession.account_id,
            UserSession.organisation_id,
            UserSession.surface,
            UserSession.expires_at,
            UserSession.ends_at,
            UserSession.seen_at,
            UserSession.idle_seconds,
            UserSession.revoked_at,
            UserSession.origin,
            parent.revoked_at.label("parent_revoked_at"),
            Account.platform_role,
            Account.email_verified_at,
            Account.deactivated_at,
            Account.erased_at,
            Membership.role,
            Membership.status,
            Organisation.deleted_at,
            Organisation.networks,
        )
        .join(Account, Account.id == UserSession.account_id)
        .outerjoin(parent, parent.id == UserSession.parent_id)
        .outerjoin(Organisation, Organisation.id == UserSession.organisation_id)
        .outerjoin(
            Membership,
            (Membership.organisation_id == UserSession.organisation_id) & (Membership.account_id == Account.id),
        )
        .where(UserSession.id == claims.session_id)
    ).one_or_none()
    if row is None or claims.subject != f"user:{row.account_id}" or claims.organisation_id != row.organisation_id:
        raise Unauthenticated("The token is not valid.", reason="invalid_token")
    if row.revoked_at is not None or row.parent_revoked_at is not None:
        raise Unauthenticated("The session is over.", reason="invalid_token")
    if row.deactivated_at is not None or row.erased_at is not None or row.deleted_at is not None:
        raise Unauthenticated("The account is not active.", reason="invalid_token")
    if row.organisation_id is not None and row.status != "active":
        raise Unauthenticated("The account is not active in this organisation.", reason="invalid_token")
    if row.expires_at <= now:
        raise Unauthenticated("The session has expired.", reason="expired_token")
    if row.idle_seconds is not None and row.seen_at + timedelta(seconds=row.idle_seconds) <= now:
        raise Unauthenticated(INACTIVE, reason="expired_token")
    expires_at = row.expires_at
    if row.seen_at <= now - SEEN:
        policy = policy_of(row.surface)
        values: dict[str, Any] = {"seen_at": now}
        if policy.sliding and row.ends_at is not None:
            expires_at = values["expires_at"] = min(row.ends_at, max(row.expires_at, now + policy.session))
        # Whoever finds the row locked leaves the note to the one that has it.
        free = select(UserSession.id).where(UserSession.id == row.id).with_for_update(skip_locked=True, key_share=True)
        session.execute(
            update(UserSession)
            .where(UserSession.id.in_(free))
            .values(**values)
            .execution_options(synchronize_session=False)
        )
    return VerifiedSession(
        session_id=row.id,
        account_id=row.account_id,
        organisation_id=row.organisation_id,
        surface=row.surface,
        role=row.role,
        platform_role=row.platform_role,
        permissions=_permissions(surface, row.role, row.platform_role),
        email_verified=row.email_verified_at is not None,
        networks=tuple(row.networks or ()),
        expires_at=min(expires_at, claims.expires_at),
        claims=claims,
        origin=row.origin,
    )


def list_sessions(
    ctx: Ctx,
    account_id: UUID,
    page: OffsetPage,
    *,
    surface: str | None = None,
    organisation_id: UUID | None = None,
    include_revoked: bool = False,
) -> Page[UserSession]:
    """Somebody's sessions, the latest first, those made from others left out."""
    wanted = select(UserSession).where(UserSession.account_id == account_id, UserSession.parent_id.is_(None))
    if surface is not None:
        wanted = wanted.where(UserSession.surface == surface)
    if organisation_id is not None:
        wanted = wanted.where(UserSession.organisation_id == organisation_id)
    if not include_revoked:
        wanted = wanted.where(UserSession.revoked_at.is_(None), UserSession.expires_at > ctx.now())
    total = ctx.session.scalar(select(func.count()).select_from(wanted.subquery()))
    ordered = wanted.order_by(UserSession.created_at.desc(), UserSession.id.desc())
    return Page(ctx.session.scalars(ordered.limit(page.limit).offset(page.offset)).all(), total=total)


def last_organisation(ctx: Ctx, account_id: UUID) -> UUID | None:
    """The organisation of somebody's latest session, or None."""
    return ctx.session.scalar(
        select(UserSession.organisation_id)
        .where(UserSession.account_id == account_id, UserSession.organisation_id.is_not(None))
        .order_by(UserSession.created_at.desc())
        .limit(1)
    )


def find_by_refresh_token(ctx: Ctx, plain: str) -> UserSession | None:
    """The session that a refresh token belongs to, used or not, or None."""
    return ctx.session.scalars(
        select(UserSession)
        .join(RefreshToken, RefreshToken.session_id == UserSession.id)
        .where(RefreshToken.digest == crypto.digest(plain))
    ).one_or_none()


def revoke_session(ctx: Ctx, account_id: UUID, session_id: UUID, reason: str = "signed_out") -> UserSession:
    """End one of somebody's sessions. Raises `NotFound` when there is none of theirs that still lives."""
    session = ctx.session.get(UserSession, session_id, with_for_update=True)
    if session is None or session.account_id != account_id or session.revoked_at is not None:
        raise NotFound
    _end(ctx, session, reason)
    return session


def revoke_sessions(
    ctx: Ctx,
    account_id: UUID,
    reason: str,
    *,
    keep: UUID | None = None,
    organisation_id: UUID | None = None,
) -> int:
    """End all of somebody's sessions, on every surface (or those of one organisation); how many there were.

    `keep`: one that goes on.
    """
    now = ctx.now()
    ending = update(UserSession).where(
        UserSession.account_id == account_id, UserSession.revoked_at.is_(None), UserSession.expires_at > now
    )
    if keep is not None:
        ending = ending.where(UserSession.id != keep)
    if organisation_id is not None:
        ending = ending.where(UserSession.organisation_id == organisation_id)
    ended: Sequence[UUID] = ctx.session.scalars(
        ending.values(revoked_at=now, revoked_reason=reason)
        .returning(UserSession.id)
        .execution_options(synchronize_session="fetch")
    ).all()
    if ended:
        revocations.announce(ctx, "user", account_id)
        if ctx.organisation_id is not None:
            details = {"sessions": len(ended), "reason": reason}
            audit.record(ctx, "session.revoke_all", resource_type="user", resource_id=account_id, details=details)
    return len(ended)


def _end(ctx: Ctx, session: UserSession, reason: str) -> None:
    session.revoked_at = ctx.now()
    session.revoked_reason = reason
    ctx.session.flush()
    ctx.session.execute(
        update(UserSession)
        .where(UserSession.parent_id == session.id, UserSession.revoked_at.is_(None))
        .values(revoked_at=ctx.now(), revoked_reason="parent_ended")
        .execution_options(synchronize_session=False)
    )
    # Children are known to processes under their own ids: everything of the person is forgotten, which costs a query.
    revocations.announce(ctx, "user", session.account_id)
    if session.organisation_id is not None:
        with as_member(ctx, session.account_id, session.organisation_id, session.id) as inside:
            audit.record(
                inside, "session.revoke", resource_type="session", resource_id=session.id, details={"reason": reason}
            )


def _with_tokens(
    ctx: Ctx,
    account: Account,
    session: UserSession,
    belonging: Belonging | None,
    policy: Policy,
    refresh_token: str | None,
) -> SignedIn:
    """What is answered of a session. `refresh_token`: one that is stored already."""
    now = ctx.now()
    permissions = _permissions(policy.surface, None if belonging is None else belonging.role, account.platform_role)
    # Where a session slides, its row says when it ends; its token has to outlive every prolongation.
    ends_at = session.ends_at or session.expires_at
    expires_at = ends_at if policy.sliding else min(now + policy.access, ends_at)
    claims: dict[str, Any] = {
        "sid": str(session.id),
        "tenant_id": None if belonging is None else str(belonging.organisation_id),
    }
    if policy.surface == "starter":  # whose contract publishes the claims
        claims |= {
            "roles": [] if belonging is None else [roles.called("starter", belonging.role)],
            "scope": " ".join(sorted(permissions)),
            "email_verified": account.email_verified_at is not None,
        }
    access, kid, _ = tokens.mint(ctx, f"user:{account.id}", policy.audience, expires_at, claims)
    shown = session.expires_at if policy.sliding else expires_at
    return SignedIn(
        account=account,
        session=session,
        belonging=belonging,
        access_token=access,
        access_expires_at=shown,
        kid=kid,
        refresh_token=refresh_token,
        refresh_expires_at=None if refresh_token is None else session.expires_at,
        permissions=permissions,
    )


def _permissions(surface: str, role: str | None, platform_role: str | None) -> frozenset[str]:
    if role is None:
        return frozenset() if platform_role is None else roles.permissions_of(surface, "", platform_role)
    return roles.permissions_of(surface, role, platform_role)


def _idle(account: Account, belonging: Belonging | None) -> int | None:
    """The shortest of what the organisation and the person ask for, in seconds."""
    own = account.preferences.get("idle_minutes")
    asked = [minutes for minutes in (own, None if belonging is None else belonging.idle_minutes) if minutes]
    return min(asked) * 60 if asked else None


def _idle_too_long(session: UserSession, idle_seconds: int | None, now: datetime) -> bool:
    return idle_seconds is not None and session.seen_at + timedelta(seconds=idle_seconds) <= now
