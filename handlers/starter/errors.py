"""Starter's error body: `{success: false, error, message, details, detail}`; a broken contract is 422."""

from __future__ import annotations

import re
from typing import Any

from handlers.callers import NOT_VERIFIED
from thalweg.edge.problem import Problem

BROKEN_CONTRACT = frozenset({"validation", "bad_request"})
UNAUTHORIZED = frozenset({"invalid_password", "organisation_missing"})
"""Reasons that the domain counts among bad or forbidden requests, and Starter among wrong credentials."""
WORDS = {
    **dict.fromkeys(("missing_token", "expired_token", "organisation_missing"), "unauthorized"),
    **dict.fromkeys(("refresh_invalid", "refresh_expired", "refresh_reused", "inactive"), "invalid_refresh_token"),
    "invalid_password": "invalid_credentials",
    "weak_password": "password_policy",
    "organisation_needed": "tenant_needed",
    "email_unverified": "email_not_verified",
}
"""The domain's reasons that Starter calls otherwise."""
KINDS = {"unauthenticated": "unauthorized", "locked": "account_locked"}
"""The same for kinds of problems that have no reason of their own."""


def status(problem: Problem) -> int:
    """422 for a request that breaks the contract, 401 for a wrong present password; else the common table."""
    if problem.code in BROKEN_CONTRACT:
        return 422
    return 401 if problem.facts.get("reason") in UNAUTHORIZED else problem.status


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
    return {"success": False, "error": message, "message": message, "details": _details(problem), "detail": message}


def _details(problem: Problem) -> dict[str, str]:
    """A stable word, the facts, and the headers of this answer that matter."""
    details = {"code": _word(problem)}
    details |= {
        name: str(value)[:1000] for name, value in problem.facts.items() if value is not None and name != "reason"
    }
    if status(problem) == 401:
        details["WWW-Authenticate"] = "Bearer" if problem.scheme is None else 'Bearer error="invalid_token"'
    if "retry_after" in details:
        details["Retry-After"] = details.pop("retry_after")
    return details | {name: str(value)[:1000] for name, value in problem.headers.items()}


def _word(problem: Problem) -> str:
    """What exactly happened where the domain says so, else the kind of problem."""
    reason = problem.facts.get("reason")
    if problem.code == "unauthenticated" and reason == "invalid_token":
        return "unauthorized"
    if problem.message == NOT_VERIFIED:
        return "email_not_verified"
    if isinstance(reason, str) and re.fullmatch(r"[a-z_]{1,64}", reason):
        return WORDS.get(reason, reason)
    return KINDS.get(problem.code, problem.code)
