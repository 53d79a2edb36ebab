"""What runs by the clock: what has expired goes, and what closed organisations have left. Accounts: `erasure`."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, or_, select

from domain.identity import waitlist
from domain.identity.models import (
    ConnectorClaim,
    Invite,
    OneTimeToken,
    Organisation,
    RefreshToken,
    ServiceToken,
    SignInFlow,
    SigningKey,
    SignInGuard,
    SignupRequest,
    SpentNonce,
    UserSession,
)
from domain.kernel.context import Ctx
from domain.kernel.db import across_organisations

OVER_KEPT = timedelta(days=90)
"""How long what is over can still be listed: sessions, invitations, tokens of machines, claims, and requests that were
decided (`waitlist.SHOWN`). docs/accounts.md says so."""
UNDECIDED_KEPT = timedelta(days=365)
"""How long somebody stays on a waiting list, or asks for access, without anybody's word."""
ORGANISATIONS_KEPT = timedelta(days=30)
"""How long the data of a closed organisation is kept before it goes for good; its audit trail stays."""


def purge_expired(ctx: Ctx) -> int:
    """Delete what nobody can use any more; how many rows. Needs a platform context. Run hourly."""
    now = ctx.now()
    over = now - OVER_KEPT
    gone = 0
    with across_organisations(ctx) as platform:
        for statement in (
            delete(SpentNonce).where(SpentNonce.expires_at <= now),
            delete(SignInFlow).where(SignInFlow.expires_at <= now),
            delete(OneTimeToken).where(OneTimeToken.expires_at <= now - timedelta(days=1)),
            delete(RefreshToken).where(RefreshToken.expires_at <= now),
            delete(UserSession).where(or_(UserSession.revoked_at <= over, UserSession.expires_at <= over)),
            delete(SignInGuard).where(
                SignInGuard.updated_at <= now - timedelta(days=7),
                or_(SignInGuard.locked_until.is_(None), SignInGuard.locked_until <= now),
            ),
            delete(ServiceToken).where(or_(ServiceToken.revoked_at <= over, ServiceToken.expires_at <= over)),
            delete(Invite).where(or_(Invite.revoked_at <= over, Invite.expires_at <= over)),
            delete(ConnectorClaim).where(ConnectorClaim.expires_at <= over),
            delete(SignupRequest).where(
                or_(
                    SignupRequest.decided_at <= now - waitlist.SHOWN,
                    (SignupRequest.status == "pending") & (SignupRequest.created_at <= now - UNDECIDED_KEPT),
                )
            ),
            delete(SigningKey).where(SigningKey.retires_at <= now),
        ):
            result = platform.session.execute(statement.execution_options(synchronize_session=False))
            gone += getattr(result, "rowcount", 0)
    return gone


def erase_organisations(ctx: Ctx) -> int:
    """Delete the data of organisations that were closed `ORGANISATIONS_KEPT` ago; how many. Their audit trail stays."""
    closed = select(Organisation.id).where(Organisation.deleted_at <= ctx.now() - ORGANISATIONS_KEPT).limit(10)
    found = ctx.session.scalars(closed).all()
    if found:
        ctx.session.execute(
            delete(Organisation).where(Organisation.id.in_(found)).execution_options(synchronize_session=False)
        )
    return len(found)
