"""Actions that wait for somebody's word: asked for in one turn, approved by a token or a yes within five minutes, once.

A token is `<id>.<signature>` under the installation's key: nothing of it is stored, and whoever may read the answer
that asked can be given it again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, select, update

from domain import audit
from domain.agents.models import Confirmation
from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.errors import NotFound

LIFE = timedelta(minutes=5)
GONE = "This confirmation has expired or was used already."


def ask(
    ctx: Ctx,
    *,
    user_id: UUID | None,
    conversation_id: UUID,
    turn_id: UUID,
    call_id: str,
    tool: str,
    arguments: Mapping[str, Any],
) -> Confirmation:
    """Let an action wait for a confirmation."""
    row = Confirmation(
        user_id=user_id,
        conversation_id=conversation_id,
        turn_id=turn_id,
        call_id=call_id,
        tool=tool,
        arguments=dict(arguments),
        created_at=ctx.now(),
        expires_at=ctx.now() + LIFE,
    )
    ctx.session.add(row)
    ctx.session.flush()
    return row


def token(confirmation_id: UUID) -> str:
    """What approves it. Show it only to the person who may."""
    return f"cfm_{_plain(confirmation_id.bytes)}.{_plain(_signature(confirmation_id, 0))}"


def take(ctx: Ctx, given: str, *, user_id: UUID | None) -> Confirmation:
    """The action that a token approves; it works once. Raises `NotFound` for one that is unknown, used, expired, or
    another person's."""
    confirmation_id = _read(given)
    if confirmation_id is None:
        raise NotFound(GONE)
    return _take(ctx, confirmation_id, user_id)


def conversation_of(ctx: Ctx, given: str, *, user_id: UUID | None) -> UUID:
    """The conversation in which a token was given that still works: the same request again need not name it. Raises
    `NotFound` as `take`, and uses nothing up."""
    confirmation_id = _read(given)
    found = None
    if confirmation_id is not None:
        found = ctx.session.scalar(
            select(Confirmation.conversation_id).where(Confirmation.id == confirmation_id, *_open(ctx, user_id))
        )
    if found is None:
        raise NotFound(GONE)
    return found


def pending(ctx: Ctx, conversation_id: UUID, user_id: UUID | None) -> Confirmation | None:
    """The latest action of a conversation that still waits for this person's word."""
    return ctx.session.scalars(
        select(Confirmation)
        .where(Confirmation.conversation_id == conversation_id, *_open(ctx, user_id))
        .order_by(Confirmation.created_at.desc(), Confirmation.id.desc())
        .limit(1)
    ).one_or_none()


def approve(ctx: Ctx, confirmation_id: UUID, *, user_id: UUID | None) -> Confirmation:
    """Approve what `pending` has answered. Raises `NotFound` when it was used or expired meanwhile."""
    return _take(ctx, confirmation_id, user_id)


def get(ctx: Ctx, confirmation_id: UUID) -> Confirmation | None:
    return ctx.session.get(Confirmation, confirmation_id)


def _open(ctx: Ctx, user_id: UUID | None) -> tuple[ColumnElement[bool], ...]:
    """What makes an action one that this person may still approve."""
    return (
        Confirmation.user_id.is_not_distinct_from(user_id),
        Confirmation.used_at.is_(None),
        Confirmation.expires_at > ctx.now(),
    )


def _take(ctx: Ctx, confirmation_id: UUID, user_id: UUID | None) -> Confirmation:
    taken = ctx.session.scalars(
        update(Confirmation)
        .where(Confirmation.id == confirmation_id, *_open(ctx, user_id))
        .values(used_at=ctx.now())
        .returning(Confirmation)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if taken is None:
        raise NotFound(GONE)
    audit.record(
        ctx,
        "tool.confirm",
        resource_type="confirmation",
        resource_id=taken.id,
        details={"tool": taken.tool, "turn_id": str(taken.turn_id)},
    )
    return taken


def _read(given: str) -> UUID | None:
    head, _, signature = given.removeprefix("cfm_").partition(".")
    try:
        found = UUID(bytes=base64.urlsafe_b64decode(head + "=="))
        said = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    except ValueError:
        return None
    keys = len(crypto.ring().derived("confirmation"))
    known = any(hmac.compare_digest(said, _signature(found, index)) for index in range(keys))
    return found if known else None


def _signature(confirmation_id: UUID, key: int) -> bytes:
    return hmac.new(crypto.ring().derived("confirmation")[key], confirmation_id.bytes, hashlib.sha256).digest()


def _plain(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
