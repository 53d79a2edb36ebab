"""The seam between the edge and the platform behind it.

The edge never imports the domain. A platform hands it one `Application`; a handler hands it one of the answers below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol
from uuid import UUID

# --- what the edge knows of a request -------------------------------------------------------------


@dataclass(slots=True)
class Facts:
    """What is known of a request before anything of it is believed."""

    surface: str
    operation_id: str
    method: str
    path: str
    """Percent-decoded, with the surface's base path."""
    request_id: str
    """The caller's `X-Correlation-ID` when it is a sane token, else made here."""
    address: str | None = None
    user_agent: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Every header by its lower-case name, as latin-1 text; decoded when it is asked for. A repeated one is a list."""
    raw_path: str = ""
    """As it was sent, percent-encoded, without the query: what signatures are made over."""
    base_path: str = ""
    """What of `raw_path` the surface lies under; empty where it is served alone."""
    query: str = field(default="", repr=False)
    """The raw query string. It may hold a credential: not for logs."""
    scheme: str = "http"
    """`http` or `https`, as the server saw it or a trusted proxy says."""
    path_values: Mapping[str, str] = field(default_factory=dict)
    """The values of the path template by name, still percent-encoded and not yet checked."""


@dataclass(frozen=True, slots=True)
class Credential:
    """One credential as it came in, its scheme named as in the contract's `securitySchemes`."""

    scheme: str
    kind: str
    """`bearer`, `api_key` (header or query), `cookie`, `basic` or `signature`."""
    value: str = field(repr=False)
    """Token, key or cookie value; `user:password` for basic; the signature header for signed requests."""
    body: bytes = field(default=b"", repr=False)
    """The raw body, for schemes with `x-signed` only. Method, path and headers of the request are in `Facts`."""


class Caller(Protocol):
    """An authenticated (or anonymous) caller, as far as the edge needs to know."""

    @property
    def key(self) -> str:
        """Stable identity of the credential's holder, for limits: `key:<id>`, `user:<id>`, `address:<ip>`."""
        ...

    @property
    def organisation_id(self) -> UUID | None: ...

    @property
    def user_key(self) -> str:
        """Stable identity of the person (or the same as `key`)."""
        ...

    @property
    def permissions(self) -> frozenset[str]: ...


# --- what the platform hands to the edge -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredReply:
    """The reply that an idempotency key replays."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    stream: Mapping[str, Any] | None = None
    """For a streamed or pending reply: what `Application.reopen` needs to tail it, or wait for it, again (JSON)."""


class Idempotency(Protocol):
    """Records of `Idempotency-Key`, kept in the handler's own transaction (hence `ctx`)."""

    def begin(self, ctx: Any, operation: str, key: str, fingerprint: bytes) -> StoredReply | None:
        """None: go ahead, the key is held until the transaction ends. A reply: send it again.

        Raises a domain error `idempotency_mismatch` (same key, other request) or `idempotency_in_flight`.
        """
        ...

    def record(self, ctx: Any, operation: str, key: str, fingerprint: bytes, reply: StoredReply) -> None:
        """Keep the reply for 24 hours, in the caller's transaction."""
        ...


class Application(Protocol):
    """What a platform gives the edge. Every method may block (it is called in the thread pool).

    It may also have `gauges()`: from the names of further metrics to what they tell and what reads their present value
    (`{name: (text, read)}`; `read` answers a number at once, every two seconds). And `blueprints()`: Flask blueprints
    of pages that stand beside the contracts.
    """

    errors: tuple[type[Exception], ...]
    """Exceptions with `.code`, `.message` and `.facts`: the domain's errors."""

    idempotency: Idempotency

    def start(self, forget: Callable[[str | None], None]) -> None:
        """The process is coming up. Call `forget(key)` from any thread when a credential of `key` is revoked."""
        ...

    def close(self) -> None:
        """The process is going down: give back what is held."""
        ...

    def anonymous(self, facts: Facts) -> Caller: ...

    def authenticate(self, credential: Credential, facts: Facts) -> tuple[Caller, float]:
        """The caller, and for how many seconds the edge may remember the answer (0: never).

        Raises a domain error (`unauthenticated`); its fact `reason` (`invalid_token` unless told otherwise,
        `expired_token`) reaches the surface's `errors.py`. What depends on more than the credential's value (on
        another header, say) must not be remembered; signatures never are. A revocation must call the `forget` that
        `start` was given.
        """
        ...

    def admit(self, caller: Caller, facts: Facts) -> Caller:
        """Look at a caller, remembered or not, in the light of this one request; answers it, or one that may less.

        Called on the event loop for every request: it must not block. Raises a domain error (`forbidden`).
        """
        ...

    def entitled(self, caller: Caller, plan: str, facts: Facts) -> None:
        """Raise `payment_required` or `forbidden` unless the organisation's plan has `plan` (`x-plan`)."""
        ...

    def transaction(self, caller: Caller, facts: Facts) -> AbstractContextManager[Any]:
        """Open the request's transaction and context; commit on a clean exit, roll back on an exception."""
        ...

    def page(self, style: str, limit: int, offset: int, cursor: str | None) -> Any:
        """The page object a verb takes, for `x-pagination: offset|cursor`."""
        ...

    def reopen(self, stream: Mapping[str, Any]) -> Stream | Pending:
        """The stream that an idempotent replay tails again, or what it waits for again."""
        ...


# --- what a handler may answer (besides a plain JSON value or None) --------------------------------


@dataclass(slots=True)
class Reply:
    """A JSON body with more than the default around it."""

    body: Any = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Sequence[str] = ()
    """Complete `Set-Cookie` values."""


@dataclass(slots=True)
class File:
    """A download. Exactly one of `path`, `data`, `opener` and `chunks`; ranges work on all but the last."""

    media_type: str
    name: str | None = None
    path: str | None = None
    data: bytes | None = None
    chunks: Iterable[bytes] | None = None
    opener: Callable[[], BinaryIO] | None = None
    """Makes a seekable reader of `size` bytes; it is called, read and closed in the thread pool."""
    size: int | None = None
    etag: str | None = None
    modified: float | None = None
    inline: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One numbered event of a stream. `number` counts from 1."""

    number: int
    name: str
    data: Mapping[str, Any]


@dataclass(slots=True)
class Stream:
    """Tail a numbered event stream as SSE.

    `history(ctx, after)` answers the events that Postgres holds with a number above `after`, in order: it serves what
    the stream store no longer has. The edge calls it in the thread pool with a new transaction of the caller's (and
    hands it on as `history(after)` to what tails). `terminal` names the events after which the stream is over. The
    id of an event is `<prefix>:<number>` when `prefix` is set, else the bare number.
    """

    channel: str
    terminal: frozenset[str]
    history: Callable[..., Sequence[Event]]
    prefix: str = ""
    after: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    replay: Mapping[str, Any] | None = None
    """What `Application.reopen` needs to build this stream again (JSON); needed with `x-idempotency`."""
    named: bool = True
    """False: data-only frames, without `event:` and `id:` lines."""
    render: Callable[[Event], Iterable[Event]] | None = None
    """What goes out for an event that was published, in the surface's own words: any number of events, also none.

    It is called on the event loop, so it must not wait for anything. `terminal` and `history` speak of events as they
    were published.
    """
    beat: Callable[[int], Event] | None = None
    """The event that goes out in silence, from the last published number; without it a comment does."""


@dataclass(slots=True)
class Pending:
    """An answer that work elsewhere completes: wait for an event of `terminal` on `channel`, then call `then`.

    `then` runs in a new transaction; no thread, transaction or connection is held meanwhile. `ready(ctx)` answers
    whether the work is already done (it is asked before waiting and after every reconnection of the stream store). On
    time-out `timed_out(ctx)` answers.

    Under an idempotency key the first transaction is kept, not what is answered in the end: a repeated request waits
    for the same work and is told how it then stands.
    """

    channel: str
    terminal: frozenset[str]
    ready: Callable[[Any], bool]
    then: Callable[[Any], Any]
    timed_out: Callable[[Any], Any]
    seconds: float = 30.0
    replay: Mapping[str, Any] | None = None
    """What `Application.reopen` needs to wait again (JSON); needed with `x-idempotency`."""


@dataclass(slots=True)
class Outside:
    """An answer that needs a short call to a server outside (a sign-in provider) between two transactions.

    The edge commits the handler's transaction, runs `call()` in the same thread with no transaction and no connection
    held, and then answers with `then(ctx, what_came)` in a new transaction of the caller's; that may be an `Outside`
    again. `call` keeps its own time (`domain.kernel.outgoing`); what takes longer than seconds is a job and a
    `Pending`. Under an idempotency key only the last answer is kept, so the first transaction must bear repeating.
    """

    call: Callable[[], Any]
    then: Callable[[Any, Any], Any]
