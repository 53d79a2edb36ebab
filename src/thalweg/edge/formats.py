"""What `format` means at the edge, as JSON Schema that jsonschema-rs can run without calling Python.

`fragment(name, type)` is the check behind a format, `describe(name)` its wording; an unknown format is an annotation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jsonschema_rs

INT32 = (-(2**31), 2**31 - 1)
INT64 = (-(2**63), 2**63 - 1)

UUID_PATTERN = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
BASE64_PATTERN = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
# RFC 3339 allows these; no Python datetime and no timestamptz can hold them: the year 0, a leap second, and the first
# and last day of the calendar moved out of it by an offset.
_NO_INSTANT = "^(?:0000|[0-9-]{10}.[0-9:]{6}60|0001-01-01.*\\+|9999-12-31.*-[0-9]{2}:[0-9]{2}$)"

_FRAGMENTS: Mapping[str, Mapping[str, Any]] = {
    "uuid": {"pattern": UUID_PATTERN},
    "byte": {"pattern": BASE64_PATTERN},
    "date": {"format": "date", "not": {"type": "string", "pattern": "^0000"}},
    "date-time": {"format": "date-time", "not": {"type": "string", "pattern": _NO_INSTANT}},
    "time": {"format": "time"},
    "email": {"format": "email"},
    "hostname": {"format": "hostname"},
    "ipv4": {"format": "ipv4"},
    "ipv6": {"format": "ipv6"},
    "uri": {"format": "uri"},
    "uri-reference": {"format": "uri-reference"},
    "duration": {"format": "duration"},
    "json-pointer": {"format": "json-pointer"},
    "regex": {"format": "regex"},
}
_RANGES = {"int32": INT32, "int64": INT64}

_WORDS = {
    "uuid": "must be a UUID",
    "byte": "must be Base64 text",
    "date": "must be a date (YYYY-MM-DD)",
    "date-time": "must be a date and time with a UTC offset (RFC 3339), e.g. 2030-01-31T12:00:00Z",
    "time": "must be a time with a UTC offset (RFC 3339)",
    "email": "must be an e-mail address",
    "hostname": "must be a host name",
    "ipv4": "must be an IPv4 address",
    "ipv6": "must be an IPv6 address",
    "uri": "must be an absolute URI",
    "uri-reference": "must be a URI or a relative reference",
    "duration": "must be an ISO 8601 duration",
    "json-pointer": "must be a JSON Pointer",
    "regex": "must be a regular expression",
    "int32": "must fit into 32 bits",
    "int64": "must fit into 64 bits",
}

EMAIL_OPTIONS = jsonschema_rs.EmailOptions(allow_display_text=False, allow_domain_literal=False)
# A contract's pattern is trusted, the text it runs on is not: 100,000 steps take about a millisecond.
PATTERN_OPTIONS = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000)


def fragment(name: str, type_: str | None) -> Mapping[str, Any] | None:
    """JSON Schema (Draft 4) that holds when a value of the format's own type conforms; None for an annotation."""
    if name in _RANGES:
        low, high = _RANGES[name]
        bounds = {"minimum": low, "maximum": high}
        if type_ == "integer":
            return bounds
        if type_ not in (None, "number"):
            return None
        return {"anyOf": [{"not": {"type": "integer"}}, bounds]}  # the format speaks of integers only
    return _FRAGMENTS.get(name)


def describe(name: str) -> str:
    return _WORDS.get(name, f"must have the format {name}")


def _later_draft(name: str) -> Callable[[str], bool]:
    check = jsonschema_rs.Draft201909Validator({"format": name}, validate_formats=True).is_valid
    return lambda text: bool(check(text))


# Draft 4 does not know these; the library does, under a later draft.
CALLBACKS: dict[str, Callable[[str], bool]] = {
    name: _later_draft(name) for name in ("uri-reference", "duration", "json-pointer", "regex")
}
