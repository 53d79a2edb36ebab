"""One API process: uvicorn around the platform's ASGI application, on a socket of its own or an inherited one.

`serve(settings, root)` blocks until SIGTERM or SIGINT. Streams are told at once (`application.closing()`, where it has
one); requests in progress get `shutdown_seconds`.
"""

from __future__ import annotations

import gc
import socket
from pathlib import Path
from typing import Any

from uvicorn.config import Config
from uvicorn.server import Server

from thalweg.connection import Connection
from thalweg.settings import Settings

__all__ = ["serve"]


class _Server(Server):
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
    from thalweg.edge.serve import create

    application: Any = create(settings, root)
    proxies = ",".join(settings.trusted_proxies)
    config = Config(
        application,
        loop="uvloop",
        http=Connection,
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
