"""One HTTP connection: uvicorn's, with an end to what it would wait for or hold, and refusals that a program can read.

What goes wrong here goes wrong before there is a request, so no surface is known whose envelope it could have: the body
is `{"error": code, "message": sentence}`, the security headers are there, the connection is closed.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, cast

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from thalweg.edge.guard import SECURITY_HEADERS
from thalweg.edge.sending import CUT

__all__ = ["Connection"]

HEAD_BYTES = 65_536
"""The longest request line and headers together (Apache and nginx take 8 to 64 KiB)."""
HEAD_SECONDS = 20.0
"""How long a client may take to send them."""


def _refusal(status: bytes, code: str, message: str) -> bytes:
    body = orjson.dumps({"error": code, "message": message})
    headers = [
        *SECURITY_HEADERS,
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return b"HTTP/1.1 %b\r\n%b\r\n%b" % (status, lines, body)


_MALFORMED = _refusal(b"400 Bad Request", "bad_request", "This is not an HTTP request.")
_LATE = _refusal(b"408 Request Timeout", "request_timeout", "The request did not arrive in time.")
_LONG = _refusal(
    b"431 Request Header Fields Too Large",
    "headers_too_large",
    f"Request line and headers are longer than {HEAD_BYTES} bytes.",
)


class Connection(HttpToolsProtocol):
    """Refuses a request whose head does not end: the parser itself would hold as much of it as comes."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = True
        self._head = 0
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._patience = self.loop.call_later(HEAD_SECONDS, self._refuse, _LATE)

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head:
            if self._head > HEAD_BYTES:
                self._refuse(_LONG)
            elif self._patience is None:
                self._patience = self.loop.call_later(HEAD_SECONDS, self._refuse, _LATE)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._calm()
        super().on_headers_complete()
        cast("dict[str, Any]", self.scope)[CUT] = partial(_cut, self.cycle)
        if self.scope["http_version"] == "1.0":
            _whole(self.cycle)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._head = True, 0  # of the next request on this connection

    def send_400_response(self, msg: str) -> None:
        self._refuse(_MALFORMED)

    def _calm(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, refusal: bytes) -> None:
        self._calm()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:  # else it would stand in the middle of a reply
            self.transport.write(refusal)
        self.transport.close()


def _cut(cycle: RequestResponseCycle) -> None:
    """Close the connection in the middle of a reply, without the complaint that the application did not complete it."""
    cycle.disconnected = True
    cycle.transport.close()


def _whole(cycle: RequestResponseCycle) -> None:
    """HTTP/1.0 knows no chunks (RFC 9112 6.1): a reply without a length lasts until the connection is closed."""
    send, unmeasured = cycle.send, False

    async def plain(message: Any) -> None:
        nonlocal unmeasured
        if message["type"] == "http.response.start":
            unmeasured = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
            if unmeasured:
                cycle.chunked_encoding = False
        elif unmeasured:
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    cycle.send = plain  # type: ignore[method-assign]
