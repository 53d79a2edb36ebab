"""Bee Flow's error body: `{error, message, details, requestId}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from thalweg.edge.problem import Problem, facts_as_text

BROKEN_CONTRACT = frozenset({"validation", "bad_request", "invalid"})
GONE = frozenset({"invite_unknown", "invite_expired", "invite_revoked", "invite_exhausted"})
STATUSES = {**dict.fromkeys(GONE, 410), "invite_mismatch": 422}
"""Reasons that this contract answers with another status than that of their kind."""
SAID = frozenset({"already_set_up"})
"""Reasons to refuse a request that keeps the contract, among those that are a 400."""
WORDS = {
    "internal": "internal_error",
    "payment_required": "tier_limit",
    "too_large": "payload_too_large",
    "unauthenticated": "invalid_token",
    "locked": "account_locked",
}
"""Kinds of problem that Bee Flow calls otherwise."""
_PASSWORD = "password"  # noqa: S105 - the name of a field


def status(problem: Problem) -> int:
    """The status of a problem's code, as the common table has it, but for what an invitation refuses."""
    return STATUSES.get(str(problem.facts.get("reason")), problem.status)


def body(problem: Problem, request_id: str) -> dict[str, Any]:
    """The seed's envelope; `details` lists what is broken, or holds the facts of the reason."""
    if problem.code in BROKEN_CONTRACT and problem.facts.get("reason") not in SAID:
        broken = _broken(problem)
        return {
            "error": "validation_failed",
            "message": f"{broken[0]['path']}: {broken[0]['message']}",
            "details": broken,
            "requestId": request_id,
        }
    return {
        "error": _word(problem),
        "message": problem.message[:2000],
        "details": _details(problem),
        "requestId": request_id,
    }


def _broken(problem: Problem) -> list[dict[str, str]]:
    if problem.facts.get("reason") == "weak_password":
        lines: list[str] = problem.facts.get("broken") or [problem.message]
        return [{"path": f"body.{_PASSWORD}", "message": line[:1000], "rule": "weak_password"} for line in lines[:100]]
    return [
        {
            "path": ".".join(str(part) for part in violation.path)[:1000],
            "message": violation.message[:1000],
            "rule": violation.rule[:100],
        }
        for violation in problem.violations[:100]
    ] or [{"path": "body", "message": problem.message[:1000], "rule": problem.code}]


def _word(problem: Problem) -> str:
    """What exactly happened where the domain says so, else the kind of problem."""
    reason = problem.facts.get("reason")
    if isinstance(reason, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,63}", reason):
        return reason
    return WORDS.get(problem.code, problem.code)


def _details(problem: Problem) -> Mapping[str, str] | None:
    facts = facts_as_text(problem)
    if facts is None or problem.code != "payment_required" or "metric" not in facts:
        return facts
    told = {"limit": facts["metric"].partition(".")[2], "allowed": facts.get("limit"), "used": facts.get("used")}
    return {name: value for name, value in told.items() if value is not None}
