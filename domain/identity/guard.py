"""Lockout after failed sign-ins, counted by address whether or not it has an account: a lock tells nothing.

The same counters keep what strangers may do so many times in a while, such as asking for mails.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, null, select
from sqlalchemy.dialects.postgresql import insert

from domain.identity import rules
from domain.identity.models import SignInGuard
from domain.identity.policies import Lockout, Policy
from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.errors import LimitExceeded, Locked

GROWTH = 2
LONGEST = timedelta(hours=24)

_from_one_place: int | None = None


def configure(failures_from_one_place: int | None) -> None:
    """Give this process its own number of failures from one place (None: the policy's)."""
    global _from_one_place
    _from_one_place = failures_from_one_place


def refuse_locked(ctx: Ctx, email_key: str) -> None:
    """Raise `Locked` (fact `retry_after`, seconds) while the address is locked."""
    row = ctx.session.scalars(select(SignInGuard).where(SignInGuard.digest == crypto.digest(email_key))).one_or_none()
    if row is not None:
        _refuse(ctx, row.locked_until)


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
        _refuse(ctx, row.locked_until)
        row.failures, row.failing_since, row.locks, row.locked_until = 0, None, 0, None


def locks(ctx: Ctx, policy: Policy, email_key: str) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Until when the address and the caller's network have to wait: two columns for a statement that asks for more, to
    be judged by `refuse`."""
    place = None if policy.place_lockout is None else rules.network_of(ctx.address)
    return _locked_until(email_key), null() if place is None else _locked_until(f"place:{place}")


def refuse(ctx: Ctx, locked_until: datetime | None, place_until: datetime | None) -> None:
    """Raise `LimitExceeded` while too many sign-ins have failed from the caller's network, `Locked` while the address
    is locked (fact `retry_after`, seconds)."""
    now = ctx.now()
    if place_until is not None and place_until > now:
        raise LimitExceeded("Too many failed sign-ins from this address.", retry_after=_seconds(place_until - now))
    _refuse(ctx, locked_until)


def _locked_until(what: str) -> ColumnElement[datetime | None]:
    return select(SignInGuard.locked_until).where(SignInGuard.digest == crypto.digest(what)).scalar_subquery()


def failed_from(ctx: Ctx, policy: Policy) -> None:
    """Count a failure against the caller's network. After `failed`: rows are always locked in this order."""
    place, rule = rules.network_of(ctx.address), policy.place_lockout
    if rule is not None and place is not None:
        failed(ctx, f"place:{place}", rule if _from_one_place is None else replace(rule, failures=_from_one_place))


def count(ctx: Ctx, what: str, most: int, window: timedelta) -> None:
    """Count something that may be done `most` times in `window`; one at a time, in every process.

    `what` names the act and whom it is counted for. Raises `LimitExceeded` (fact `retry_after`, seconds) once it was
    done that often. A verb that refuses afterwards, and wants the try counted, raises its error `keeping()`.
    """
    row = _row(ctx, f"quota:{what}")
    now = ctx.now()
    if row.failing_since is None or row.failing_since + window <= now:
        row.failures, row.failing_since = 0, now
    if row.failures >= most:
        raise LimitExceeded(retry_after=_seconds(row.failing_since + window - now))
    row.failures += 1


def lift(ctx: Ctx, email_key: str) -> None:
    """End a lock, after the person has proved otherwise who they are."""
    row = ctx.session.scalars(
        select(SignInGuard).where(SignInGuard.digest == crypto.digest(email_key)).with_for_update()
    ).one_or_none()
    if row is not None:
        row.failures, row.failing_since, row.locks, row.locked_until = 0, None, 0, None


def forget(ctx: Ctx, email_key: str) -> None:
    """Drop what is counted for an address, a lock included: nobody signs in with it any more."""
    ctx.session.execute(
        delete(SignInGuard)
        .where(SignInGuard.digest == crypto.digest(email_key))
        .execution_options(synchronize_session=False)
    )


def _refuse(ctx: Ctx, locked_until: datetime | None) -> None:
    if locked_until is not None and locked_until > ctx.now():
        left = _seconds(locked_until - ctx.now())
        raise Locked("Too many failed sign-ins. Try again later, or reset the password.", retry_after=left)


def _seconds(span: timedelta) -> int:
    return max(1, math.ceil(span.total_seconds()))


def _row(ctx: Ctx, email_key: str) -> SignInGuard:
    digest = crypto.digest(email_key)
    ctx.session.execute(insert(SignInGuard).values(digest=digest, updated_at=ctx.now()).on_conflict_do_nothing())
    row = ctx.session.scalars(select(SignInGuard).where(SignInGuard.digest == digest).with_for_update()).one()
    row.updated_at = ctx.now()
    return row
