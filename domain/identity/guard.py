"""Lockout after failed sign-ins, counted by address whether or not it has an account: a lock tells nothing."""

from __future__ import annotations

import math
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from domain.identity.models import SignInGuard
from domain.identity.policies import Lockout
from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.errors import Locked

GROWTH = 2
LONGEST = timedelta(hours=24)


def refuse_locked(ctx: Ctx, email_key: str) -> None:
    """Raise `Locked` (fact `retry_after`, seconds) while the address is locked."""
    row = ctx.session.scalars(select(SignInGuard).where(SignInGuard.digest == crypto.digest(email_key))).one_or_none()
    if row is not None:
        _refuse(ctx, row)


def failed(ctx: Ctx, email_key: str, rule: Lockout) -> bool:
    """Count a failure; True when it is the one that locks. Attempts at once are counted one after the other."""
    row = _row(ctx, email_key)
    now = ctx.now()
    if row.locked_until is not None and row.locked_until > now:
        return False  # others ran at the same time and have locked it already
    if row.failing_since is None or (rule.window is not None and row.failing_since + rule.window <= now):
        row.failures, row.failing_since = 0, now
    row.failures += 1
    if row.failures < rule.failures:
        return False
    row.failures, row.failing_since = 0, None
    row.locks += 1
    duration = rule.duration * (GROWTH ** min(row.locks - 1, 16)) if rule.growing else rule.duration
    row.locked_until = now + min(duration, max(LONGEST, rule.duration))
    return True


def succeeded(ctx: Ctx, email_key: str) -> None:
    """Forget the failures. Raises `Locked` when others have locked the address while this one was being checked."""
    row = ctx.session.scalars(
        select(SignInGuard).where(SignInGuard.digest == crypto.digest(email_key)).with_for_update()
    ).one_or_none()
    if row is not None:
        _refuse(ctx, row)
        row.failures, row.failing_since, row.locks, row.locked_until = 0, None, 0, None


def lift(ctx: Ctx, email_key: str) -> None:
    """End a lock, after the person has proved otherwise who they are."""
    row = ctx.session.scalars(
        select(SignInGuard).where(SignInGuard.digest == crypto.digest(email_key)).with_for_update()
    ).one_or_none()
    if row is not None:
        row.failures, row.failing_since, row.locks, row.locked_until = 0, None, 0, None


def _refuse(ctx: Ctx, row: SignInGuard) -> None:
    if row.locked_until is not None and row.locked_until > ctx.now():
        left = math.ceil((row.locked_until - ctx.now()).total_seconds())
        raise Locked("Too many failed sign-ins. Try again later, or reset the password.", retry_after=left)


def _row(ctx: Ctx, email_key: str) -> SignInGuard:
    digest = crypto.digest(email_key)
    ctx.session.execute(insert(SignInGuard).values(digest=digest, updated_at=ctx.now()).on_conflict_do_nothing())
    row = ctx.session.scalars(select(SignInGuard).where(SignInGuard.digest == digest).with_for_update()).one()
    row.updated_at = ctx.now()
    return row
