"""Calling a tool in a turn: checked against its schema, limited in time, written down, and asked for where that is
needed.

What a crash may come to depends on the tool's effect alone, and is kept here for all of them. A reading tool runs
beside the journal, changes nothing and is repeated. A writing one runs in the transaction that records the call:
exactly once. One with an effect outside runs beside the journal, once it is committed that it begins: at most once. Who
finds it begun and without a result tells the model so (docs/decisions/0011-tools-after-a-crash.md).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from domain import audit
from domain.agents import confirmations, own_settings, tools
from domain.agents.tools import Tool, ToolProblem, ToolResult, ToolRun
from domain.conversations import events
from domain.conversations.journal import Cancelled, Ended, Journal, Writer
from domain.conversations.sources import Sources, told
from domain.conversations.speaking import beside, within
from domain.inference import Deadline, TimedOut, ToolCall
from domain.kernel.errors import DomainError
from domain.kernel.ledger import LeaseLost

log = logging.getLogger("thalweg.conversations")

SHOWN = 20_000
"""Characters of a tool's answer that a model is shown."""
INTERRUPTED = (
    "This call was interrupted: it had begun, and what came of it is not known. It may have taken effect, in part or "
    "as a whole, or be under way still, and was not repeated. Look at how things stand before trying it again."
)
DOUBT = "It may have taken effect all the same. Look at how things stand before trying it again."
UNKNOWN = frozenset({"timed_out", "upstream_failed"})
"""Codes of failures after which nobody knows whether an effect outside took place."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call came to. `text` is the model's; `waits`: for somebody's confirmation."""

    text: str
    status: str
    """`success`, `failed`, `denied` or `waiting`."""

    @property
    def waits(self) -> bool:
        return self.status == "waiting"


@dataclass(frozen=True)
class Caller:
    """Calls tools for one agent of a turn."""

    journal: Journal
    sources: Sources
    run: Callable[[Deadline], ToolRun]
    """The call's surroundings, with the deadline of the call."""
    deadline: Deadline
    agent: str
    depth: int
    user_id: UUID | None
    offered: Mapping[str, own_settings.OfferedTool]
    by_token: bool = False
    """Whether a confirmation comes with a token; else as a yes in the conversation."""

    def call(self, call: ToolCall, key: str, *, approved: bool = False) -> Outcome:
        """Carry out a call, or give back what it came to in an earlier run. `key` names it within the turn. Raises
        `Cancelled`, `Ended`."""
        kept = self.journal.done(key)
        if kept is not None:
            self.sources.keep(kept["sources"])
            return Outcome(kept["text"], kept["status"])
        if self.journal.done(_intent(key)) is not None:  # whatever the tool is today: it had begun
            return self._failed(call, key, ToolProblem(INTERRUPTED), 0, interrupted=True)
        offer = self.offered.get(call.name)
        refusal = self._refusal(call, offer)
        asks = offer is not None and offer.needs_confirmation and not approved
        outside = offer is not None and refusal is None and not asks and offer.tool.effect == "outside"
        self._begin(call, key, offer, outside=outside)
        if offer is None or refusal is not None:
            return self._failed(call, key, refusal or ToolProblem("There is no such tool."), 0)
        if asks:
            return self._wait(call, key, offer.tool)
        started = time.monotonic()
        try:
            if offer.tool.writes is not None:
                return self._write(call, key, offer.tool, started)
            result = self._run(call, offer.tool)
        except Cancelled:
            if outside:  # nobody waits for it any more, but what may have been done stays on record
                self._failed(call, key, ToolProblem(f"The call was cancelled. {DOUBT}"), started, interrupted=True)
            raise
        except (Ended, LeaseLost, DBAPIError):
            raise
        except ToolProblem as problem:
            return self._failed(call, key, problem, started)
        except TimedOut:
            if self.deadline.over and not outside:
                raise
            within_what = "in time" if self.deadline.over else f"within {offer.tool.seconds:g} seconds"
            late = f"The tool did not answer {within_what}."
            return self._failed(call, key, _doubted(late, outside), started, interrupted=outside)
        except DomainError as problem:
            if outside and isinstance(problem.__cause__, DBAPIError):
                raise  # run again, this call is one that was interrupted
            denied = problem.code in ("forbidden", "payment_required")
            unknown = outside and problem.code in UNKNOWN
            told = _doubted(problem.message, unknown, "denied" if denied else "failure")
            return self._failed(call, key, told, started, interrupted=unknown)
        except Exception:
            log.exception("tool failed", extra={"tool": call.name})
            return self._failed(call, key, _doubted("The tool failed.", outside), started, interrupted=outside)
        with self._ending(key) as writer:
            return self._record(writer, call, key, result, started)

    def _begin(self, call: ToolCall, key: str, offer: own_settings.OfferedTool | None, *, outside: bool) -> None:
        """Tell of the call, once, and before an effect outside that it begins."""
        announced = self.journal.done(_announced(key)) is not None
        if announced and not outside:
            return
        with self.journal.writing() as writer:
            if outside:
                writer.step(_intent(key), {})
            if announced:
                return
            writer.step(_announced(key), {})
            writer.event(
                events.TOOL_STARTED,
                agent=self.agent,
                depth=self.depth,
                message=f"Calling {offer.tool.title if offer else call.name}",
                tool=call.name[:128],
                call_id=call.id[:128],
                arguments=dict(call.arguments),
                title=offer.tool.title if offer else call.name[:128],
            )

    def _refusal(self, call: ToolCall, offer: own_settings.OfferedTool | None) -> ToolProblem | None:
        if offer is None or not offer.enabled:
            return ToolProblem("There is no such tool here.", "denied")
        if not offer.available:
            why = "You may not use this tool." if offer.reason == "denied" else "This tool is not available right now."
            return ToolProblem(why, "denied" if offer.reason == "denied" else "failure")
        problems = offer.tool.problems(call.arguments)
        return ToolProblem("The arguments do not fit: " + "; ".join(problems) + ".") if problems else None

    def _run(self, call: ToolCall, tool: Tool) -> ToolResult:
        works = tool.reads or tool.acts
        assert works is not None
        deadline = within(tool.seconds, self.deadline)
        run = self.run(deadline)
        return beside(lambda: works(run, call.arguments), deadline, self.journal)

    def _write(self, call: ToolCall, key: str, tool: Tool, started: float) -> Outcome:
        assert tool.writes is not None
        run = self.run(within(tool.seconds, self.deadline))
        with self.journal.writing() as writer:
            # A refusal takes back what the tool had begun, and nothing else of the transaction.
            with writer.ctx.session.begin_nested():
                result = tool.writes(writer.person, run, call.arguments)
            return self._record(writer, call, key, result, started)

    def _ending(self, key: str) -> AbstractContextManager[Writer]:
        """The transaction that records how a call went. Of what had begun outside it is written also when the turn is
        to stop meanwhile."""
        return self.journal.writing() if self.journal.done(_intent(key)) is None else self.journal.closing()

    def _record(self, writer: Writer, call: ToolCall, key: str, result: ToolResult, started: float) -> Outcome:
        rows = self.sources.add(result.found)
        text = "\n\n".join(part for part in (result.text[:SHOWN] if not rows else "", told(rows)[:SHOWN]) if part)
        took = _milliseconds(started)
        writer.step(key, {"text": text, "status": "success", "sources": rows})
        writer.event(
            events.TOOL_COMPLETED,
            agent=self.agent,
            depth=self.depth,
            message=f"{call.name} answered",
            tool=call.name,
            call_id=call.id[:128],
            outcome="success",
            duration_ms=took,
            result=result.data,
            attachments=[dict(each) for each in result.attachments],
        )
        self._audit(writer, call, "success", took)
        self.sources.keep(rows)
        return Outcome(text, "success")

    def _failed(
        self, call: ToolCall, key: str, problem: ToolProblem, started: float, *, interrupted: bool = False
    ) -> Outcome:
        """`interrupted`: it may have had its effect outside."""
        text = str(problem)
        took = _milliseconds(started) if started else 0
        status = "denied" if problem.outcome == "denied" else "failed"
        with self._ending(key) as writer:
            writer.step(key, {"text": text, "status": status, "sources": []})
            writer.event(
                events.TOOL_ERROR,
                agent=self.agent,
                depth=self.depth,
                message=text,
                tool=call.name[:128],
                call_id=call.id[:128],
                outcome=problem.outcome,
                duration_ms=took,
                error=text[:2000],
            )
            if interrupted:
                self._audit(writer, call, "partial", took, interrupted=True)
            else:
                self._audit(writer, call, "denied" if status == "denied" else "failure", took)
        return Outcome(text, status)

    def _wait(self, call: ToolCall, key: str, tool: Tool) -> Outcome:
        with self.journal.writing() as writer:
            waiting = confirmations.ask(
                writer.ctx,
                user_id=self.user_id,
                conversation_id=self.journal.conversation_id,
                turn_id=self.journal.turn_id,
                call_id=call.id,
                tool=call.name,
                arguments=call.arguments,
            )
            text = f"{tool.title} needs a confirmation and was not carried out yet."
            if not self.by_token:
                text += " Answer yes within five minutes to go ahead."
            writer.step(
                key,
                {
                    "text": text,
                    "status": "waiting",
                    "sources": [],
                    "confirmation_id": str(waiting.id),
                    "expires_at": events.stamp(waiting.expires_at),
                },
            )
            writer.event(
                events.CONFIRMATION_REQUIRED,
                agent=self.agent,
                depth=self.depth,
                message=text,
                tool=call.name,
                call_id=call.id[:128],
                arguments=dict(call.arguments),
                confirmation_id=str(waiting.id),
                expires_at=events.stamp(waiting.expires_at),
            )
            self._audit(writer, call, "partial", 0)
        return Outcome(text, "waiting")

    def _audit(self, writer: Writer, call: ToolCall, outcome: audit.Outcome, took: int, **more: bool) -> None:
        """Which tool and how it went; arguments and answers stay with the conversation."""
        known = tools.get(call.name)
        audit.record(
            writer.person,
            "tool_call",
            resource_type="turn",
            resource_id=self.journal.turn_id,
            outcome=outcome,
            details={
                "tool": call.name[:128],
                "agent": self.agent,
                "effect": known.effect if known else None,
                "conversation_id": str(self.journal.conversation_id),
                **more,
            },
            duration_ms=took,
        )


def _announced(key: str) -> str:
    """The step with which a call's first event is out."""
    return f"{key}/announced"


def _intent(key: str) -> str:
    """The step which says that an effect outside begins: committed before it does."""
    return f"{key}/begun"


def _doubted(message: str, unknown: bool, outcome: Literal["failure", "denied"] = "failure") -> ToolProblem:
    return ToolProblem(f"{message} {DOUBT}" if unknown else message, outcome)


def _milliseconds(started: float) -> int:
    return max(0, int((time.monotonic() - started) * 1000))
