"""A reply on its way out: the status line, headers, and a body whole or in pieces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog

from thalweg.edge.reply import Outcome, download

if TYPE_CHECKING:
    from thalweg.edge.exchange import Exchange
    from thalweg.edge.pool import Pool


log = structlog.get_logger("thalweg.edge")

CUT = "thalweg.cut"
"""Where the server puts into the scope what closes the connection in the middle of a reply."""


def cut_short(scope: Mapping[str, Any], **facts: Any) -> None:
    """End a reply that has begun and cannot go on, so that nobody takes what has come for the whole; `facts` are for
    the log. The reply ends unfinished where the server has no `CUT`: it closes the connection then, and complains."""
    log.warning("reply_cut_short", **facts)
    cut = scope.get(CUT)
    if cut is not None:
        cut()


async def send_outcome(exchange: Exchange, outcome: Outcome, send: Any, pool: Pool) -> None:
    """A whole reply, or a download in pieces."""
    head = exchange.scope["method"] == "HEAD"
    if outcome.file is not None:
        await _send_file(exchange, outcome, send, pool, head=head)
        return
    exchange.status = outcome.status
    exchange.begun = True
    headers = [*outcome.headers, *exchange.extra]
    if outcome.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(outcome.body)))
    await send({"type": "http.response.start", "status": outcome.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else outcome.body})


async def _send_file(exchange: Exchange, outcome: Outcome, send: Any, pool: Pool, *, head: bool) -> None:
    assert outcome.file is not None
    run = pool.run
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
