"""One API process: uvicorn around the platform's ASGI application, on a socket of its own or an inherited one.

`serve(settings, root)` blocks until SIGTERM or SIGINT. Streams are told at once (`application.closing()`, where it has
one); requests in progress get `shutdown_seconds`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from thalweg.edge.later import import_later
from thalweg.settings import Settings

__all__ = ["follow", "serve"]


HEAD_BYTES = 65_536
"""The longest request line and headers together (Apache and nginx take 8 to 64 KiB)."""
HEAD_SECONDS = 20.0
"""How long a client may take to send them."""
_SPARED = ("numpy", "requests")
"""Imported by what an API process imports, and by most of them never used: 18 MiB and an eighth of a second."""


class _Protocol(HttpToolsProtocol):
    """Refuses a request whose head does not end: the parser itself would hold as much of it as comes."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = True
        self._head = 0
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._patience = self.loop.call_later(HEAD_SECONDS, self._refuse, b"408 Request Timeout")

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head:
            if self._head > HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")
            elif self._patience is None:
                self._patience = self.loop.call_later(HEAD_SECONDS, self._refuse, b"408 Request Timeout")

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._calm()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._head = True, 0  # of the next request on this connection

    def _calm(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, status: bytes) -> None:
        self._calm()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:  # else it would stand in the middle of a reply
            self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        closing = getattr(self.config.app, "closing", None)  # loaded_app may be a wrapper of uvicorn's
        for listener in sockets or []:  # first of all: whoever comes now is another process' guest
            listener.close()
        if closing is not None:
            closing()
        await super().shutdown(sockets)


def serve(settings: Settings, root: Path, *, listener: socket.socket) -> int:
    """Runs the application on `listener` (listening). 0 after a clean stop, 3 when it did not start."""
    # Start-up makes many objects and little garbage: collecting among them was a quarter of its time. The collector
    # begins when the process is up (`thalweg.edge.serve.quiet_heap`).
    gc.disable()
    for name in _SPARED:
        with suppress(ModuleNotFoundError):
            import_later(name)
    from thalweg.edge.serve import create

    application: Any = create(settings, root)
    proxies = ",".join(settings.trusted_proxies)
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # the edge writes one line a request, with what it knows
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies or None,
        timeout_keep_alive=65,  # longer than the minute after which common proxies give up an idle connection
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    server = _Server(config)
    server.run(sockets=[listener])
    return 0 if server.started else 3


def follow(parent: int) -> None:
    """Where the kernel has no leash (macOS), a thread that ends this process when its supervisor has ended."""
    if sys.platform == "linux":
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="leash", daemon=True).start()
