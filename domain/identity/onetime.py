"""Tokens that work once: from a mail, for a sign-in that goes on elsewhere. Only their digests are stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import select, update

from domain.identity.models import OneTimeToken
from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.ids import new_id

Purpose = Literal["verify_email", "reset_password", "login_pickup"]

PREFIXES: Mapping[str, str] = {
    "verify_email": "evt_",
    "reset_password": "prt_",
    "login_pickup": "lpc_",
}


def issue(
    ctx: Ctx,
    purpose: Purpose,
    life: timedelta,
    *,
    account_id: UUID | None = None,
    organisation_id: UUID | None = None,
    facts: Mapping[str, Any] | None = None,
    replace: bool = True,
) -> str:
    """A new token in plain. With `replace`, the account's earlier ones for the same purpose end."""
    now = ctx.now()
    if replace and account_id is not None:
        end(ctx, purpose, account_id)
    plain = crypto.token(PREFIXES[purpose])
    ctx.session.add(
        OneTimeToken(
            id=new_id(),
            purpose=purpose,
            digest=crypto.digest(plain),
            account_id=account_id,
            organisation_id=organisation_id,
            facts=dict(facts or {}),
            created_at=now,
            expires_at=now + life,
        )
    )
    ctx.session.flush()
    return plain


def take(ctx: Ctx, purpose: Purpose, plain: str) -> OneTimeToken | None:
    """The token, used up from now on; None when it is unknown, used or too old. Of two at once, one gets it."""
    found = look(ctx, purpose, plain, lock=True)
    if found is not None:
        found.used_at = ctx.now()
        ctx.session.flush()
    return found


def look(ctx: Ctx, purpose: Purpose, plain: str, *, lock: bool = False) -> OneTimeToken | None:
    """The token as it is, good and unused, or None."""
    if len(plain) > 200 or not plain.startswith(PREFIXES[purpose]):
        return None
    wanted = select(OneTimeToken).where(
        OneTimeToken.digest == crypto.digest(plain),
        OneTimeToken.purpose == purpose,
        OneTimeToken.used_at.is_(None),
        OneTimeToken.expires_at > ctx.now(),
    )
    return ctx.session.scalars(wanted.with_for_update() if lock else wanted).one_or_none()


def last_issued(ctx: Ctx, purpose: Purpose, account_id: UUID) -> OneTimeToken | None:
    """The newest token of the account for a purpose, used or not."""
    issued = select(OneTimeToken).where(OneTimeToken.account_id == account_id, OneTimeToken.purpose == purpose)
    return ctx.session.scalars(issued.order_by(OneTimeToken.created_at.desc()).limit(1)).first()


def end(ctx: Ctx, purpose: Purpose, account_id: UUID) -> None:
    """The account's tokens for a purpose stop working."""
    ctx.session.execute(
        update(OneTimeToken)
        .where(OneTimeToken.account_id == account_id, OneTimeToken.purpose == purpose, OneTimeToken.used_at.is_(None))
        .values(used_at=ctx.now())
        .execution_options(synchronize_session=False)
    )
