"""Files that clients send and fetch by signed addresses: one object, once, exactly what was announced, for a while."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import structlog
from sqlalchemy import select

from domain import audit, storage
from domain.kernel.clock import FixedClock
from domain.kernel.errors import Conflict, Forbidden, Invalid, NotFound, PaymentRequired
from domain.kernel.outbox import Job
from domain.kernel.pages import OffsetPage
from domain.storage import links
from handlers import files
from handlers.files import Files
from thalweg.edge import uploads
from thalweg.edge.guard import Cors
from thalweg.edge.pool import Pool
from thalweg.edge.sending import CUT

PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"what was agreed " * 80_000
BASE = "http://files.test"


def announce(world: Any, content: bytes = PDF, **more: Any) -> storage.Announced:
    more = {"name": "acme.pdf", "media_type": "application/pdf", "size": len(content), **more}
    with world.context() as ctx:
        return storage.announce(ctx, **more)


def state(world: Any, object_id: UUID) -> storage.StoredObject:
    with world.context() as ctx:
        return storage.get(ctx, object_id)


def link_to(world: Any, object_id: UUID) -> storage.Link:
    with world.context() as ctx:
        return storage.download_link(ctx, object_id)[1]


Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(folder: Any) -> Iterator[Ask]:
    """A request to the platform's own addresses."""
    pool = Pool(4)
    mount = Files(folder.database, pool, Cors(frozenset({"https://app.example.com"})))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await mount(scope, receive, send, [(b"x-content-type-options", b"nosniff")])

    def request(method: str, url: str, **more: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as client:
                return await client.request(method, url, **more)

        return asyncio.run(run())

    yield request
    pool.close()


def send(ask: Ask, announced: storage.Announced, content: Any = PDF, **headers: str) -> httpx.Response:
    link = announced.link
    return ask(link.method, link.url, content=content, headers={**link.headers, **headers})


# --- the platform's own addresses ------------------------------------------------------------------------


def test_an_announced_file_is_sent_once_and_fetched_again(folder: Any, ask: Ask) -> None:
    announced = announce(folder)
    assert announced.stored.state == storage.PENDING
    assert folder.usage() == storage.Usage(len(PDF), 1, None)
    sent = send(ask, announced)
    assert (sent.status_code, sent.headers["etag"]) == (200, f'"{hashlib.sha256(PDF).hexdigest()}"')
    stored = state(folder, announced.stored.id)
    assert (stored.state, stored.size, stored.media_type) == (storage.READY, len(PDF), "application/pdf")
    assert send(ask, announced).status_code == 409
    assert len(folder.blobs()) == 1
    fetched = ask("GET", link_to(folder, stored.id).url)
    assert (fetched.status_code, fetched.content) == (200, PDF)
    assert fetched.headers["content-type"] == "application/pdf"
    assert fetched.headers["content-disposition"] == 'attachment; filename="acme.pdf"'
    assert fetched.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in fetched.headers["content-security-policy"]
    assert folder.usage() == storage.Usage(len(PDF), 1, None)


def test_a_download_resumes_and_is_spared_when_nothing_changed(folder: Any, ask: Ask) -> None:
    announced = announce(folder)
    tag = send(ask, announced).headers["etag"]
    url = link_to(folder, announced.stored.id).url
    part = ask("GET", url, headers={"Range": "bytes=1000000-", "If-Range": tag})
    assert (part.status_code, part.content) == (206, PDF[1_000_000:])
    assert part.headers["content-range"] == f"bytes 1000000-{len(PDF) - 1}/{len(PDF)}"
    assert ask("GET", url, headers={"Range": "bytes=-10"}).content == PDF[-10:]
    assert ask("GET", url, headers={"Range": "bytes=5-", "If-Range": '"other"'}).status_code == 200
    beyond = ask("GET", url, headers={"Range": f"bytes={len(PDF)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(PDF)}")
    assert ask("GET", url, headers={"If-None-Match": tag}).status_code == 304
    head = ask("HEAD", url)
    assert (head.headers["content-length"], head.content) == (str(len(PDF)), b"")


@pytest.mark.parametrize("content", [PDF[:-1], PDF + b"!", b""])
def test_another_size_than_announced_is_refused(folder: Any, ask: Ask, content: bytes) -> None:
    announced = announce(folder)

    async def without_length() -> AsyncIterator[bytes]:
        yield content

    assert send(ask, announced, content).status_code in (400, 413)
    assert send(ask, announced, without_length()).status_code in (400, 413)
    assert folder.blobs() == set()
    assert send(ask, announced).status_code == 200  # the address still takes what was announced


def test_another_sum_than_announced_is_refused(folder: Any, ask: Ask) -> None:
    other = PDF[:-1] + b"!"
    announced = announce(folder, sha256=hashlib.sha256(PDF).digest())
    assert send(ask, announced, other).status_code == 400
    assert send(ask, announced).status_code == 200
    announced = announce(folder)
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(PDF).digest()).decode()}:"
    assert send(ask, announced, other, **{"Content-Digest": digest}).status_code == 400
    assert send(ask, announced, PDF, **{"Content-Digest": digest}).status_code == 200


def test_another_kind_of_file_than_announced_is_refused(folder: Any, ask: Ask) -> None:
    announced = announce(folder)
    assert send(ask, announced, **{"Content-Type": "text/html"}).status_code == 400
    program = b"\x7fELF" + b"\x00" * (len(PDF) - 4)
    refused = send(ask, announced, program)
    assert (refused.status_code, refused.json()["error"]) == (422, "unprocessable")
    assert folder.blobs() == set()
    assert state(folder, announced.stored.id).state == storage.PENDING


def test_a_client_that_leaves_half_way_leaves_nothing(folder: Any, ask: Ask) -> None:
    announced = announce(folder)

    async def breaking() -> AsyncIterator[bytes]:
        yield PDF[: 700 * 1024]
        raise RuntimeError("the line is cut")

    with pytest.raises(RuntimeError):
        send(ask, announced, breaking())
    assert folder.blobs() == set()
    for _ in range(50):
        if not list((folder.root / ".incoming").iterdir()):
            break
        asyncio.run(asyncio.sleep(0.02))
    assert list((folder.root / ".incoming").iterdir()) == []


def test_a_large_file_is_written_in_turns_with_other_uploads(
    folder: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[int, int]] = []

    class Turns(uploads.Turns):
        async def write(self, size: int, writing: Any) -> Any:
            written.append((size, self.uploads))
            return await super().write(size, writing)

    turns = Turns()
    monkeypatch.setattr(files, "turns", turns)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(PDF), 100_000):
            yield PDF[at : at + 100_000]

    announced = announce(folder)
    assert send(ask, announced, pieces()).status_code == 200
    assert written == [(600_000, 1), (600_000, 1)]  # and the rest, which is small, at once
    assert turns.uploads == 0
    with folder.context() as ctx, storage.open(ctx, announced.stored.id) as reader:
        assert reader.read() == PDF


def test_of_two_uploads_at_once_one_is_kept_whole(folder: Any) -> None:
    object_id = announce(folder).stored.id
    claim = storage.Claim(storage.UPLOAD, folder.organisation_id, object_id)
    with folder.context() as ctx:
        one, other = storage.receive(ctx, claim), storage.receive(ctx, claim)
    one.take(PDF)
    other.take(PDF[:-1] + b"!")
    staged = one.whole(), other.whole()
    with folder.context() as ctx:
        storage.received(ctx, other, staged[1])
    with pytest.raises(Conflict), folder.context() as ctx:
        storage.received(ctx, one, staged[0])
    assert folder.blobs() == {staged[1].key}
    with folder.context() as ctx, storage.open(ctx, object_id) as reader:
        assert reader.read() == PDF[:-1] + b"!"


def test_a_token_is_good_for_one_act_on_one_object_until_its_time(folder: Any, ask: Ask) -> None:
    announced = announce(folder)
    up = announced.link.url
    assert send(ask, announced).status_code == 200
    down = link_to(folder, announced.stored.id).url
    assert ask("GET", up).status_code == 403
    assert ask("PUT", down, content=b"").status_code == 403
    assert ask("DELETE", down).status_code == 405
    token = down.removeprefix(f"{BASE}/files/")
    for forged in (token[:-1], token[:-2] + "AA", token[1:], "", "x", "..", "%2e%2e/secret", token + "?x", "é" * 40):
        assert ask("GET", f"{BASE}/files/{forged}").status_code in (200, 403) if "?" in forged else 403
    late = datetime.now(UTC) + timedelta(seconds=901)
    with pytest.raises(Forbidden, match="expired"):
        storage.claim(token, storage.DOWNLOAD, late)
    with folder.context() as ctx:
        storage.discard(ctx, announced.stored.id)
    assert ask("GET", down).status_code == 404
    assert ask("PUT", up, content=PDF).status_code == 404


def test_a_token_names_no_other_organisations_object(folder: Any, ask: Ask) -> None:
    announced = announce(folder)
    send(ask, announced)
    token = links.sign(storage.DOWNLOAD, folder.found(), announced.stored.id, datetime.now(UTC) + timedelta(minutes=1))
    assert ask("GET", f"{BASE}/files/{token}").status_code == 404


def test_damaged_content_ends_short_of_its_length(folder: Any, ask: Ask) -> None:
    announced = announce(folder)
    send(ask, announced)
    path = folder.root / state(folder, announced.stored.id).key
    path.write_bytes(PDF[:-1] + b"!")
    link = link_to(folder, announced.stored.id)
    pool, sent, cut = Pool(1), list[Any](), list[bool]()

    async def take(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"method": "GET", "path": link.url.removeprefix(BASE), "headers": [], CUT: lambda: cut.append(True)}
    extra = [(b"x-correlation-id", b"asked-1")]
    with structlog.testing.capture_logs() as told:
        assert asyncio.run(Files(folder.database, pool, Cors())(scope, None, take, extra)) == 500
    pool.close()
    error, warning = told
    assert (error["log_level"], error["object"]) == ("error", str(announced.stored.id))
    assert (warning["log_level"], warning["event"]) == ("warning", "reply_cut_short")
    assert (warning["request_id"], warning["reason"]) == ("asked-1", "The stored content is damaged.")
    assert cut == [True]
    assert dict(sent[0]["headers"])[b"content-length"] == str(len(PDF)).encode()
    assert sum(len(message["body"]) for message in sent[1:]) < len(PDF)
    assert all(message["more_body"] for message in sent[1:])  # the server sees no end, and cuts the line


def test_content_that_is_lost_is_an_answer_of_its_own(folder: Any, ask: Ask) -> None:
    announced = announce(folder)
    send(ask, announced)
    path = folder.root / state(folder, announced.stored.id).key
    link = link_to(folder, announced.stored.id)
    path.write_bytes(b"")
    assert (ask("GET", link.url).status_code, ask("HEAD", link.url).status_code) == (503, 503)
    path.unlink()
    for method, headers in (("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=5-9"})):
        reply = ask(method, link.url, headers=headers)
        assert reply.status_code == 503, (method, headers)
        assert "etag" not in reply.headers
    assert ask("GET", link.url).json() == {"error": "unavailable", "message": "The stored content is missing."}


def test_a_page_of_a_named_origin_may_send_and_fetch(ask: Ask) -> None:
    asked = ask("OPTIONS", f"{BASE}/files/x", headers={"Origin": "https://app.example.com"})
    assert asked.status_code == 204
    assert "PUT" in asked.headers["access-control-allow-methods"]
    assert "access-control-allow-origin" not in ask("OPTIONS", "/files/x", headers={"Origin": "https://x.test"}).headers


# --- the store's own addresses ---------------------------------------------------------------------------


def put(announced: storage.Announced, content: bytes = PDF, **headers: str) -> httpx.Response:
    link = announced.link
    return httpx.request(link.method, link.url, content=content, headers={**link.headers, **headers})


def test_on_s3_a_client_speaks_to_the_store_and_the_object_settles(bucket: Any) -> None:
    announced = announce(bucket)
    object_id = announced.stored.id
    work = bucket.work()
    storage.settle(work, object_id)
    assert work.done
    assert state(bucket, object_id).state == storage.PENDING
    with bucket.context() as ctx:
        looks = ctx.session.scalars(
            select(Job.args).where(Job.name == "storage.settle", Job.args["object_id"].astext == str(object_id))
        )
        assert sorted(args["look"] for args in looks) == [0, 1]
    assert put(announced).status_code == 200
    storage.settle(bucket.work(), object_id, 1)
    stored = state(bucket, object_id)
    assert (stored.state, stored.sha256) == (storage.READY, hashlib.sha256(PDF).digest())
    assert bucket.blobs() == {stored.key}
    assert list(bucket.store.entries("incoming/" + str(bucket.organisation_id))) == []
    link = link_to(bucket, object_id)
    fetched = httpx.get(link.url, headers={"Range": "bytes=4-9"})
    assert (fetched.status_code, fetched.content) == (206, PDF[4:10])
    assert "acme.pdf" in httpx.get(link.url).headers["content-disposition"]


def test_on_s3_a_second_upload_changes_nothing(bucket: Any) -> None:
    announced = announce(bucket)
    put(announced)
    storage.settle(bucket.work(), announced.stored.id)
    put(announced, PDF[::-1])
    storage.settle(bucket.work(), announced.stored.id)
    with bucket.context() as ctx, storage.open(ctx, announced.stored.id) as reader:
        assert reader.read() == PDF


def test_on_s3_a_settling_that_died_is_done_again(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    announced = announce(bucket)
    put(announced)

    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    from domain.storage import incoming, transfers

    with monkeypatch.context() as patched:
        patched.setattr(transfers, "_judge", die)
        patched.setattr(incoming, "drop", lambda key: None)
        with pytest.raises(Killed):
            storage.settle(bucket.work(), announced.stored.id)
    assert state(bucket, announced.stored.id).state == storage.PENDING
    storage.settle(bucket.work(), announced.stored.id)
    assert state(bucket, announced.stored.id).state == storage.READY


def test_on_s3_what_was_not_announced_is_not_kept(bucket: Any) -> None:
    announced = announce(bucket)
    program = b"\x7fELF" + b"\x00" * (len(PDF) - 4)
    put(announced, program)
    storage.settle(bucket.work(), announced.stored.id)
    with pytest.raises(NotFound):
        state(bucket, announced.stored.id)
    assert bucket.blobs() == set()
    assert bucket.usage().bytes == 0
    with bucket.context() as ctx:
        entries = audit.find(ctx, actions=["object.reject"]).items
        assert [entry.outcome for entry in entries] == ["denied"]


def test_an_upload_that_never_comes_is_given_up_and_its_room_comes_back(world: Any) -> None:
    announced = announce(world)
    if world.store.native_links:
        late = FixedClock(datetime.now(UTC) + timedelta(seconds=900 + 15 * 60 + 1))
        work = world.work()
        plain = world.database.context

        def later(*given: Any, **more: Any) -> Any:
            return plain(*given, **{**more, "clock": late})

        world.database.context = later
        try:
            storage.settle(work, announced.stored.id)
        finally:
            del world.database.context
    else:
        storage.sweep(world.platform_work(), late=timedelta(hours=-1))
    with pytest.raises(NotFound):
        state(world, announced.stored.id)
    assert world.usage() == storage.Usage(0, 0, None)


# --- announcing --------------------------------------------------------------------------------------------


def test_what_may_be_announced(world: Any) -> None:
    for wrong in (
        {"size": (512 << 20) + 1},
        {"media_type": "application/x-msdownload"},
        {"media_type": "image/svg+xml"},
        {"media_type": "text/javascript"},
    ):
        with pytest.raises(Invalid):
            announce(world, **wrong)
    assert world.usage().objects == 0
    assert announce(world, media_type="image/JPG", size=0).stored.media_type == "image/jpeg"


def test_announced_bytes_count_at_once(folder: Any, bind: Callable[..., Any]) -> None:
    bind(quota=1000)
    announce(folder, size=600)
    with pytest.raises(PaymentRequired):
        announce(folder, size=600)
    with folder.context() as ctx, pytest.raises(PaymentRequired):
        storage.put(ctx, io.BytesIO(b"x" * 500), name="x", purpose="document")


def test_no_address_for_a_file_that_has_not_come(world: Any) -> None:
    announced = announce(world)
    with world.context() as ctx:
        with pytest.raises(NotFound, match="announced, and its bytes are still awaited"):
            storage.download_link(ctx, announced.stored.id)
        page, _ = storage.list(ctx, page=OffsetPage(10, 0))
        assert [o.state for o in page.items] == [storage.PENDING]


def test_each_act_leaves_its_audit_entry(folder: Any, ask: Ask) -> None:
    announced = announce(folder)
    send(ask, announced)
    link_to(folder, announced.stored.id)
    with folder.context() as ctx:
        storage.discard(ctx, announced.stored.id)
    with folder.context() as ctx:
        entries = audit.find(ctx).items
    acts = [entry.action for entry in entries if entry.resource_id == str(announced.stored.id)]
    assert sorted(acts) == ["object.create", "object.delete", "object.download", "object.upload"]
    assert "files/" not in str([entry.details for entry in entries])
