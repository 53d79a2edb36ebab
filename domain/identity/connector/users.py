"""The people of a Nextcloud: found by their uid there, made on first sight, and given tokens of five minutes.

An instance speaks for the accounts that it brought, and for members of its own organisation whose address is proved. It
never gets hold of an account that somebody has elsewhere: then its user gets another one, under an address of its own.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote

from sqlalchemy import select

from domain import audit
from domain.identity import accounts, memberships, sessions
from domain.identity.connector import consents
from domain.identity.federation import rules
from domain.identity.models import Account, ConnectorInstance, ExternalIdentity, Membership
from domain.identity.policies import HANDSHAKE
from domain.identity.sessions import SignedIn
from domain.kernel.context import ConnectorActor, Ctx
from domain.kernel.db import across_organisations
from domain.kernel.errors import Conflict, Forbidden
from domain.kernel.ids import new_id

SOURCE = "nextcloud"
PLACEHOLDER = "nextcloud.invalid"
"""RFC 2606: nobody ever gets mail there."""


class Refused(Forbidden):
    """This user gets no token. Fact `reason`: `account_disabled`, `account_deleted`, `pending_approval` or
    `account_independent`."""


@dataclass(frozen=True, slots=True)
class Handshake:
    signed_in: SignedIn
    consent_required: bool


def handshake(ctx: Ctx, uid: str, *, email: str | None = None, name: str | None = None) -> Handshake:
    """A token for a user of the connector's Nextcloud. Raises `Refused`, or `PaymentRequired` without a free seat."""
    membership = find(ctx, uid)
    if membership is None:
        membership = provision(ctx, uid, email=email, name=name)
    if membership.status != "active":
        reasons = {"disabled": "account_disabled", "deleted": "account_deleted"}
        raise Refused("This user may not come in.", reason=reasons.get(membership.status, "pending_approval"))
    account = ctx.session.get(Account, membership.account_id)
    if account is None or account.deactivated_at is not None or account.erased_at is not None:
        raise Refused("This user may not come in.", reason="account_disabled")
    if account.source == SOURCE and _independent(ctx, account):
        raise Refused("This account has a sign-in of its own now: use that.", reason="account_independent")
    belonging = next(
        (one for one in memberships.organisations_of(ctx, account.id) if one.organisation_id == ctx.organisation), None
    )
    if belonging is None:
        raise Refused("This user may not come in.", reason="account_disabled")
    signed_in = sessions.open_session(ctx, account, belonging, surface="beeflow", method=SOURCE, life=HANDSHAKE)
    audit.record(
        ctx,
        "session.handshake",
        resource_type="session",
        resource_id=signed_in.session.id,
        details={"uid": uid, "user": str(account.id)},
    )
    return Handshake(signed_in, consents.is_due(ctx, account.id))


def find(ctx: Ctx, uid: str, *, lock: bool = False) -> Membership | None:
    """The membership of a uid of the organisation's Nextcloud, whatever its state."""
    wanted = select(Membership).where(Membership.external_id == uid, Membership.organisation_id == ctx.organisation)
    return ctx.session.scalars(wanted.with_for_update() if lock else wanted).one_or_none()


def provision(ctx: Ctx, uid: str, *, email: str | None = None, name: str | None = None) -> Membership:
    """Make the membership of a uid that is seen for the first time. Raises `PaymentRequired` without a free seat."""
    # One at a time, for the organisation: two requests for one new user come together when a page opens.
    memberships.lock_seats(ctx)
    existing = find(ctx, uid)
    if existing is not None:
        return existing
    address = rules.address_of(email)
    own = _member_of_address(ctx, address)
    if own is not None:
        own.external_id = uid
        audit.record(ctx, "identity.link", resource_type="user", resource_id=own.account_id, details={"uid": uid})
        return own
    memberships.take_seat(ctx)
    shown = rules.name_of(None if name is None else unquote(name), uid) or uid
    account = make_account(ctx, _instance_id(ctx), uid, address, shown)
    membership = memberships.add(ctx, account.id, "member", source=SOURCE, external_id=uid)
    details = {"source": SOURCE, "uid": uid}
    audit.record(ctx, "user.create", resource_type="user", resource_id=account.id, details=details)
    return membership


def make_account(ctx: Ctx, instance_id: str, uid: str, email: str | None, name: str) -> Account:
    """An account for a user of a Nextcloud: under their address where that is free, else under one of its own."""
    # A uid may be given to somebody else, while the account of whoever had it still has its address.
    again = f"{uid}/{new_id().hex}"
    for address in (email, placeholder(instance_id, uid), placeholder(instance_id, again)):
        if address is not None:
            with suppress(accounts.EmailTaken):
                return accounts.make(ctx, email=address, name=name, source=SOURCE)
    raise Conflict("There is no address for this account.")


def placeholder(instance_id: str, uid: str) -> str:
    """The address of a user who has none that could be used. Different uids have different ones."""
    plain = re.sub(r"[^a-z0-9._-]", "", uid.lower())[:30].strip(".-_")
    mark = hashlib.sha256(uid.encode()).hexdigest()[:12]
    return f"{plain or 'user'}-{mark}@{instance_id.lower()[:60]}.{PLACEHOLDER}"


def _member_of_address(ctx: Ctx, email: str | None) -> Membership | None:
    """A member of this very organisation who has proved the address, and is not tied to another uid."""
    account = None if email is None else accounts.find(ctx, email)
    if account is None or account.email_verified_at is None or account.platform_role is not None:
        return None
    return ctx.session.scalars(
        select(Membership)
        .where(
            Membership.account_id == account.id,
            Membership.organisation_id == ctx.organisation,
            Membership.status == "active",
            Membership.external_id.is_(None),
        )
        .with_for_update()
    ).one_or_none()


def _independent(ctx: Ctx, account: Account) -> bool:
    """Somebody can sign in to it without this Nextcloud, or it belongs to other organisations too."""
    if account.password_hash is not None or account.platform_role is not None:
        return True
    with across_organisations(ctx) as wide:
        external = select(ExternalIdentity.id).where(ExternalIdentity.account_id == account.id)
        elsewhere = select(Membership.id).where(
            Membership.account_id == account.id,
            Membership.organisation_id != ctx.organisation,
            Membership.status != "deleted",
        )
        return wide.session.scalars(external.union_all(elsewhere).limit(1)).first() is not None


def independent(ctx: Ctx, account: Account) -> bool:
    """Whether the account is more than this Nextcloud's: then it does not change it."""
    return account.source != SOURCE or _independent(ctx, account)


def _instance_id(ctx: Ctx) -> str:
    if isinstance(ctx.actor, ConnectorActor):
        return ctx.actor.instance_id
    found = ctx.session.scalar(
        select(ConnectorInstance.instance_id).where(ConnectorInstance.organisation_id == ctx.organisation).limit(1)
    )
    return found or ctx.organisation.hex
