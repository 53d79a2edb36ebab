"""The first and the last thing a request meets: its own scope, a correlation id, and the headers of every reply."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from uuid_utils import uuid7

RawHeaders = list[tuple[bytes, bytes]]

SECURITY_HEADERS: RawHeaders = [  # seed 001, "Security headers"
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
]

_CORRELATION = re.compile(rb"[A-Za-z0-9._:-]{1,128}").fullmatch


def isolate(scope: MutableMapping[str, Any]) -> None:
    """Give the request its own `extensions`: some servers share one dictionary between requests, and Connexion keeps
    the caller's identity there."""
    scope["extensions"] = dict(scope.get("extensions") or ())


def correlation_id(headers: MutableMapping[bytes, bytes]) -> str:
    """The caller's `X-Correlation-ID` when it is a sane token, else a fresh UUIDv7."""
    given = headers.get(b"x-correlation-id")
    if given is not None and _CORRELATION(given):
        return given.decode("ascii")
    return str(uuid7())


def header_map(raw: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Lower-case names to values. A repeated `Cookie` is joined as RFC 9113 8.2.3 says; other repetitions as a list."""
    headers: dict[bytes, bytes] = {}
    for name, value in raw:
        known = headers.get(name)
        if known is None:
            headers[name] = value
        else:
            headers[name] = known + (b"; " if name == b"cookie" else b", ") + value
    return headers


class HeaderText(Mapping[str, str]):
    """A header map as text by lower-case name. Nothing is decoded before it is asked for."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Mapping[bytes, bytes]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        return self._raw[name.encode("latin-1", "replace")].decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._raw)

    def __len__(self) -> int:
        return len(self._raw)


@dataclass(frozen=True, slots=True)
class Cors:
    """Which browsers' pages may call. `*` is any origin, without credentials."""

    origins: frozenset[str] = frozenset()

    def headers(self, origin: bytes | None) -> RawHeaders:
        """What to add to a reply for a page from `origin`."""
        if origin is None or not self.origins:
            return []
        text = origin.decode("latin-1")
        if text in self.origins:
            return [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", EXPOSED),
                (b"vary", b"Origin"),
            ]
        if "*" in self.origins:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", EXPOSED)]
        return []

    def preflight(self, origin: bytes | None, methods: Iterable[str]) -> RawHeaders:
        """The answer to a browser that asks before it calls."""
        allowed = self.headers(origin)
        if not allowed:
            return []
        return [
            *allowed,
            (b"access-control-allow-methods", ", ".join(sorted(methods)).encode()),
            (b"access-control-allow-headers", ALLOWED),
            (b"access-control-max-age", b"600"),
        ]


EXPOSED = (
    b"X-Correlation-ID, X-Trace-ID, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, ETag, "
    b"Location, Content-Disposition, Deprecation, Sunset"
)
ALLOWED = (
    b"Authorization, Content-Type, X-API-Key, X-Correlation-ID, Idempotency-Key, Last-Event-ID, If-None-Match, "
    b"If-Match, Range, X-Tenant-Id, X-Tenant-Role"
)
