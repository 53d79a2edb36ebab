"""Thallus' error body: `{error, message, details}`; a broken contract is 422 with a list, 429 is `{detail}` alone."""

from __future__ import annotations

import json
from typing import Any

from thalweg.edge.problem import Problem, Violation, facts_as_text

BROKEN_CONTRACT = frozenset({"validation", "bad_request"})


def status(problem: Problem) -> int:
    """422 for a request that breaks the contract; the common table for everything else."""
    return 422 if problem.code in BROKEN_CONTRACT else problem.status


def body(problem: Problem, request_id: str) -> dict[str, Any]:
    """The seed's envelope, in the shape that the status has."""
    if problem.status == 429:
        return {"detail": "Too many requests. Please try again later."}
    if problem.code in BROKEN_CONTRACT:
        issues = [_issue(violation) for violation in problem.violations[:100]]
        return {
            "error": "validation_error",
            "message": "Invalid request data",
            "details": issues or [_issue(Violation(("body",), problem.message, problem.code))],
        }
    return {"error": problem.code, "message": problem.message[:2000], "details": facts_as_text(problem)}


def _issue(violation: Violation) -> dict[str, Any]:
    sent = violation.value
    shown = sent if isinstance(sent, str) or sent is None else json.dumps(sent, default=str)
    return {
        "type": violation.rule[:100],
        "loc": [part if isinstance(part, int) else part[:200] for part in violation.path],
        "msg": violation.message[:1000],
        "input": None if shown is None else shown[:1000],
    }
