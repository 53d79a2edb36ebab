"""Accounts: made, verified, changed, deleted and brought back. What a caller is told never says whether one exists."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from domain import audit, notifications
from domain.identity import (
    guard,
    links,
    memberships,
    onetime,
    organisations,
    passwords,
    revocations,
    rules,
    sessions,
)
from domain.identity.keys import revoke_keys_of
from domain.identity.models import Account, ExternalIdentity, OneTimeToken
from domain.identity.policies import DELETION_GRACE, Policy, policy_of
from domain.identity.roles import MANAGERS
from domain.kernel.context import Ctx
from domain.kernel.errors import Conflict, Invalid, NotFound
from domain.kernel.ids import new_id
from domain.kernel.outbox import enqueue

MAIL_PAUSE = timedelta(minutes=5)
"""Between two mails of one kind to one address; asked sooner, nothing is sent and nothing is told."""


class InvalidToken(Invalid):
    """A token from a mail that is unknown, used or too old."""

    reason = "invalid_token"
    default = "This link is not valid any more. Ask for a new one."


class InvalidPassword(Invalid):
    """The present password, asked for as a proof, is wrong."""

    reason = "invalid_password"
    default = "The current password is not right."


class EmailTaken(Conflict):
    """On the surfaces whose contract tells: there is an account for this address."""

    reason = "email_taken"
    default = "There is an account for this address already."


@dataclass(frozen=True, slots=True)
class Registered:
    """`account` is None when the address had one already: then its owner got a mail, and the caller learns nothing."""

    account: Account | None
    verification_expires_at: datetime


# --- finding ---------------------------------------------------------------------------------------------


def find(ctx: Ctx, email: str) -> Account | None:
    """The account of an address, or None."""
    return ctx.session.scalars(
        select(Account).where(Account.email_key == rules.email_key(email), Account.erased_at.is_(None))
    ).one_or_none()


def get(ctx: Ctx, account_id: UUID) -> Account:
    """An account by its id. Raises `NotFound`. Whether the caller may see it is the caller's verb to check."""
    account = ctx.session.get(Account, account_id)
    if account is None or account.erased_at is not None:
        raise NotFound
    return account


def get_many(ctx: Ctx, account_ids: Collection[UUID]) -> Mapping[UUID, Account]:
    """Those of the accounts that there are. Whether the caller may see them is the caller's verb to check."""
    if not account_ids:
        return {}
    rows = ctx.session.scalars(select(Account).where(Account.id.in_(list(account_ids)), Account.erased_at.is_(None)))
    return {row.id: row for row in rows}


def has_external(ctx: Ctx, account: Account) -> bool:
    """Whether a provider outside signs the account in."""
    linked = select(ExternalIdentity.id).where(ExternalIdentity.account_id == account.id)
    return ctx.session.scalar(linked.limit(1)) is not None


# --- making ------------------------------------------------------------------------------------------------


def make(
    ctx: Ctx,
    *,
    email: str,
    name: str,
    source: str,
    password: str | None = None,
    language: str | None = None,
    verified: bool = False,
    account_id: UUID | None = None,
) -> Account:
    """A new account without an organisation. `password` was checked before. Raises `EmailTaken`.

    `account_id`: the id that it gets, where the person was known by one before.
    """
    name = " ".join(name.split())
    if not 1 <= len(name) <= 200 or "\x00" in name:
        raise Invalid("The name must have 1 to 200 characters.")
    fresh = None if password is None else passwords.hashed(password)
    account = Account(
        id=account_id or new_id(),
        email=email.strip(),
        email_key=rules.email_key(email),
        name=name,
        source=source,
        password_hash=fresh,
        password_changed_at=None if fresh is None else ctx.now(),
        email_verified_at=ctx.now() if verified else None,
        language=language or "en",
    )
    try:
        with ctx.session.begin_nested():
            ctx.session.add(account)
    except IntegrityError:
        raise EmailTaken from None
    return account


def give_own_organisation(ctx: Ctx, account: Account, *, name: str | None = None, slug: str | None = None) -> UUID:
    """An organisation of the account's own, personal unless it is given a name; its id. The account owns it."""
    organisation = organisations.create_organisation(
        ctx,
        name=name or _workspace(account.name),
        slug=slug or (None if name else new_id().hex[-12:]),
        personal=name is None,
    )
    with memberships.as_member(ctx, account.id, organisation.id) as inside:
        memberships.add(inside, account.id, "owner", source=account.source)
        _made(inside, account)
    return organisation.id


def join(ctx: Ctx, account: Account, organisation_id: UUID, role: str, *, source: str) -> None:
    """Make an account, new or not, an active member of an organisation; whether there is a seat is the caller's verb to
    check (`memberships.take_seat`). Raises `Conflict` for one who is a member in whatever state."""
    with memberships.as_member(ctx, account.id, organisation_id) as inside:
        memberships.add(inside, account.id, role, source=source)
        _made(inside, account)


def register(
    ctx: Ctx, surface: str, *, email: str, password: str, name: str, language: str | None = None
) -> Registered:
    """Sign up with an organisation of one's own, and send the verification mail.

    An address that has an account gets a mail that says so; the answer and the time it takes are the same. Raises
    `WeakPassword`, `Invalid`.
    """
    policy = policy_of(surface)
    passwords.check(ctx, policy.password, password, None, (email, name))
    expires_at = ctx.now() + policy.verification
    try:
        account = make(ctx, email=email, name=name, source="signup", password=password, language=language)
    except EmailTaken:
        owner = find(ctx, email)
        if owner is not None:
            tell_of_account(ctx, owner, surface)
        return Registered(None, expires_at)
    give_own_organisation(ctx, account)
    send_verification(ctx, account, policy)
    return Registered(account, expires_at)


def tell_of_account(ctx: Ctx, account: Account, surface: str) -> None:
    """Mail the owner of an address that somebody (most likely they themselves) tried to sign up with it."""
    facts = {
        "name": account.name,
        "sign_in_link": links.page("sign-in", surface),
        "reset_link": links.page("forgot", surface),
    }
    notifications.send_mail(
        ctx,
        "account_exists",
        account.email,
        facts=facts,
        language=account.language,
        unique=f"account_exists:{account.id}:{int(ctx.now().timestamp() // MAIL_PAUSE.total_seconds())}",
    )


# --- verifying ---------------------------------------------------------------------------------------------


def send_verification(ctx: Ctx, account: Account, policy: Policy) -> None:
    """Mail a link that verifies the address; earlier ones end."""
    token = onetime.issue(ctx, "verify_email", policy.verification, account_id=account.id, facts={"to": account.email})
    facts = {
        "name": account.name,
        "link": links.page("verify", policy.surface, token),
        "hours": max(1, round(policy.verification / timedelta(hours=1))),
    }
    notifications.send_mail(ctx, "verify_email", account.email, facts=facts, language=account.language)
    _about(ctx, account, "user.verification_sent")


def resend_verification(ctx: Ctx, surface: str, email: str) -> None:
    """Have a worker send the verification mail again where that is due: see `mail_verification`."""
    _promise(ctx, "identity.mail_verification", surface, email)


def mail_verification(ctx: Ctx, surface: str, email: str) -> None:
    """Send the verification mail again, if the address waits for one and the last is `MAIL_PAUSE` old."""
    account = find(ctx, email)
    if account is None or account.email_verified_at is not None or account.deactivated_at is not None:
        return
    last = onetime.last_issued(ctx, "verify_email", account.id)
    if last is None or last.created_at + MAIL_PAUSE <= ctx.now():
        send_verification(ctx, account, policy_of(surface))


def verify_own(ctx: Ctx, surface: str) -> bool:
    """Send the caller the verification mail again; False, and no mail, when the address is verified already."""
    account = memberships.caller(ctx)
    if account.email_verified_at is not None:
        return False
    send_verification(ctx, account, policy_of(surface))
    return True


def verify_email(ctx: Ctx, token: str) -> Account:
    """Take the token of a verification mail. Raises `InvalidToken`."""
    account = _account_of(ctx, onetime.take(ctx, "verify_email", token))
    if account.email_verified_at is None:
        account.email_verified_at = ctx.now()
        revocations.announce(ctx, "user", account.id)  # what a token may can hang on it
    _about(ctx, account, "user.email_verified")
    return account


# --- passwords -----------------------------------------------------------------------------------------------


def request_password_reset(ctx: Ctx, surface: str, email: str) -> None:
    """Have a worker mail a reset link, if there is such an account (see `mail_password_reset`). Tells nothing, not by
    the time that it takes either.

    Raises `LimitExceeded` where the surface says how often may be asked, whether or not there is an account.
    """
    policy = policy_of(surface)
    if policy.reset_mails is not None:
        guard.count(ctx, f"reset_mail:{rules.email_key(email)}", *policy.reset_mails)
    _promise(ctx, "identity.mail_password_reset", surface, email)


def mail_password_reset(ctx: Ctx, surface: str, email: str) -> None:
    """Mail a reset link, if there is such an account and the last is `MAIL_PAUSE` old.

    Accounts that sign in by single sign-on alone get a mail that says so.
    """
    policy = policy_of(surface)
    account = find(ctx, email)
    if account is None or account.deactivated_at is not None:
        return
    last = onetime.last_issued(ctx, "reset_password", account.id)
    if last is not None and last.created_at + MAIL_PAUSE > ctx.now():
        return
    by_sso = account.password_hash is None and has_external(ctx, account)
    if by_sso or any(own.require_sso for own in memberships.organisations_of(ctx, account.id)):
        notifications.send_mail(
            ctx, "reset_sso", account.email, facts={"name": account.name}, language=account.language
        )
        return
    token = onetime.issue(ctx, "reset_password", policy.reset, account_id=account.id, facts={"surface": surface})
    facts = {
        "name": account.name,
        "link": links.page("reset", surface, token),
        "minutes": round(policy.reset / timedelta(minutes=1)),
    }
    notifications.send_mail(ctx, "reset_password", account.email, facts=facts, language=account.language)
    _about(ctx, account, "user.password_reset_requested")


def reset_password(ctx: Ctx, surface: str, token: str, password: str) -> Account:
    """Set a password with the token of a reset mail. All sessions end, a lock is lifted, the owner is told by mail.

    Raises `InvalidToken`, or `WeakPassword`, which leaves the token good. That the mail arrived proves the address too.
    """
    account = _account_of(ctx, onetime.look(ctx, "reset_password", token))
    passwords.check(ctx, policy_of(surface).password, password, account, (account.email, account.name))
    if onetime.take(ctx, "reset_password", token) is None:
        raise InvalidToken  # another request took it while the password was judged
    if account.email_verified_at is None:
        account.email_verified_at = ctx.now()
    set_password(ctx, account, surface, password, action="user.password_reset")
    guard.lift(ctx, account.email_key)
    return account


def change_password(ctx: Ctx, surface: str, current: str, password: str, *, keep: UUID | None = None) -> Account:
    """The caller's new password, for the present one. All sessions but `keep` end; the owner is told by mail.

    Raises `InvalidPassword` (counted like a failed sign-in), `Locked`, `WeakPassword`, or `Conflict` (fact `reason`:
    `no_password`) for accounts that sign in by single sign-on.
    """
    account = memberships.caller(ctx)
    prove_password(ctx, account, surface, current)
    passwords.check(ctx, policy_of(surface).password, password, account, (account.email, account.name))
    set_password(ctx, account, surface, password, action="user.password_change", keep=keep)
    return account


def prove_password(ctx: Ctx, account: Account, surface: str, current: str) -> None:
    """Check the present password as a proof of who acts. Raises `InvalidPassword`, `Locked`, `Conflict`."""
    if account.password_hash is None:
        raise Conflict("This account has no password: it signs in by single sign-on.", reason="no_password")
    guard.refuse_locked(ctx, account.email_key)
    if not passwords.matches(account, current):
        guard.failed(ctx, account.email_key, policy_of(surface).lockout)
        _about(ctx, account, "user.password_check", outcome="failure")
        raise InvalidPassword().keeping()
    guard.succeeded(ctx, account.email_key)


def set_password(
    ctx: Ctx, account: Account, surface: str, password: str, *, action: str, keep: UUID | None = None
) -> None:
    """Put a checked password into effect: sessions but `keep` end, links in mails end, the owner is told."""
    passwords.replace(ctx, account, passwords.hashed(password))
    onetime.end(ctx, "reset_password", account.id)
    sessions.revoke_sessions(ctx, account.id, "password_changed", keep=keep)
    facts = {
        "name": account.name,
        "when": ctx.now(),
        "address": rules.masked_address(ctx.address) or "",
        "reset_link": links.page("forgot", surface),
    }
    notifications.send_mail(ctx, "password_changed", account.email, facts=facts, language=account.language)
    _about(ctx, account, action)


# --- profile ---------------------------------------------------------------------------------------------------


def update_profile(ctx: Ctx, **changes: Any) -> Account:
    """Change `name`, `job_title`, `avatar_url`, `timezone` or `language` of the caller; the rest stays.

    Raises `Invalid` for a time zone that there is not.
    """
    account = memberships.caller(ctx)
    zone = changes.get("timezone")
    if zone is not None and zone != account.timezone:
        rules.check_timezone(zone)
    for field in ("name", "job_title", "avatar_url", "timezone", "language"):
        if field in changes:
            setattr(account, field, changes[field])
    audit.record(
        ctx,
        "user.profile_update",
        resource_type="user",
        resource_id=account.id,
        details={"fields": sorted(changes)},
    )
    return account


def update_preferences(ctx: Ctx, changes: Mapping[str, Any], *, language: str | None = None) -> Account:
    """Change the given preferences of the caller and leave the others."""
    account = memberships.caller(ctx)
    account.preferences = {**account.preferences, **changes}
    if language is not None:
        account.language = language
    changed = sorted([*changes, *(["language"] if language is not None else [])])
    audit.record(ctx, "user.settings_update", resource_type="user", resource_id=account.id, details={"fields": changed})
    return account


# --- deletion ----------------------------------------------------------------------------------------------------


def request_deletion(
    ctx: Ctx, surface: str, *, password: str | None, confirmed: bool, reason: str | None = None
) -> Account:
    """Schedule the caller's account for deletion in 30 days. Sessions and keys end now; signing in cancels it.

    The proof is the password, or `confirmed` where there is none. Raises `InvalidPassword`, `Locked`, or `Conflict`
    (fact `reason`: `sole_admin`) for the only administrator of an organisation that others are in.
    """
    account = memberships.caller(ctx)
    if account.password_hash is not None:
        if password is None:
            raise InvalidPassword("The password is needed.")
        prove_password(ctx, account, surface, password)
    elif not confirmed:
        raise InvalidPassword("Say that you mean it: `confirmation` has to be DELETE.")
    for own in memberships.organisations_of(ctx, account.id):
        if not own.personal and own.role in MANAGERS:
            with memberships.as_member(ctx, account.id, own.organisation_id) as inside:
                memberships.keep_a_manager(inside, account.id)
    now = ctx.now()
    account.deletion_requested_at, account.deletion_due_at = now, now + DELETION_GRACE
    sessions.revoke_sessions(ctx, account.id, "deletion_requested")
    revoke_keys_of(ctx, account.id)
    facts = {
        "name": account.name,
        "due": account.deletion_due_at,
        "cancel_link": links.page("sign-in", surface),
    }
    notifications.send_mail(ctx, "account_deletion", account.email, facts=facts, language=account.language)
    _about(ctx, account, "user.deletion_requested", details={"due_at": account.deletion_due_at, "reason": reason})
    return account


def cancel_deletion(ctx: Ctx, account: Account) -> None:
    """Signing in within the grace brings the account back."""
    if account.deletion_due_at is None:
        return
    account.deletion_requested_at = account.deletion_due_at = None
    notifications.send_mail(
        ctx, "account_recovered", account.email, facts={"name": account.name}, language=account.language
    )
    _about(ctx, account, "user.deletion_cancelled")


# --- what these lean on ------------------------------------------------------------------------------------------


def _promise(ctx: Ctx, job: str, surface: str, email: str) -> None:
    """Leave to a worker what takes longer where there is an account: the caller must not measure that."""
    enqueue(ctx, job, {"surface": surface, "email": email, "address": ctx.address}, queue="interactive")


def _workspace(name: str) -> str:
    return f"{name[:180]}'s Workspace"


def _made(inside: Ctx, account: Account) -> None:
    audit.record(
        inside,
        "user.create",
        resource_type="user",
        resource_id=account.id,
        details={"source": account.source},
    )


def _account_of(ctx: Ctx, token: OneTimeToken | None) -> Account:
    account = None if token is None or token.account_id is None else ctx.session.get(Account, token.account_id)
    if account is None or account.erased_at is not None:
        raise InvalidToken
    return account


def _about(ctx: Ctx, account: Account, action: str, **more: Any) -> None:
    """Into the audit trail of the caller's organisation, else of the account's first."""
    if ctx.organisation_id is not None:
        audit.record(ctx, action, resource_type="user", resource_id=account.id, **more)
        return
    own = memberships.organisations_of(ctx, account.id)
    if not own:
        return
    with memberships.as_member(ctx, account.id, own[0].organisation_id) as inside:
        audit.record(inside, action, resource_type="user", resource_id=account.id, **more)
