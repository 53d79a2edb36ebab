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
SAID = frozenset({"already_set_up", "span_backwards"})
"""Reasons to refuse a request that keeps the contract, among those that are a 400."""
WORDS = {
    "internal": "internal_error",
    "payment_required": "tier_limit",
    "too_large": "payload_too_large",
    "unauthenticated": "invalid_token",
    "locked": "account_locked",
}
"""Kinds of problem that Bee Flow calls otherwise."""
LOCKED_FEATURE = "license_feature_required"
_PASSWORD = "password"  # noqa: S105 - the name of a field


def status(problem: Problem) -> int:
    """The status of a problem's code, as the common table has it, but for what an invitation refuses, and for what the
    tier does not cover."""
    return 403 if _feature(problem) is not None else STATUSES.get(str(problem.facts.get("reason")), problem.status)


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
    ] or [{"path": _place(problem), "message": problem.message[:1000], "rule": problem.code}]


def _place(problem: Problem) -> str:
    """Where the domain says that the fault is."""
    field = problem.facts.get("field")
    if not isinstance(field, str):
        return "body"
    return f"header.{field}" if field == "Last-Event-ID" else f"body.{_field(field)}"


def _field(name: str) -> str:
    """A field's name in this contract: the domain's is in snake_case."""
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def _feature(problem: Problem) -> str | None:
    """What the tier lacks, where that is why something was refused; not an allowance that is used up."""
    needed = problem.facts.get("needed")
    return None if problem.code != "payment_required" or needed is None else str(needed)


def _word(problem: Problem) -> str:
    """What exactly happened where the domain says so, else the kind of problem."""
    if _feature(problem) is not None:
        return LOCKED_FEATURE
    reason = problem.facts.get("reason")
    if isinstance(reason, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,63}", reason):
        return reason
    return WORDS.get(problem.code, problem.code)


def _details(problem: Problem) -> Mapping[str, str] | None:
    feature = _feature(problem)
    if feature is not None:
        return {"reason": LOCKED_FEATURE, "feature": feature}
    facts = facts_as_text(problem)
    if facts is not None and "field" in facts:
        facts = {**facts, "field": _field(facts["field"])}
    if facts is None or problem.code != "payment_required" or "metric" not in facts:
        return facts
    told = {"limit": facts["metric"].partition(".")[2], "allowed": facts.get("limit"), "used": facts.get("used")}
    return {name: value for name, value in told.items() if value is not None}
