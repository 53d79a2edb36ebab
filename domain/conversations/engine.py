"""The turn engine: brings a message to its answer, whatever happens on the way.

`run` is the job. What is done is a committed step with the events it brought; run again after a crash, a turn goes on
behind the last of them. It ends in exactly one of `complete`, `error` and `cancelled`, or waits for somebody's word and
is run again when that has come.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import undefer

from domain import inference, memory
from domain.conversations import attachments, events, gate, past, rules, turns
from domain.conversations.ending import settle
from domain.conversations.guardrails import policy, recognise
from domain.conversations.guardrails.output import Blocked
from domain.conversations.guardrails.record import by_kind
from domain.conversations.guardrails.record import write as note_guardrail
from domain.conversations.journal import Cancelled, Ended, Journal, Writer, channel
from domain.conversations.models import MessageRow, Turn
from domain.conversations.modes import choose, play
from domain.conversations.sources import citation
from domain.conversations.turn_state import State, equip
from domain.conversations.waiting import Waits
from domain.conversations.writing import hear, rewrite
from domain.inference import Deadline, Refused, TimedOut, ToolCall
from domain.kernel import outbox
from domain.kernel.context import Ctx, Work
from domain.kernel.errors import DomainError, LimitExceeded, Unavailable
from domain.kernel.ids import new_id
from domain.kernel.ledger import LeaseLost

log = logging.getLogger("thalweg.conversations")

RESERVE = 10.0
"""Seconds of the job's time that are kept for the end."""


def run(work: Work, turn_id: UUID) -> None:
    """Bring a turn to its end, or to where it waits. Raises what the database or the lease raise, and then is run
    again; never for a model's, a tool's or a rule's failure."""
    with gate.through() as leave:
        journal = _begun(work, turn_id)
        if journal is None:  # over already, or waiting: its last events may not be out
            announce(work, turn_id)
            return
        journal.slow = leave
        _run(journal, turn_id)
    # Only what is out is done: a process that dies before this publishes it with its next run.
    with work.transaction() as ctx:
        if journal.behind:
            turns.announce_later(journal.person(ctx), turn_id)
        work.complete(ctx)


def _run(journal: Journal, turn_id: UUID) -> None:
    try:
        _answer(journal, turn_id)
    except Ended:
        log.info("turn ended elsewhere")
    except Cancelled:
        _close(journal, turn_id, "cancelled", events.CANCELLED, message="Cancelled", response=journal.response())
    except Waits as waits:
        _wait(journal, turn_id, waits)
    except (DBAPIError, LeaseLost):
        raise
    except DomainError as problem:
        if isinstance(problem.__cause__, DBAPIError):
            raise
        log.warning("turn failed", extra={"code": problem.code, "reason": problem.message})
        _failed(journal, turn_id, problem)
    except Exception:
        late = journal.work.remaining() <= 1.0  # the soft limit of the job, whatever form it takes
        log.exception("turn failed")
        _failed(journal, turn_id, TimedOut() if late else DomainError())


def announce(work: Work, turn_id: UUID) -> None:
    """Publish all events of a turn: for a stream that was left behind."""
    with work.transaction() as ctx:
        written = [(e.number, e.name, e.data) for e in turns.events_after(ctx, turn_id)]
    for number, name, data in written:
        work.publish(channel(turn_id), number, name, data)
    with work.transaction() as ctx:
        work.complete(ctx)


# --- the way of a turn ------------------------------------------------------------------------------------


def _begun(work: Work, turn_id: UUID) -> Journal | None:
    with work.transaction() as ctx:
        turn = ctx.session.scalars(select(Turn).where(Turn.id == turn_id).with_for_update()).one_or_none()
        if turn is None or turn.state not in ("queued", "running"):
            return None
        again = turn.state == "running" or turn.started_at is not None
        turn.state, turn.run_id = "running", new_id()
        turn.started_at = turn.started_at or ctx.now()
        journal = Journal(work, turn)
        known = journal.load(ctx)
        # The first event goes with the beginning: whoever watches sees at once that somebody works on it.
        writer = Writer(journal, ctx)
        if journal.done("begun") is None:
            writer.step("begun", {})
            writer.event(
                events.TURN_STARTED,
                agent=turn.agent_key,
                message="Working on it",
                mode=turn.mode,
                turn_id=str(turn_id),
                conversation_id=str(turn.conversation_id),
            )
    if again:
        journal.republish(known)
    journal.committed(writer)
    return journal


def _answer(journal: Journal, turn_id: UUID) -> None:
    state = _state(journal, turn_id)
    _hear(state)
    _guard(state)
    _recall(state)
    mode = choose(state)
    play(state, mode, _approved(state))
    _complete(state, mode)


def _state(journal: Journal, turn_id: UUID) -> State:
    """Everything a turn needs to know, read at once."""
    with journal.work.transaction() as ctx:
        turn = ctx.session.get_one(Turn, turn_id)
        question = ctx.session.get_one(MessageRow, turn.question_id)
        person = journal.person(ctx)
        equipped = equip(person, turn.agent_key, turn.options)
        now = ctx.now()
        limit = rules.LIMITS["investigate" if turn.mode in ("auto", "investigate") else turn.mode]
        organisation = policy.of_turn(ctx, equipped.agent.guardrails, turn.surface)
        return State(
            journal=journal,
            turn_id=turn_id,
            conversation_id=turn.conversation_id,
            user_id=turn.user_id,
            surface=turn.surface,
            mode=turn.mode,
            question=question.content,
            past=past.read(ctx, turn, question),
            options=turn.options,
            agent=equipped,
            policy=organisation,
            deadline=Deadline(min(limit, max(0.0, journal.work.remaining() - RESERVE))),
            now=now,
            started_at=turn.started_at or now,
        )


def _hear(state: State) -> None:
    """What was said aloud becomes the question; the recording is erased."""
    if state.journal.done("heard") is None:
        with state.journal.work.transaction() as ctx:
            turn = ctx.session.scalars(
                select(Turn).where(Turn.id == state.turn_id).options(undefer(Turn.recording))
            ).one()
            recording = turn.recording
        if recording is None:
            return
        from domain.conversations import voice
        from domain.conversations.speaking import beside

        spoken = state.options.get("spoken")
        hearing = beside(lambda: voice.heard(recording, state.deadline, spoken), state.deadline, state.journal)
        text = inference.clean(" ".join(each.text for each in hearing.said))[0].strip()
        with state.journal.writing() as writer:
            ctx = writer.ctx
            hear(ctx, _question_id(ctx, state.turn_id), text)
            ctx.session.get_one(Turn, state.turn_id).recording = None
            writer.step("heard", {})  # the words are the question's, and go with it when they may not stay
            writer.event(
                events.TRANSCRIPT, message="Understood", turn_id=str(state.turn_id), text=text[:100_000],
                language=str(hearing.language or spoken or "und")[:35], final=True,
            )  # fmt: skip
        state.question = text
    if not state.question:
        raise Silent


class Silent(DomainError):
    code = "unprocessable"
    default = "Nothing was said that could be understood."


def _guard(state: State) -> None:
    """Look at the question before a model does: strip what is invisible, and ask, redact or refuse what is found. What
    was said before is shown to the model redacted, unless its person has allowed it."""
    journal = state.journal
    kept = journal.done("guarded")
    hidden = _hide_past(state)
    if kept is None:
        text, removed = recognise.stripped(state.question)
        findings = _found(state, text)
        categories = sorted({f.category for f in findings})
        action = state.policy.mode if findings else "none"
        # The words themselves stay with the question alone, so that they are gone when they are taken from it.
        kept = {"redacted": recognise.redacted(text, findings), "categories": categories, "action": action}
        with journal.writing() as writer:
            if removed:
                _note(writer.ctx, state, "unicode_smuggling", ["invisible"], "stripped")
            if action in ("auto_redact", "block"):
                _note_kinds(writer.ctx, state, categories, "redact" if action == "auto_redact" else "block")
            brought = {found.category for each in hidden if each.brought for found in each.found}
            _note_kinds(writer.ctx, state, sorted(brought), "redact")
            for each in hidden:
                if each.brought:
                    rewrite(writer.ctx, each.id, each.text)
            writer.step("guarded", kept)
            if removed or action in ("auto_redact", "block"):
                rewrite(
                    writer.ctx, _question_id(writer.ctx, state.turn_id), text if action == "ask" else kept["redacted"]
                )
        state.question = text
    action = str(kept["action"])
    if action == "ask":
        action = _decided(state, kept)
    if action == "block":
        raise Blocked(categories=list(kept["categories"]))
    if action in ("auto_redact", "redact"):
        state.question = str(kept["redacted"])


def _hide_past(state: State) -> list[past.Past]:
    """Let the model see of what was said before what it may; the messages of which something was taken."""
    looked: list[past.Past] = []
    for each in state.past:
        found = [] if each.allowed else _found(state, each.text)
        looked.append(
            each if not found else replace(each, text=recognise.redacted(each.text, found), found=tuple(found))
        )
    state.history = past.messages(looked)
    return [each for each in looked if each.found]


def _found(state: State, text: str) -> list[recognise.Finding]:
    if not state.policy.dlp:
        return []
    try:
        return recognise.find(text, terms=state.policy.terms, threshold=state.policy.threshold)
    except Exception as problem:
        log.exception("guardrails failed")
        if state.policy.fails_open:
            return []
        raise Blocked("The guardrails could not look at the message.", categories=[]) from problem


def _decided(state: State, kept: Mapping[str, Any]) -> str:
    journal = state.journal
    done = journal.done("dlp_decided")
    if done is not None:
        return str(done["decision"])
    with journal.work.transaction() as ctx:
        decision = ctx.session.scalar(select(Turn.decision).where(Turn.id == state.turn_id))
    if decision is None or "decision" not in decision:
        raise Waits(
            "dlp",
            rules.DECISION_TIME,
            events.DLP_FINDING,
            message="The message holds sensitive data",
            turn_id=str(state.turn_id),
            categories=list(kept["categories"]),
            redacted_preview=str(kept["redacted"])[:100_000],
            action="ask",
        )
    chosen = str(decision["decision"])
    with journal.writing() as writer:
        writer.step("dlp_decided", {"decision": chosen})
        writer.event(events.DLP_DECIDED, message="Decided", decision=chosen, categories=list(kept["categories"]))
        writer.ctx.session.get_one(Turn, state.turn_id).decision = None
        writer.ctx.session.get_one(MessageRow, state.turn_id).status = "streaming"
        if chosen in ("redact", "block"):
            rewrite(writer.ctx, _question_id(writer.ctx, state.turn_id), str(kept["redacted"]))
    return chosen


def _question_id(ctx: Ctx, turn_id: UUID) -> UUID:
    return ctx.session.get_one(Turn, turn_id).question_id


def _note(ctx: Ctx, state: State, kind: str, categories: list[str], action: str) -> None:
    note_guardrail(
        ctx, user_id=state.user_id, agent_id=state.agent.agent.id, conversation_id=state.conversation_id, kind=kind,
        categories=categories, direction="input", action=action, model=state.agent.model.name,
    )  # fmt: skip


def _note_kinds(ctx: Ctx, state: State, categories: Sequence[str], action: str) -> None:
    for kind, named in by_kind(categories):
        _note(ctx, state, kind, named, action)


def _recall(state: State) -> None:
    """What is remembered about the person that bears on the question, and files that came with it, as sources."""
    from domain.agents.tools import Found

    journal = state.journal
    kept = journal.done("recalled")
    if kept is None:
        found = [
            Found("document", str(each.get("title") or "Attachment"), str(each["text"])[:60_000], None, each.get("id"))
            for each in state.options.get("material") or ()
        ]
        found += attachments.read(state)
        if state.user_id is not None and state.options.get("memory"):
            memory.complete_vectors(journal.as_person, state.user_id, state.deadline)
            with journal.as_person() as ctx:
                any_kept = memory.has_memories(ctx, state.user_id)
            if any_kept:
                vector = inference.drivers().embedder.embed([state.question], state.deadline)[0]
                with journal.as_person() as ctx:
                    found += [
                        Found("memory", f"Remembered ({m.category.lower()})", m.text, m.similarity, str(m.id))
                        for m in memory.recall_personal(ctx, state.user_id, vector)
                    ]
        kept = {"sources": state.sources.add(found)}
        if found:
            with journal.writing() as writer:
                writer.step("recalled", dict(kept))
    state.sources.keep(kept["sources"])


def _approved(state: State) -> ToolCall | None:
    given = state.options.get("approved")
    if not given:
        return None
    return ToolCall(str(given["call_id"]), str(given["tool"]), given["arguments"])


# --- the ends ---------------------------------------------------------------------------------------------


def _complete(state: State, mode: str) -> None:
    journal = state.journal
    journal.flush()
    response = journal.response()
    if state.options.get("speak"):
        from domain.conversations import voice

        voice.speak(state, response)
    rows = state.sources.rows
    numbers = rules.cited(response, rows)
    citations = [citation(rows[n], rules.snippet(rows[n]["text"], response, n)) for n in numbers]
    used = state.used or state.agent.agent.key
    with journal.writing() as writer:
        for each in citations:
            writer.event(events.CITATION, agent=used, message=each["title"], **each)
        ctx = writer.ctx
        turn = ctx.session.get_one(Turn, state.turn_id)
        _account(turn, state)
        turn.mode_used, turn.agent_used, turn.stop_reason = mode, used, state.stop
        took = int((ctx.now() - state.started_at).total_seconds() * 1000)
        spent = state.spent
        settle(
            ctx, turn, "completed", content=response, mode=mode, agent_key=used, model=spent.model, citations=citations,
            tool_calls=state.tool_log, attachments=state.attachments,
        )  # fmt: skip
        if state.user_id is not None:
            cited = [UUID(r["source_id"]) for r in (rows[n] for n in numbers) if r["kind"] == "memory"]
            memory.mark_used(ctx, state.user_id, cited)
        writer.event(
            events.COMPLETE,
            agent=used,
            message="Done",
            response=response,
            message_id=str(state.turn_id),
            conversation_id=str(state.conversation_id),
            mode=mode,
            agent_used=used,
            handoff_occurred=state.handed_over,
            model=spent.model,
            response_id=spent.response_id,
            citations=citations,
            tool_calls=state.tool_log,
            attachments=[dict(each) for each in state.attachments],
            structured_output=None,
            usage={
                "requests": spent.requests,
                "input_tokens": spent.input_tokens,
                "output_tokens": spent.output_tokens,
                "total_tokens": spent.input_tokens + spent.output_tokens,
                "agents": spent.agents,
                "tool_calls": spent.tool_calls,
                "duration_ms": max(0, took),
            },
            stop_reason=state.stop,
        )


def _account(turn: Turn, state: State) -> None:
    spent = state.spent
    turn.input_tokens, turn.output_tokens = spent.input_tokens, spent.output_tokens
    turn.requests, turn.tool_calls, turn.agents = spent.requests, spent.tool_calls, spent.agents
    turn.model = None if spent.model is None else spent.model[:128]
    turn.response_id = None if spent.response_id is None else spent.response_id[:128]


def _wait(journal: Journal, turn_id: UUID, waits: Waits) -> None:
    with journal.closing() as writer:
        turn = writer.ctx.session.get_one(Turn, turn_id)
        until = writer.ctx.now() + waits.time
        turn.state, turn.waiting_for, turn.waiting_until, turn.decision = "waiting", waits.what, until, None
        if waits.what == "dlp":
            writer.ctx.session.get_one(MessageRow, turn_id).status = "awaiting_decision"
        writer.event(waits.event, expires_at=events.stamp(until), **waits.data)
        outbox.enqueue(
            writer.ctx, "conversations.expire", {"turn_id": str(turn_id)}, queue="interactive",
            delay=waits.time + timedelta(seconds=1),
        )  # fmt: skip


def _failed(journal: Journal, turn_id: UUID, problem: DomainError) -> None:
    code, message = _reason(problem)
    retry = problem.facts.get("retry_after")
    _close(
        journal, turn_id, "failed", events.ERROR, blocked=isinstance(problem, Blocked), message=message, code=code,
        error=message, retry_after=retry if isinstance(retry, int) else None,
        key_refused=bool(problem.facts.get("own")) and problem.facts.get("reason") == "invalid_key",
    )  # fmt: skip


def _reason(problem: DomainError) -> tuple[str, str]:
    """A stable word and a line for people."""
    if isinstance(problem, Blocked):
        return "dlp_blocked", problem.message
    if isinstance(problem, TimedOut):
        return "timed_out", "The answer took too long."
    if isinstance(problem, LimitExceeded):
        return "rate_limited", problem.message
    if isinstance(problem, Refused | Unavailable | inference.InvalidOutput):
        return "model_unavailable", problem.message
    if problem.code == "internal":
        return "internal", "Something went wrong."
    return "refused", problem.message


def _close(
    journal: Journal,
    turn_id: UUID,
    state: str,
    name: str,
    *,
    blocked: bool = False,
    key_refused: bool = False,
    **final: Any,
) -> None:
    said, taken = journal.response(), journal.taken()
    try:
        with journal.closing() as writer:
            turn = writer.ctx.session.get_one(Turn, turn_id)
            turn.input_tokens, turn.output_tokens = sum(each[1] for each in taken), sum(each[2] for each in taken)
            turn.requests, turn.model = len(taken), taken[-1][0][:128] if taken else None
            if name == events.ERROR:
                turn.error_code, turn.error_message = final["code"], final["error"]
                turn.retry_after = final["retry_after"]
            if key_refused and turn.user_id is not None:
                inference.byok.mark_refused(writer.ctx, turn.user_id, turn.started_at)
            settle(writer.ctx, turn, state, content=said, blocked=blocked)
            writer.event(name, **final)
    except Ended:
        log.info("turn ended elsewhere")
