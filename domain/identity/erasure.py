"""Accounts whose time has come: the person goes, in every organisation and in every context.

Identity erases what it keeps itself. What other contexts keep of a person they erase themselves: each has a verb
`erase_person(ctx, account_id)`, and whoever runs the job hands them over as `erasers`. So identity knows none of them.

What stays: the account's row without a name, so that nobody gets its id again, and the audit trail, which is sealed and
has a retention of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, cast, delete, func, or_, select, update

from domain import audit, notifications
from domain.identity import guard, revocations
from domain.identity.keys import revoke_keys_of
from domain.identity.models import (
    Account,
    ApiKey,
    Consent,
    ExternalIdentity,
    GroupMember,
    Invite,
    Membership,
    OneTimeToken,
    Organisation,
    PasswordHistory,
    Picture,
    ServiceToken,
    SignupRequest,
    UserSession,
)
from domain.identity.policies import RECOVERY
from domain.kernel.context import Ctx
from domain.kernel.db import across_organisations, acting_for

Eraser = Callable[[Ctx, UUID], object]
"""Takes away, in the context's organisation, what a context keeps of a person."""

BATCH = 200
NAME = "Erased"
NOBODY = "erased"
"""Who has done something that stays, from now on."""


def due_accounts(ctx: Ctx) -> Sequence[UUID]:
    """Accounts whose grace is over, and those whose every organisation has removed them `RECOVERY` ago; a batch at a
    time. Needs a platform context."""
    with across_organisations(ctx) as platform:
        due = select(Account.id).where(Account.erased_at.is_(None), _is_due(ctx.now()))
        return platform.session.scalars(due.order_by(Account.deletion_due_at, Account.id).limit(BATCH)).all()


def erase_account(ctx: Ctx, account_id: UUID, erasers: Sequence[Eraser] = ()) -> list[UUID] | None:
    """Erase a person, in one transaction: name, address, password, identities elsewhere, and what `erasers` keep.

    Organisations of their own are closed; in others their membership ends, and what they made for the organisation
    stays there without their name. Answers the organisations they have been in; None when they came back meanwhile.
    Needs a platform context.
    """
    account = ctx.session.get(Account, account_id, with_for_update=True, populate_existing=True)
    if account is None or account.erased_at is not None:
        return None
    with across_organisations(ctx) as platform:
        if platform.session.scalar(select(Account.id).where(Account.id == account_id, _is_due(ctx.now()))) is None:
            return None
        wanted = (
            select(Organisation.id, Organisation.personal)
            .join(Membership, Membership.organisation_id == Organisation.id)
            .where(Membership.account_id == account_id)
            .order_by(Organisation.id)
        )
        known = [(organisation_id, personal) for organisation_id, personal in platform.session.execute(wanted)]
    for organisation_id, personal in known:
        with acting_for(ctx, organisation_id) as inside:
            for erase in erasers:
                erase(inside, account_id)
            _leave(inside, account)
            if personal:
                _close(inside, organisation_id)
            audit.record(inside, "user.erase", resource_type="user", resource_id=account_id)
    _erase(ctx, account)
    return [organisation_id for organisation_id, _ in known]


def _is_due(now: datetime) -> ColumnElement[bool]:
    """Asked for, and the grace is over; or removed everywhere, too long ago to be brought back."""
    mine = Membership.account_id == Account.id
    living = or_(Membership.status != "deleted", Membership.deleted_at > now - RECOVERY)
    removed = and_(
        Account.platform_role.is_(None),
        select(Membership.id).where(mine).exists(),
        ~select(Membership.id).where(mine, living).exists(),
    )
    return or_(Account.deletion_due_at <= now, removed)


def _leave(inside: Ctx, account: Account) -> None:
    """What identity keeps of a person in one organisation."""
    name = f"user:{account.id}"
    for table in (GroupMember, Consent, Membership):
        inside.session.execute(
            delete(table).where(table.account_id == account.id).execution_options(synchronize_session=False)
        )
    inside.session.execute(
        update(ApiKey).where(ApiKey.created_by == name, ApiKey.account_id.is_(None)).values(created_by=NOBODY)
    )
    # Who has changed an organisation's settings last, wherever among them that is noted.
    inside.session.execute(
        update(Organisation)
        .where(Organisation.id == inside.organisation, cast(Organisation.settings, Text).contains(str(account.id)))
        .values(
            settings=cast(
                func.replace(cast(Organisation.settings, Text), f'"{account.id}"', "null"),
                Organisation.settings.type,
            )
        )
        .execution_options(synchronize_session=False)
    )


def _close(inside: Ctx, organisation_id: UUID) -> None:
    inside.session.execute(
        update(Organisation)
        .where(Organisation.id == organisation_id)
        .values(
            deleted_at=func.coalesce(Organisation.deleted_at, inside.now()),
            name=NAME,
            slug=f"erased-{organisation_id.hex}",
        )
        .execution_options(synchronize_session=False)
    )
    audit.record(inside, "organisation.close", resource_type="organisation", resource_id=organisation_id)


def _erase(ctx: Ctx, account: Account) -> None:
    """What identity keeps of a person beside organisations, and what says that it was them."""
    revoke_keys_of(ctx, account.id)  # processes that believe one hear of it
    name = f"user:{account.id}"
    with across_organisations(ctx) as platform:
        session = platform.session
        for table in (ApiKey, ExternalIdentity, PasswordHistory, OneTimeToken, UserSession, Picture):
            session.execute(
                delete(table).where(table.account_id == account.id).execution_options(synchronize_session=False)
            )
        for asked in (Invite, SignupRequest):
            theirs = or_(asked.account_id == account.id, asked.email_key == account.email_key)
            session.execute(delete(asked).where(theirs).execution_options(synchronize_session=False))
        session.execute(
            update(Invite)
            .where(Invite.issuer == name)
            .values(issuer=NOBODY, invited_by=NAME)
            .execution_options(synchronize_session=False)
        )
        for column in (ServiceToken.issued_by, ServiceToken.revoked_by, SignupRequest.decided_by):
            session.execute(
                update(column.class_)
                .where(column == name)
                .values({column.key: NOBODY})
                .execution_options(synchronize_session=False)
            )
    guard.forget(ctx, account.email_key)
    notifications.forget(ctx, account.email)
    account.email = account.email_key = f"erased-{account.id}@invalid"
    account.name = NAME
    account.password_hash = account.job_title = account.avatar_url = account.password_changed_at = None
    account.preferences = {}
    account.email_verified_at = account.deletion_due_at = account.deletion_requested_at = None
    account.last_sign_in_at = None
    account.erased_at = ctx.now()
    revocations.announce(ctx, "user", account.id)
    ctx.session.flush()
