"""The connection to Valkey: what a URL says, and questions from other threads."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from redis.asyncio.connection import parse_url

from thalweg.link import Link, LinkDown, _target


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://localhost",
        "redis://:secret@cache.internal:6380/3",
        "redis://ada:p%40ss%2Fword@cache.internal/12",
        "redis://[::1]:7000/1",
        "redis://cache.internal/not-a-number",
        "rediss://cache.internal:6379/0?ssl_cert_reqs=none",
        "unix:///tmp/valkey.sock?db=2",
        "redis://cache.internal?db=4",
    ],
)
def test_a_url_says_what_it_says_to_the_client_library(url: str) -> None:
    assert _target(url) == dict(parse_url(url))


async def test_another_thread_can_ask(valkey_url: str) -> None:
    link = Link(valkey_url)
    await link.start(wait=2.0)
    try:
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(link.ask("ECHO", "here", patience=2.0)))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert answers == [b"here"]
    finally:
        await link.close()


def test_who_asks_a_link_that_is_down_is_told_at_once() -> None:
    with pytest.raises(LinkDown):
        Link("redis://127.0.0.1:1/0").ask("PING", patience=5.0)
