"""Thallus' error body: `{error, message, details}`; a broken contract is 422 with a list, 429 is `{detail}` alone."""

from __future__ import annotations

import json
import re
from typing import Any

from handlers.thallus.wire_identity import COOKIE, cookie_path
from thalweg.edge.cookies import expired
from thalweg.edge.problem import Problem, Violation, facts_as_text

BROKEN_CONTRACT = frozenset({"validation", "bad_request"})
SESSION_ENDED = frozenset({"refresh_invalid", "refresh_expired", "refresh_reused", "inactive"})
WORDS = {
    "missing_token": "unauthorized",
    "expired_token": "token_expired",
    **dict.fromkeys(SESSION_ENDED, "session_expired"),
    "email_unverified": "email_not_verified",
    "organisation_collection": "organization_collection",
}
"""The domain's reasons that Thallus calls otherwise."""


def status(problem: Problem) -> int:
    """422 for a request that breaks the contract, or whose fault is one field's; the common table for all else."""
    return 422 if problem.code in BROKEN_CONTRACT or _of_a_field(problem) else problem.status


def cookies(problem: Problem, base_path: str) -> list[str]:
    """A refresh cookie that was refused is taken back."""
    if problem.facts.get("reason") in SESSION_ENDED:
        return [expired(COOKIE, path=cookie_path(base_path), same_site="Strict")]
    return []


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
    if _of_a_field(problem):
        field = str(problem.facts.get("field", _PASSWORD))
        rule = str(problem.facts.get("reason", "value"))
        told = problem.facts.get("broken") or [problem.message]
        return {
            "error": "validation_error",
            "message": "Invalid request data",
            "details": [_issue(Violation(("body", field), line, rule)) for line in told],
        }
    details = facts_as_text(problem)
    if details and details.get("decided_by") == "organisation":
        details["decided_by"] = "organization"  # as the contract spells the tier
    return {"error": _word(problem), "message": problem.message[:2000], "details": details}


def _of_a_field(problem: Problem) -> bool:
    """What the domain refuses in one field of a body, by a rule that a schema cannot say."""
    if problem.code != "invalid":
        return False
    return "field" in problem.facts or problem.facts.get("reason") == "weak_password"


def _word(problem: Problem) -> str:
    """What exactly happened where the domain says so, else the kind of problem."""
    reason = problem.facts.get("reason")
    if isinstance(reason, str) and re.fullmatch(r"[a-z_]{1,64}", reason):
        return WORDS.get(reason, reason)
    return "unauthorized" if problem.code == "unauthenticated" else problem.code


_PASSWORD = "password"  # noqa: S105 - the name of a field


def _issue(violation: Violation) -> dict[str, Any]:
    sent = violation.value
    shown = sent if isinstance(sent, str) or sent is None else json.dumps(sent, default=str)
    return {
        "type": violation.rule[:100],
        "loc": [part if isinstance(part, int) else part[:200] for part in violation.path],
        "msg": violation.message[:1000],
        "input": None if shown is None else shown[:1000],
    }
