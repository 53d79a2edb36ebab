"""How new tenants come in: the operator's policy, registration, requests for access and their decision, invites.

Invites and requests here belong to the platform; those of one organisation are `invites`' and its administrators'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, cast
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects.postgresql import insert

from domain import billing, notifications
from domain.identity import (
    accounts,
    guard,
    invites,
    links,
    memberships,
    operators,
    organisations,
    passwords,
    rules,
    sessions,
)
from domain.identity.accounts import EmailTaken
from domain.identity.invites import InviteRefused
from domain.identity.models import Invite, SignupRequest
from domain.identity.policies import policy_of
from domain.identity.sessions import SignedIn
from domain.kernel.context import Ctx, actor_name
from domain.kernel.db import across_organisations
from domain.kernel.errors import Conflict, DomainError, Forbidden, Invalid, LimitExceeded, NotFound
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage, Page

Policy = Literal["public", "invite_only", "approval"]

SURFACE = "starter"
PLAN = "starter"
TRIAL_DAYS = 14
INVITE_LIFE = timedelta(hours=72)
PER_EMAIL = (3, timedelta(days=1))
PER_DOMAIN = (20, timedelta(days=1))
PENDING = 3
"""Requests from one network address that may wait at a time."""
RETRY = timedelta(hours=1)
"""What somebody is told to wait whose requests wait for a person's decision."""

_policy: Policy = "invite_only"


class InviteNeeded(Forbidden):
    """Registration asks for an invite and there is none."""

    reason = "invite_required"
    default = "An invite is needed to register."


@dataclass(frozen=True, slots=True)
class Registration:
    """Who registers a tenant, as they wrote it."""

    email: str
    password: str
    tenant_name: str
    display_name: str | None = None
    plan: str | None = None
    trial_days: int | None = None
    accept_terms: bool = False
    invite_token: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Founded:
    """A new tenant, and its owner signed in."""

    signed_in: SignedIn
    slug: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A request for access, and the first characters of the invite that answered it."""

    request: SignupRequest
    hint: str | None


@dataclass(frozen=True, slots=True)
class Issued:
    """An invite with its token, which is shown once."""

    invite: Invite
    token: str


def configure(policy: str) -> None:
    """Give this process the policy: `public`, `invite_only` or `approval`. Raises `ValueError`."""
    global _policy
    if policy not in ("public", "invite_only", "approval"):
        raise ValueError("signup_policy: has to be public, invite_only or approval")
    _policy = cast("Policy", policy)


def policy() -> Policy:
    return _policy


# --- registration ------------------------------------------------------------------------------------------


def register(ctx: Ctx, wish: Registration) -> Founded:
    """Make a tenant, its owner and its subscription, sign the owner in and mail them a verification link.

    Tries are counted by mail address and by mail domain, whether or not they succeed. Raises `LimitExceeded`, `Invalid`
    (terms), `InviteNeeded`, `InviteRefused`, `NotFound` (plan), `WeakPassword`, `EmailTaken`, or `Conflict` when the
    slug that the tenant's name amounts to is taken.
    """
    key = rules.email_key(wish.email)
    guard.count(ctx, f"register:{key}", *PER_EMAIL)
    guard.count(ctx, f"register_domain:{key.rpartition('@')[2]}", *PER_DOMAIN)
    try:
        with ctx.session.begin_nested():
            return _found(ctx, wish)
    except DomainError as refused:
        raise refused.keeping() from None


def _found(ctx: Ctx, wish: Registration) -> Founded:
    rule = policy_of(SURFACE)
    name = " ".join((wish.display_name or wish.email.partition("@")[0]).split())
    if not wish.accept_terms:
        raise Invalid("The terms have to be accepted.", reason="terms_not_accepted")
    _let_in(ctx, wish)
    plan = billing.plans.catalogue(SURFACE).get(wish.plan or PLAN)
    if plan is None or plan.price is None:  # without a price: agreed with sales, and not by a form
        raise NotFound("There is no such plan.")
    passwords.check(ctx, rule.password, wish.password, None, (wish.email, name, wish.tenant_name))
    if accounts.find(ctx, wish.email) is not None:
        raise EmailTaken  # before the password is hashed: the contract tells, so the time may too
    account = accounts.make(
        ctx, email=wish.email, name=name, source="signup", password=wish.password, language=wish.language
    )
    slug = rules.slug_of(wish.tenant_name)
    organisation_id = accounts.give_own_organisation(ctx, account, name=wish.tenant_name, slug=slug or None)
    with memberships.as_member(ctx, account.id, organisation_id) as inside:
        billing.subscribe(inside, plan.name, product=SURFACE)
        tenant = organisations.get_organisation(inside)
        trial = timedelta(days=TRIAL_DAYS if wish.trial_days is None else min(wish.trial_days, TRIAL_DAYS))
        tenant.settings = {
            **tenant.settings,
            "signup": {"terms_accepted_at": ctx.now().isoformat(), "trial_ends_at": (ctx.now() + trial).isoformat()},
        }
    accounts.send_verification(ctx, account, rule)
    belonging = next(own for own in memberships.organisations_of(ctx, account.id))
    return Founded(sessions.open_session(ctx, account, belonging, surface=SURFACE, method="password"), tenant.slug)


def _let_in(ctx: Ctx, wish: Registration) -> None:
    """Take the invite that the policy asks for. One that is given is taken even where none is asked for."""
    if not wish.invite_token:
        if _policy != "public":
            raise InviteNeeded
        return
    invite = invites.redeem(ctx, wish.invite_token, wish.email)
    if invite.organisation_id is not None:
        raise InviteRefused("There is no such invitation.", reason="invite_unknown")


# --- requests for access -----------------------------------------------------------------------------------


def request_access(
    ctx: Ctx,
    *,
    email: str,
    organisation: str,
    name: str,
    message: str | None,
    accept_terms: bool,
    honeypot: str | None = None,
    language: str | None = None,
) -> None:
    """Leave a request for an operator to decide. Nothing is told of what became of it.

    What fills `honeypot` is dropped; an address whose request waits already is not listed twice; under `public` nobody
    has to ask. Raises `Invalid` (terms), or `LimitExceeded` once `PENDING` requests wait from one place.
    """
    if honeypot:
        return
    if not accept_terms:
        raise Invalid("The terms have to be accepted.", reason="terms_not_accepted")
    if _policy == "public":
        return
    with across_organisations(ctx) as platform:
        _refuse_many(platform, rules.network_of(ctx.address))
        now = ctx.now()
        made = platform.session.scalar(
            insert(SignupRequest)
            .values(
                id=new_id(),
                email=email.strip(),
                email_key=rules.email_key(email),
                name=" ".join(name.split()),
                company=" ".join(organisation.split()),
                message=message,
                language=language,
                address=rules.network_of(ctx.address),
                status="pending",
                created_at=now,
                updated_at=now,
            )
            .on_conflict_do_nothing()
            .returning(SignupRequest.id)
        )
    if made is not None:
        operators.record(ctx, "signup_request.create", resource_type="signup_request", resource_id=made)


def _refuse_many(platform: Ctx, place: str | None) -> None:
    if place is None:
        return
    # One after the other from one place: a burst must not pass the count together.
    key = f"request_access:{place}"
    platform.session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
    waiting = select(func.count(SignupRequest.id)).where(
        SignupRequest.address == place, SignupRequest.status == "pending", SignupRequest.organisation_id.is_(None)
    )
    if (platform.session.scalar(waiting) or 0) >= PENDING:
        raise LimitExceeded(
            "Requests from this address wait for a decision already.", retry_after=int(RETRY.total_seconds())
        )


def list_requests(ctx: Ctx, page: OffsetPage, status: str | None = None) -> Page[Shown]:
    """Requests to the platform, the oldest first. For operators."""
    wanted = select(SignupRequest).where(SignupRequest.organisation_id.is_(None))
    if status is not None:
        wanted = wanted.where(SignupRequest.status == status)
    ordered = wanted.order_by(SignupRequest.created_at, SignupRequest.id).limit(page.limit).offset(page.offset)
    with across_organisations(ctx) as platform:
        total = platform.session.scalar(select(func.count()).select_from(wanted.subquery()))
        found = platform.session.scalars(ordered).all()
    hints = _hints(ctx, [request.id for request in found])
    return Page([Shown(request, hints.get(request.id)) for request in found], total=total)


def approve(ctx: Ctx, request_id: UUID, *, note: str | None, life: timedelta | None) -> tuple[SignupRequest, Issued]:
    """Approve a request: an invite for its address, good once, which is mailed. Raises `NotFound`, `Conflict`."""
    request = _decide(ctx, request_id, "approved", None)
    issued = _issue(ctx, email=request.email, uses=1, life=life, note=note, request=request)
    facts = {"link": links.page("invite", SURFACE, issued.token), "expires": issued.invite.expires_at}
    notifications.send_mail(ctx, "signup_approved", request.email, facts=facts, language=request.language)
    operators.record(
        ctx,
        "signup_request.approve",
        resource_type="signup_request",
        resource_id=request.id,
        details={"invite_id": issued.invite.id},
    )
    return request, issued


def reject(ctx: Ctx, request_id: UUID, reason: str | None) -> SignupRequest:
    """Reject a request; the person hears nothing. Raises `NotFound`, `Conflict`."""
    request = _decide(ctx, request_id, "rejected", reason)
    operators.record(
        ctx,
        "signup_request.reject",
        resource_type="signup_request",
        resource_id=request.id,
        details={"reason": reason},
    )
    return request


def _decide(ctx: Ctx, request_id: UUID, status: str, reason: str | None) -> SignupRequest:
    with across_organisations(ctx) as platform:
        request = platform.session.get(SignupRequest, request_id, with_for_update=True)
        if request is None or request.organisation_id is not None:
            raise NotFound
        if request.status != "pending":
            raise Conflict("This request was decided before.", reason="already_decided")
        request.status, request.reason = status, reason
        request.decided_at, request.decided_by = ctx.now(), actor_name(ctx.actor)
    return request


def _hints(ctx: Ctx, request_ids: Sequence[UUID]) -> Mapping[UUID, str]:
    if not request_ids:
        return {}
    answers = select(Invite).where(Invite.signup_request_id.in_(request_ids)).order_by(Invite.created_at)
    return {
        invite.signup_request_id: invite.hint
        for invite in ctx.session.scalars(answers)
        if invite.signup_request_id is not None
    }


# --- invites -------------------------------------------------------------------------------------------------


def issue_invite(
    ctx: Ctx,
    *,
    email: str | None = None,
    uses: int = 1,
    life: timedelta | None = None,
    note: str | None = None,
    request_id: UUID | None = None,
) -> Issued:
    """An invite to found a tenant. With `request_id` that request counts as approved, and the invite is for its address
    unless another is named. Raises `NotFound`, `Conflict`."""
    request = None if request_id is None else _decide(ctx, request_id, "approved", None)
    issued = _issue(ctx, email=email, uses=uses, life=life, note=note, request=request)
    operators.record(
        ctx,
        "invite.create",
        resource_type="invite",
        resource_id=issued.invite.id,
        details={"email": issued.invite.email, "uses": uses, "signup_request_id": request_id},
    )
    return issued


def list_invites(
    ctx: Ctx, page: OffsetPage, *, status: str | None = None, email: str | None = None, request_id: UUID | None = None
) -> Page[Invite]:
    """Invites to found a tenant, the latest first. For operators."""
    conditions: list[ColumnElement[bool]] = [Invite.organisation_id.is_(None)]
    if email is not None:
        conditions.append(Invite.email_key == rules.email_key(email))
    if request_id is not None:
        conditions.append(Invite.signup_request_id == request_id)
    if status is not None:
        conditions += invites.in_state(status, ctx.now())
    return invites.listed(ctx, page, *conditions)


def revoke_invite(ctx: Ctx, invite_id: UUID) -> Invite:
    """End an invite; one that is over already stays as it is. Raises `NotFound`."""
    present = ctx.session.get(Invite, invite_id, with_for_update=True)
    lives = present is not None and invites.status_of(present, ctx.now()) == "active"
    invite = invites.revoke(ctx, invite_id, Invite.organisation_id.is_(None))
    if lives:
        operators.record(ctx, "invite.revoke", resource_type="invite", resource_id=invite.id)
    return invite


def _issue(
    ctx: Ctx, *, email: str | None, uses: int, life: timedelta | None, note: str | None, request: SignupRequest | None
) -> Issued:
    invite, token = invites.issue(
        ctx,
        life=life or INVITE_LIFE,
        email=email or (None if request is None else request.email),
        note=note,
        signup_request_id=None if request is None else request.id,
        max_redemptions=uses,
    )
    return Issued(invite, token)
