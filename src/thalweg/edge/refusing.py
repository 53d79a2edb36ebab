"""What goes wrong on the way of a request, as a reply in the surface's own error body."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson
import structlog

from thalweg.edge.problem import Problem
from thalweg.edge.reply import Outcome, ResponseMismatch, header

if TYPE_CHECKING:
    from thalweg.edge.exchange import Exchange, Services
    from thalweg.edge.guard import RawHeaders
    from thalweg.edge.plan import Plan

log = structlog.get_logger("thalweg.edge")

WAITING = "retry-after"
WAIT = 5
"""Seconds of a `Retry-After` that the contract promises and nobody knows better."""


class Refusals:
    """Turns an exception into a reply. `report` hears of one that breaks its contract."""

    def __init__(self, services: Services, report: Callable[[ResponseMismatch], None]) -> None:
        self.services = services
        self._report = report

    def __call__(self, exchange: Exchange, error: Exception) -> Outcome:
        """The reply that says what went wrong. It is checked against the contract as any other."""
        problem = self._problem(exchange, error)
        surface, plan = exchange.surface, exchange.plan
        assert surface is not None
        status = surface.envelope.status(problem)
        if plan is not None and plan.reply.promise(status, WAITING) and problem.facts.get("retry_after") is None:
            problem.facts = {**problem.facts, "retry_after": WAIT}
        body = surface.envelope.body(problem, exchange.request_id)
        wait = None

        def report(mismatch: ResponseMismatch) -> None:
            mismatch.surface, mismatch.request_id = surface.key, exchange.request_id
            self._report(mismatch)

        if status != 500:
            try:
                if plan is not None:
                    plan.reply.check(problem, status, body, report)
                wait = self._wait(plan, problem, status, report)
            except ResponseMismatch:
                problem = Problem("internal", "Something went wrong.")
                status, body = surface.envelope.status(problem), surface.envelope.body(problem, exchange.request_id)
        headers: RawHeaders = [(b"content-type", b"application/json")]
        headers += [header(name, value) for name, value in problem.headers.items()]
        if status == 401 and "WWW-Authenticate" not in problem.headers:
            headers.append((b"www-authenticate", _challenge(plan, problem).encode("latin-1")))
        if surface.cookies is not None:
            headers += [header("Set-Cookie", cookie) for cookie in surface.cookies(problem, surface.base_path)]
        if wait is not None:
            headers.append((b"retry-after", b"%d" % wait))
        if status >= 400 and problem.code in ("too_large", "request_timeout"):
            headers.append((b"connection", b"close"))  # the rest of the body was not read
        return Outcome(status, headers, orjson.dumps(body, default=str))

    def _wait(
        self, plan: Plan | None, problem: Problem, status: int, report: Callable[[ResponseMismatch], None]
    ) -> int | None:
        """`Retry-After`, whole seconds, where the operation declares it; None where it is left out."""
        known = problem.facts.get("retry_after")
        wait = None if known is None else max(int(known), 0)
        if plan is None:
            return wait
        if wait is not None and plan.reply.promise(status, WAITING) is None:
            try:
                report(ResponseMismatch(plan.operation_id, status, "undeclared header Retry-After", problem.code))
            except ResponseMismatch:
                if self.services.on_mismatch == "raise":
                    raise
                # Reported, and left out: the answer itself is as declared.
            return None
        return wait

    def _problem(self, exchange: Exchange, error: Exception) -> Problem:
        if isinstance(error, Problem):
            return error
        if isinstance(error, self.services.application.errors):
            return Problem(error.code, error.message, facts=error.facts)  # type: ignore[attr-defined]
        if isinstance(error, ResponseMismatch):
            return Problem("response_mismatch", "Something went wrong.")
        operation = exchange.plan.operation_id if exchange.plan else None
        log.error("unhandled", operation=operation, request_id=exchange.request_id, exc_info=error)
        return Problem("internal", "Something went wrong.")


def _challenge(plan: Plan | None, problem: Problem) -> str:
    """`WWW-Authenticate`: which credentials would do, and that a token was sent and is worth nothing (RFC 6750 3.1)."""
    if plan is None or plan.security is None:
        return "Bearer"
    return plan.security.challenge if problem.scheme is None else plan.security.refusal
