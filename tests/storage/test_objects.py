"""What is put in comes out, is counted, is another organisation's nothing, and goes when it is deleted."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from domain import identity, storage
from domain.kernel.context import SystemActor
from domain.kernel.db import OrganisationSession
from domain.kernel.errors import NotFound, PaymentRequired, TooLarge, Unavailable, Unprocessable
from domain.kernel.outbox import Job
from domain.kernel.pages import OffsetPage
from domain.storage.incoming import Incoming
from handlers.files import file
from thalweg.edge.reply import download

TEXT = b"What deserves to be kept.\n" * 40
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"0" * 500


def put(world: Any, content: bytes = TEXT, name: str = "kept.txt", **more: Any) -> storage.StoredObject:
    more.setdefault("purpose", "document")
    with world.context() as ctx:
        return storage.put(ctx, io.BytesIO(content), name=name, **more)


def read(world: Any, object_id: UUID) -> bytes:
    with world.context() as ctx, storage.open(ctx, object_id) as reader:
        return reader.read()


def test_what_was_put_comes_back_with_its_size_sum_and_type(world: Any) -> None:
    stored = put(world, PDF, "Plan 2026.pdf", media_type="application/pdf")
    assert (stored.size, stored.sha256) == (len(PDF), hashlib.sha256(PDF).digest())
    assert (stored.name, stored.media_type, stored.state) == ("Plan 2026.pdf", "application/pdf", storage.READY)
    assert read(world, stored.id) == PDF


def test_large_content_goes_through_in_parts(world: Any, tmp_path: Path) -> None:
    content = os.urandom(12 << 20)
    path = tmp_path / "large.bin"
    path.write_bytes(content)
    with world.context() as ctx:
        stored = storage.put(ctx, path, name="large.bin", purpose="document")
    assert read(world, stored.id) == content
    with world.context() as ctx, storage.open(ctx, stored.id) as reader:
        reader.seek(7 << 20)
        assert reader.read(100) == content[7 << 20 : (7 << 20) + 100]
        reader.seek(-5, io.SEEK_END)
        assert reader.read() == content[-5:]


class Spool(io.BufferedReader):
    """What the edge hands over: a private file that is whole, and whose sum is known."""

    def __init__(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        super().__init__(io.FileIO(path))
        self.sealed_path = str(path)
        self.sealed_digest = hashlib.sha256(content).digest()


def test_a_sealed_file_is_kept_like_any_other_and_outlives_its_spool(world: Any, tmp_path: Path) -> None:
    content = PDF + os.urandom(300_000)
    with Spool(tmp_path / "spooled", content) as source, world.context() as ctx:
        stored = storage.put(ctx, source, name="Plan.pdf", purpose="document", media_type="application/pdf")
    (tmp_path / "spooled").unlink()  # as the edge does when the request is over
    assert (stored.size, stored.sha256) == (len(content), hashlib.sha256(content).digest())
    assert stored.media_type == "application/pdf"
    assert read(world, stored.id) == content


def test_a_sealed_container_is_judged_by_its_directory(world: Any, tmp_path: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as container:
        container.writestr("[Content_Types].xml", "<Types/>")
        container.writestr("word/document.xml", "<document/>" * 10_000)
    with Spool(tmp_path / "spooled", made.getvalue()) as source, world.context() as ctx:
        stored = storage.put(ctx, source, name="a.docx", purpose="document")
    assert stored.media_type.endswith("wordprocessingml.document")


def test_a_sealed_file_is_taken_over_without_being_read(folder: Any, tmp_path: Path) -> None:
    with Spool(tmp_path / "spooled", os.urandom(1 << 20)) as source:
        with folder.context() as ctx:
            stored = storage.put(ctx, source, name="a.bin", purpose="document")
        assert source.tell() <= 8192  # its head, to be judged
    kept = folder.root / stored.key
    assert kept.samefile(tmp_path / "spooled")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert list((folder.root / ".incoming").iterdir()) == []


def test_a_sealed_file_is_flushed_to_disk_before_it_has_its_name(
    folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, int]] = []
    fsync, replace = os.fsync, Path.replace

    def flushed(handle: int) -> None:
        done.append(("flushed", os.fstat(handle).st_ino))
        fsync(handle)

    def named(self: Path, name: Path) -> Path:
        done.append((f"named {name.name}", self.stat().st_ino))
        return replace(self, name)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", named)
    with Spool(tmp_path / "spooled", PDF) as source, folder.context() as ctx:
        stored = storage.put(ctx, source, name="a.pdf", purpose="document")
    its = [what for what, inode in done if inode == (tmp_path / "spooled").stat().st_ino]
    assert its[-2:] == ["flushed", f"named {(folder.root / stored.key).name}"]


def test_a_sealed_file_on_another_file_system_is_copied(
    folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", link)
    with Spool(tmp_path / "spooled", PDF) as source, folder.context() as ctx:
        stored = storage.put(ctx, source, name="a.pdf", purpose="document")
    assert not (folder.root / stored.key).samefile(tmp_path / "spooled")
    assert read(folder, stored.id) == PDF


def test_a_sealed_file_that_was_begun_is_kept_from_where_it_stands(world: Any, tmp_path: Path) -> None:
    with Spool(tmp_path / "spooled", TEXT) as source, world.context() as ctx:
        source.seek(26)
        stored = storage.put(ctx, source, name="a.txt", purpose="document")
    assert read(world, stored.id) == TEXT[26:]


def test_a_sealed_file_past_its_cap_is_refused_and_leaves_nothing(folder: Any, tmp_path: Path) -> None:
    with Spool(tmp_path / "spooled", TEXT) as source, pytest.raises(TooLarge), folder.context() as ctx:
        storage.put(ctx, source, name="a.txt", purpose="document", max_bytes=len(TEXT) - 1)
    assert folder.blobs() == set()
    assert list((folder.root / ".incoming").iterdir()) == []
    assert (tmp_path / "spooled").read_bytes() == TEXT


def test_a_sealed_file_of_a_transaction_that_rolls_back_leaves_nothing(folder: Any, tmp_path: Path) -> None:
    def put_and_fail() -> None:
        with Spool(tmp_path / "spooled", TEXT) as source, folder.context() as ctx:
            storage.put(ctx, source, name="a.txt", purpose="document")
            raise NotFound("something else")

    with pytest.raises(NotFound):
        put_and_fail()
    assert folder.blobs() == set()
    assert (tmp_path / "spooled").read_bytes() == TEXT


def test_a_job_puts_without_holding_a_transaction(world: Any) -> None:
    held = 0
    work = world.work()
    plain = work.transaction

    @contextmanager
    def counted() -> Any:
        nonlocal held
        held += 1
        with plain() as ctx:
            yield ctx
        held -= 1

    class Source(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert held == 0
            return super().read(size)

    work.transaction = counted
    stored = storage.put(work, Source(TEXT), name="job.txt", purpose="document")
    assert read(world, stored.id) == TEXT


def test_an_empty_file_is_a_file(world: Any) -> None:
    stored = put(world, b"", "empty.txt")
    assert stored.size == 0
    assert read(world, stored.id) == b""


def test_nothing_of_the_callers_is_in_the_key(world: Any) -> None:
    stored = put(world, name="../../etc/passwd\u202efdp.exe")
    assert stored.name == "passwdfdp.exe"
    assert "passwd" not in stored.key
    assert stored.key.startswith(f"{world.organisation_id}/")
    assert world.blobs() == {stored.key}


def test_another_organisation_does_not_find_it(world: Any) -> None:
    stored = put(world)
    with world.context(world.found()) as ctx:
        for act in (storage.get, storage.open, storage.delete, storage.download_link):
            with pytest.raises(NotFound):
                act(ctx, stored.id)
        assert storage.get_many(ctx, [stored.id]) == []
        page, more = storage.list(ctx, page=OffsetPage(10, 0), purpose="document")
        assert (page.items, more) == ([], False)


def test_a_file_past_its_cap_is_refused_and_leaves_nothing(world: Any) -> None:
    with pytest.raises(TooLarge) as refused:
        put(world, b"x" * 2_000_000, max_bytes=1_000_000)
    assert refused.value.facts == {"max_bytes": 1_000_000}
    assert world.blobs() == set()
    assert world.usage().bytes == 0


def test_content_that_is_not_what_it_claims_is_refused_and_leaves_nothing(world: Any) -> None:
    with pytest.raises(Unprocessable):
        put(world, b"MZ\x90\x00" + b"\x00" * 100, "report.pdf", media_type="application/pdf")
    with pytest.raises(Unprocessable):
        put(world, TEXT, "notes.txt", allowed={"application/pdf"})
    assert world.blobs() == set()


def test_a_transaction_that_rolls_back_takes_the_bytes_with_it(world: Any) -> None:
    def change_ones_mind() -> None:
        with world.context() as ctx:
            storage.put(ctx, io.BytesIO(TEXT), name="a.txt", purpose="document")
            assert len(world.blobs()) == 1
            raise RuntimeError("the caller changes its mind")

    with pytest.raises(RuntimeError, match="mind"):
        change_ones_mind()
    assert world.blobs() == set()
    assert world.usage() == storage.Usage(0, 0, None)


def test_the_end_of_a_savepoint_is_no_commit(folder: Any) -> None:
    def change_ones_mind() -> None:
        with folder.context() as ctx:
            with ctx.session.begin_nested():
                storage.put(ctx, io.BytesIO(TEXT), name="a.txt", purpose="document")
            raise RuntimeError("the caller changes its mind")

    with pytest.raises(RuntimeError, match="mind"):
        change_ones_mind()
    assert folder.blobs() == set()


def test_a_source_that_breaks_leaves_nothing(world: Any) -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 6 << 20:
                raise OSError("gone")
            return super().read(size)

    with pytest.raises(OSError, match="gone"), world.context() as ctx:
        storage.put(ctx, Breaking(os.urandom(8 << 20)), name="a.bin", purpose="document")
    assert world.blobs() == set()
    assert world.store.clear(datetime.now(UTC) + timedelta(hours=1)) == 0


# --- quota ---------------------------------------------------------------------------------------------


def test_the_quota_is_never_passed_however_many_put_at_once(
    folder: Any, bind: Callable[..., Any], database: Any
) -> None:
    bind(quota=10 * len(TEXT))
    outcomes: list[str] = []

    def one() -> None:
        try:
            put(folder)
            outcomes.append("kept")
        except PaymentRequired:
            outcomes.append("full")

    threads = [threading.Thread(target=one) for _ in range(14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["full"] * 4 + ["kept"] * 10
    assert folder.usage() == storage.Usage(10 * len(TEXT), 10, 10 * len(TEXT))
    assert len(folder.blobs()) == 10


def test_what_was_agreed_with_the_organisation_comes_before_the_installations_quota(
    folder: Any, bind: Callable[..., Any]
) -> None:
    bind(quota=10)
    with pytest.raises(PaymentRequired) as refused:
        put(folder)
    counted = {"metric": "storage.storage_bytes", "limit": 10, "used": 0}
    assert refused.value.facts == {"reason": "storage_limit_reached", **counted}
    assert "10 bytes of files: 0 are taken, this needs " in refused.value.message
    with folder.context() as ctx:
        storage.set_quota(ctx, 5_000)
    put(folder)
    assert folder.usage() == storage.Usage(len(TEXT), 1, 5_000)


def test_a_plans_allowance_comes_before_the_installations_quota(
    folder: Any, bind: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from domain.billing import plans

    monkeypatch.setattr(plans, "_plans", {**plans._plans})
    plans.offer([plans.Plan("shelf", "small", 0, {"shelf.storage_bytes": 100})])
    bind(quota=1_000_000)
    assert folder.usage().quota == 100
    with pytest.raises(PaymentRequired):
        put(folder)


def test_deleting_gives_the_room_back(world: Any) -> None:
    stored = put(world)
    with world.context() as ctx:
        storage.delete(ctx, stored.id)
    assert world.usage() == storage.Usage(0, 0, None)


# --- damage and deletion -------------------------------------------------------------------------------


def test_damaged_content_is_never_handed_out_as_whole(folder: Any) -> None:
    stored = put(folder)
    path = folder.root / stored.key
    for damaged in (TEXT[:-1] + b"!", TEXT[:-1], TEXT + b"!", b""):
        path.write_bytes(damaged)
        with pytest.raises(storage.Damaged):
            read(folder, stored.id)
        with pytest.raises(storage.Damaged), folder.context() as ctx, storage.local_path(ctx, stored.id):
            pass


def test_content_that_the_store_has_lost_is_said_once_and_named(world: Any) -> None:
    stored = put(world)
    world.store.delete(stored.key)
    for error in (storage.Missing, storage.Damaged, Unavailable, NotFound):  # a fault, and to a job nothing to read
        with structlog.testing.capture_logs() as told, pytest.raises(error) as raised:
            read(world, stored.id)
        assert (raised.value.code, raised.value.message) == ("unavailable", "The stored content is missing.")
        [line] = told
        assert (line["log_level"], line["object"], line["key"]) == ("error", str(stored.id), stored.key)
    with pytest.raises(storage.Missing), storage.local_path(world.work(), stored.id):
        pass


@pytest.mark.parametrize("how", ["whole", "a part", "its head alone"])
def test_a_download_of_content_that_is_not_there_fails_before_its_first_byte(world: Any, how: str) -> None:
    stored = put(world)
    world.store.delete(stored.key)
    headers = {b"range": b"bytes=1-2"} if how == "a part" else {}
    with pytest.raises(storage.Missing):
        download(file(stored), headers, how == "its head alone")


def test_a_local_path_holds_the_verified_content(world: Any) -> None:
    stored = put(world)
    with storage.local_path(world.work(), stored.id) as path:
        assert path.read_bytes() == TEXT
    assert path.exists() == (world.store.path(stored.key) is not None)


def test_a_deleted_object_is_gone_at_once_and_its_bytes_after_the_job(world: Any) -> None:
    stored = put(world)
    with world.context() as ctx:
        storage.delete(ctx, stored.id)
        job = ctx.session.scalar(
            select(Job).where(Job.name == "storage.purge", Job.args["object_id"].astext == str(stored.id))
        )
        assert job is not None
    with world.context() as ctx:
        for act in (storage.get, storage.delete):
            with pytest.raises(NotFound):
                act(ctx, stored.id)
    assert world.blobs() == {stored.key}
    storage.purge(world.work(), stored.id)
    assert world.blobs() == set()
    storage.purge(world.work(), stored.id)
    with world.context() as ctx:
        assert ctx.session.scalar(select(storage.StoredObject)) is None


def test_a_deletion_is_repeated_until_the_store_is_back(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = put(folder)
    with folder.context() as ctx:
        storage.delete(ctx, stored.id)

    def away(key: str) -> None:
        raise Unavailable("The file storage failed.")

    with monkeypatch.context() as patched:
        patched.setattr(folder.store, "delete", away)
        work = folder.work()
        with pytest.raises(Unavailable):
            storage.purge(work, stored.id)
        assert not work.done
    work = folder.work()
    storage.purge(work, stored.id)
    assert work.done
    assert folder.blobs() == set()


def test_listing_pages_from_the_latest_and_leaves_out_what_is_deleted(folder: Any) -> None:
    made = [put(folder, name=f"{n}.txt") for n in range(5)]
    with folder.context() as ctx:
        storage.delete(ctx, made[2].id)
    with folder.context() as ctx:
        first, more = storage.list(ctx, page=OffsetPage(3, 0), purpose="document")
        assert ([o.name for o in first.items], more) == (["4.txt", "3.txt", "1.txt"], True)
        rest, more = storage.list(ctx, page=OffsetPage(3, 3), purpose="document")
        assert ([o.name for o in rest.items], more) == (["0.txt"], False)
        assert storage.list(ctx, page=OffsetPage(3, 0))[0].items == []


# --- crashes and sweeping ------------------------------------------------------------------------------


def test_a_put_that_dies_half_way_leaves_nothing_to_be_seen_and_is_swept(world: Any) -> None:
    coming = Incoming(world.organisation_id)
    coming.take(os.urandom(6 << 20))
    del coming  # killed: neither finish nor abort
    assert world.blobs() == set()
    staged = storage.stage(world.organisation_id, io.BytesIO(TEXT))  # killed between the bytes and the row
    kept = put(world)
    with world.context() as ctx:
        assert [o.id for o in storage.list(ctx, page=OffsetPage(10, 0), purpose="document")[0].items] == [kept.id]
    swept = storage.sweep(world.platform_work(), age=timedelta(hours=-1))
    assert swept.orphans >= 1
    assert swept.unfinished == 1
    assert staged.key not in world.blobs()
    assert read(world, kept.id) == TEXT


def test_what_is_young_is_not_swept(world: Any) -> None:
    staged = storage.stage(world.organisation_id, io.BytesIO(TEXT))
    storage.sweep(world.platform_work())
    assert staged.key in world.blobs()


def test_a_deletion_whose_job_was_lost_is_swept(world: Any) -> None:
    stored = put(world)
    with world.context() as ctx:
        storage.delete(ctx, stored.id)
    swept = storage.sweep(world.platform_work(), late=timedelta(hours=-1))
    assert swept.purged >= 1
    assert world.blobs() == set()


def test_an_organisation_that_is_closed_takes_its_bytes_along(folder: Any) -> None:
    put(folder)
    with folder.database.context(SystemActor("test"), None, platform=True) as ctx:
        for row in ctx.session.scalars(select(storage.StoredObject)):
            ctx.session.delete(row)
    storage.sweep(folder.platform_work(), age=timedelta(hours=-1))
    assert folder.blobs() == set()


def test_a_sweep_that_would_drop_most_of_the_store_drops_nothing(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from domain.storage import sweeping

    monkeypatch.setattr(sweeping, "SUSPECT", 3)
    for _ in range(3):
        storage.stage(folder.organisation_id, io.BytesIO(TEXT))
    put(folder)
    assert storage.sweep(folder.platform_work(), age=timedelta(hours=-1)).orphans == 0
    assert len(folder.blobs()) == 4


def test_an_erased_organisation_is_swept_however_much_it_had(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from domain.storage import sweeping

    monkeypatch.setattr(sweeping, "SUSPECT", 1)
    erased = folder.found()
    with folder.context(erased) as ctx:
        storage.put(ctx, io.BytesIO(TEXT), name="a.txt", purpose="document")
    with folder.database.context(SystemActor("test"), None, platform=True) as ctx:
        ctx.session.delete(ctx.session.get(identity.Organisation, erased))
    left = storage.stage(folder.organisation_id, io.BytesIO(TEXT))
    assert storage.sweep(folder.platform_work(), age=timedelta(hours=-1)).orphans == 1
    assert {entry.key for entry in folder.store.entries()} == {left.key}


def test_a_commit_whose_answer_is_lost_keeps_the_bytes(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def commit_and_lose_the_line(session: Any) -> None:
        commit(session)
        raise OperationalError("COMMIT", {}, Exception("connection lost"))

    commit = OrganisationSession.commit
    with monkeypatch.context() as patched:
        patched.setattr(OrganisationSession, "commit", commit_and_lose_the_line)
        with pytest.raises((Unavailable, OperationalError)):
            put(world)
    with world.context() as ctx:
        [stored] = storage.list(ctx, page=OffsetPage(10, 0), purpose="document")[0].items
    assert read(world, stored.id) == TEXT


def test_a_store_that_is_away_is_unavailable_and_says_nothing_internal(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if world.root is not None:
        world.root.rmdir() if world.root.exists() else None
        world.root.write_text("a file where the folder should be")
    else:
        monkeypatch.setattr(world.store, "bucket", "no-such-bucket")
    with pytest.raises(Unavailable) as failed:
        put(world)
    assert str(world.root) not in failed.value.message
    assert "no-such-bucket" not in failed.value.message
    with pytest.raises(Unavailable):
        storage.check()


def test_a_store_that_works_checks_out_and_keeps_no_trace_of_it(world: Any) -> None:
    before = list(world.store.entries())
    storage.check()
    assert list(world.store.entries()) == before
