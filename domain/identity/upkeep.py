"""What runs by the clock: keys are rotated, what has expired goes, accounts that asked for it are erased."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, or_, select, update

from domain import audit
from domain.identity import memberships, revocations, waitlist
from domain.identity.keys import revoke_keys_of
from domain.identity.models import (
    Account,
    ExternalIdentity,
    Invite,
    Membership,
    OneTimeToken,
    Organisation,
    PasswordHistory,
    Picture,
    RefreshToken,
    SignInFlow,
    SigningKey,
    SignInGuard,
    SignupRequest,
    SpentNonce,
    UserSession,
)
from domain.identity.policies import RECOVERY
from domain.kernel.context import Ctx
from domain.kernel.db import across_organisations, acting_for

SESSIONS_SHOWN = timedelta(days=90)
"""How long a session that is over can still be listed."""
ORGANISATIONS_KEPT = timedelta(days=30)
"""How long the data of a closed organisation is kept before it goes for good; its audit trail stays."""
BATCH = 200


def purge_expired(ctx: Ctx) -> int:
    """Delete what nobody can use any more; how many rows. Needs a platform context. Run hourly."""
    now = ctx.now()
    over = now - SESSIONS_SHOWN
    gone = 0
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
        delete(SignupRequest).where(
            SignupRequest.organisation_id.is_not(None), SignupRequest.decided_at <= now - waitlist.SHOWN
        ),
        delete(SigningKey).where(SigningKey.retires_at <= now),
    ):
        result = ctx.session.execute(statement.execution_options(synchronize_session=False))
        gone += getattr(result, "rowcount", 0)
    return gone


def due_accounts(ctx: Ctx) -> Sequence[UUID]:
    """Accounts whose grace is over, a batch at a time. Needs a platform context."""
    due = select(Account.id).where(Account.deletion_due_at <= ctx.now(), Account.erased_at.is_(None))
    return ctx.session.scalars(due.order_by(Account.deletion_due_at).limit(BATCH)).all()


def erase_account(ctx: Ctx, account_id: UUID) -> list[UUID] | None:
    """Erase a person: name, address, password, identities elsewhere. None when they came back meanwhile.

    Organisations of their own are closed; in others their membership ends, and what they made for the organisation
    stays there. Answers the organisations they were in, where the caller erases what was the person's own
    (conversations, memories). Needs a platform context.
    """
    account = ctx.session.get(Account, account_id, with_for_update=True)
    if account is None or account.erased_at is not None or account.deletion_due_at is None:
        return None
    if account.deletion_due_at > ctx.now():
        return None
    left = []
    for own in memberships.organisations_of(ctx, account_id):
        left.append(own.organisation_id)
        with acting_for(ctx, own.organisation_id) as inside:
            membership = memberships.get(inside, account_id, lock=True)
            membership.status, membership.deleted_at = "deleted", ctx.now()
            if own.personal:
                _close(inside, own.organisation_id)
            audit.record(inside, "user.erase", resource_type="user", resource_id=account_id)
    _erase(ctx, account)
    return left


def erase_members(ctx: Ctx) -> int:
    """Erase the personal data of members who were removed `RECOVERY` ago and belong nowhere else; how many."""
    with across_organisations(ctx) as platform:
        living = (
            select(Membership.id)
            .where(
                Membership.account_id == Account.id,
                or_(Membership.status != "deleted", Membership.deleted_at > ctx.now() - RECOVERY),
            )
            .exists()
        )
        removed = select(Membership.id).where(Membership.account_id == Account.id).exists()
        due = platform.session.scalars(
            select(Account)
            .where(Account.erased_at.is_(None), Account.platform_role.is_(None), removed, ~living)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        ).all()
        for account in due:
            _erase(platform, account)
    return len(due)


def erase_organisations(ctx: Ctx) -> int:
    """Delete the data of organisations that were closed `ORGANISATIONS_KEPT` ago; how many. Their audit trail stays."""
    closed = select(Organisation.id).where(Organisation.deleted_at <= ctx.now() - ORGANISATIONS_KEPT).limit(10)
    found = ctx.session.scalars(closed).all()
    if found:
        ctx.session.execute(
            delete(Organisation).where(Organisation.id.in_(found)).execution_options(synchronize_session=False)
        )
    return len(found)


def _close(inside: Ctx, organisation_id: UUID) -> None:
    inside.session.execute(
        update(Organisation)
        .where(Organisation.id == organisation_id, Organisation.deleted_at.is_(None))
        .values(deleted_at=inside.now())
    )
    audit.record(inside, "organisation.close", resource_type="organisation", resource_id=organisation_id)


def _erase(ctx: Ctx, account: Account) -> None:
    now: datetime = ctx.now()
    revoke_keys_of(ctx, account.id)
    for table in (ExternalIdentity, PasswordHistory, OneTimeToken, UserSession, Picture, Invite, SignupRequest):
        ctx.session.execute(
            delete(table).where(table.account_id == account.id).execution_options(synchronize_session=False)
        )
    account.email = account.email_key = f"erased-{account.id}@invalid"
    account.name = "Erased"
    account.password_hash = account.job_title = account.avatar_url = None
    account.preferences = {}
    account.email_verified_at = account.deletion_due_at = account.deletion_requested_at = None
    account.erased_at = now
    revocations.announce(ctx, "user", account.id)
    ctx.session.flush()
