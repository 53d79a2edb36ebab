"""The plan of an operation is made with its first request, once."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from thalweg.edge import middleware


async def test_first_requests_that_come_together_make_one_plan_and_none_on_the_loop(
    edge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    compile_plan = middleware.compile_plan

    def slowly(*arguments: Any) -> Any:
        made.append(threading.get_ident())
        time.sleep(0.05)
        return compile_plan(*arguments)

    monkeypatch.setattr(middleware, "compile_plan", slowly)
    replies = await asyncio.gather(*(edge.call("GET", "/public") for _ in range(10)))
    assert [reply.status_code for reply in replies] == [200] * 10
    assert len(made) == 1
    assert made[0] != threading.get_ident()
    assert sum(route.plan is not None for route in edge.edge.routes) == 1
    assert (await edge.call("GET", "/public")).status_code == 200
    assert len(made) == 1


async def test_an_operation_that_cannot_be_planned_fails_alone_and_is_found_when_all_are(
    edge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (broken,) = (route for route in edge.edge.routes if route.path == "/public")
    monkeypatch.setattr(broken.resolver, "resolve", _no_handler)
    refused = await edge.call("GET", "/public")
    assert (refused.status_code, set(refused.json())) == (500, {"code", "message"})
    assert "nobody" not in refused.text
    assert broken.plan is None
    with pytest.raises(AttributeError, match="nobody serves this"):
        edge.edge.plan_all()
    monkeypatch.undo()
    assert (await edge.call("GET", "/public")).status_code == 200


def _no_handler(operation: Any) -> Any:
    raise AttributeError("nobody serves this")
