"""What the HTTP server itself refuses, and how it answers HTTP/1.0: real sockets, a server of a few lines."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from thalweg import connection
from thalweg.connection import Connection
from thalweg.edge.sending import cut_short

Talk = Callable[[bytes], Awaitable[tuple[bytes, bytes]]]


async def _application(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-length", b"6")] if scope["path"] == "/measured" else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for piece in (b"one", b"two"):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        if scope["path"] == "/cut":
            cut_short(scope, reason="It broke.")
            return
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def talk() -> AsyncIterator[Talk]:
    """Sends bytes and answers head and body of what comes back until the connection is closed."""
    listener = socket.create_server(("127.0.0.1", 0))  # who connects now is waited for
    server = uvicorn.Server(uvicorn.Config(_application, http=Connection, ws="none", lifespan="off", log_config=None))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    port = listener.getsockname()[1]

    async def exchange(sent: bytes) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        told = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        head, _, body = told.partition(b"\r\n\r\n")
        return head, body

    yield exchange
    server.should_exit = True
    await running


async def test_what_is_no_request_gets_a_400_that_a_program_can_read(talk: Talk) -> None:
    for nonsense in (
        b"HELLO\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
    ):
        head, body = await talk(nonsense)
        assert head.startswith(b"HTTP/1.1 400 "), nonsense
        assert b"content-type: application/json" in head
        assert b"x-content-type-options: nosniff" in head
        assert json.loads(body)["error"] == "bad_request"


async def test_two_lengths_are_no_request(talk: Talk) -> None:
    smuggled = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    head, _ = await talk(smuggled)
    assert head.startswith(b"HTTP/1.1 400 ")


async def test_a_head_without_end_is_431(talk: Talk) -> None:
    head, body = await talk(b"GET / HTTP/1.1\r\nX-Long: " + b"a" * (connection.HEAD_BYTES + 10))
    assert head.startswith(b"HTTP/1.1 431 ")
    assert json.loads(body)["error"] == "headers_too_large"


async def test_a_head_that_does_not_come_is_408(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.1)
    head, body = await talk(b"GET / HTTP/1.1\r\nHost:")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["error"] == "request_timeout"


async def test_http_1_0_gets_no_chunks(talk: Talk) -> None:
    head, body = await talk(b"GET /stream HTTP/1.0\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == b"onetwo"
    head, body = await talk(b"GET /measured HTTP/1.0\r\n\r\n")
    assert (b"content-length: 6" in head, body) == (True, b"onetwo")


async def test_http_1_1_gets_chunks(talk: Talk) -> None:
    head, body = await talk(b"GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_reply_that_is_cut_short_has_no_end_and_the_server_does_not_complain(
    talk: Talk, caplog: pytest.LogCaptureFixture, version: bytes
) -> None:
    head, body = await talk(b"GET /cut HTTP/" + version + b"\r\nHost: a\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == (b"one" if version == b"1.0" else b"3\r\none\r\n")
    assert [
        record for record in caplog.records if record.name.startswith("uvicorn") and record.levelname == "ERROR"
    ] == []
