"""What a contract says, as the pages show it: operations by tag, credentials, limits, sizes and errors."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from thalweg.contract import manifest
from thalweg.edge.limit_rules import LimitRule
from thalweg.edge.plan import DEFAULT_MAX_BYTES, DEFAULT_TIMEOUT

__all__ = ["Credential", "Failure", "Limit", "Operation", "Surface", "Surfaces", "Tag", "size", "span"]

EXAMPLE_WIDTH = 88
"""Characters: a longer example is shown on several lines."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, in the words of a partner."""

    id: str
    method: str
    path: str
    summary: str
    credentials: Sequence[str]
    """Names of security schemes, any of which will do; empty when it is public."""
    permission: str | None
    plan: str | None
    limits: Sequence[str]
    max_bytes: int | None
    """The largest body; None where it takes none."""
    timeout: float
    """Seconds to send the body in, or the longest life of a stream."""
    events: Sequence[str]
    marks: Sequence[str]
    """`stream`, `job`, `idempotent`, `paged`, `deprecated`."""
    sunset: str | None
    statuses: Sequence[str]


@dataclass(frozen=True, slots=True)
class Tag:
    name: str
    description: str
    operations: Sequence[Operation]


@dataclass(frozen=True, slots=True)
class Credential:
    """A security scheme, and how many operations take it."""

    name: str
    kind: str
    sent: str
    """How it is sent, as a line of HTTP."""
    description: str
    operations: int


@dataclass(frozen=True, slots=True)
class Limit:
    """A named limit, its numbers as they are configured now, and what it is on."""

    name: str
    numbers: str
    per: str
    operations: Sequence[str]


@dataclass(slots=True)
class Failure:
    """An error answer: its status, when it comes, and what it looks like."""

    status: str
    description: str
    example: str
    operations: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Surface:
    key: str
    title: str
    version: str
    description: str
    base_path: str
    """Where it is served; empty at the root of the port."""
    tags: Sequence[Tag]
    credentials: Sequence[Credential]
    limits: Sequence[Limit]
    failures: Sequence[Failure]

    @property
    def operations(self) -> list[Operation]:
        return [operation for tag in self.tags for operation in tag.operations]


class Surfaces(Mapping[str, Surface]):
    """The surfaces of a process, each read when the first page asks for it."""

    def __init__(
        self, bundles: Mapping[str, Path], base_paths: Mapping[str, str], rules: Mapping[str, LimitRule]
    ) -> None:
        """`bundles`: surface to the bundle's file, as `thalweg contract generate` writes it."""
        self._bundles, self._base_paths, self._rules = dict(bundles), dict(base_paths), rules
        self._read: dict[str, Surface] = {}
        self._lock = threading.Lock()

    def __getitem__(self, key: str) -> Surface:
        file = self._bundles[key]
        with self._lock:
            if key not in self._read:
                self._read[key] = read(key, self._base_paths[key], orjson.loads(file.read_bytes()), self._rules)
            return self._read[key]

    def __contains__(self, key: object) -> bool:
        return key in self._bundles

    def __iter__(self) -> Iterator[str]:
        return iter(self._bundles)

    def __len__(self) -> int:
        return len(self._bundles)


def read(key: str, base_path: str, bundle: Mapping[str, Any], rules: Mapping[str, LimitRule]) -> Surface:
    """The surface that `bundle` describes, with the numbers of `rules`."""
    tags: dict[str, list[Operation]] = {tag["name"]: [] for tag in bundle.get("tags", ())}
    failures: dict[tuple[str, str], Failure] = {}
    for path, method, _, declared in manifest.operations(bundle):
        operation = _operation(bundle, path, method, declared)
        tags.setdefault(declared["tags"][0] if declared.get("tags") else "other", []).append(operation)
        for status, answer in declared["responses"].items():
            if not status.startswith(("1", "2", "3")):
                _note(failures, bundle, status, answer, operation.id)
    described = {tag["name"]: tag.get("description", "") for tag in bundle.get("tags", ())}
    all_operations = [operation for several in tags.values() for operation in several]
    info = bundle["info"]
    return Surface(
        key=key,
        title=info["title"],
        version=info["version"],
        description=info.get("description", ""),
        base_path=base_path,
        tags=[Tag(name, described.get(name, ""), several) for name, several in tags.items() if several],
        credentials=_credentials(bundle, all_operations),
        limits=_limits(rules, all_operations),
        failures=sorted(failures.values(), key=lambda one: (one.status, -len(one.operations))),
    )


def size(count: int) -> str:
    """Bytes for people: `10 MiB`."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.4g} {name}"
    return f"{count} bytes"


def span(seconds: float) -> str:
    """A time for people: `2 min`."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"


def _operation(bundle: Mapping[str, Any], path: str, method: str, declared: Mapping[str, Any]) -> Operation:
    security = declared.get("security", bundle.get("security", ()))
    limits = declared.get("x-limit", ())
    stream = declared.get("x-stream")
    marks = [
        name
        for name, there in (
            ("stream", stream),
            ("job", declared.get("x-job") and not stream),
            ("idempotent", declared.get("x-idempotency")),
            ("paged", declared.get("x-pagination")),
            ("deprecated", declared.get("deprecated")),
        )
        if there
    ]
    return Operation(
        id=declared["operationId"],
        method=method.upper(),
        path=path,
        summary=declared.get("summary", ""),
        # Each requirement is one way in; schemes inside one are needed together.
        credentials=[" and ".join(sorted(requirement)) or "none" for requirement in security],
        permission=declared.get("x-permission"),
        plan=declared.get("x-plan"),
        limits=(limits,) if isinstance(limits, str) else tuple(limits),
        max_bytes=int(declared.get("x-max-bytes", DEFAULT_MAX_BYTES)) if "requestBody" in declared else None,
        timeout=float(declared.get("x-timeout", DEFAULT_TIMEOUT)),
        events=tuple(stream["events"]) if stream else (),
        marks=marks,
        sunset=declared.get("x-sunset"),
        statuses=tuple(declared["responses"]),
    )


def _note(
    failures: dict[tuple[str, str], Failure], bundle: Mapping[str, Any], status: str, answer: Any, operation: str
) -> None:
    response, _ = manifest.follow(bundle, answer)
    description = " ".join(response.get("description", "").split())
    failure = failures.get((status, description))
    if failure is None:
        failure = failures[status, description] = Failure(status, description, _example(response))
    failure.operations.append(operation)


def _example(response: Mapping[str, Any]) -> str:
    for media in response.get("content", {}).values():
        several = media.get("examples") or {}
        found = media.get("example", next((one.get("value") for one in several.values()), None))
        if found is not None:
            line = json.dumps(found, ensure_ascii=False)
            return line if len(line) <= EXAMPLE_WIDTH else json.dumps(found, indent=2, ensure_ascii=False)
    return ""


def _credentials(bundle: Mapping[str, Any], operations: Sequence[Operation]) -> list[Credential]:
    made = []
    for name, declared in bundle.get("components", {}).get("securitySchemes", {}).items():
        used = sum(any(name in one.split(" and ") for one in operation.credentials) for operation in operations)
        kind, sent = _how(declared)
        made.append(Credential(name, kind, sent, declared.get("description", ""), used))
    return made


def _how(scheme: Mapping[str, Any]) -> tuple[str, str]:
    if scheme.get("x-signed") and "name" in scheme:
        return "Signature over the body", f"{scheme['name']}: <signature>"
    if scheme["type"] == "apiKey":
        where = scheme["in"]
        sent = {"header": f"{scheme['name']}: <key>", "cookie": f"Cookie: {scheme['name']}=<value>"}
        return {"cookie": "Cookie"}.get(where, "API key"), sent.get(where, f"?{scheme['name']}=<key>")
    if scheme["type"] == "http" and scheme["scheme"].lower() == "basic":
        return "Name and password", "Authorization: Basic <base64 of name:password>"
    return "Bearer token", "Authorization: Bearer <token>"


_WHOSE = {"key": "API key", "user": "user", "organisation": "organisation", "address": "address"}


def _limits(rules: Mapping[str, LimitRule], operations: Sequence[Operation]) -> list[Limit]:
    used: dict[str, list[str]] = {}
    for operation in operations:
        for name in operation.limits:
            used.setdefault(name, []).append(operation.id)
    made = []
    for name, on in used.items():
        rule = rules[name]  # the process does not start without
        numbers = f"{rule.quota} at once" if rule.concurrent else f"{rule.quota} per {_period(rule.span)}"
        made.append(Limit(name, numbers, _WHOSE[rule.per], on))
    return sorted(made, key=lambda one: one.name)


def _period(milliseconds: int) -> str:
    words = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}
    return words.get(milliseconds // 1000) or span(milliseconds / 1000)
