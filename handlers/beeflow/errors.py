"""Bee Flow's error body: `{error, message, details, requestId}`."""

from __future__ import annotations

from typing import Any

from thalweg.edge.problem import Problem, facts_as_text

BROKEN_CONTRACT = frozenset({"validation", "bad_request"})


def status(problem: Problem) -> int:
    """The status of a problem's code, as the common table has it."""
    return problem.status


def body(problem: Problem, request_id: str) -> dict[str, Any]:
    """The seed's envelope; `details` lists what is broken, or holds the facts of the reason."""
    if problem.code in BROKEN_CONTRACT:
        broken = [
            {
                "path": ".".join(str(part) for part in violation.path)[:1000],
                "message": violation.message[:1000],
                "rule": violation.rule[:100],
            }
            for violation in problem.violations[:100]
        ] or [{"path": "body", "message": problem.message[:1000], "rule": problem.code}]
        return {
            "error": "validation_failed",
            "message": f"{broken[0]['path']}: {broken[0]['message']}",
            "details": broken,
            "requestId": request_id,
        }
    return {
        "error": problem.code,
        "message": problem.message[:2000],
        "details": facts_as_text(problem),
        "requestId": request_id,
    }
