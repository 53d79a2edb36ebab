"""One request on its way, and what the edge leans on: the values that every part of the way hands on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.edge.application import Application, Caller
    from thalweg.edge.flaskhost import FlaskHost
    from thalweg.edge.guard import Cors, RawHeaders
    from thalweg.edge.limits import Lease, Limits
    from thalweg.edge.observe import Observer
    from thalweg.edge.plan import Plan, Surface
    from thalweg.edge.pool import Pool
    from thalweg.edge.reply import ResponseMismatch
    from thalweg.edge.security import Authenticator
    from thalweg.edge.tails import Tails


@dataclass(slots=True)
class Services:
    """What the edge leans on; built by `thalweg.edge.serve`."""

    application: Application
    pool: Pool
    host: FlaskHost
    authenticator: Authenticator
    limits: Limits
    streams: Tails
    observer: Observer
    cors: Cors
    spool_dir: str
    on_mismatch: str = "error"
    """`raise`, `error` or `log`."""
    mismatches: list[ResponseMismatch] = field(default_factory=list)
    """What `raise` has raised: tests assert that it is empty."""


@dataclass(slots=True)
class Exchange:
    """One request and the reply to it."""

    scope: Mapping[str, Any]
    headers: Mapping[bytes, bytes]
    request_id: str
    raw_path: str
    """As it was sent, percent-encoded, without the query."""
    started: float
    extra: RawHeaders
    """Headers that the reply carries whatever it is."""
    surface: Surface | None = None
    plan: Plan | None = None
    caller: Caller | None = None
    lease: Lease | None = None
    """A place among the few that may run at once, given back when the reply is out."""
    status: int = 0
    begun: bool = False
    """The status line is out: nothing else can be said any more."""


def raw_path(scope: Mapping[str, Any]) -> str:
    """The path as it was sent, percent-encoded, without the query."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        path: str = scope["path"]
        return path
    return raw.partition(b"?")[0].decode("latin-1")
