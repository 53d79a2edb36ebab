"""From what a provider says of somebody to an account: found, linked, made, or refused.

An account is found by the provider's own id. Only where there is none does an address lead to one, and then both sides
have to be sure of it: the provider vouches for the address, and the account has proved it. Otherwise whoever typed in
somebody's address first would share the account with its owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from domain import audit
from domain.identity import accounts, memberships, sessions
from domain.identity import rules as identity_rules
from domain.identity.federation import entrance, registry
from domain.identity.federation.entrance import NotAdmitted, Vouched
from domain.identity.memberships import Belonging
from domain.identity.models import Account, ExternalIdentity, Membership, Organisation
from domain.kernel.context import Ctx
from domain.kernel.db import across_organisations, acting_for


@dataclass(frozen=True, slots=True)
class Admitted:
    account: Account
    belonging: Belonging | None


def admit(ctx: Ctx, vouched: Vouched, *, surface: str, invite_token: str | None = None) -> Admitted:
    """The account that somebody signs in to, and the organisation they come into. Raises `NotAdmitted`.

    `ctx` belongs to no organisation. Links and makes accounts as the rules allow; a deletion that was asked for is
    cancelled.
    """
    known = _known(ctx, vouched)
    account = None if known is None else ctx.session.get(Account, known.account_id)
    if account is None:
        account = _by_address(ctx, vouched)
    if account is not None and (account.deactivated_at is not None or account.erased_at is not None):
        raise NotAdmitted("account_disabled")
    into: UUID | None = None
    own = vouched.organisation_id
    stranger = account is not None and own is not None and _membership(ctx, account.id, own) is None
    if account is None or stranger or invite_token is not None:
        account, into = entrance.come_in(ctx, vouched, account, surface=surface, invite_token=invite_token)
    belonging = _belonging(ctx, account, vouched, into)
    _remember(ctx, vouched, known, account, belonging)
    accounts.cancel_deletion(ctx, account)
    return Admitted(account, belonging)


def _known(ctx: Ctx, vouched: Vouched) -> ExternalIdentity | None:
    return ctx.session.scalars(
        select(ExternalIdentity)
        .where(
            ExternalIdentity.provider == vouched.provider,
            ExternalIdentity.issuer == vouched.issuer,
            ExternalIdentity.subject == vouched.subject,
        )
        .with_for_update()
    ).one_or_none()


def _by_address(ctx: Ctx, vouched: Vouched) -> Account | None:
    """The account that the address belongs to, where it may be linked; None where there is no account."""
    if vouched.email is None or not vouched.sure_of_email:
        raise NotAdmitted("email_unverified")
    account = ctx.session.scalars(
        select(Account)
        .where(Account.email_key == identity_rules.email_key(vouched.email), Account.erased_at.is_(None))
        .with_for_update()
    ).one_or_none()
    if account is None:
        return None
    if account.email_verified_at is None and not _untouched(ctx, account):
        # Somebody else may have made it, and waits for the owner of the address to fill it.
        raise NotAdmitted("email_unverified")
    if vouched.organisation_id is not None:
        # An organisation's provider speaks for its own members, and never for the people who run the platform.
        member = _membership(ctx, account.id, vouched.organisation_id)
        if account.platform_role is not None or member is None or member.status == "deleted":
            raise NotAdmitted("access_denied")
    if account.email_verified_at is None:
        account.email_verified_at = ctx.now()
    return account


def _untouched(ctx: Ctx, account: Account) -> bool:
    """Nobody has signed in to it, nor could: it waits for an invitation to be taken up."""
    if account.password_hash is not None or account.last_sign_in_at is not None:
        return False
    with across_organisations(ctx) as wide:
        ways_in = wide.session.scalars(
            select(ExternalIdentity.id)
            .where(ExternalIdentity.account_id == account.id)
            .union_all(
                select(Membership.id).where(Membership.account_id == account.id, Membership.external_id.is_not(None))
            )
            .limit(1)
        ).first()
    return ways_in is None


def _membership(ctx: Ctx, account_id: UUID, organisation_id: UUID) -> Membership | None:
    with acting_for(ctx, organisation_id) as inside:
        return memberships.find(inside, account_id, lock=True)


def _belonging(ctx: Ctx, account: Account, vouched: Vouched, into: UUID | None) -> Belonging | None:
    """The organisation that the session is for: the provider's own, the one just come into, or the one used last."""
    if vouched.organisation_id is not None:
        return _into_its_own(ctx, account, vouched.organisation_id)
    mine = memberships.organisations_of(ctx, account.id)
    own_providers = registry.current().saml
    # Where an organisation insists on its own provider, a private account elsewhere is no way around it.
    usable = [one for one in mine if not (one.require_sso and one.organisation_id in own_providers)]
    if usable:
        last = into or sessions.last_organisation(ctx, account.id)
        return next((one for one in usable if one.organisation_id == last), usable[0])
    if mine:
        raise NotAdmitted("sso_required")
    with across_organisations(ctx) as wide:
        others = wide.session.scalars(
            select(Membership.status)
            .join(Organisation, Organisation.id == Membership.organisation_id)
            .where(Membership.account_id == account.id, Organisation.deleted_at.is_(None))
        ).all()
    if account.platform_role is not None:
        return None
    raise NotAdmitted("pending_approval" if "pending" in others else "account_disabled")


def _into_its_own(ctx: Ctx, account: Account, organisation_id: UUID) -> Belonging:
    """An invitation is as good as taken up when the organisation's own provider vouches."""
    member = _membership(ctx, account.id, organisation_id)
    if member is not None and member.status == "invited":
        with acting_for(ctx, organisation_id) as inside:
            member.status, member.joined_at = "active", inside.now()
            inside.session.flush()
    for belonging in memberships.organisations_of(ctx, account.id):
        if belonging.organisation_id == organisation_id:
            return belonging
    raise NotAdmitted("pending_approval" if member is not None and member.status == "pending" else "account_disabled")


def _remember(
    ctx: Ctx, vouched: Vouched, known: ExternalIdentity | None, account: Account, belonging: Belonging | None
) -> None:
    now = ctx.now()
    profile = {"name": vouched.display_name, **vouched.facts}
    if known is not None:
        known.email, known.profile, known.seen_at = vouched.email, profile, now
        return
    link = ExternalIdentity(
        account_id=account.id,
        provider=vouched.provider,
        issuer=vouched.issuer,
        subject=vouched.subject,
        email=vouched.email,
        profile=profile,
        seen_at=now,
    )
    try:
        with ctx.session.begin_nested():
            ctx.session.add(link)
    except IntegrityError:
        return  # the same person in another tab was first
    if belonging is not None:
        with memberships.as_member(ctx, account.id, belonging.organisation_id) as inside:
            audit.record(
                inside,
                "identity.link",
                resource_type="user",
                resource_id=account.id,
                details={"provider": vouched.provider, "issuer": vouched.issuer},
            )
