"""Turns from outside: start one, read what became of it, stop it, decide what it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from domain import agents, audit, billing, inference
from domain.agents import confirmations
from domain.agents.spec import Agent
from domain.conversations import events, rules
from domain.conversations.guardrails import recognise
from domain.conversations.guardrails.record import by_kind, write
from domain.conversations.journal import append, channel
from domain.conversations.models import ACTIVE, Conversation, MessageRow, Turn, TurnEvent
from domain.conversations.rules import TurnRules
from domain.conversations.writing import add_message, find_conversation, new_conversation, owner_of, rewrite
from domain.kernel import outbox
from domain.kernel.context import Ctx
from domain.kernel.errors import Conflict, Gone, Invalid, LimitExceeded, NotFound, PaymentRequired, Unprocessable
from domain.kernel.ids import new_id

STATE_KEPT = timedelta(hours=1)
"""How long after its end the events of a turn are shown."""
RESULT_KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Prior:
    """Something that was said before, elsewhere: it is written into a new conversation in front of the question."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class TurnResult:
    """What a turn came to. `final` is the data of its last event (see `domain.conversations.events`)."""

    turn: Turn
    final: Mapping[str, Any]
    name: str
    """`complete`, `error` or `cancelled`."""


def start(
    ctx: Ctx,
    message: str,
    *,
    surface: str | None = None,
    conversation_id: UUID | None = None,
    client_id: UUID | None = None,
    agent: str | UUID | None = None,
    mode: str = "ask",
    prior: Sequence[Prior] = (),
    source: str = "chat",
    title: str | None = None,
    attachments: Sequence[Mapping[str, Any]] = (),
    options: Mapping[str, Any] | None = None,
    confirmation_token: str | None = None,
    recording: bytes | None = None,
    turn_rules: TurnRules | None = None,
    turn_id: UUID | None = None,
) -> Turn:
    """Take a message and promise its answer, in the caller's transaction. Its events go to `channel(turn.id)`.

    `client_id` names a conversation by an id of the client's choice; `agent` by key or id; `options`: `max_turns`,
    `context`, `location`, `run_config`, `memory` (False: neither recall nor extract), `timezone`, `language`. With
    `recording` the message is what is heard in it. A `turn_id` that is known answers with that turn and starts nothing.

    A message to a conversation whose investigation waits for a word of direction is that word: the answer is the same
    turn.

    Raises `NotFound` (conversation, agent, confirmation), `Forbidden` (agent denied or switched off), `Conflict` (facts
    `reason` `task_active` or `turn_active`, `task_id`), `PaymentRequired`, `LimitExceeded`, `Unprocessable`, `Invalid`.
    """
    surface = surface or ctx.surface or "thallus"
    held = turn_rules or rules.of_surface(surface)
    owner = owner_of(ctx)
    if turn_id is not None and (known := _own(ctx, turn_id)) is not None:
        return known
    if mode not in rules.MODES:
        raise Invalid(f"It has to be one of {', '.join(rules.MODES)}.", field="mode")
    text = "" if recording is not None else _readable(message)
    conversation = find_conversation(ctx, conversation_id, client_id, lock=True)
    if conversation is not None and (steered := _steered(ctx, conversation, text)) is not None:
        return steered
    chosen = _agent(ctx, agent, conversation, held)
    agents.own_settings.usable(ctx, chosen)
    if conversation is None:
        conversation = new_conversation(
            ctx, surface=surface, source=source, agent=chosen, title=title, client_id=client_id
        )
        for place, each in enumerate(prior, 1):
            add_message(ctx, conversation, role=each.role, content=inference.clean(each.content)[0], position=place)
    elif agent is not None:
        conversation.agent_key, conversation.agent_id = chosen.key, chosen.id
    if conversation.title is None and text:
        conversation.title = rules.title_of(text)
    given = dict(options or {}) | {"source": source}
    given |= _approval(ctx, conversation, text, confirmation_token, held)
    turn = _insert(ctx, conversation, chosen, surface, owner, held, mode, given, turn_id or new_id())
    turn.recording = recording
    question = add_message(ctx, conversation, role="user", content=text, turn_id=turn.id, attachments=attachments)
    turn.question_id = question.id
    add_message(
        ctx,
        conversation,
        role="assistant",
        content="",
        status="streaming",
        message_id=turn.id,
        turn_id=turn.id,
        agent_key=chosen.key,
    )
    ctx.session.flush()
    outbox.enqueue(ctx, "conversations.answer", {"turn_id": str(turn.id)}, queue="interactive", max_attempts=3)
    audit.record(
        ctx,
        "conversation.message",
        resource_type="conversation",
        resource_id=conversation.id,
        details={"turn_id": str(turn.id), "mode": mode, "agent": chosen.key, "characters": len(text)},
    )
    _pay(ctx, surface, held)  # last: the counter is locked until the commit
    return turn


def get_turn(ctx: Ctx, turn_id: UUID) -> Turn:
    """One of the caller's. Raises `NotFound`."""
    found = _own(ctx, turn_id)
    if found is None:
        raise NotFound("There is no such task.")
    return found


def events_after(ctx: Ctx, turn_id: UUID, number: int = 0) -> list[TurnEvent]:
    """The events with a number above `number`, in order: what a stream that was torn off goes on with."""
    return list(
        ctx.session.scalars(
            select(TurnEvent).where(TurnEvent.turn_id == turn_id, TurnEvent.number > number).order_by(TurnEvent.number)
        )
    )


def last_number(ctx: Ctx, turn_id: UUID) -> int:
    """Of its last event so far; 0 before the first."""
    return ctx.session.scalar(select(func.max(TurnEvent.number)).where(TurnEvent.turn_id == turn_id)) or 0


def shown(ctx: Ctx, turn_id: UUID, *, within: timedelta = STATE_KEPT) -> Turn:
    """The same as `get_turn`, while its events may be watched. Raises `NotFound`, `Gone` (`within` is over since its
    end)."""
    turn = get_turn(ctx, turn_id)
    if turn.ended_at is not None and ctx.now() - turn.ended_at > within:
        raise Gone("The events of this task are not kept any more; its result and its conversation are.")
    return turn


def state(ctx: Ctx, turn_id: UUID) -> tuple[Turn, list[tuple[int, str, Mapping[str, Any]]]]:
    """A turn with all its events so far, runs of words put together. Raises `NotFound`, `Gone`."""
    turn = shown(ctx, turn_id)
    return turn, events.coalesced(events_after(ctx, turn_id))


def result(ctx: Ctx, turn_id: UUID) -> TurnResult:
    """What came of it. Raises `NotFound`, `Conflict` (reason `task_processing`), `Gone` (after 24 hours)."""
    turn = get_turn(ctx, turn_id)
    if turn.state in ACTIVE:
        raise Conflict("The task is still working.", reason="task_processing", task_id=str(turn_id))
    if turn.ended_at is not None and ctx.now() - turn.ended_at > RESULT_KEPT:
        raise Gone("The result of this task is not kept any more; its conversation is.")
    last = ctx.session.scalars(
        select(TurnEvent)
        .where(TurnEvent.turn_id == turn_id, TurnEvent.name.in_(events.TERMINAL))
        .order_by(TurnEvent.number.desc())
        .limit(1)
    ).one()
    return TurnResult(turn, last.data, last.name)


def ended(ctx: Ctx, turn_id: UUID) -> bool:
    """For whoever waits: whether there is a result."""
    found = ctx.session.scalar(select(Turn.state).where(Turn.id == turn_id))
    return found is None or found not in ACTIVE


def active(ctx: Ctx, surface: str | None = None) -> list[tuple[Turn, str, int]]:
    """The caller's turns under way, then those that ended within the hour, the latest first: each with how its question
    begins and the number of its last event."""
    query = select(Turn).where(
        Turn.owner_key == owner_of(ctx),
        Turn.state.in_(ACTIVE) | (Turn.ended_at > ctx.now() - STATE_KEPT),
    )
    if surface is not None:
        query = query.where(Turn.surface == surface)
    found = ctx.session.scalars(query.order_by(Turn.created_at.desc()).limit(20)).all()
    turns = sorted(found, key=lambda turn: turn.state not in ACTIVE)
    if not turns:
        return []
    questions: dict[UUID, str] = dict(
        ctx.session.execute(
            select(MessageRow.id, func.left(MessageRow.content, 500)).where(
                MessageRow.id.in_([turn.question_id for turn in turns])
            )
        ).all()
    )
    numbers: dict[UUID, int] = dict(
        ctx.session.execute(
            select(TurnEvent.turn_id, func.max(TurnEvent.number))
            .where(TurnEvent.turn_id.in_([turn.id for turn in turns]))
            .group_by(TurnEvent.turn_id)
        ).all()
    )
    return [(turn, questions.get(turn.question_id, ""), numbers.get(turn.id, 0)) for turn in turns]


def cancel(ctx: Ctx, turn_id: UUID) -> Turn:
    """Stop it: at once when nothing works on it, else at its next word or tool call.

    Raises `NotFound`, `Conflict` when it is over.
    """
    turn = _locked(ctx, turn_id)
    if turn.state not in ACTIVE:
        raise Conflict("This is over already.", state=turn.state)
    turn.cancel_requested_at = turn.cancel_requested_at or ctx.now()
    if turn.state != "running":
        end_outside(ctx, turn, "cancelled", events.CANCELLED, message="Cancelled", response="")
    audit.record(ctx, "conversation.message_cancel", resource_type="turn", resource_id=turn_id)
    return turn


def decide(ctx: Ctx, turn_id: UUID, decision: str) -> tuple[Turn, list[str]]:
    """Answer a `dlp_finding`: `allow`, `redact` or `block`. The turn, and the categories that were found.

    Raises `NotFound` (unknown, another person's, expired), `Conflict` (decided already), `Invalid`.
    """
    if decision not in ("allow", "redact", "block"):
        raise Invalid("decision: allow, redact or block.")
    turn = _locked(ctx, turn_id)
    finding = _finding(ctx, turn_id)
    if finding is None or turn.error_code == "dlp_expired":
        raise NotFound("There is no such finding.")
    if turn.waiting_for != "dlp" or turn.state != "waiting":
        raise Conflict("This was decided already.", reason="decided")
    if turn.waiting_until is not None and turn.waiting_until <= ctx.now():
        raise NotFound("There is no such finding.")
    categories = [str(each) for each in finding.data["categories"]]
    turn.decision = {"decision": decision}
    _log(ctx, turn, categories, {"allow": "alert", "redact": "redact", "block": "block"}[decision])
    _go_on(ctx, turn)
    audit.record(
        ctx,
        "guardrail.decide",
        resource_type="turn",
        resource_id=turn_id,
        details={"decision": decision, "categories": categories},
    )
    return turn, categories


def expire(ctx: Ctx, turn_id: UUID) -> None:
    """Nobody has said a word in time: a finding ends its turn, an investigation goes on by itself."""
    turn = ctx.session.scalars(select(Turn).where(Turn.id == turn_id).with_for_update()).one_or_none()
    if turn is None or turn.state != "waiting" or (turn.waiting_until is not None and turn.waiting_until > ctx.now()):
        return
    if turn.waiting_for == "steering":
        turn.decision = {"text": None}
        _go_on(ctx, turn)
        return
    turn.error_code, turn.error_message = "dlp_expired", "Nobody decided on the finding in time."
    end_outside(ctx, turn, "failed", events.ERROR, message=turn.error_message, code="dlp_expired",
                error=turn.error_message, retry_after=None)  # fmt: skip


def give_up(ctx: Ctx, turn_id: UUID, reason: str) -> None:
    """End a turn whose job has failed for good, in the transaction that makes the job a dead letter. `reason` stays
    with the operator."""
    turn = ctx.session.scalars(select(Turn).where(Turn.id == turn_id).with_for_update()).one_or_none()
    if turn is None or turn.state not in ACTIVE:
        return
    turn.error_code, turn.error_message = "internal", "Something went wrong."
    end_outside(ctx, turn, "failed", events.ERROR, message="Something went wrong.", code="internal",
                error="Something went wrong.", retry_after=None)  # fmt: skip


def end_outside(ctx: Ctx, turn: Turn, state: str, name: str, **final: Any) -> None:
    """End a turn on which nothing works; its row is locked."""
    from domain.conversations.ending import settle

    found = turn.waiting_for == "dlp"
    if name == events.CANCELLED:
        words = (e.data["delta"] for e in events_after(ctx, turn.id) if e.name == events.TEXT_DELTA)
        final["response"] = "".join(words)
    append(ctx, turn.id, name, **final)
    settle(ctx, turn, state, content=str(final.get("response") or ""))
    if found:  # after the files are gone: see `settle`
        _withhold(ctx, turn)
    announce_later(ctx, turn.id)


def _withhold(ctx: Ctx, turn: Turn) -> None:
    """Nobody has let through what was found: it stands in the conversation and in the log as after `block`, and no
    later turn sees it."""
    finding = _finding(ctx, turn.id)
    if finding is None:
        return
    rewrite(ctx, turn.question_id, str(finding.data["redacted_preview"]))
    _log(ctx, turn, [str(each) for each in finding.data["categories"]], "block")


def _log(ctx: Ctx, turn: Turn, categories: Sequence[str], action: str) -> None:
    conversation = ctx.session.get_one(Conversation, turn.conversation_id)
    for kind, named in by_kind(categories):
        write(
            ctx, user_id=turn.user_id, agent_id=conversation.agent_id, conversation_id=conversation.id, kind=kind,
            categories=named, direction="input", action=action,
        )  # fmt: skip


def announce_later(ctx: Ctx, turn_id: UUID) -> None:
    """Have the events published that were written where nothing publishes."""
    outbox.enqueue(ctx, "conversations.announce", {"turn_id": str(turn_id)}, queue="interactive", max_attempts=20)


# --- below ----------------------------------------------------------------------------------------------


def _readable(message: str) -> str:
    cleaned = inference.clean(message)[0].strip()
    if not recognise.stripped(cleaned)[0].strip():  # what nobody sees is taken out before a model reads it
        raise Invalid("There is nothing to read in it.", field="message")
    if len(cleaned) > rules.LONGEST_MESSAGE:
        raise Invalid(f"It has more than {rules.LONGEST_MESSAGE} characters.", field="message")
    return cleaned


def _own(ctx: Ctx, turn_id: UUID) -> Turn | None:
    return ctx.session.scalars(select(Turn).where(Turn.id == turn_id, Turn.owner_key == owner_of(ctx))).one_or_none()


def _finding(ctx: Ctx, turn_id: UUID) -> TurnEvent | None:
    return ctx.session.scalars(
        select(TurnEvent)
        .where(TurnEvent.turn_id == turn_id, TurnEvent.name == events.DLP_FINDING)
        .order_by(TurnEvent.number.desc())
        .limit(1)
    ).one_or_none()


def _locked(ctx: Ctx, turn_id: UUID) -> Turn:
    found = ctx.session.scalars(
        select(Turn)
        .where(Turn.id == turn_id, Turn.owner_key == owner_of(ctx))
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if found is None:
        raise NotFound("There is no such task.")
    return found


def _agent(ctx: Ctx, named: str | UUID | None, conversation: Conversation | None, held: TurnRules) -> Agent:
    if isinstance(named, UUID):
        return agents.get_agent(ctx, named)
    if named is not None:
        return agents.find_agent(ctx, named)
    if conversation is not None and conversation.agent_key is not None:
        try:
            return agents.find_agent(ctx, conversation.agent_key)
        except NotFound:
            raise Unprocessable("The agent of this conversation is gone: name another one.", field="agent") from None
    return agents.find_agent(ctx, held.agent)


def _approval(ctx: Ctx, conversation: Conversation, text: str, token: str | None, held: TurnRules) -> dict[str, Any]:
    """The action that this message approves: by its token, or, where the surface takes that for one, by a plain yes to
    what the conversation waits for."""
    user = agents.caller(ctx)
    if token is not None:
        taken = confirmations.take(ctx, token, user_id=user)
        if taken.conversation_id != conversation.id:
            raise NotFound("This confirmation has expired or was used already.")
    else:
        if held.confirm_by_token or not rules.affirms(text) or conversation.message_count == 0:
            return {}
        pending = confirmations.pending(ctx, conversation.id, user)
        if pending is None:
            return {}
        taken = confirmations.approve(ctx, pending.id, user_id=user)
    return {"approved": {"tool": taken.tool, "arguments": taken.arguments, "call_id": taken.call_id}}


def _insert(
    ctx: Ctx,
    conversation: Conversation,
    agent: Agent,
    surface: str,
    owner: str,
    held: TurnRules,
    mode: str,
    options: Mapping[str, Any],
    turn_id: UUID,
) -> Turn:
    if held.most_active is not None:
        _crowd(ctx, owner, held.most_active)
    turn = Turn(
        id=turn_id,
        conversation_id=conversation.id,
        question_id=turn_id,
        owner_key=owner,
        user_id=agents.caller(ctx),
        surface=surface,
        state="queued",
        exclusive=f"{surface}:{owner}" if held.exclusive_per_user else None,
        mode=mode,
        agent_key=agent.key,
        permissions=sorted(ctx.permissions),
        options={"memory": held.memory, **options},
    )
    ctx.session.flush()
    # An insert would wait for a turn that is just ending, which in turn waits for what is locked here.
    if (busy := _busy(ctx, conversation, turn.exclusive)) is not None:
        raise busy
    try:
        with ctx.session.begin_nested():
            ctx.session.add(turn)
    except IntegrityError as taken:  # of two at one moment
        raise _busy(ctx, conversation, turn.exclusive) or _turn_active(None) from taken
    return turn


def _busy(ctx: Ctx, conversation: Conversation, exclusive: str | None) -> Conflict | None:
    """What keeps a turn from beginning, as far as it is committed."""
    under_way = select(Turn.id).where(Turn.state.in_(ACTIVE))
    found = ctx.session.scalars(under_way.where(Turn.conversation_id == conversation.id)).first()
    if found is not None:
        return _turn_active(found)
    if exclusive is None:
        return None
    found = ctx.session.scalars(under_way.where(Turn.exclusive == exclusive)).first()
    return None if found is None else Conflict("You have a task under way.", reason="task_active", task_id=str(found))


def _turn_active(turn_id: UUID | None) -> Conflict:
    return Conflict(
        "This conversation has an answer under way.",
        reason="turn_active",
        task_id=None if turn_id is None else str(turn_id),
    )


def _crowd(ctx: Ctx, owner: str, most: int) -> None:
    ctx.session.execute(select(func.pg_advisory_xact_lock(0x747572, func.hashtext(owner))))
    count = ctx.session.scalar(select(func.count(Turn.id)).where(Turn.owner_key == owner, Turn.state.in_(ACTIVE)))
    if (count or 0) >= most:
        raise LimitExceeded(f"At most {most} answers may be under way at once.", retry_after=5)


def _pay(ctx: Ctx, surface: str, held: TurnRules) -> None:
    """Count the turn against the plan. A surface whose plans are not on sale here has no limit."""
    if held.per_day:
        _pay_the_day(ctx, surface, held.per_day)
    if held.metric is not None:
        try:
            used = billing.consume(ctx, held.metric)
            billing.guardrails.hold(ctx, billing.plan_of(ctx, surface), held.metric, used)
        except billing.UnknownPlan:
            return
        except PaymentRequired as full:
            raise PaymentRequired(full.message, **{"reason": "tier_limit", **full.facts}) from None


def _pay_the_day(ctx: Ctx, surface: str, per_day: Mapping[str, int | None]) -> None:
    try:
        plan = billing.plan_of(ctx, surface).name
    except billing.UnknownPlan:
        return
    limit = per_day.get(plan)
    if limit is None:
        return
    ctx.session.execute(select(func.pg_advisory_xact_lock(0x646179, func.hashtext(str(ctx.organisation)))))
    midnight = ctx.now().replace(hour=0, minute=0, second=0, microsecond=0)
    used = ctx.session.scalar(select(func.count(Turn.id)).where(Turn.surface == surface, Turn.created_at >= midnight))
    if (used or 0) > limit:  # this turn is among them
        left = midnight + timedelta(days=1) - ctx.now()
        raise LimitExceeded(
            f"Plan {plan} includes {limit} messages a day.",
            reason="plan_limit",
            limit=limit,
            retry_after=max(1, int(left.total_seconds())),
        )


def _steered(ctx: Ctx, conversation: Conversation, text: str) -> Turn | None:
    turn = ctx.session.scalars(
        select(Turn)
        .where(
            Turn.conversation_id == conversation.id,
            Turn.owner_key == owner_of(ctx),
            Turn.state == "waiting",
            Turn.waiting_for == "steering",
        )
        .with_for_update(skip_locked=True)  # whoever has it may be ending it, and wait for the conversation
    ).one_or_none()
    if turn is None or not text:
        return None
    answer = ctx.session.get_one(MessageRow, turn.id)
    place = answer.position
    answer.position = place + 1
    ctx.session.flush()
    add_message(ctx, conversation, role="user", content=text, turn_id=turn.id, position=place)
    turn.decision = {"text": text}
    _go_on(ctx, turn)
    return turn


def _go_on(ctx: Ctx, turn: Turn) -> None:
    turn.state, turn.waiting_for, turn.waiting_until = "queued", None, None
    ctx.session.flush()
    outbox.enqueue(ctx, "conversations.answer", {"turn_id": str(turn.id)}, queue="interactive", max_attempts=3)


__all__ = [
    "RESULT_KEPT", "STATE_KEPT", "Prior", "TurnResult", "active", "announce_later", "cancel", "channel", "decide",
    "end_outside", "ended", "events_after", "expire", "get_turn", "give_up", "last_number", "result",
    "shown", "start", "state",
]  # fmt: skip
