"""The signed addresses on the running platform: what goes in comes out, without memory, beside other requests."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import psutil
import pytest

from domain import identity, storage
from domain.kernel import crypto
from domain.kernel.context import SystemActor
from domain.kernel.ids import new_id
from domain.storage import binding

LARGE = 50 << 20


@pytest.fixture
def announce(running: Any) -> Iterator[Any]:
    """Announce a file as the running platform does, with its keys: the address on it, and the object's id."""
    before = binding._bound, crypto._ring
    crypto.use(crypto.KeyRing(dict([running.environment["THALWEG_SECRET_KEYS"].split(":", 1)])))
    storage.bind(
        SimpleNamespace(
            blob_url=None,
            data_dir=running.logs / "data",
            base_url=running.url,
            storage_quota_bytes=0,
            storage_file_bytes=512 << 20,
        )
    )

    with running.database.context(SystemActor("test"), None, platform=True) as ctx:
        organisation = identity.create_organisation(ctx, name="Files", slug=f"files-{new_id().hex}").id

    def make(size: int, media_type: str = "text/plain") -> tuple[storage.Link, UUID]:
        with running.database.context(SystemActor("test"), organisation) as ctx:
            announced = storage.announce(ctx, name="measured.txt", media_type=media_type, size=size)
            return announced.link, announced.stored.id

    yield make
    binding._bound = before[0]
    crypto.use(before[1])


def resident(process: psutil.Process) -> int:
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


def pieces(size: int) -> Iterator[bytes]:
    line = b"what goes in comes out\n" * 2850  # about 64 KiB
    for at in range(0, size, len(line)):
        yield line[: min(len(line), size - at)]


def test_a_large_upload_costs_no_memory_and_holds_nobody_up(running: Any, announce: Any) -> None:
    api = psutil.Process(running.processes["api"].pid)
    link, _ = announce(1 << 20)
    httpx.put(link.url, content=pieces(1 << 20), headers=link.headers)  # what is made once is made now
    before = most = resident(api)
    link, object_id = announce(LARGE)
    over = threading.Event()
    slowest = 0.0

    def watch() -> None:
        nonlocal most, slowest
        with httpx.Client() as client:
            while not over.is_set():
                most = max(most, resident(api))
                started = time.monotonic()
                client.get(f"{running.url}/nowhere")
                slowest = max(slowest, time.monotonic() - started)
                time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    sent = httpx.put(
        link.url, content=pieces(LARGE), headers={**link.headers, "Content-Length": str(LARGE)}, timeout=60
    )
    seconds = time.monotonic() - started
    over.set()
    watcher.join()
    assert sent.status_code == 200, sent.text
    print(
        f"50 MiB in {seconds:.2f} s, +{(most - before) / 2**20:.1f} MiB, slowest other answer {slowest * 1000:.0f} ms"
    )
    assert most - before <= 10 << 20
    seal = hashlib.sha256()
    for piece in pieces(LARGE):
        seal.update(piece)
    assert sent.headers["etag"] == f'"{seal.hexdigest()}"'
    with running.database.context(SystemActor("test"), announce_organisation(running, object_id)) as ctx:
        _, down = storage.download_link(ctx, object_id)
    got = hashlib.sha256()
    with httpx.stream("GET", down.url, timeout=60) as reply:
        assert reply.headers["accept-ranges"] == "bytes"
        for piece in reply.iter_bytes():
            got.update(piece)
    assert got.digest() == seal.digest()


def announce_organisation(running: Any, object_id: UUID) -> UUID:
    with running.database.context(SystemActor("test"), None, platform=True) as ctx:
        return storage.get(ctx, object_id).organisation_id


def test_a_hundred_uploads_at_once_all_arrive(running: Any, announce: Any) -> None:
    contents = [os.urandom(8).hex().encode() * 600 for _ in range(100)]
    links = [announce(len(content)) for content in contents]

    def send(at: int) -> httpx.Response:
        return httpx.put(links[at][0].url, content=contents[at], headers=links[at][0].headers, timeout=30)

    started = time.monotonic()
    with ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(send, range(100)))
    print(f"100 uploads in {time.monotonic() - started:.2f} s")
    assert {reply.status_code for reply in replies} == {200}
    assert [r.headers["etag"] for r in replies] == [f'"{hashlib.sha256(c).hexdigest()}"' for c in contents]


def test_the_address_of_a_file_is_not_in_the_logs(running: Any, announce: Any) -> None:
    link, _ = announce(4)
    assert httpx.put(link.url, content=b"kept", headers=link.headers).status_code == 200
    time.sleep(0.3)
    token = link.url.rpartition("/")[2]
    assert token not in running.log("api")
    assert "/files/..." in running.log("api")
