"""The waiting list of the organisation that the server was set up with: who asks to come in, and what is decided.

Whoever leaves an address is told the same whatever there is behind it. An entry goes by the id of its person: of the
account that waits, or of the one that it becomes when the entry is approved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from domain import audit, notifications
from domain.identity import (
    accounts,
    groups,
    languages,
    links,
    members,
    memberships,
    organisations,
    revocations,
    roles,
    rules,
    signup_settings,
)
from domain.identity.models import Account, Membership, SignupRequest
from domain.identity.signup_settings import WAITLIST, SignupRefused, SignupSettings
from domain.kernel.context import Ctx
from domain.kernel.db import acting_for
from domain.kernel.errors import Conflict, NotFound
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage, Page

SURFACE = "beeflow"
SHOWN = timedelta(days=90)
"""How long a decided entry stays in the list."""
AGAIN = timedelta(days=30)
"""After a refusal, nobody is heard again before that."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody who waits, or waited. `source`: `form`, `signup` or `sso`."""

    request: SignupRequest
    person_id: UUID
    source: str
    decided_by: Account | None


# --- asking --------------------------------------------------------------------------------------------------


def join(
    ctx: Ctx,
    *,
    email: str,
    name: str,
    company: str | None = None,
    message: str | None = None,
    language: str | None = None,
) -> None:
    """Note that somebody would like to come in, and tell whoever the settings name. Answers nothing, to anybody.

    Raises `SignupRefused` while there is no waiting list, or none for addresses of this domain.
    """
    server = signup_settings.of_server(ctx)
    if server.home is None or server.settings.mode != WAITLIST:
        raise SignupRefused("There is no waiting list here.", reason="signup_disabled")
    server.settings.admit(email)
    with acting_for(ctx, server.home) as inside:
        account = accounts.find(inside, email)
        member = None if account is None else memberships.find(inside, account.id)
        known = member is not None and member.status in ("active", "invited", "disabled", "pending")
        if not known and not _refused_lately(inside, email):
            noted = _note(inside, email, name, company=company, message=message, language=language)
            if noted is not None:
                notifications.send_mail(inside, "waitlist_joined", email, facts={}, language=language)
                _tell(inside, server.settings, name, email, message)
        audit.record(inside, "waitlist_entry.create", resource_type="waitlist_entry", details={"source": "form"})


def wait(inside: Ctx, account: Account, settings: SignupSettings, *, company: str | None = None) -> None:
    """Put a fresh account on the list of the context's organisation: it becomes a member when it is approved."""
    memberships.add(inside, account.id, settings.default_role, source=account.source, status="pending")
    noted = _note(inside, account.email, account.name, company=company, language=account.language)
    entry = inside.session.scalars(
        select(SignupRequest)
        .where(*_of(inside), SignupRequest.email_key == account.email_key, SignupRequest.status == "pending")
        .with_for_update()
    ).one()
    entry.account_id, entry.name = account.id, account.name
    inside.session.flush()
    if noted is not None:
        _tell(inside, settings, account.name, account.email, None)
    audit.record(
        inside,
        "waitlist_entry.create",
        resource_type="waitlist_entry",
        resource_id=account.id,
        details={"source": _source(account)},
    )


def refused_lately(inside: Ctx, email: str) -> bool:
    """Whether the organisation has turned an address down, not long ago."""
    return _refused_lately(inside, email)


# --- reading -------------------------------------------------------------------------------------------------


def listed(ctx: Ctx, page: OffsetPage, *, status: str, q: str | None = None) -> Page[Entry]:
    """Entries of the caller's organisation in a state, those who wait longest first."""
    wanted = select(SignupRequest).where(
        *_of(ctx),
        SignupRequest.status == status,
        or_(SignupRequest.decided_at.is_(None), SignupRequest.decided_at > ctx.now() - SHOWN),
    )
    if q is not None:
        wanted = wanted.where(
            or_(SignupRequest.name.icontains(q, autoescape=True), SignupRequest.email.icontains(q, autoescape=True))
        )
    total = ctx.session.scalar(select(func.count()).select_from(wanted.with_only_columns(SignupRequest.id).subquery()))
    ordered = wanted.order_by(SignupRequest.created_at, SignupRequest.id).limit(page.limit).offset(page.offset)
    return Page(_entries(ctx, ctx.session.scalars(ordered).all()), total=total)


# --- deciding ------------------------------------------------------------------------------------------------


def approve(
    ctx: Ctx,
    person_id: UUID,
    *,
    surface_role: str | None = None,
    group_ids: Sequence[UUID] | None = None,
    message: str | None = None,
) -> Entry:
    """Let somebody in: their account becomes active, or who only left an address is invited. Again is harmless.

    Raises `NotFound`, `Conflict` for one who was turned down, `PaymentRequired` without a free seat, `Forbidden` for a
    role that the caller cannot give, `UnknownGroup`, `KeptByNextcloud`.
    """
    entry = _locked(ctx, person_id)
    if entry.status == "rejected":
        raise Conflict("This person was turned down already.", reason="already_rejected")
    settings = signup_settings.get(ctx)
    role = settings.default_role if surface_role is None else roles.GIVEN[SURFACE][surface_role]
    if entry.status == "pending":
        roles.must_outrank(memberships.rank(ctx), role)
        if group_ids is None:
            present = groups.get_many(ctx, settings.default_group_ids)
            wanted = [group_id for group_id, group in present.items() if group.external_id is None]
        else:
            wanted = groups.check(ctx, group_ids)
        if entry.account_id is None:
            _invite(ctx, entry, role, wanted, message)
        else:
            _activate(ctx, entry.account_id, role, wanted, message)
        _decide(ctx, entry, "approved")
    audit.record(
        ctx,
        "waitlist_entry.approve",
        resource_type="waitlist_entry",
        resource_id=entry.account_id or entry.id,
        details={"email": entry.email, "role": role},
    )
    return _entries(ctx, [entry])[0]


def reject(ctx: Ctx, person_id: UUID, *, reason: str | None = None, notify: bool = False) -> Entry:
    """Turn somebody down; with `notify` they get a mail. Again is harmless.

    Raises `NotFound`, `Conflict` for one who was let in.
    """
    entry = _locked(ctx, person_id)
    if entry.status == "approved":
        raise Conflict("This person was let in already.", reason="already_approved")
    if entry.status == "pending":
        _decide(ctx, entry, "rejected", reason)
        if entry.account_id is not None:
            membership = memberships.find(ctx, entry.account_id, lock=True)
            if membership is not None and membership.status == "pending":
                # Where nobody else has them either, what is theirs is erased in time (`erasure`).
                membership.status, membership.deleted_at = "deleted", ctx.now()
                ctx.session.flush()
        if notify:
            notifications.send_mail(
                ctx, "signup_rejected", entry.email, facts={"reason": reason or ""}, language=entry.language
            )
    audit.record(
        ctx,
        "waitlist_entry.reject",
        resource_type="waitlist_entry",
        resource_id=entry.account_id or entry.id,
        details={"email": entry.email, "notified": notify},
    )
    return _entries(ctx, [entry])[0]


# --- leaned on -----------------------------------------------------------------------------------------------


def _of(ctx: Ctx) -> tuple[ColumnElement[bool], ...]:
    """The rows carry their organisation as a plain column: nothing filters them by itself."""
    return (SignupRequest.organisation_id == ctx.organisation,)


def _refused_lately(ctx: Ctx, email: str) -> bool:
    refused = select(SignupRequest.id).where(
        *_of(ctx),
        SignupRequest.email_key == rules.email_key(email),
        SignupRequest.status == "rejected",
        SignupRequest.decided_at > ctx.now() - AGAIN,
    )
    return ctx.session.scalar(refused.limit(1)) is not None


def _note(
    ctx: Ctx,
    email: str,
    name: str,
    *,
    company: str | None = None,
    message: str | None = None,
    language: str | None = None,
) -> UUID | None:
    """The new entry's id; None when the address waits already: what is there stays."""
    noted: UUID | None = ctx.session.scalar(
        insert(SignupRequest)
        .values(
            id=new_id(),
            organisation_id=ctx.organisation,
            email=email.strip(),
            email_key=rules.email_key(email),
            name=" ".join(name.split()) or None,
            company=company,
            message=message,
            language=language,
            address=ctx.address,
            status="pending",
            created_at=ctx.now(),
            updated_at=ctx.now(),
        )
        .on_conflict_do_nothing()
        .returning(SignupRequest.id),
    )
    return noted


def _tell(ctx: Ctx, settings: SignupSettings, name: str, email: str, message: str | None) -> None:
    if settings.notify_email is None:
        return
    facts = {
        "organisation": organisations.get_organisation(ctx).name,
        "name": name,
        "email": email,
        "message": message or "",
    }
    reader = accounts.find(ctx, settings.notify_email)
    language = languages.DEFAULT if reader is None else reader.language
    notifications.send_mail(ctx, "waitlist_request", settings.notify_email, facts=facts, language=language)


def _locked(ctx: Ctx, person_id: UUID) -> SignupRequest:
    """The entry of a person: the one that waits, else the latest."""
    found = ctx.session.scalars(
        select(SignupRequest)
        .where(*_of(ctx), or_(SignupRequest.id == person_id, SignupRequest.account_id == person_id))
        .order_by((SignupRequest.status == "pending").desc(), SignupRequest.created_at.desc())
        .limit(1)
        .with_for_update()
    ).one_or_none()
    if found is None:
        raise NotFound("There is nobody of this id on the waiting list.")
    return found


def _decide(ctx: Ctx, entry: SignupRequest, status: str, reason: str | None = None) -> None:
    entry.status, entry.reason = status, reason
    entry.decided_at, entry.decided_by = ctx.now(), f"user:{memberships.caller_id(ctx)}"
    ctx.session.flush()


def _invite(ctx: Ctx, entry: SignupRequest, role: str, group_ids: Sequence[UUID], message: str | None) -> None:
    try:
        invited = members.bring(
            ctx,
            entry.email,
            name=entry.name,
            role=role,
            group_ids=group_ids,
            language=entry.language,
            message=message,
            account_id=entry.id,
        )
    except Conflict as there:
        if there.facts.get("reason") not in ("already_active", "already_disabled"):
            raise
        found = accounts.find(ctx, entry.email)  # they came in another way meanwhile
        entry.account_id = None if found is None else found.id
        return
    entry.account_id = invited.member.account.id


def _activate(ctx: Ctx, account_id: UUID, role: str, group_ids: Sequence[UUID], message: str | None) -> None:
    memberships.lock_seats(ctx)
    account = accounts.get(ctx, account_id)
    membership: Membership | None = memberships.find(ctx, account_id, lock=True)
    memberships.take_seat(ctx, membership)
    if membership is None:
        membership = memberships.add(ctx, account_id, role, source=account.source)
    elif membership.status in ("pending", "deleted"):
        membership.status, membership.role, membership.deleted_at = "active", role, None
        membership.joined_at = membership.joined_at or ctx.now()
    ctx.session.flush()
    groups.enter(ctx, account_id, group_ids)
    revocations.announce(ctx, "user", account_id)
    facts = {
        "organisation": organisations.get_organisation(ctx).name,
        "sign_in_link": links.page("sign-in", SURFACE),
        "message": message or "",
    }
    notifications.send_mail(ctx, "waitlist_approved", account.email, facts=facts, language=account.language)


def _source(account: Account | None) -> str:
    if account is None:
        return "form"
    return "sso" if account.source == "sso" else "signup"


def _entries(ctx: Ctx, found: Sequence[SignupRequest]) -> list[Entry]:
    deciders = {entry.id: _decider(entry) for entry in found}
    shown = members.people(ctx, {one for one in deciders.values() if one is not None})
    ids = [entry.account_id for entry in found if entry.account_id is not None]
    waiting = {row.id: row for row in ctx.session.scalars(select(Account).where(Account.id.in_(ids)))} if ids else {}
    entries = []
    for entry in found:
        account = None if entry.account_id is None else waiting.get(entry.account_id)
        # An account that was made on approval came from the form.
        from_form = account is None or account.source not in ("signup", "sso") or account.id == entry.id
        decider = deciders[entry.id]
        entries.append(
            Entry(
                entry,
                entry.account_id or entry.id,
                "form" if from_form else _source(account),
                None if decider is None else shown.get(decider),
            )
        )
    return entries


def _decider(entry: SignupRequest) -> UUID | None:
    kind, _, name = (entry.decided_by or "").partition(":")
    return UUID(name) if kind == "user" else None
