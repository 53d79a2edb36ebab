"""Thalium's error body: `{error, code}`, and `required_scope` with 403."""

from __future__ import annotations

from typing import Any

from thalweg.edge.problem import Problem

CODES = {
    "validation": "invalid_input",
    "bad_request": "invalid_input",
    "invalid": "invalid_input",
    "unauthenticated": "unauthorized",
    "forbidden": "insufficient_scope",
    "no_such_route": "not_found",
    "too_large": "payload_too_large",
    "response_mismatch": "internal",
}


def status(problem: Problem) -> int:
    """The status of a problem's code, as the common table has it."""
    return problem.status


def body(problem: Problem, request_id: str) -> dict[str, Any]:
    """The seed's error body. A broken contract is explained by its first violations."""
    shaped: dict[str, Any] = {"error": _sentence(problem), "code": CODES.get(problem.code, problem.code)}
    if "required_scope" in problem.facts and problem.status == 403:
        shaped["required_scope"] = str(problem.facts["required_scope"])
    return shaped


def _sentence(problem: Problem) -> str:
    if not problem.violations:
        return problem.message[:2000]
    told = [f"{'.'.join(str(part) for part in v.path)}: {v.message}" for v in problem.violations[:3]]
    more = len(problem.violations) - len(told)
    return ("; ".join(told) + (f"; and {more} more" if more > 0 else ""))[:2000]
