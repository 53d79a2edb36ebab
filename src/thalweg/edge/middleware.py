"""The whole way of a request in one pass: one Connexion `SpecMiddleware` in front of Flask.

guard > route > authenticate > authorise > limit > parse and validate > [Flask: transaction > idempotency > handler >
encode and check] > bytes. What can go wrong anywhere on it leaves by `_refuse`, in the surface's own error body.
"""

from __future__ import annotations

import asyncio
import re
import types
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from time import perf_counter
from typing import Any, TypeVar, cast

import orjson
import structlog
from connexion.middleware.abstract import SpecMiddleware
from connexion.spec import Specification

from thalweg.edge.application import Application, Caller, Event, Facts, Pending, StoredReply
from thalweg.edge.body import Payload, Upload
from thalweg.edge.flaskhost import FlaskHost
from thalweg.edge.guard import SECURITY_HEADERS, Cors, HeaderText, RawHeaders, correlation_id, header_map, isolate
from thalweg.edge.intake import again
from thalweg.edge.limits import Lease, Limits
from thalweg.edge.observe import Observer
from thalweg.edge.plan import Plan, Surface, compile_plan
from thalweg.edge.pool import Pool
from thalweg.edge.problem import Disconnected, Problem, Violation
from thalweg.edge.reply import Outcome, ResponseMismatch, acceptable, compress, conditional, download, header
from thalweg.edge.router import Router
from thalweg.edge.security import Authenticator
from thalweg.edge.specification import METHODS, BundledSpecification
from thalweg.edge.tails import Tails

log = structlog.get_logger("thalweg.edge")

_LATE = "the request body is late"

T = TypeVar("T")


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


class Edge(SpecMiddleware):  # type: ignore[misc]
    """Serves every operation of the contracts it was given; passes everything else on to Flask."""

    def __init__(self, app: Any, services: Services) -> None:
        self.app = app
        self.services = services
        self.plans: dict[str, Plan] = {}
        self._routers: list[tuple[str, Surface, Router[Plan]]] = []

    # --- start-up ---------------------------------------------------------------------------------

    def add_api(self, specification: Specification, *, base_path: str | None = None, **options: Any) -> None:
        """Compile the operations of a document. `options["surface"]` is the `Surface` that it is served as."""
        assert isinstance(specification, BundledSpecification)
        surface: Surface = options["surface"]
        router: Router[Plan] = Router()
        for path, item in specification["paths"].items():
            for method in METHODS:
                if method not in item:
                    continue
                operation = specification.operation_cls.from_spec(
                    specification, path=path, method=method, resolver=options["resolver"]
                )
                plan = compile_plan(surface, operation, self.services.spool_dir)
                plan.rule = self.services.host.add_operation(
                    plan.endpoint, surface.base_path + _flask_rule(path), plan.method
                )
                self.services.limits.rules_of(plan.limits)  # a limit without numbers is found now, not by a caller
                plan.seen = self.services.observer.operation(surface.key, plan.operation_id)
                router.add(plan.method, path, plan)
                self.plans[plan.endpoint] = plan
        self._routers.append((surface.base_path, surface, router))
        self._routers.sort(key=lambda entry: -len(entry[0]))

    # --- a request -----------------------------------------------------------------------------------

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        isolate(scope)
        headers = header_map(scope["headers"])
        request_id = correlation_id(headers)
        extra = [*SECURITY_HEADERS, (b"x-correlation-id", request_id.encode())]
        if self.services.cors.origins:
            extra += self.services.cors.headers(headers.get(b"origin"))
        exchange = Exchange(scope, headers, request_id, perf_counter(), extra)
        path = _raw_path(scope)
        for base, surface, router in self._routers:
            if path.startswith(base) and (len(path) == len(base) or path[len(base)] == "/"):
                exchange.surface = surface
                found = router.find("GET" if scope["method"] == "HEAD" else scope["method"], path[len(base) :] or "/")
                if base == "" and not isinstance(found, tuple) and not found:
                    break  # a surface served alone at the root: pages live beside it
                try:
                    await self._serve(exchange, found, receive, send)
                finally:
                    self._finish(exchange)
                return
        exchange.surface = None
        exchange.status = await self.services.host(scope, receive, send, extra)
        self._finish(exchange)

    async def _serve(self, exchange: Exchange, found: Any, receive: Any, send: Any) -> None:
        try:
            if not isinstance(found, tuple):
                await self._unrouted(exchange, found, send)
                return
            plan, path_values = found
            exchange.plan = plan
            with self.services.observer.span(exchange, plan.endpoint, exchange.headers.get(b"traceparent")):
                await self._operate(exchange, plan, path_values, receive, send)
        except Disconnected:
            exchange.status = 499  # nginx's figure for a caller that left: in logs and metrics only
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if exchange.begun:
                raise
            await self._refuse(exchange, error, send)

    async def _unrouted(self, exchange: Exchange, allowed: frozenset[str], send: Any) -> None:
        if not allowed:
            raise Problem("no_such_route", "There is no such path.")
        methods = allowed | {"OPTIONS"} | ({"HEAD"} if "GET" in allowed else set())
        if exchange.scope["method"] == "OPTIONS":
            preflight = self.services.cors.preflight(exchange.headers.get(b"origin"), methods)
            exchange.extra = [*(h for h in exchange.extra if not h[0].startswith(b"access-control-")), *preflight]
            await self._send(exchange, Outcome(204, [(b"allow", ", ".join(sorted(methods)).encode())]), send)
            return
        raise Problem(
            "method_not_allowed",
            f"This path takes {', '.join(sorted(methods))}.",
            headers={"Allow": ", ".join(sorted(methods))},
        )

    async def _operate(
        self, exchange: Exchange, plan: Plan, path_values: Mapping[str, str], receive: Any, send: Any
    ) -> None:
        services = self.services
        scope, headers = exchange.scope, exchange.headers
        exchange.extra += plan.headers
        client = scope.get("client")
        agent = headers.get(b"user-agent")
        facts = Facts(
            surface=plan.surface.key,
            operation_id=plan.operation_id,
            method=scope["method"],
            path=scope["path"],
            request_id=exchange.request_id,
            address=client[0] if client else None,
            user_agent=None if agent is None else agent.decode("latin-1")[:512],
            headers=HeaderText(headers),
            raw_path=_raw_path(scope),
            base_path=plan.surface.base_path,
            query=scope["query_string"].decode("latin-1"),
            scheme=scope.get("scheme", "http"),
            path_values=path_values,
        )
        payload: Payload | None = None
        try:
            query: bytes = scope["query_string"]
            signed, body_from = b"", receive
            if plan.security is not None and plan.security.signed and plan.body is not None:
                # Believed before it is looked at: who cannot sign learns nothing of what a body must be.
                signed = await self._in_time(plan, plan.body.whole(scope["headers"], receive))
                body_from = again(signed)
            caller = exchange.caller = await services.authenticator(plan.security, facts, headers, query, signed)
            if plan.permission is not None and plan.permission not in caller.permissions:
                raise Problem(
                    "forbidden",
                    getattr(caller, "refusal", None) or f"The caller lacks the permission {plan.permission}.",
                    facts={"required_scope": plan.permission},
                )
            if plan.feature is not None:
                await services.pool.run(services.application.entitled, caller, plan.feature, facts)
            if plan.events is not None:
                services.streams.admit()
            if plan.limits:
                granted = await services.limits.check(plan.limits, caller, facts, plan.safe)
                exchange.extra += granted
                exchange.lease = granted.lease
            if not acceptable(headers.get(b"accept"), plan.reply.media_types):
                raise Problem("not_acceptable", f"This answers {', '.join(plan.reply.media_types)}.")
            values = plan.parameters(path_values, query, scope["headers"])
            if plan.body is not None:
                payload = await self._in_time(plan, plan.body.read(scope["headers"], body_from))
            outcome = await services.pool.run(self._handle, exchange, plan, caller, facts, values, payload)
            if outcome.pending is not None:
                outcome = await self._wait(exchange, plan, caller, facts, outcome.pending)
        finally:
            if payload is not None:
                payload.close()
        if outcome.stream is not None:
            await self._stream(exchange, plan, caller, facts, outcome, receive, send)
        else:
            await self._send(exchange, outcome, send)

    async def _in_time(self, plan: Plan, reading: Coroutine[Any, Any, T]) -> T:
        """What `reading` a body answers, or 408 when the body is late."""
        try:
            waits_for = reading.send(None)
        except StopIteration as done:  # most bodies have come with their headers, and need no clock
            return cast(T, done.value)
        # asyncio.timeout does the same at three times the price, and this is on the way of every write.
        task = asyncio.current_task()
        assert task is not None
        timer = asyncio.get_running_loop().call_later(plan.timeout, task.cancel, _LATE)
        try:
            return cast(T, await _resumed(reading, waits_for))
        except asyncio.CancelledError as cancelled:
            if cancelled.args != (_LATE,):
                raise
            task.uncancel()
            raise Problem("request_timeout", "The request body did not arrive in time.") from None
        finally:
            timer.cancel()

    # --- in a thread, inside Flask ----------------------------------------------------------------

    def _handle(
        self,
        exchange: Exchange,
        plan: Plan,
        caller: Caller,
        facts: Facts,
        values: Mapping[str, Any],
        payload: Payload | None,
    ) -> Outcome:
        arguments = {name: values.get(name) for name in plan.passed}
        if plan.takes_body:
            arguments["body"] = _body(plan, payload)
        application = self.services.application
        if plan.pagination is not None:
            arguments["page"] = application.page(
                plan.pagination, values.get("limit") or 50, values.get("offset") or 0, values.get("cursor")
            )
        key: str | None = values.get("idempotency_key") if plan.idempotent else None

        def transact(step: Callable[[Any], Any]) -> Outcome:
            with application.transaction(caller, facts) as ctx:
                if key is None:
                    return plan.reply.encode(step(ctx), self._report)
                fingerprint = _fingerprint(exchange, payload)
                stored = application.idempotency.begin(ctx, plan.endpoint, key, fingerprint)
                if stored is not None:
                    return self._replay(stored)
                outcome = plan.reply.encode(step(ctx), self._report)
                if outcome.outside is None:
                    application.idempotency.record(ctx, plan.endpoint, key, fingerprint, _storable(outcome))
                return outcome

        def call() -> Outcome:
            outcome = transact(lambda ctx: plan.handler(ctx, **arguments))
            while outcome.outside is not None:
                came, then = outcome.outside.call(), outcome.outside.then  # between transactions: see Outside
                outcome = transact(partial(_after, then, came))
            return outcome

        raw = payload.raw if payload is not None and payload.raw else b""
        assert plan.rule is not None
        outcome: Outcome = self.services.host.operation(plan.rule, exchange.scope, raw, call)
        self._dress(exchange, plan, outcome)
        return outcome

    def _dress(self, exchange: Exchange, plan: Plan, outcome: Outcome) -> None:
        if outcome.body and plan.reply.etag and outcome.status == plan.reply.success:
            fresh = conditional(outcome, exchange.headers.get(b"if-none-match"))
            outcome.status, outcome.headers, outcome.body = fresh.status, fresh.headers, fresh.body
        if outcome.body:
            compress(outcome, exchange.headers.get(b"accept-encoding"))

    def _replay(self, stored: StoredReply) -> Outcome:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in stored.headers]
        if stored.stream is not None:
            again = self.services.application.reopen(stored.stream)
            if isinstance(again, Pending):
                return Outcome(stored.status, headers, pending=again)
            return Outcome(stored.status, headers, stream=again)
        return Outcome(stored.status, headers, stored.body)

    def _report(self, mismatch: ResponseMismatch) -> None:
        log.error(
            "response_mismatch",
            operation=mismatch.operation_id,
            status=mismatch.status,
            violations=str(mismatch.violations)[:2000],
        )
        self.services.observer.mismatch(mismatch.operation_id)
        if self.services.on_mismatch == "raise":
            self.services.mismatches.append(mismatch)
        if self.services.on_mismatch != "log":
            raise mismatch

    # --- replies -------------------------------------------------------------------------------------

    async def _wait(self, exchange: Exchange, plan: Plan, caller: Caller, facts: Facts, pending: Pending) -> Outcome:
        def encoded(step: Callable[[Any], Any]) -> Callable[[Any], Outcome]:
            return lambda ctx: plan.reply.encode(step(ctx), self._report)

        def transact(step: Callable[[Any], Any]) -> Any:
            with self.services.application.transaction(caller, facts) as ctx:
                return step(ctx)

        answer = replace(pending, then=encoded(pending.then), timed_out=encoded(pending.timed_out))
        outcome: Outcome = await self.services.streams.wait(answer, partial(self.services.pool.run, transact))
        self._dress(exchange, plan, outcome)
        return outcome

    async def _stream(
        self, exchange: Exchange, plan: Plan, caller: Caller, facts: Facts, outcome: Outcome, receive: Any, send: Any
    ) -> None:
        stream = outcome.stream
        assert stream is not None
        given = stream.history

        def history(after: int) -> Sequence[Event]:
            with self.services.application.transaction(caller, facts) as ctx:
                return given(ctx, after)

        exchange.status = outcome.status
        exchange.begun = True
        await self.services.streams.serve(
            replace(stream, history=history),
            plan,
            outcome.status,
            [*outcome.headers, *exchange.extra],
            exchange.headers,
            receive,
            send,
            self._report,
        )

    async def _send(self, exchange: Exchange, outcome: Outcome, send: Any) -> None:
        head = exchange.scope["method"] == "HEAD"
        if outcome.file is not None:
            await self._send_file(exchange, outcome, send, head=head)
            return
        exchange.status = outcome.status
        exchange.begun = True
        headers = [*outcome.headers, *exchange.extra]
        if outcome.status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(outcome.body)))
        await send({"type": "http.response.start", "status": outcome.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if head else outcome.body})

    async def _send_file(self, exchange: Exchange, outcome: Outcome, send: Any, *, head: bool) -> None:
        assert outcome.file is not None
        run = self.services.pool.run
        ready = await run(download, outcome.file, exchange.headers, head)
        exchange.status = ready.status
        exchange.begun = True
        headers = [*ready.headers, *exchange.extra]
        await send({"type": "http.response.start", "status": ready.status, "headers": headers})
        try:
            while (piece := await run(next, ready.pieces, None)) is not None:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            close = getattr(ready.pieces, "close", None)
            if close is not None:
                await run(close)

    # --- refusals ------------------------------------------------------------------------------------

    async def _refuse(self, exchange: Exchange, error: Exception, send: Any) -> None:
        problem = self._problem(exchange, error)
        surface, plan = exchange.surface, exchange.plan
        assert surface is not None
        status = surface.envelope.status(problem)
        body = surface.envelope.body(problem, exchange.request_id)
        if plan is not None and status != 500:
            try:
                plan.reply.check(status, body, self._report)
            except ResponseMismatch:
                problem = Problem("internal", "Something went wrong.")
                status, body = surface.envelope.status(problem), surface.envelope.body(problem, exchange.request_id)
        headers: RawHeaders = [(b"content-type", b"application/json")]
        headers += [header(name, value) for name, value in problem.headers.items()]
        if status == 401 and "WWW-Authenticate" not in problem.headers:
            headers.append((b"www-authenticate", _challenge(plan, problem).encode("latin-1")))
        if surface.cookies is not None:
            headers += [header("Set-Cookie", cookie) for cookie in surface.cookies(problem, surface.base_path)]
        retry = problem.facts.get("retry_after")
        if retry is not None and "Retry-After" not in problem.headers:
            headers.append((b"retry-after", str(int(retry)).encode()))
        if status >= 400 and problem.code in ("too_large", "request_timeout"):
            headers.append((b"connection", b"close"))  # the rest of the body was not read
        await self._send(exchange, Outcome(status, headers, orjson.dumps(body, default=str)), send)

    def _problem(self, exchange: Exchange, error: Exception) -> Problem:
        if isinstance(error, Problem):
            return error
        if isinstance(error, self.services.application.errors):
            return Problem(error.code, error.message, facts=error.facts)  # type: ignore[attr-defined]
        if isinstance(error, ResponseMismatch):
            return Problem("response_mismatch", "Something went wrong.")
        operation = exchange.plan.operation_id if exchange.plan else None
        log.error("unhandled", operation=operation, request_id=exchange.request_id, exc_info=error)
        return Problem("internal", "Something went wrong.")

    def _finish(self, exchange: Exchange) -> None:
        if exchange.lease is not None:
            exchange.lease.release()
        seconds = perf_counter() - exchange.started
        if exchange.plan is not None:
            exchange.plan.seen(exchange.status, seconds)
        self.services.observer.finished(exchange, seconds)


@types.coroutine
def _resumed(coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    """Go on with a coroutine that has taken its first step and waits for the future `waits_for`."""
    try:
        while True:
            try:
                sent = yield waits_for
            except BaseException as thrown:  # a cancellation, most of all
                waits_for = coroutine.throw(thrown)
            else:
                waits_for = coroutine.send(sent)
    except StopIteration as done:
        return done.value
    finally:
        coroutine.close()


def _challenge(plan: Plan | None, problem: Problem) -> str:
    """`WWW-Authenticate`: which credentials would do, and that a token was sent and is worth nothing (RFC 6750 3.1)."""
    if plan is None or plan.security is None:
        return "Bearer"
    return plan.security.challenge if problem.scheme is None else plan.security.refusal


def _after(then: Callable[[Any, Any], Any], came: Any, ctx: Any) -> Any:
    return then(ctx, came)


def _flask_rule(path: str) -> str:
    """A Flask rule for a path template. The edge has routed already; the rule names the endpoint for tools and logs."""
    return re.sub(r"{([^}]+)}", lambda match: f"<{re.sub(r'[^0-9A-Za-z_]', '_', match[1])}>", path)


def _raw_path(scope: Mapping[str, Any]) -> str:
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        path: str = scope["path"]
        return path
    return raw.partition(b"?")[0].decode("latin-1")


def _body(plan: Plan, payload: Payload | None) -> Any:
    if payload is None or payload.absent:
        return None
    model = plan.model()
    if model is None or isinstance(payload.value, Upload):
        return payload.value
    try:
        return model.model_validate(payload.value)
    except ValueError as error:
        from pydantic import ValidationError  # a ValueError; late: it comes with the first model

        if not isinstance(error, ValidationError):
            raise
        # The schema admits a few values that Python cannot hold: a leap second, the year 0000.
        raise Problem(
            "validation",
            "The request breaks the contract.",
            violations=tuple(
                Violation(("body", *issue["loc"]), issue["msg"], issue["type"], issue.get("input"))
                for issue in error.errors(include_url=False, include_context=False)
            ),
        ) from None


def _fingerprint(exchange: Exchange, payload: Payload | None) -> bytes:
    seal = sha256()
    if exchange.caller is not None:  # a key is its caller's: nobody is shown the reply that another was given
        seal.update(exchange.caller.key.encode() + b"\0")
    seal.update(exchange.scope["method"].encode())
    seal.update(_raw_path(exchange.scope).encode("latin-1"))
    seal.update(b"?" + exchange.scope["query_string"])
    if payload is not None:
        seal.update(payload.digest())
    return seal.digest()


def _storable(outcome: Outcome) -> StoredReply:
    # A cookie is a secret and is not kept: a repeated request does not sign its caller in again.
    headers = tuple(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in outcome.headers if name != b"set-cookie"
    )
    if outcome.stream is not None:
        if outcome.stream.replay is None:
            raise ValueError("a streamed reply under an idempotency key needs `replay`")
        return StoredReply(outcome.status, headers, b"", outcome.stream.replay)
    if outcome.pending is not None:
        if outcome.pending.replay is None:
            raise ValueError("a pending answer under an idempotency key needs `replay`")
        return StoredReply(outcome.status, headers, b"", outcome.pending.replay)
    if outcome.file is not None:
        raise ValueError("downloads cannot be kept under an idempotency key")
    return StoredReply(outcome.status, headers, outcome.body)
