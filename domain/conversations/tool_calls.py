"""Calling a tool in a turn: checked against its schema, limited in time, written down, and asked for where that is
needed.

A reading tool runs beside the journal and changes nothing. A writing one runs in the transaction that records the call,
so that it is done once, whatever happens to the process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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

log = logging.getLogger("thalweg.conversations")

SHOWN = 20_000
"""Characters of a tool's answer that a model is shown."""


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
        """Carry out a call, or give back what it came to in an earlier run. Raises `Cancelled`, `Ended`."""
        kept = self.journal.done(key)
        if kept is not None:
            self.sources.keep(kept["sources"])
            return Outcome(kept["text"], kept["status"])
        offer = self.offered.get(call.name)
        refusal = self._refusal(call, offer)
        with self.journal.writing() as writer:
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
        if offer is None or refusal is not None:
            return self._failed(call, key, refusal or ToolProblem("There is no such tool."), 0)
        if offer.needs_confirmation and not approved:
            return self._wait(call, key, offer.tool)
        started = time.monotonic()
        try:
            if offer.tool.writes is not None:
                return self._write(call, key, offer.tool, started)
            result = self._read(call, offer.tool)
        except (Cancelled, Ended, DBAPIError):
            raise
        except ToolProblem as problem:
            return self._failed(call, key, problem, started)
        except TimedOut:
            if self.deadline.over:
                raise
            late = ToolProblem(f"The tool did not answer within {offer.tool.seconds:g} seconds.")
            return self._failed(call, key, late, started)
        except DomainError as problem:
            denied = problem.code in ("forbidden", "payment_required")
            return self._failed(call, key, ToolProblem(problem.message, "denied" if denied else "failure"), started)
        except Exception:
            log.exception("tool failed", extra={"tool": call.name})
            return self._failed(call, key, ToolProblem("The tool failed."), started)
        with self.journal.writing() as writer:
            return self._record(writer, call, key, result, started)

    def _refusal(self, call: ToolCall, offer: own_settings.OfferedTool | None) -> ToolProblem | None:
        if offer is None or not offer.enabled:
            return ToolProblem("There is no such tool here.", "denied")
        if not offer.available:
            why = "You may not use this tool." if offer.reason == "denied" else "This tool is not available right now."
            return ToolProblem(why, "denied" if offer.reason == "denied" else "failure")
        problems = offer.tool.problems(call.arguments)
        return ToolProblem("The arguments do not fit: " + "; ".join(problems) + ".") if problems else None

    def _read(self, call: ToolCall, tool: Tool) -> ToolResult:
        reads = tool.reads
        assert reads is not None
        deadline = within(tool.seconds, self.deadline)
        run = self.run(deadline)
        return beside(lambda: reads(run, call.arguments), deadline, self.journal)

    def _write(self, call: ToolCall, key: str, tool: Tool, started: float) -> Outcome:
        assert tool.writes is not None
        run = self.run(within(tool.seconds, self.deadline))
        with self.journal.writing() as writer:
            # A refusal takes back what the tool had begun, and nothing else of the transaction.
            with writer.ctx.session.begin_nested():
                result = tool.writes(writer.person, run, call.arguments)
            return self._record(writer, call, key, result, started)

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

    def _failed(self, call: ToolCall, key: str, problem: ToolProblem, started: float) -> Outcome:
        text = str(problem)
        took = _milliseconds(started) if started else 0
        status = "denied" if problem.outcome == "denied" else "failed"
        with self.journal.writing() as writer:
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

    def _audit(self, writer: Writer, call: ToolCall, outcome: audit.Outcome, took: int) -> None:
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
            },
            duration_ms=took,
        )


def _milliseconds(started: float) -> int:
    return max(0, int((time.monotonic() - started) * 1000))
