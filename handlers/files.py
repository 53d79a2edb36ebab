"""`/files/<token>`: the platform's own signed addresses, where the blob store has none. PUT takes an upload, GET
answers a download. The token is the credential: it is not for logs.

It stands beside the contracts, below the edge's guard, because a body of 512 MiB must go straight into the store.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from domain import storage
from domain.kernel.context import SystemActor
from domain.kernel.errors import DomainError
from thalweg.edge.application import File
from thalweg.edge.guard import Cors, RawHeaders, correlation_id, header_map
from thalweg.edge.intake import Intake
from thalweg.edge.problem import CODES, Disconnected, Problem
from thalweg.edge.reply import download
from thalweg.edge.sending import cut_short
from thalweg.edge.uploads import turns

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from domain.kernel.context import Ctx
    from domain.kernel.db import Database
    from thalweg.edge.pool import Pool

SILENCE = 30.0
"""Seconds that an upload may stand still."""
METHODS = ("GET", "HEAD", "OPTIONS", "PUT")


def file(stored: storage.StoredObject, *, inline: bool = False) -> File:
    """A stored object as a handler's answer: with ranges, conditions, and verified when it is read whole."""
    return _file(storage.content(stored), inline=inline)


def _file(content: storage.Content, *, inline: bool = False) -> File:
    return File(
        content.media_type,
        name=content.name,
        opener=content.opener,
        size=content.size,
        etag=content.etag,
        modified=content.modified,
        inline=inline,
        headers={"Cache-Control": "private, no-cache"},
    )


class Files:
    """Serves the addresses: a mount of the edge's host."""

    def __init__(self, database: Database, pool: Pool, cors: Cors) -> None:
        self._database = database
        self._pool = pool
        self._cors = cors

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any, extra: RawHeaders) -> int:
        """Answers the status."""
        headers = header_map(scope["headers"])
        method, token = scope["method"], scope["path"].removeprefix(storage.PATH)
        extra = [*extra, (b"content-security-policy", b"default-src 'none'; sandbox")]
        try:
            if method == "OPTIONS":
                preflight = self._cors.preflight(headers.get(b"origin"), METHODS)
                extra = [h for h in extra if not h[0].startswith(b"access-control-")]
                return await _answer(send, 204, [(b"allow", ", ".join(METHODS).encode()), *preflight, *extra])
            if method == "PUT":
                return await self._put(token, headers, receive, send, extra)
            if method in ("GET", "HEAD"):
                return await self._get(scope, token, headers, send, extra)
            raise Problem("method_not_allowed", "An address takes PUT or GET.", headers={"Allow": ", ".join(METHODS)})
        except Disconnected:
            return 499  # nginx's figure for a caller that left
        except DomainError as error:
            return await _refuse(send, Problem(error.code, error.message, facts=error.facts), extra)
        except Problem as problem:
            return await _refuse(send, problem, extra)

    async def _get(
        self, scope: Mapping[str, Any], token: str, headers: Mapping[bytes, bytes], send: Any, extra: RawHeaders
    ) -> int:
        run, head = self._pool.run, scope["method"] == "HEAD"
        content = await run(self._served, token, dict(headers))
        ready = await run(download, _file(content), headers, head)
        await send({"type": "http.response.start", "status": ready.status, "headers": [*ready.headers, *extra]})
        try:
            while (piece := await run(next, ready.pieces, None)) is not None:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except DomainError as error:  # damaged, or the store went away
            cut_short(scope, operation="download", request_id=_request(extra), reason=error.message)
            return 500
        finally:
            close = getattr(ready.pieces, "close", None)
            if close is not None:
                run(close)
        return ready.status

    async def _put(self, token: str, headers: Mapping[bytes, bytes], receive: Any, send: Any, extra: RawHeaders) -> int:
        run = self._pool.run
        receiving = await run(self._receive, token, dict(headers))
        try:
            with turns.upload():
                pieces = Intake(receive, receiving.expected).pieces()
                held: list[bytes] = []
                while (piece := await _next(pieces)) is not None:
                    held.append(piece)
                    size = sum(map(len, held))
                    if size >= turns.batch:
                        await turns.write(size, partial(run, receiving.take, b"".join(held)))
                        held.clear()
                await run(receiving.take, b"".join(held))
            staged = await run(receiving.whole)
        except BaseException:
            run(receiving.abort)  # not awaited: a cancelled task could not
            raise
        # From here on the transaction looks after the bytes: a commit whose answer is lost may have happened.
        etag = await run(self._received, receiving, staged, dict(headers))
        return await _answer(send, 200, [(b"etag", etag.encode()), (b"content-length", b"0"), *extra])

    # --- in a thread ------------------------------------------------------------------------------

    def _served(self, token: str, headers: Mapping[bytes, bytes]) -> storage.Content:
        claim = storage.claim(token, storage.DOWNLOAD, datetime.now(UTC))
        with self._context(claim, headers) as ctx:
            return storage.served(ctx, claim)

    def _receive(self, token: str, headers: Mapping[bytes, bytes]) -> storage.Receiving:
        claim = storage.claim(token, storage.UPLOAD, datetime.now(UTC))
        length = headers.get(b"content-length")
        media_type = headers.get(b"content-type")
        with self._context(claim, headers) as ctx:
            return storage.receive(
                ctx,
                claim,
                media_type=None if media_type is None else media_type.decode("latin-1"),
                size=int(length) if length is not None and length.isdigit() else None,
                sha256=_announced(headers),
            )

    def _received(self, receiving: storage.Receiving, staged: storage.Staged, headers: Mapping[bytes, bytes]) -> str:
        claim = storage.Claim(storage.UPLOAD, receiving.organisation_id, receiving.object_id)
        with self._context(claim, headers) as ctx:
            return f'"{storage.received(ctx, receiving, staged).digest}"'

    def _context(self, claim: storage.Claim, headers: Mapping[bytes, bytes]) -> AbstractContextManager[Ctx]:
        return self._database.context(
            SystemActor(f"signed {claim.act}"), claim.organisation_id, request_id=correlation_id(dict(headers))
        )


def _request(extra: RawHeaders) -> str | None:
    """The id that the answer carries."""
    return next((value.decode() for name, value in extra if name == b"x-correlation-id"), None)


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    """The next piece, None after the last. What the upload waits for its turns does not count as its silence."""
    try:
        async with asyncio.timeout(SILENCE):
            return await anext(pieces, None)
    except TimeoutError:
        raise Problem("request_timeout", "The upload stood still.") from None


def _announced(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The SHA-256 that the sender says the body has: `Content-Digest` (RFC 9530), or as S3's clients say it."""
    digest = re.search(rb"sha-256=:([A-Za-z0-9+/]{43}=):", headers.get(b"content-digest", b""))
    text = digest[1] if digest is not None else headers.get(b"x-amz-checksum-sha256", b"")
    return base64.b64decode(text) if re.fullmatch(rb"[A-Za-z0-9+/]{43}=", text) else None


async def _refuse(send: Any, problem: Problem, extra: RawHeaders) -> int:
    body = orjson.dumps({"error": problem.code, "message": problem.message})
    status = CODES.get(problem.code, CODES["internal"])[0]
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in problem.headers.items()]
    described = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    return await _answer(send, status, [*described, *headers, *extra], body)


async def _answer(send: Any, status: int, headers: RawHeaders, body: bytes = b"") -> int:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return status
