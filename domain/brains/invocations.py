"""Starting an invocation, and reading what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import undefer

from domain import audit, billing, inference
from domain.brains import chain, media, plan
from domain.brains.administration import get_brain
from domain.brains.models import Invocation, InvocationEvent
from domain.brains.roles.triage import MAX_TEXT
from domain.kernel import outbox
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid, NotFound, TooLarge

METRIC = "thalium.invocations"
MAX_MEDIUM = 10_000_000
"""Characters of base64: the contract's bound."""


def start(
    ctx: Ctx,
    brain_id: UUID,
    *,
    session_id: str,
    input_type: str,
    content: str,
    entity_id: str | None = None,
    role_config: Mapping[str, Any] | None = None,
) -> Invocation:
    """Take an input and promise its chain, in the caller's transaction. Its events go to `channel(invocation.id)`.

    Counts one invocation of the plan's month. Raises `NotFound` (no such brain), `Invalid`, `TooLarge`, `Unprocessable`
    (no driver for this type of input; the message says what to install), `PaymentRequired`.
    """
    brain = get_brain(ctx, brain_id)
    config = plan.merged(role_config, brain.role_config)
    chosen = plan.checked(config, blocked_terms=bool(brain.blocked_terms))
    inference.drivers().language(chosen.model)
    cleaned, removed = _checked(input_type, content)
    invocation = Invocation(
        brain_id=brain.id,
        session_id=_name("session_id", session_id),
        entity_id=None if entity_id is None else _name("entity_id", entity_id),
        input_type=input_type,
        input_content=cleaned,
        removed_characters=removed,
        role_config=config,
        state="queued",
        actor_kind=ctx.actor.kind,
        api_key_id=getattr(ctx.actor, "key_id", None),
        user_id=getattr(ctx.actor, "user_id", None),
    )
    ctx.session.add(invocation)
    ctx.session.flush()
    outbox.enqueue(ctx, "brains.run", {"invocation_id": str(invocation.id)}, queue="interactive")
    audit.record(
        ctx,
        "brain.invoke",
        resource_type="brain",
        resource_id=brain.id,
        details={"trace_id": str(invocation.id), "input_type": input_type, "characters": len(content)},
    )
    billing.consume(ctx, METRIC)  # last: the counter is locked until the commit
    return invocation


def get_invocation(ctx: Ctx, invocation_id: UUID, *, brain_id: UUID | None = None) -> Invocation:
    """With its artifact, once there is one. Raises `NotFound`, also when it is another brain's than `brain_id`."""
    found = ctx.session.scalars(
        select(Invocation).where(Invocation.id == invocation_id).options(undefer(Invocation.artifact))
    ).one_or_none()
    if found is None or brain_id not in (None, found.brain_id):
        raise NotFound("There is no such invocation.")
    return found


def events_after(ctx: Ctx, invocation_id: UUID, number: int = 0) -> list[InvocationEvent]:
    """The events with a number above `number`, in order: what a stream that was torn off goes on with."""
    return list(
        ctx.session.scalars(
            select(InvocationEvent)
            .where(InvocationEvent.invocation_id == invocation_id, InvocationEvent.number > number)
            .order_by(InvocationEvent.number)
        )
    )


def _checked(input_type: str, content: str) -> tuple[str, int]:
    if input_type == "text":
        if len(content) > MAX_TEXT:
            raise TooLarge(f"input.content: at most {MAX_TEXT} characters of text.", limit=MAX_TEXT)
        cleaned, removed = inference.clean(content)
        if not cleaned.strip():
            raise Invalid("input.content: there is nothing to read in it.")
        return cleaned, removed
    if input_type not in ("image", "audio"):
        raise Invalid("input.type: text, image or audio.")
    if len(content) > MAX_MEDIUM:
        raise TooLarge(f"input.content: at most {MAX_MEDIUM} characters of base64.", limit=MAX_MEDIUM)
    drivers = inference.drivers()
    (drivers.transcriber if input_type == "audio" else drivers.describer).available()
    media.decoded(input_type, content)
    return content, 0


def _name(field: str, value: str) -> str:
    if not 0 < len(value) <= 128 or not value.isprintable() or inference.clean(value)[1]:
        raise Invalid(f"{field}: 1 to 128 printable characters.")
    return value


channel = chain.channel
