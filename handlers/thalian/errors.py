"""Thalian's error body: `{error}`, a sentence."""

from __future__ import annotations

from typing import Any

from thalweg.edge.problem import Problem


def status(problem: Problem) -> int:
    """As the common table has it: 400 for a request that breaks the contract, since 422 is for what a provider refused.
    But 403 for what the plan does not cover."""
    return 403 if problem.code == "payment_required" else problem.status


def body(problem: Problem, request_id: str) -> dict[str, Any]:
    """The seed's envelope; of a broken contract the first violation is told."""
    if problem.violations:
        first = problem.violations[0]
        return {"error": f"{'.'.join(str(part) for part in first.path)}: {first.message}"[:2000]}
    return {"error": problem.message[:2000]}
