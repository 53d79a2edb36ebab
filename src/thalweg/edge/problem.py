"""Every error that can happen on the way of a request, as one value; and the one table from code to status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

CODES: dict[str, tuple[int, str]] = {
    "bad_request": (400, "Bad request"),
    "validation": (400, "Invalid request"),
    "invalid": (400, "Invalid request"),
    "captcha_failed": (400, "CAPTCHA not solved"),
    "unauthenticated": (401, "Unauthorized"),
    "payment_required": (402, "Payment required"),
    "forbidden": (403, "Forbidden"),
    "not_found": (404, "Not found"),
    "no_such_route": (404, "Not found"),
    "method_not_allowed": (405, "Method not allowed"),
    "not_acceptable": (406, "Not acceptable"),
    "request_timeout": (408, "Request timeout"),
    "conflict": (409, "Conflict"),
    "idempotency_in_flight": (409, "Conflict"),
    "gone": (410, "Gone"),
    "precondition_failed": (412, "Precondition failed"),
    "too_large": (413, "Payload too large"),
    "uri_too_long": (414, "URI too long"),
    "unsupported_media_type": (415, "Unsupported media type"),
    "range_not_satisfiable": (416, "Range not satisfiable"),
    "unprocessable": (422, "Unprocessable entity"),
    "idempotency_mismatch": (422, "Unprocessable entity"),
    "locked": (423, "Locked"),
    "rate_limited": (429, "Too many requests"),
    "headers_too_large": (431, "Request header fields too large"),
    "internal": (500, "Internal server error"),
    "response_mismatch": (500, "Internal server error"),
    "not_implemented": (501, "Not implemented"),
    "upstream_failed": (502, "Bad gateway"),
    "unavailable": (503, "Service unavailable"),
    "timed_out": (504, "Gateway timeout"),
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule of the contract. `path` starts with where: `body`, `query`, `path`, `header`, `cookie`."""

    path: tuple[str | int, ...]
    message: str
    rule: str
    """The JSON Schema keyword or parsing rule: `required`, `maxLength`, `type`, `json`, ..."""
    value: Any = None


@dataclass(slots=True)
class Problem(Exception):
    """An error on its way to a surface's envelope."""

    code: str
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    scheme: str | None = None
    """Of `unauthenticated`: the security scheme whose credential was refused; None when there was none."""

    @property
    def status(self) -> int:
        return CODES.get(self.code, CODES["internal"])[0]

    @property
    def title(self) -> str:
        return CODES.get(self.code, CODES["internal"])[1]


class Envelope(Protocol):
    """A surface's `errors.py`.

    `status(problem)` may move a code to the status that the surface's contract uses for it (422 for validation, say);
    `body(problem, request_id)` is the surface's error body, a JSON value. An `unauthenticated` problem says why in the
    fact `reason` (`missing_token`, `invalid_token`, `expired_token`, or the platform's own word), a `rate_limited` one
    names the limit in the fact `limit`.

    A surface may also have `cookies(problem, base_path)`: complete `Set-Cookie` values for the refusal, to take a
    worthless cookie back from a browser (`thalweg.edge.cookies.expired`).
    """

    @staticmethod
    def status(problem: Problem) -> int: ...

    @staticmethod
    def body(problem: Problem, request_id: str) -> Mapping[str, Any]: ...


def not_implemented() -> Problem:
    """What the handler of an operation raises whose capability is not built yet (counted by `contract coverage`)."""
    return Problem("not_implemented", "This operation is declared and not available yet.")


class Disconnected(Exception):
    """The client went away before its request was whole: there is nobody to answer."""


def facts_as_text(problem: Problem, limit: int = 1000) -> dict[str, str] | None:
    """A problem's facts for envelopes whose details are text: None when there are none."""
    told = {name: str(value)[:limit] for name, value in problem.facts.items() if value is not None}
    return told or None
