"""People and programs that run the platform: who counts as one, and where what they do is written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from domain import audit
from domain.identity import memberships, revocations, roles, sessions
from domain.identity.models import Account
from domain.kernel.context import Actor, Ctx, UserActor
from domain.kernel.db import across_organisations, acting_for
from domain.kernel.errors import Forbidden, Invalid


@dataclass(frozen=True, slots=True)
class Standing:
    """As what a caller acts: as an operator of the platform, with a reason, or as an administrator of their tenant."""

    operator: bool
    reason: str | None


def is_operator(ctx: Ctx) -> bool:
    """Whether the caller holds `support:*` or `platform:operator` (neither is given by a role in a tenant)."""
    return bool({"support:*", "platform:operator"} & ctx.permissions)


def set_platform_role(ctx: Ctx, account: Account, role: str | None) -> None:
    """Make somebody one of those who run the platform (`superadmin`, `support`), or (None) no longer. Holds at once.

    Needs a platform context: there is no operation for it, only the command line.
    """
    before, account.platform_role = account.platform_role, role
    ctx.session.flush()
    revocations.announce(ctx, "user", account.id)
    details = {"from": before, "to": role}
    audit.record(ctx, "user.platform_role", resource_type="user", resource_id=account.id, details=details)


def deactivate(ctx: Ctx, account: Account, reason: str) -> None:
    """Shut an account on every surface: its sessions end, its keys stop, nobody signs in to it. Holds at once; again is
    harmless. Needs a platform context, as `reactivate` does: there is no operation for it, only the command line."""
    if account.deactivated_at is not None:
        return
    account.deactivated_at = ctx.now()
    ctx.session.flush()
    sessions.revoke_sessions(ctx, account.id, "deactivated")
    revocations.announce(ctx, "user", account.id)  # its keys are believed by processes, too
    audit.record(
        ctx, "user.deactivate", resource_type="user", resource_id=account.id, details={"reason": reason.strip()[:500]}
    )


def reactivate(ctx: Ctx, account: Account) -> None:
    """Open an account again. Its keys work as before; its sessions are over."""
    if account.deactivated_at is None:
        return
    account.deactivated_at = None
    ctx.session.flush()
    revocations.announce(ctx, "user", account.id)
    audit.record(ctx, "user.reactivate", resource_type="user", resource_id=account.id)


def standing(ctx: Ctx, *, override: bool, reason: str | None) -> Standing:
    """As what the caller acts. `override`: they ask to act as an operator, for a `reason`.

    Raises `Forbidden` for those who are neither operator nor administrator, `Invalid` for an operator without a reason.
    """
    if override:
        if not is_operator(ctx):
            raise Forbidden("Only operators of the platform may override.", reason="not_operator")
        if reason is None or not reason.strip():
            raise Invalid("An operator has to say why: send X-Operator-Reason.", reason="reason_needed")
        return Standing(operator=True, reason=reason.strip())
    if not isinstance(ctx.actor, UserActor) or memberships.current(ctx).role not in roles.MANAGERS:
        raise Forbidden("Only owners and administrators of the tenant may do this.", reason="not_administrator")
    return Standing(operator=False, reason=None)


@contextmanager
def trail_of(ctx: Ctx, organisation_id: UUID | None, actor: Actor | None = None) -> Iterator[Ctx]:
    """A context whose audit entries go to an organisation's chain, or (None) to the platform's own."""
    if organisation_id is not None and organisation_id == ctx.organisation_id:
        yield ctx if actor is None else replace(ctx, actor=actor)
        return
    with across_organisations(ctx) as platform:
        inside = platform if actor is None else replace(platform, actor=actor)
        if organisation_id is None:
            yield inside
        else:
            with acting_for(inside, organisation_id) as lent:
                yield lent


def record(ctx: Ctx, action: str, *, details: Mapping[str, Any] | None = None, **about: Any) -> None:
    """Leave an entry in the trail of the caller's organisation, or in the platform's where the caller has none."""
    with trail_of(ctx, ctx.organisation_id) as inside:
        audit.record(inside, action, details=details, **about)
