"""The whole way of a request in one pass: one Connexion `SpecMiddleware` in front of Flask.

guard > route > authenticate > authorise > limit > parse and validate > [Flask: transaction > idempotency > handler >
encode and check] > bytes. What can go wrong anywhere on it leaves by `_refusal`, in the surface's own error body.
"""

from __future__ import annotations

import asyncio
import re
import threading
import types
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, TypeVar, cast

from connexion.middleware.abstract import SpecMiddleware
from connexion.resolver import Resolver
from connexion.spec import Specification

from thalweg.edge.application import Caller, Event, Facts, Pending
from thalweg.edge.body import Payload
from thalweg.edge.exchange import Exchange, Services, raw_path
from thalweg.edge.guard import SECURITY_HEADERS, HeaderText, correlation_id, header_map, isolate
from thalweg.edge.handling import Handling
from thalweg.edge.intake import again
from thalweg.edge.plan import Plan, Surface, compile_plan, limits_of
from thalweg.edge.problem import Disconnected, Problem
from thalweg.edge.refusing import Refusals
from thalweg.edge.reply import Outcome, acceptable
from thalweg.edge.router import Router
from thalweg.edge.sending import cut_short, send_outcome
from thalweg.edge.specification import METHODS, BundledSpecification
from thalweg.edge.uploads import count_rests, turns

__all__ = ["Edge"]

_LATE = "the request body is late"

T = TypeVar("T")


@dataclass(slots=True)
class Route:
    """An operation that a request can be meant for. Its plan is made with the first one that is."""

    surface: Surface
    specification: BundledSpecification
    path: str
    method: str
    resolver: Resolver
    plan: Plan | None = None


class Edge(SpecMiddleware):  # type: ignore[misc]
    """Serves every operation of the contracts it was given; passes everything else on to Flask."""

    def __init__(self, app: Any, services: Services) -> None:
        self.app = app
        self.services = services
        self.routes: list[Route] = []
        self._planning = threading.Lock()
        self._handling = Handling(services)
        self._refusal = Refusals(services, self._handling.report)
        self._routers: list[tuple[str, Surface, Router[Route]]] = []

    # --- start-up ---------------------------------------------------------------------------------

    def add_api(self, specification: Specification, *, base_path: str | None = None, **options: Any) -> None:
        """Route the operations of a document. `options["surface"]` is the `Surface` that it is served as."""
        assert isinstance(specification, BundledSpecification)
        surface: Surface = options["surface"]
        router: Router[Route] = Router()
        for path, item in specification["paths"].items():
            for method in METHODS:
                if method not in item:
                    continue
                route = Route(surface, specification, path, method, options["resolver"])
                # A limit without numbers is found now, not by a caller.
                self.services.limits.rules_of(limits_of(item[method]))
                router.add(method.upper(), path, route)
                self.routes.append(route)
        self._routers.append((surface.base_path, surface, router))
        self._routers.sort(key=lambda entry: -len(entry[0]))

    def plan_all(self) -> None:
        """Make every plan now: what the edge cannot keep of a contract, or no handler serves, is raised here."""
        for route in self.routes:
            self._plan(route)

    def _plan(self, route: Route) -> Plan:
        with self._planning:
            if route.plan is None:
                surface = route.surface
                operation = route.specification.operation_cls.from_spec(
                    route.specification, path=route.path, method=route.method, resolver=route.resolver
                )
                plan = compile_plan(surface, operation, self.services.spool_dir)
                plan.rule = self.services.host.add_operation(
                    plan.endpoint, surface.base_path + _flask_rule(route.path), plan.method
                )
                plan.seen = self.services.observer.operation(surface.key, plan.operation_id)
                route.plan = plan
            return route.plan

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
        path = raw_path(scope)
        exchange = Exchange(scope, headers, request_id, path, perf_counter(), extra)
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
            route, path_values = found
            # The first request of an operation makes its plan. That may import its handlers: not on the loop.
            plan = route.plan or await self.services.pool.run(self._plan, route)
            exchange.plan = plan
            with self.services.observer.span(exchange, plan.endpoint, exchange.headers.get(b"traceparent")):
                await self._operate(exchange, plan, path_values, receive, send)
        except Disconnected:
            exchange.status = 499  # nginx's figure for a caller that left: in logs and metrics only
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if exchange.begun:
                if not isinstance(error, self.services.application.errors):
                    raise
                exchange.status = 500  # in logs and metrics only
                operation = exchange.plan.operation_id if exchange.plan else None
                cut_short(exchange.scope, operation=operation, request_id=exchange.request_id, reason=str(error))
                return
            await self._send(exchange, self._refusal(exchange, error), send)

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
            raw_path=exchange.raw_path,
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
            outcome = await services.pool.run(self._handling, exchange, plan, caller, facts, values, payload)
            if outcome.pending is not None:
                outcome = await self._wait(exchange, plan, caller, facts, outcome.pending)
        finally:
            if payload is None or not payload.spooled:
                turns.others()
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
        deadline = _Deadline(asyncio.get_running_loop(), task, plan.timeout)
        try:
            return cast(T, await _resumed(reading, waits_for))
        except asyncio.CancelledError as cancelled:
            if cancelled.args != (_LATE,):
                raise
            task.uncancel()
            raise Problem("request_timeout", "The request body did not arrive in time.") from None
        finally:
            deadline.cancel()

    # --- replies -------------------------------------------------------------------------------------

    async def _wait(self, exchange: Exchange, plan: Plan, caller: Caller, facts: Facts, pending: Pending) -> Outcome:
        def encoded(step: Callable[[Any], Any]) -> Callable[[Any], Outcome]:
            return lambda ctx: plan.reply.encode(step(ctx), self._handling.report)

        def transact(step: Callable[[Any], Any]) -> Any:
            with self.services.application.transaction(caller, facts) as ctx:
                return step(ctx)

        answer = replace(pending, then=encoded(pending.then), timed_out=encoded(pending.timed_out))
        outcome: Outcome = await self.services.streams.wait(answer, partial(self.services.pool.run, transact))
        self._handling.dress(exchange, plan, outcome)
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
            self._handling.report,
        )

    async def _send(self, exchange: Exchange, outcome: Outcome, send: Any) -> None:
        await send_outcome(exchange, outcome, send, self.services.pool)

    def _finish(self, exchange: Exchange) -> None:
        if exchange.lease is not None:
            exchange.lease.release()
        seconds = perf_counter() - exchange.started
        if exchange.plan is not None:
            exchange.plan.seen(exchange.status, seconds)
        self.services.observer.finished(exchange, seconds)


class _Deadline:
    """Cancels `task` once its body is late: after `seconds`, and on top of them all that it waited for its turns."""

    __slots__ = ("_allowed", "_loop", "_rests", "_task", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any], seconds: float) -> None:
        self._loop, self._task = loop, task
        self._rests = count_rests()
        self._allowed = 0.0
        self._timer = loop.call_later(seconds, self._due)

    def _due(self) -> None:
        waited = self._rests.seconds - self._allowed
        if waited > 0:
            self._allowed = self._rests.seconds
            self._timer = self._loop.call_later(waited, self._due)
        else:
            self._task.cancel(_LATE)

    def cancel(self) -> None:
        self._timer.cancel()


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


def _flask_rule(path: str) -> str:
    """A Flask rule for a path template. The edge has routed already; the rule names the endpoint for tools and logs."""
    return re.sub(r"{([^}]+)}", lambda match: f"<{re.sub(r'[^0-9A-Za-z_]', '_', match[1])}>", path)
