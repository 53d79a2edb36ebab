"""Reading a document in survives `kill -9` in each of its stages: it ends complete, each passage once.

The real workers (`untrusted`, `default`) and scheduler on real servers. Whoever dies in a stage is found by what the
database says after the blow: a document that had gone on meanwhile is no proof, and another one is sent.
`THALWEG_TEST_FAULT_DOCUMENTS` sets how many blows each stage gets (default 2).
"""

from __future__ import annotations

import io
import os
import signal
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from uuid import UUID, uuid4

import psutil
import psycopg
import pytest

from domain import billing, identity, knowledge, storage
from domain.identity.models import Account
from domain.kernel import crypto
from domain.kernel.context import SystemActor, UserActor
from tests.faults.house import House

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]
BLOWS = int(os.environ.get("THALWEG_TEST_FAULT_DOCUMENTS", "2"))
TEXT = (ROOT / "docs" / "operations.md").read_bytes()
PERMISSIONS = frozenset({"documents:read", "documents:write", "knowledge:read", "knowledge:write"})


def slow_to_read() -> bytes:
    """A Word document that takes seconds to read and has few words: paragraphs without any, in the main."""
    space = "http://schemas.openxmlformats.org/"
    words = "".join(f"<w:p><w:r><w:t>Words of paragraph {n} of the agreement.</w:t></w:r></w:p>" for n in range(300))
    parts = {
        "[Content_Types].xml": f"<Types xmlns='{space}package/2006/content-types'><Default Extension='rels' "
        "ContentType='application/vnd.openxmlformats-package.relationships+xml'/><Override "
        "PartName='/word/document.xml' ContentType='application/vnd.openxmlformats-officedocument.wordprocessingml."
        "document.main+xml'/></Types>",
        "_rels/.rels": f"<Relationships xmlns='{space}package/2006/relationships'><Relationship Id='r' "
        f"Type='{space}officeDocument/2006/relationships/officeDocument' Target='word/document.xml'/></Relationships>",
        "word/document.xml": f"<w:document xmlns:w='{space}wordprocessingml/2006/main'><w:body>{words}"
        f"{'<w:p><w:r><w:t> </w:t></w:r></w:p>' * 10_000}</w:body></w:document>",
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as container:
        for name, content in parts.items():
            container.writestr(name, content)
    return made.getvalue()


class Library(House):
    """The processes that read documents in, and a connection that watches them."""

    PARTS: ClassVar = {
        "untrusted": ("worker", "--queue", "untrusted"),
        "default": ("worker", "--queue", "default"),
        "scheduler": ("scheduler",),
    }

    def furnish(self) -> None:
        self.watching = psycopg.connect(self.database_url, autocommit=True)
        crypto.use(crypto.KeyRing({"test": self.key}))
        storage.bind(
            SimpleNamespace(
                blob_url=None,
                data_dir=self.folder / "data",
                base_url="http://127.0.0.1:8080",
                storage_quota_bytes=0,
                storage_file_bytes=1 << 30,
            )
        )
        with self.database.context(SystemActor("test"), None, platform=True) as ctx:
            self.organisation = identity.create_organisation(ctx, name="Survivors", slug="survivors").id
        with self.database.context(SystemActor("test"), self.organisation) as ctx:
            billing.subscribe(ctx, "pro", "thallus")  # a plan whose passages are counted

    def close(self) -> None:
        self.watching.close()
        super().close()

    def upload(self, content: bytes, filename: str) -> UUID:
        """A document in the collection of somebody new, so that the same bytes may be there often."""
        with self.database.context(SystemActor("test"), None, platform=True) as ctx:
            mail = f"{uuid4().hex}@example.org"
            account = Account(email=mail, email_key=mail, name="A person", source="signup")
            ctx.session.add(account)
            ctx.session.flush()
            person = UserActor(account.id)
        with self.database.context(person, self.organisation, PERMISSIONS) as ctx:
            return knowledge.upload(ctx, io.BytesIO(content), filename=filename).document.id

    def ask(self, query: str, *given: Any) -> list[tuple[Any, ...]]:
        return list(self.watching.execute(query, given).fetchall())

    def stage(self, document_id: UUID) -> tuple[str, str | None]:
        """(state, stage) of the document's entry."""
        [row] = self.ask("SELECT state, stage FROM collection_entry WHERE document_id = %s", document_id)
        return row[0], row[1]

    def passages(self, document_id: UUID) -> list[tuple[int, str]]:
        query = "SELECT ordinal, text FROM chunk WHERE document_id = %s ORDER BY ordinal"
        return [(ordinal, text) for ordinal, text in self.ask(query, document_id)]

    def at_work(self, document_id: UUID, part: str) -> bool:
        """Whether a worker has this document in hand: that of one that was killed before looks as if it had, too."""
        job = "knowledge.index" if part == "untrusted" else "knowledge.embed"
        query = (
            "SELECT 1 FROM job JOIN collection_entry entry ON entry.id::text = job.args->>'entry_id' "
            "WHERE job.state = 'running' AND job.name = %s AND entry.document_id = %s"
        )
        return bool(self.ask(query, job, document_id))

    def come_to(self, document_id: UUID, look: Callable[[], bool], seconds: float = 90.0) -> bool:
        """Wait until `look` says so; False: the document ended before."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if look():
                return True
            if self.stage(document_id)[0] in ("completed", "failed"):
                return False
            time.sleep(0.002)
        raise AssertionError(f"the document stayed {self.stage(document_id)}: {self.log_path.read_text()[-3000:]}")

    def ended(self, document_ids: list[UUID], seconds: float = 180.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            left = [each for each in document_ids if self.stage(each)[0] not in ("completed", "failed")]
            if not left:
                return
            time.sleep(0.2)
        jobs = self.ask("SELECT name, state, attempts, last_error FROM job WHERE state <> 'done'")
        raise AssertionError(f"not read: {[self.stage(each) for each in left]}, {jobs}")

    def family(self, levels: int) -> list[psutil.Process]:
        """Descendants of the worker of `untrusted` so many levels down: 1 the job's process, 2 the reader of a file."""
        try:
            found = [psutil.Process(self.children["untrusted"].pid)]
        except psutil.NoSuchProcess:  # killed, and not started again yet
            return []
        for _ in range(levels):
            found = [child for each in found for child in _children(each)]
        return found


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children())
    except psutil.NoSuchProcess:
        return []


@pytest.fixture(scope="module")
def house() -> Iterator[Library]:
    with Library.standing() as house:
        yield house


@pytest.fixture(scope="module")
def whole(house: Library) -> dict[str, list[tuple[int, str]]]:
    """The passages of each file where nobody was killed."""
    ids = {name: house.upload(content, name) for name, content in files().items()}
    house.ended(list(ids.values()))
    found = {name: house.passages(document_id) for name, document_id in ids.items()}
    assert all(len(passages) > 5 for passages in found.values())
    return found


_files: dict[str, bytes] = {}


def files() -> dict[str, bytes]:
    if not _files:
        _files.update({"slow.docx": slow_to_read(), "operations.md": TEXT})
    return _files


def reader_is_up(house: Library) -> bool:
    return bool(house.family(2))


STAGES: dict[str, tuple[str, str, str, Callable[[Library], list[int]]]] = {
    # what dies: the file, the stage in the database, whose queue it is, the processes that are killed
    "the worker while a child reads": (
        "slow.docx", "extracting", "untrusted", lambda house: [house.children["untrusted"].pid],
    ),
    "the job's process while its child reads": (
        "slow.docx", "extracting", "untrusted", lambda house: [each.pid for each in house.family(1)],
    ),
    "the child that reads": (
        "slow.docx", "extracting", "untrusted", lambda house: [each.pid for each in house.family(2)],
    ),
    "the whole family": (
        "slow.docx", "extracting", "untrusted",
        lambda house: [each.pid for level in range(3) for each in house.family(level)],
    ),
    "the worker that cuts": ("operations.md", "chunking", "default", lambda house: [house.children["default"].pid]),
    "the worker that embeds": ("operations.md", "embedding", "default", lambda house: [house.children["default"].pid]),
}  # fmt: skip


@pytest.mark.timeout(400)
@pytest.mark.parametrize("who", STAGES)
def test_a_kill_in_a_stage_costs_no_document_and_doubles_no_passage(
    who: str, house: Library, whole: dict[str, list[tuple[int, str]]]
) -> None:
    name, stage, part, victims = STAGES[who]
    sent: list[UUID] = []
    struck: list[UUID] = []
    while len(struck) < BLOWS:
        assert len(sent) < BLOWS + 15, f"no blow fell into {stage}: {Counter(map(house.stage, sent))}"
        document_id = house.upload(files()[name], name)
        sent.append(document_id)

        def now(document_id: UUID = document_id) -> bool:
            if house.stage(document_id) != ("processing", stage) or not house.at_work(document_id, part):
                return False
            return part == "default" or reader_is_up(house)

        if not house.come_to(document_id, now):
            continue
        dead = victims(house)
        readers = [each.pid for each in house.family(2)] if part == "untrusted" else []
        hit = [pid for pid in dead if _strike(pid)]
        _gone(dead)
        if hit and house.stage(document_id) == ("processing", stage):
            struck.append(document_id)
        _gone(readers)
    house.ended(sent)
    failures = house.ask(
        "SELECT failure_code, failure FROM collection_entry WHERE document_id = ANY(%s) AND state <> 'completed'", sent
    )
    assert not failures
    for document_id in sent:
        assert house.passages(document_id) == whole[name], who
        [index] = house.ask("SELECT state, chunk_count, planned FROM passage_index WHERE document_id = %s", document_id)
        assert index == ("ready", len(whole[name]), len(whole[name]))
    attempts = house.ask(
        "SELECT max(attempts) FROM job WHERE args->>'entry_id' IN "
        "(SELECT id::text FROM collection_entry WHERE document_id = ANY(%s)) GROUP BY args->>'entry_id'",
        struck,
    )
    assert all(most > 1 for (most,) in attempts), "no blow interrupted an attempt: this run proves little"


def test_the_months_passages_were_counted_once(house: Library) -> None:
    """Runs after the kills: what was counted against the plan is what there is."""
    [(kept,)] = house.ask("SELECT count(*) FROM chunk")
    counted = house.ask("SELECT coalesce(sum(used), 0) FROM usage_counter WHERE metric = 'thallus.chunks'")
    assert counted == [(kept,)]
    twice = house.ask("SELECT document_id, ordinal FROM chunk GROUP BY 1, 2 HAVING count(*) > 1")
    assert not twice


def _strike(pid: int) -> bool:
    """False: it had ended by itself, or with its parent."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _gone(pids: list[int], seconds: float = 15.0) -> None:
    """Until none of the processes runs any more: what a killed parent had started dies with it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(_runs(pid) for pid in pids):
            return
        time.sleep(0.01)
    raise AssertionError(f"still there: {[pid for pid in pids if _runs(pid)]}")


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
