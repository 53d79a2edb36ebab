"""In a thread, inside Flask: transaction, idempotency, the handler, and its answer encoded and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import structlog

from thalweg.edge.application import Pending, StoredReply
from thalweg.edge.body import Payload, Upload
from thalweg.edge.problem import Problem, Violation
from thalweg.edge.reply import Outcome, ResponseMismatch, compress, conditional

if TYPE_CHECKING:
    from thalweg.edge.application import Caller, Facts
    from thalweg.edge.exchange import Exchange, Services
    from thalweg.edge.plan import Plan

log = structlog.get_logger("thalweg.edge")


class Handling:
    """Calls the handler of an operation, once the request was found good."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def __call__(
        self,
        exchange: Exchange,
        plan: Plan,
        caller: Caller,
        facts: Facts,
        values: Mapping[str, Any],
        payload: Payload | None,
    ) -> Outcome:
        """What the handler's answer comes to, encoded and checked. Blocks: call it in a thread."""
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
                    return plan.reply.encode(step(ctx), self.report)
                fingerprint = _fingerprint(exchange, payload)
                stored = application.idempotency.begin(ctx, plan.endpoint, key, fingerprint)
                if stored is not None:
                    return self._replay(stored)
                outcome = plan.reply.encode(step(ctx), self.report)
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
        self.dress(exchange, plan, outcome)
        return outcome

    def dress(self, exchange: Exchange, plan: Plan, outcome: Outcome) -> None:
        """304 where the caller has it already, and compression."""
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

    def report(self, mismatch: ResponseMismatch) -> None:
        """A reply breaks its own contract: log and count it, and raise it unless `on_mismatch` is `log`."""
        log.error(
            "response_mismatch",
            surface=mismatch.surface,
            operation=mismatch.operation_id,
            request_id=mismatch.request_id,
            status=mismatch.status,
            code=mismatch.code,
            violations=str(mismatch.violations)[:2000],
        )
        self.services.observer.mismatch(mismatch.operation_id)
        if self.services.on_mismatch == "raise":
            self.services.mismatches.append(mismatch)
        if self.services.on_mismatch != "log":
            raise mismatch


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


def _after(then: Callable[[Any, Any], Any], came: Any, ctx: Any) -> Any:
    return then(ctx, came)


def _fingerprint(exchange: Exchange, payload: Payload | None) -> bytes:
    seal = sha256()
    if exchange.caller is not None:  # a key is its caller's: nobody is shown the reply that another was given
        seal.update(exchange.caller.key.encode() + b"\0")
    seal.update(exchange.scope["method"].encode())
    seal.update(exchange.raw_path.encode("latin-1"))
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
