"""What a platform serves beside its contracts: raw paths below the guard, and downloads from wherever it reads them."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest

from thalweg.edge.application import File
from thalweg.edge.flaskhost import FlaskHost, HostFlask
from thalweg.edge.pool import Pool
from thalweg.edge.problem import Problem
from thalweg.edge.reply import download

CONTENT = bytes(range(256)) * 4096


class Counted(io.BytesIO):
    closed_times = 0

    def close(self) -> None:
        Counted.closed_times += 1
        super().close()


def opened(**headers: str) -> tuple[int, dict[bytes, bytes], bytes]:
    file = File("application/pdf", name="a.pdf", opener=lambda: Counted(CONTENT), size=len(CONTENT), etag='"sum"')
    ready = download(file, {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()})
    return ready.status, dict(ready.headers), b"".join(ready.pieces)


def test_a_file_behind_an_opener_is_sent_whole_and_by_ranges_and_closed() -> None:
    before = Counted.closed_times
    assert opened()[::2] == (200, CONTENT)
    status, headers, body = opened(range="bytes=1000-1999")
    assert (status, body) == (206, CONTENT[1000:2000])
    assert headers[b"content-range"] == f"bytes 1000-1999/{len(CONTENT)}".encode()
    assert Counted.closed_times == before + 2
    assert opened(if_none_match='"sum"')[::2] == (304, b"")
    assert Counted.closed_times == before + 2
    with pytest.raises(Problem, match="bytes"):
        opened(range=f"bytes={len(CONTENT)}-")


def test_what_a_source_fails_with_at_its_first_piece_is_raised_before_anything_is_sent() -> None:
    def gone() -> Any:
        raise OSError("it is not there")

    for asked in ({}, {b"range": b"bytes=0-3"}):
        for head in (False, True):
            with pytest.raises(OSError, match="not there"):
                download(File("text/plain", opener=gone, size=9), asked, head)
    before = Counted.closed_times
    file = File("application/pdf", opener=lambda: Counted(CONTENT), size=len(CONTENT))
    assert b"".join(download(file, {}, True).pieces) == b""
    download(file, {}).pieces.close()  # type: ignore[attr-defined]
    assert Counted.closed_times == before + 2


def test_a_mount_serves_what_lies_below_its_prefix_and_its_paths_stay_out_of_the_log() -> None:
    async def mount(scope: Any, receive: Any, send: Any, extra: Any) -> int:
        await send({"type": "http.response.start", "status": 204, "headers": extra})
        await send({"type": "http.response.body", "body": b""})
        return 204

    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    pool = Pool(1)
    host = FlaskHost(HostFlask("test"), pool)
    host.mounts["/files/"] = mount

    def ask(path: str) -> tuple[int, dict[str, Any]]:
        scope: dict[str, Any] = {
            "method": "GET", "path": path, "query_string": b"", "http_version": "1.1", "headers": []
        }  # fmt: skip
        return asyncio.run(host(scope, receive, send, [(b"x-correlation-id", b"c")])), scope

    status, scope = ask("/files/secret-token")
    assert status == 204
    assert scope["thalweg.path"] == "/files/..."
    assert sent[0]["headers"] == [(b"x-correlation-id", b"c")]
    assert ask("/file")[0] == 404
    pool.close()
