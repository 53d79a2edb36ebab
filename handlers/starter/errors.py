"""Starter's error body: `{success: false, error, message, details, detail}`; a broken contract is 422."""

from __future__ import annotations

from typing import Any

from thalweg.edge.problem import Problem

BROKEN_CONTRACT = frozenset({"validation", "bad_request"})


def status(problem: Problem) -> int:
    """422 for a request that breaks the contract; the common table for everything else."""
    return 422 if problem.code in BROKEN_CONTRACT else problem.status


def body(problem: Problem, request_id: str) -> dict[str, Any]:
    """The seed's envelope. For a broken contract `details` and `detail` are the list of what is broken."""
    if problem.code in BROKEN_CONTRACT:
        broken = [
            {
                "loc": [part if isinstance(part, int) else part[:200] for part in v.path],
                "msg": v.message,
                "type": v.rule,
            }
            for v in problem.violations[:100]
        ] or [{"loc": ["body"], "msg": problem.message[:1000], "type": problem.code}]
        first = f"{'.'.join(str(part) for part in broken[0]['loc'])}: {broken[0]['msg']}"
        return {
            "success": False,
            "error": "ValidationError",
            "message": first[:2000],
            "details": broken,
            "detail": broken,
        }
    message = problem.message[:2000]
    details = {"code": problem.code}
    details |= {name: str(value)[:1000] for name, value in problem.facts.items() if value is not None}
    details |= {name: str(value)[:1000] for name, value in problem.headers.items()}
    return {"success": False, "error": message, "message": message, "details": details, "detail": message}
