"""Starter's files on the running platform: the four operations, and the signed addresses that they hand out."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import psutil
import pytest

from domain import storage
from domain.identity import accounts, memberships, sessions, tokens
from domain.kernel import crypto
from domain.kernel.context import SystemActor
from domain.kernel.ids import new_id
from domain.storage import binding

LARGE = 50 << 20


@dataclass(frozen=True)
class Person:
    """Somebody signed in to Starter."""

    organisation_id: UUID
    headers: dict[str, str]


@pytest.fixture
def installation(running: Any) -> Iterator[None]:
    """What the running platform's processes have: its keys, its store, its issuer."""
    before = binding._bound, crypto._ring, tokens.issuer()
    crypto.use(crypto.KeyRing(dict([running.environment["THALWEG_SECRET_KEYS"].split(":", 1)])))
    tokens.configure(running.url)
    storage.bind(
        SimpleNamespace(
            blob_url=None,
            data_dir=running.logs / "data",
            base_url=running.url,
            storage_quota_bytes=0,
            storage_file_bytes=512 << 20,
        )
    )
    yield
    binding._bound = before[0]
    crypto.use(before[1])
    tokens.configure(before[2])


@pytest.fixture
def sign_in(running: Any, installation: None) -> Callable[..., Person]:
    """Sign somebody in: an owner of a tenant of their own, or a member of a given one."""

    def make(role: str = "owner", tenant: UUID | None = None, *, verified: bool = True) -> Person:
        with running.database.context(SystemActor("test"), None, platform=True) as ctx:
            mail = f"{new_id().hex}@example.com"
            account = accounts.make(ctx, email=mail, name="Somebody", source="test", verified=verified)
            if tenant is None:
                accounts.give_own_organisation(ctx, account, name="Files", slug=f"files-{new_id().hex}")
            else:
                accounts.join(ctx, account, tenant, role, source="test")
            [belonging] = memberships.organisations_of(ctx, account.id)
            opened = sessions.open_session(ctx, account, belonging, surface="starter", method="password")
            return Person(belonging.organisation_id, {"Authorization": f"Bearer {opened.access_token}"})

    return make


@pytest.fixture
def announce(running: Any, sign_in: Callable[..., Person]) -> Callable[..., tuple[dict[str, Any], Person]]:
    """Ask for an address to upload to: the answer, and who asked."""
    owner = sign_in()

    def make(size: int, media_type: str = "text/plain") -> tuple[dict[str, Any], Person]:
        reply = ask(running, owner, "POST", "upload-url", json=wanted(size, mime_type=media_type))
        assert reply.status_code == 201, reply.text
        return reply.json(), owner

    return make


def wanted(size: int, **more: Any) -> dict[str, Any]:
    return {"filename": "measured.txt", "mime_type": "text/plain", "size_bytes": size, **more}


def ask(running: Any, who: Person | None, method: str, path: str = "", **more: Any) -> httpx.Response:
    url = f"{running.url}/starter/api/v1/storage/objects" + (f"/{path}" if path else "")
    headers = {**({} if who is None else who.headers), **more.pop("headers", {})}
    return httpx.request(method, url, headers=headers, timeout=30, **more)


def resident(process: psutil.Process) -> int:
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


def pieces(size: int) -> Iterator[bytes]:
    line = b"what goes in comes out\n" * 2850  # about 64 KiB
    for at in range(0, size, len(line)):
        yield line[: min(len(line), size - at)]


def test_a_large_upload_costs_no_memory_and_holds_nobody_up(running: Any, announce: Any) -> None:
    api = psutil.Process(running.processes["api"].pid)
    link, _ = announce(1 << 20)
    length = {"Content-Length": str(1 << 20)}
    httpx.put(link["upload_url"], content=pieces(1 << 20), headers=link["headers"] | length)  # made once, made now
    before = most = resident(api)
    link, owner = announce(LARGE)
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
    length = {"Content-Length": str(LARGE)}
    sent = httpx.put(link["upload_url"], content=pieces(LARGE), headers=link["headers"] | length, timeout=60)
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
    down = ask(running, owner, "GET", f"{link['object_id']}/download-url").json()
    got = hashlib.sha256()
    with httpx.stream("GET", down["download_url"], timeout=60) as reply:
        assert reply.headers["accept-ranges"] == "bytes"
        for piece in reply.iter_bytes():
            got.update(piece)
    assert got.digest() == seal.digest()


def test_a_hundred_uploads_at_once_all_arrive(running: Any, announce: Any) -> None:
    contents = [os.urandom(8).hex().encode() * 600 for _ in range(100)]
    links = [announce(len(content))[0] for content in contents]
    with httpx.Client(timeout=30, limits=httpx.Limits(max_connections=100)) as client:

        def send(at: int) -> httpx.Response:
            return client.put(links[at]["upload_url"], content=contents[at], headers=links[at]["headers"])

        started = time.monotonic()
        with ThreadPoolExecutor(100) as pool:
            replies = list(pool.map(send, range(100)))
        print(f"100 uploads in {time.monotonic() - started:.2f} s")
    assert {reply.status_code for reply in replies} == {200}
    assert [r.headers["etag"] for r in replies] == [f'"{hashlib.sha256(c).hexdigest()}"' for c in contents]


def test_the_address_of_a_file_is_not_in_the_logs(running: Any, announce: Any) -> None:
    link, _ = announce(4)
    assert httpx.put(link["upload_url"], content=b"kept", headers=link["headers"]).status_code == 200
    time.sleep(0.3)
    assert link["upload_url"].rpartition("/")[2] not in running.log("api")
    assert "/files/..." in running.log("api")


# --- the four operations -----------------------------------------------------------------------------------


def test_a_file_from_announcement_to_deletion(running: Any, sign_in: Callable[..., Person]) -> None:
    owner = sign_in()
    made = ask(running, owner, "POST", "upload-url", json=wanted(4, metadata={"team": "growth"}))
    assert made.status_code == 201
    link, object_id = made.json(), made.json()["object_id"]
    assert ask(running, owner, "GET", f"{object_id}/download-url").status_code == 404
    assert [o["status"] for o in ask(running, owner, "GET").json()["items"]] == ["pending_upload"]
    assert httpx.put(link["upload_url"], content=b"kept", headers=link["headers"]).status_code == 200
    [listed] = ask(running, owner, "GET").json()["items"]
    assert (listed["status"], listed["size_bytes"], listed["filename"]) == ("ready", 4, "measured.txt")
    where = httpx.URL(str(made.request.url)).join(made.headers["location"])
    down = httpx.get(where, headers=owner.headers)
    assert down.status_code == 200
    assert httpx.get(down.json()["download_url"]).content == b"kept"
    assert ask(running, owner, "DELETE", object_id).status_code == 204
    assert ask(running, owner, "DELETE", object_id).status_code == 404
    assert httpx.get(down.json()["download_url"]).status_code == 404
    assert ask(running, owner, "GET").json() == {"items": [], "next_offset": None}


def test_another_tenant_finds_none_of_it(running: Any, announce: Any, sign_in: Callable[..., Person]) -> None:
    link, _ = announce(4)
    stranger = sign_in()
    object_id = link["object_id"]
    assert ask(running, stranger, "GET", f"{object_id}/download-url").status_code == 404
    assert ask(running, stranger, "DELETE", object_id).status_code == 404
    assert ask(running, stranger, "GET").json()["items"] == []


def test_viewers_read_and_owners_and_administrators_change(
    running: Any, announce: Any, sign_in: Callable[..., Person]
) -> None:
    link, owner = announce(4)
    httpx.put(link["upload_url"], content=b"kept", headers=link["headers"])
    object_id = link["object_id"]
    for role, changes in (("viewer", False), ("member", False), ("admin", True)):
        someone = sign_in(role, owner.organisation_id)
        assert len(ask(running, someone, "GET").json()["items"]) == 1
        assert ask(running, someone, "GET", f"{object_id}/download-url").status_code == 200
        made = ask(running, someone, "POST", "upload-url", json=wanted(4))
        assert made.status_code == (201 if changes else 403), (role, made.text)
        gone = ask(running, someone, "DELETE", made.json()["object_id"] if changes else object_id)
        assert gone.status_code == (204 if changes else 403)
    unverified = sign_in("admin", owner.organisation_id, verified=False)
    refused = ask(running, unverified, "GET")
    assert (refused.status_code, refused.json()["message"]) == (403, "Email verification required.")
    assert ask(running, None, "GET").status_code == 401


def test_what_is_refused_and_how(running: Any, sign_in: Callable[..., Person]) -> None:
    owner = sign_in()

    def status(**more: Any) -> int:
        return ask(running, owner, "POST", "upload-url", json=wanted(4, **more)).status_code

    assert status(size_bytes=(512 << 20) + 1) == 400
    assert status(size_bytes=-1) == 422
    assert status(filename="a/b.txt") == 422
    assert status(mime_type="nonsense") == 422
    assert status(extra=1) == 422
    assert status(metadata={"a": "\x00"}) == 422
    assert ask(running, owner, "GET", "not-an-id/download-url").status_code == 422
    assert ask(running, owner, "GET", params={"limit": "101"}).status_code == 422
    with running.database.context(SystemActor("test"), owner.organisation_id) as ctx:
        storage.set_quota(ctx, 3)
    full = ask(running, owner, "POST", "upload-url", json=wanted(4))
    assert (full.status_code, full.json()["details"]["code"]) == (402, "storage_limit_reached")
