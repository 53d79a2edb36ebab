"""Passwords that an administrator sets for others."""

from __future__ import annotations

from uuid import UUID

from domain.identity import accounts, guard, memberships, operators, passwords, roles
from domain.identity.models import Account
from domain.identity.policies import policy_of
from domain.kernel.context import Ctx
from domain.kernel.errors import Forbidden, NotFound


def set_member_password(ctx: Ctx, surface: str, account_id: UUID, password: str) -> Account:
    """Set the password of a member of the caller's organisation. Their sessions end, a lock is lifted, a mail says so.

    Raises `NotFound` for anyone else, `WeakPassword`, or `Forbidden`: for oneself, for a role that is not below the
    caller's, and (fact `reason`: `shared_account`) for a person of other organisations or of the platform, whom one
    administrator must not take over. People who run the platform may.
    """
    caller = memberships.caller(ctx)
    membership = memberships.get(ctx, account_id, lock=True)
    if membership.status not in ("active", "disabled"):
        raise NotFound
    if account_id == caller.id:
        raise Forbidden("Change your own password with the present one.", reason="own_password")
    account = accounts.get(ctx, account_id)
    if not operators.is_operator(ctx):
        roles.must_outrank(memberships.current(ctx).role, membership.role)
        others = [
            own for own in memberships.organisations_of(ctx, account_id) if own.organisation_id != ctx.organisation
        ]
        if others or account.platform_role is not None:
            raise Forbidden(
                "This account is not this organisation's alone: its owner can reset the password by mail.",
                reason="shared_account",
            )
    passwords.check(ctx, policy_of(surface).password, password, account, (account.email, account.name))
    accounts.set_password(ctx, account, surface, password, action="user.password_set")
    guard.lift(ctx, account.email_key)
    return account
