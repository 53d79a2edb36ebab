"""An operation, compiled with its first request: everything the way of a request needs, looked up once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from thalweg.edge.body import Body, BodyReader
from thalweg.edge.guard import RawHeaders
from thalweg.edge.parameters import Parameters
from thalweg.edge.problem import Envelope, Problem
from thalweg.edge.reply import ReplyPlan
from thalweg.edge.schema import Compiler, Validator
from thalweg.edge.security import SAFE, SecurityPlan
from thalweg.naming import snake_case

if TYPE_CHECKING:
    from connexion.operations import AbstractOperation
    from pydantic import BaseModel
    from werkzeug.routing import Rule

DEFAULT_MAX_BYTES = 1 << 20
DEFAULT_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Surface:
    """One document as it is served."""

    key: str
    base_path: str
    envelope: Envelope
    compiler: Compiler
    models: Callable[[str], type[BaseModel] | None]
    """From an operation id to the generated model of its request body."""
    cookies: Callable[[Problem, str], Sequence[str]] | None = None
    """The envelope's `cookies`, where it has one: `Set-Cookie` values for a refusal under the base path."""


@dataclass(slots=True)
class Plan:
    """What the edge does for one operation. Built by `compile_plan`."""

    surface: Surface
    operation: AbstractOperation
    """Connexion's operation."""
    operation_id: str
    endpoint: str
    method: str
    safe: bool
    security: SecurityPlan | None
    permission: str | None
    feature: str | None
    limits: tuple[str, ...]
    idempotent: bool
    pagination: str | None
    parameters: Parameters
    body: BodyReader | None
    model: Callable[[], type[BaseModel] | None]
    """The generated model of the body; asked for with the first body, because models are slow to import."""
    handler: Callable[..., Any]
    passed: tuple[str, ...]
    """The declared parameters that the handler takes."""
    takes_body: bool
    reply: ReplyPlan
    timeout: float
    headers: RawHeaders
    """Lifecycle headers (`Deprecation`, `Sunset`)."""
    events: Mapping[str, Validator] | None
    """Of a stream: event names to what checks their data."""
    rule: Rule | None = None
    seen: Callable[[int, float], None] = lambda status, seconds: None
    """Counts a finished request."""


def compile_plan(surface: Surface, operation: AbstractOperation, spool_dir: str) -> Plan:
    """The plan of Connexion's `operation`. Raises `ValueError` for what the edge cannot keep."""
    declared: Mapping[str, Any] = operation._operation  # Connexion keeps the operation object there
    operation_id = declared["operationId"]
    handler = operation.function
    signature = inspect.signature(handler).parameters
    method = operation.method.upper()
    stream = declared.get("x-stream")
    body = None
    if operation.request_body:
        body = Body.compile(
            operation.request_body,
            surface.compiler,
            max_bytes=int(declared.get("x-max-bytes", DEFAULT_MAX_BYTES)),
            spool_dir=spool_dir,
        )
    names = [snake_case(parameter["name"]) for parameter in operation.parameters]
    security = SecurityPlan.compile(operation.security, operation.security_schemes)
    return Plan(
        surface=surface,
        operation=operation,
        operation_id=operation_id,
        endpoint=f"{surface.key}.{operation_id}",
        method=method,
        safe=method in SAFE,
        security=security,
        permission=declared.get("x-permission"),
        feature=declared.get("x-plan"),
        limits=limits_of(declared),
        idempotent=bool(declared.get("x-idempotency", False)),
        pagination=declared.get("x-pagination"),
        parameters=Parameters.compile(
            operation.parameters, surface.compiler, known=() if security is None else security.query_keys
        ),
        body=body,
        model=cache(partial(surface.models if body is not None else _no_model, operation_id)),
        handler=handler,
        passed=tuple(name for name in names if name in signature),
        takes_body="body" in signature,
        reply=ReplyPlan(operation_id, method, operation.responses, surface.compiler),
        timeout=float(declared.get("x-timeout", DEFAULT_TIMEOUT)),
        headers=_lifecycle(declared),
        events=_events(stream, surface.compiler) if stream else None,
    )


def limits_of(declared: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the limits that an operation of a contract counts against."""
    limits = declared.get("x-limit", ())
    return (limits,) if isinstance(limits, str) else tuple(limits)


def _no_model(operation_id: str) -> None:
    return None


def _lifecycle(declared: Mapping[str, Any]) -> RawHeaders:
    headers: RawHeaders = []
    if declared.get("deprecated"):
        headers.append((b"deprecation", b"true"))
    if "x-sunset" in declared:
        headers.append((b"sunset", str(declared["x-sunset"]).encode("ascii")))
    return headers


def _events(stream: Mapping[str, Any], compiler: Compiler) -> dict[str, Validator]:
    return {name: compiler.compile(schema, "response") for name, schema in stream["events"].items()}
