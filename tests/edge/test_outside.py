"""`Outside`: two transactions with a call between them, and what an idempotency key makes of that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from thalweg.edge.application import Outside, Reply
from thalweg.edge.handling import Handling
from thalweg.edge.reply import Outcome, ReplyPlan
from thalweg.edge.schema import Compiler


class World:
    """An application that notes when its transactions begin and end, and what hands it one operation."""

    def __init__(self, handler: Any, *, key: str | None = None) -> None:
        self.told: list[str] = []
        self.kept: dict[str, Any] = {}
        compiler = Compiler({"openapi": "3.0.3", "paths": {}})
        answers = {"200": {"description": "Yes", "content": {"application/json": {"schema": {"type": "object"}}}}}
        self.plan: Any = SimpleNamespace(
            passed=(), takes_body=False, pagination=None, idempotent=key is not None, endpoint="test.op",
            handler=handler, reply=ReplyPlan("op", "POST", answers, compiler), rule=object(),
        )  # fmt: skip
        application = SimpleNamespace(transaction=self.transaction, idempotency=self)
        host = SimpleNamespace(operation=lambda rule, scope, body, call: call())
        self.handling = Handling(SimpleNamespace(application=application, host=host))  # type: ignore[arg-type]
        self.key = key

    @contextmanager
    def transaction(self, caller: Any, facts: Any) -> Iterator[str]:
        self.told.append("begin")
        yield "ctx"
        self.told.append("commit")

    def begin(self, ctx: Any, operation: str, key: str, fingerprint: bytes) -> Any:
        return self.kept.get(key)

    def record(self, ctx: Any, operation: str, key: str, fingerprint: bytes, reply: Any) -> None:
        self.told.append("record")
        self.kept[key] = reply

    def call(self) -> Outcome:
        scope = {"method": "POST", "path": "/x", "query_string": b""}
        exchange: Any = SimpleNamespace(headers={}, caller=None, scope=scope, raw_path="/x")
        values = {} if self.key is None else {"idempotency_key": self.key}
        return self.handling(exchange, self.plan, None, None, values, None)  # type: ignore[arg-type]


def test_the_call_is_made_between_two_transactions() -> None:
    def handler(ctx: Any) -> Outside:
        world.told.append("handler")
        return Outside(lambda: world.told.append("outside") or 7, lambda ctx, came: Reply({"came": came, "ctx": ctx}))

    world = World(handler)
    assert world.call().body == b'{"came":7,"ctx":"ctx"}'
    assert world.told == ["begin", "handler", "commit", "outside", "begin", "commit"]


def test_one_call_may_lead_to_another() -> None:
    def again(ctx: Any, came: int) -> Any:
        return {"came": came} if came == 3 else Outside(lambda: came + 1, again)

    world = World(lambda ctx: Outside(lambda: 1, again))
    assert world.call().body == b'{"came":3}'
    assert world.told.count("begin") == world.told.count("commit") == 4


def test_under_an_idempotency_key_the_last_answer_alone_is_kept() -> None:
    calls: list[int] = []
    world = World(lambda ctx: Outside(lambda: calls.append(1), lambda ctx, came: {"done": True}), key="k")
    first = world.call()
    assert world.told.count("record") == 1
    again = world.call()
    assert (again.status, again.body) == (first.status, first.body)
    assert len(calls) == 1
