"""Writing the chain: entries wait in the session and are sealed when it commits.

An organisation's entries need one order, so its writers take turns on the chain's head row. Sealing at the very end
keeps the turn short (two statements and the commit) and makes deadlocks impossible: whoever holds a head waits for
nothing else, since every other lock of its transaction was taken before. Heads themselves are taken in order of id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import orjson
from sqlalchemy import event, text
from sqlalchemy.orm import Session, SessionTransaction

from domain.audit import rules
from domain.kernel.context import (
    Actor,
    AnonymousActor,
    ApiKeyActor,
    ConnectorActor,
    Ctx,
    ServiceAccountActor,
    SystemActor,
    UserActor,
)
from domain.kernel.db import OrganisationBreach, OrganisationSession
from domain.kernel.ids import new_id
from domain.kernel.organisation_filter import BY_HAND, lent

Outcome = Literal["success", "failure", "partial", "denied"]

PLATFORM = UUID(int=0)
"""The chain of acts that belong to no organisation."""


@dataclass(slots=True)
class _Waiting:
    fields: dict[str, Any]
    savepoint: SessionTransaction | None
    """The savepoint it was recorded in: it goes when that is rolled back."""


def record(
    ctx: Ctx,
    action: str,
    *,
    resource_type: str | None = None,
    resource_id: UUID | str | None = None,
    outcome: Outcome = "success",
    details: Mapping[str, Any] | None = None,
    duration_ms: int | None = None,
) -> None:
    """Leave an entry for `action` (a dotted name: `api_key.issue`) in the chain of `ctx`'s organisation.

    A platform context without an organisation writes to the platform's chain. Secrets in `details` are replaced by
    `[redacted]`, by the names of keys and by the shapes of tokens.
    """
    session = ctx.session
    assert isinstance(session, OrganisationSession)
    organisation = ctx.organisation_id
    if organisation is None:
        if not session.platform:
            raise OrganisationBreach("an audit entry needs an organisation, or a platform context")
        organisation = PLATFORM
    kind, actor = _who(ctx.actor)
    fields = {
        "id": new_id(),
        "organisation_id": organisation,
        "action": action,
        "outcome": outcome,
        "actor_kind": kind,
        "actor_id": actor,
        "resource_type": resource_type,
        "resource_id": None if resource_id is None else rules.clean_text(str(resource_id), 200),
        "correlation_id": _short(ctx.request_id) if ctx.request_id != "-" else None,
        "surface": ctx.surface,
        "address": _short(ctx.address),
        "user_agent": _short(ctx.user_agent),
        "duration_ms": duration_ms,
        "details": rules.clean(details),
        "created_at": ctx.now(),
    }
    _waiting(session).append(_Waiting(fields, session.get_nested_transaction()))


def seal(session: OrganisationSession) -> None:
    """Write what waits. From here until the end of the transaction, the organisation's other writers wait."""
    waiting = _waiting(session)
    if not waiting:
        return
    session.flush()
    entries = sorted((entry.fields for entry in waiting), key=lambda fields: fields["organisation_id"])
    waiting.clear()
    for fields in entries:
        organisation = fields["organisation_id"]
        values = {
            **{name: value for name, value in fields.items() if name != "details"},
            "details": orjson.dumps(fields["details"], option=orjson.OPT_SORT_KEYS).decode(),
            "genesis": rules.genesis(organisation),
            "content": rules.content(fields),
        }
        with lent(session, organisation):
            session.connection().execute(_APPEND, values, execution_options={BY_HAND: organisation})


# One round trip: take the head, link, insert. `previous` stays in the head because RETURNING shows only new values.
_APPEND = text("""
WITH head AS (
    INSERT INTO audit_head AS h (organisation_id, sequence, previous, hash)
    VALUES (:organisation_id, 1, :genesis, sha256(:genesis || int8send(1) || :content))
    ON CONFLICT (organisation_id) DO UPDATE
        SET sequence = h.sequence + 1, previous = h.hash, hash = sha256(h.hash || int8send(h.sequence + 1) || :content)
    RETURNING sequence, previous, hash
)
INSERT INTO audit_entry (
    id, organisation_id, sequence, action, outcome, actor_kind, actor_id, resource_type, resource_id, correlation_id,
    surface, address, user_agent, duration_ms, details, created_at, prev_hash, row_hash
)
SELECT :id, :organisation_id, sequence, :action, :outcome, :actor_kind, :actor_id, :resource_type, :resource_id,
    :correlation_id, :surface, :address, :user_agent, :duration_ms, CAST(:details AS json), :created_at, previous, hash
FROM head
""")


def _waiting(session: Session) -> list[_Waiting]:
    found: list[_Waiting] = session.info.setdefault("audit", [])
    return found


@event.listens_for(OrganisationSession, "before_commit")
def _at_commit(session: OrganisationSession) -> None:
    if session.info.get("audit") and not session.in_nested_transaction():
        seal(session)


@event.listens_for(OrganisationSession, "after_commit")
def _at_release(session: OrganisationSession) -> None:
    """A savepoint was released: what was recorded in it belongs to what surrounds it."""
    released = session.get_nested_transaction()
    if released is not None:
        for entry in session.info.get("audit", ()):
            if entry.savepoint is released:
                outer = released.parent
                entry.savepoint = outer if outer is not None and outer.nested else None


@event.listens_for(OrganisationSession, "after_transaction_end")
def _at_end(session: OrganisationSession, ended: SessionTransaction) -> None:
    """What still belongs to a transaction that ends was rolled back with it (see `_at_release` and `seal`)."""
    waiting = session.info.get("audit")
    if waiting and (ended.nested or ended.parent is None):
        waiting[:] = [entry for entry in waiting if ended.nested and entry.savepoint is not ended]


def _short(value: str | None) -> str | None:
    return None if value is None else rules.clean_text(value, 300)


def _who(actor: Actor) -> tuple[str, str | None]:
    match actor:
        case UserActor():
            return actor.kind, str(actor.user_id)
        case ApiKeyActor():
            return actor.kind, str(actor.key_id)
        case ServiceAccountActor():
            return actor.kind, rules.clean_text(actor.account, 200)
        case ConnectorActor():
            return actor.kind, rules.clean_text(actor.instance_id, 200)
        case SystemActor():
            return actor.kind, rules.clean_text(actor.reason, 200)
        case AnonymousActor():
            return actor.kind, None
