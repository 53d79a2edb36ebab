"""Visiting webpages: politely (robots.txt, a pause between pages), within bounds, and so that it can be cut off.

Many crawls wait for their hosts beside each other in one process; what came is parsed in a child (`sandbox`).

A crawl is a number of its webpage. Its frontier is in the database: the pages it has found and not read yet. Each page
is one visit and one transaction; a crawl that is interrupted goes on with the next page.
"""

from __future__ import annotations

import hashlib
import io
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from domain import storage
from domain.kernel import outbox, outgoing
from domain.kernel.context import Ctx, Work
from domain.kernel.errors import DomainError, PaymentRequired, Unprocessable
from domain.kernel.ids import new_id
from domain.knowledge import documents, quotas
from domain.knowledge.extraction import sandbox
from domain.knowledge.extraction.blocks import Unreadable
from domain.knowledge.extraction.kinds import KINDS
from domain.knowledge.models import Collection, Document, Webpage, WebpagePart
from domain.knowledge.webpages import QUEUE, key_of, next_after, normal

if TYPE_CHECKING:
    from protego import Protego

AGENT = "ThalwegBot"
PAGE_BYTES = 5 << 20
PAGE_SECONDS = 20.0
ROBOTS_BYTES = 512 * 1024
REDIRECTS = 5
PAUSE = 0.2
MOST_PAUSE = 5.0
"""Seconds between two pages of a host: ours, and the most that its robots.txt is heard about."""
TURN = 60.0
READERS = 8
"""Pages that one process parses at once: each in a child that may take hundreds of megabytes."""
READABLE = ("text/html", "application/xhtml+xml", "text/plain", "text/markdown")


_readers = threading.BoundedSemaphore(READERS)


class Failed(Exception):
    """Why a page could not be read, in the contract's words."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass(frozen=True, slots=True)
class _Task:
    part_id: UUID
    url: str
    depth: int
    etag: str | None
    last_modified: str | None
    content_hash: str | None
    filed: bool
    """Its text goes into a collection."""


@dataclass(frozen=True, slots=True)
class _Visit:
    """What a visit gave. `unchanged`: the page is as it was."""

    status: int
    url: str
    unchanged: bool = False
    title: str | None = None
    markdown: str = ""
    links: tuple[str, ...] = ()
    etag: str | None = None
    last_modified: str | None = None

    @property
    def content_hash(self) -> str:
        return hashlib.sha256(self.markdown.encode()).hexdigest()


def crawl(work: Work, webpage_id: UUID, number: int) -> None:
    """Carry out crawl `number`, or go on with it. The job `knowledge.crawl`, in a thread among others."""
    began = time.monotonic()
    with work.transaction() as ctx:
        found = ctx.session.get(Webpage, webpage_id, with_for_update=True)
        if found is None or found.crawl != number or _homeless(ctx, found):
            work.complete(ctx)
            return
        found.state = "processing"
        root, organisation_id = found.url, ctx.organisation
        _found(ctx, found, [root], 0)
    visitor = Visitor(root)
    while True:
        with work.transaction() as ctx:
            task = _next(ctx, webpage_id, number)
            if task is None:
                _finish(ctx, webpage_id, number)
                work.complete(ctx)
                return
            if time.monotonic() - began > TURN or work.remaining() < 60:
                outbox.enqueue(ctx, "knowledge.crawl", {"webpage_id": str(webpage_id), "crawl": number}, queue=QUEUE)
                work.complete(ctx)
                return
        work.heartbeat()
        try:
            visit = visitor.visit(task)
            changed = not visit.unchanged and visit.content_hash != task.content_hash
            # The bytes are stored before the transaction that refers to them; if it fails, they are swept.
            staged = (
                storage.stage(organisation_id, io.BytesIO(visit.markdown.encode())) if changed and task.filed else None
            )
        except Failed as why:
            with work.transaction() as ctx:
                _failed(ctx, task, why)
            continue
        with work.transaction() as ctx:
            _read(ctx, webpage_id, number, task, visit, staged, visitor, changed=changed)


def _homeless(ctx: Ctx, webpage: Webpage) -> bool:
    """Its collection was deleted and waits to be erased, and the webpage with it."""
    if webpage.collection_id is None:
        return False
    home = ctx.session.get(Collection, webpage.collection_id)
    return home is None or home.deleted_at is not None


class Visitor:
    """Reads pages of one crawl, with what the hosts' robots.txt ask."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.host = urlsplit(root).netloc
        self.prefix = urlsplit(root).path.rpartition("/")[0] + "/"
        self._robots: dict[str, Protego | Failed] = {}
        self._visited_at = 0.0

    def within(self, url: str) -> bool:
        """On the host of the first page, and below its path."""
        parts = urlsplit(url)
        return parts.netloc == self.host and parts.path.startswith(self.prefix)

    def visit(self, task: _Task) -> _Visit:
        """Fetch and read a page. Raises `Failed`."""
        url = task.url
        headers = {"User-Agent": f"{AGENT}/1.0", "Accept": "text/html,application/xhtml+xml,text/plain;q=0.8"}
        if task.etag:
            headers["If-None-Match"] = task.etag
        if task.last_modified:
            headers["If-Modified-Since"] = task.last_modified
        for _ in range(REDIRECTS + 1):
            self._allowed(url)
            answer = self._get(url, headers)
            location = answer.headers.get("location")
            if answer.status in (301, 302, 303, 307, 308) and location:
                url = self._redirected(task, url, location)
                continue
            break
        else:
            raise Failed("http_error", "The page leads from one address to the next without an end.", answer.status)
        if answer.status == 304:
            return _Visit(304, url, unchanged=True)
        if not answer.ok:
            raise Failed("http_error", f"The host answered {answer.status}.", answer.status)
        return self._understood(url, answer)

    def _understood(self, url: str, answer: outgoing.Answer) -> _Visit:
        kind = answer.headers.get("content-type", "text/html").partition(";")[0].strip().lower()
        if kind not in READABLE:
            raise Failed("unreadable", f"The address answers {kind[:80]}, which is not a page.", answer.status)
        try:
            if kind in ("text/plain", "text/markdown"):
                title, markdown, links, robots = None, answer.content.decode("utf-8", "replace"), [], frozenset[str]()
            else:
                with _readers:
                    page = sandbox.read_page(answer.content, url)
                title, markdown, links, robots = page.title, page.markdown, page.links, page.robots
        except Unreadable as wrong:
            raise Failed("unreadable", wrong.message, answer.status) from None
        if robots & {"noindex", "none"}:
            raise Failed("robots_forbidden", "The page asks not to be taken in (noindex).", answer.status)
        if not markdown.strip():
            raise Failed("unreadable", "There is no text on the page.", answer.status)
        return _Visit(
            answer.status,
            url,
            title=title,
            markdown=markdown.replace("\x00", ""),
            links=() if robots & {"nofollow"} else tuple(links),
            etag=answer.headers.get("etag", "")[:300] or None,
            last_modified=answer.headers.get("last-modified", "")[:64] or None,
        )

    def _redirected(self, task: _Task, url: str, location: str) -> str:
        try:
            target = normal(urljoin(url, location))
        except Unprocessable as wrong:
            raise Failed("address_refused", wrong.message) from None
        if task.depth == 0:  # where the first page really is decides what belongs to it
            self.host = urlsplit(target).netloc
            self.prefix = urlsplit(target).path.rpartition("/")[0] + "/"
        elif not self.within(target):
            raise Failed("http_error", "The page leads away from the host.")
        return target

    def _allowed(self, url: str) -> None:
        host = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        if host not in self._robots:
            self._robots[host] = self._rules(host)
        rules = self._robots[host]
        if isinstance(rules, Failed):
            raise Failed(rules.code, rules.message)
        if not rules.can_fetch(url, AGENT):
            raise Failed("robots_forbidden", "The host's robots.txt forbids this page.")
        pause = min(MOST_PAUSE, max(PAUSE, float(rules.crawl_delay(AGENT) or 0)))
        time.sleep(max(0.0, self._visited_at + pause - time.monotonic()))
        self._visited_at = time.monotonic()

    def _rules(self, host: str) -> Protego | Failed:
        """What cannot be asked forbids (RFC 9309, 2.3.1.4): why it cannot."""
        from protego import Protego  # late: only a worker crawls

        try:
            answer = self._get(f"{host}/robots.txt", {"User-Agent": f"{AGENT}/1.0"}, most=ROBOTS_BYTES)
        except Failed as wrong:
            if wrong.code == "address_refused":
                raise
            return wrong
        if answer.status >= 500:
            return Failed("robots_forbidden", "The host's robots.txt cannot be read just now.")
        return Protego.parse(answer.content.decode("utf-8", "replace") if answer.ok else "")

    def _get(self, url: str, headers: dict[str, str], most: int = PAGE_BYTES) -> outgoing.Answer:
        try:
            return outgoing.client().get(url, headers=headers, seconds=PAGE_SECONDS, max_bytes=most)
        except outgoing.Refused:
            raise Failed("address_refused", "The address is not of the public Internet.") from None
        except outgoing.TooMuch:
            raise Failed("unreadable", f"The answer is larger than {most >> 20 or 1} MB.") from None
        except DomainError:
            raise Failed("unreachable", "The host cannot be reached, or did not answer in time.") from None


def _found(ctx: Ctx, webpage: Webpage, urls: list[str], depth: int) -> None:
    """Note pages that the crawl has met; those it has met before stay as they are."""
    keys = {key_of(url): url for url in urls}
    known = {
        part.url_key: part
        for part in ctx.session.scalars(
            select(WebpagePart).where(WebpagePart.webpage_id == webpage.id, WebpagePart.url_key.in_(keys))
        )
    }
    for part in known.values():
        if part.crawl < webpage.crawl:
            part.crawl, part.state, part.depth = webpage.crawl, "found", depth
    now = ctx.now()
    rows = [
        {
            "id": new_id(),
            "organisation_id": ctx.organisation,
            "webpage_id": webpage.id,
            "url": url,
            "url_key": key,
            "depth": depth,
            "crawl": webpage.crawl,
            "state": "found",
            "created_at": now,
            "updated_at": now,
        }
        for key, url in keys.items()
        if key not in known
    ]
    if rows:
        ctx.session.execute(insert(WebpagePart).on_conflict_do_nothing(), rows)


def _next(ctx: Ctx, webpage_id: UUID, number: int) -> _Task | None:
    found = ctx.session.get(Webpage, webpage_id, populate_existing=True)
    if found is None or found.crawl != number:
        return None
    done = ctx.session.scalar(
        select(func.count(WebpagePart.id)).where(
            WebpagePart.webpage_id == webpage_id, WebpagePart.crawl == number, WebpagePart.state != "found"
        )
    )
    if (done or 0) >= found.max_pages:
        return None
    part = ctx.session.scalars(
        select(WebpagePart)
        .where(WebpagePart.webpage_id == webpage_id, WebpagePart.crawl == number, WebpagePart.state == "found")
        .order_by(WebpagePart.depth, WebpagePart.id)
        .limit(1)
    ).one_or_none()
    if part is None:
        return None
    kept = part.content_hash is not None
    return _Task(
        part.id,
        part.url,
        part.depth,
        part.etag if kept else None,
        part.last_modified if kept else None,
        part.content_hash,
        found.collection_id is not None,
    )


def _read(
    ctx: Ctx,
    webpage_id: UUID,
    number: int,
    task: _Task,
    visit: _Visit,
    staged: storage.Staged | None,
    visitor: Visitor,
    *,
    changed: bool,
) -> None:
    webpage = ctx.session.get(Webpage, webpage_id, with_for_update=True)
    part = ctx.session.get(WebpagePart, task.part_id)
    if webpage is None or part is None or webpage.crawl != number:
        return
    part.state, part.http_status, part.crawled_at = "read", visit.status, ctx.now()
    part.failure_code = part.failure = None
    links = [str(each) for each in part.links]
    if not visit.unchanged:
        part.etag, part.last_modified = visit.etag, visit.last_modified
        links = [link for link in dict.fromkeys(map(_normal, visit.links)) if link and visitor.within(link)]
        part.title = visit.title
        part.links = links
    if staged is not None:
        try:
            _file(ctx, webpage, part, visit, staged)
        except PaymentRequired as full:  # before anything was written
            part.state, part.failure_code, part.failure = "failed", "unreadable", full.message[:2000]
            return
    if changed:
        part.text, part.size = visit.markdown[:1_000_000], len(visit.markdown.encode())
        part.content_hash = visit.content_hash
    if task.depth < webpage.depth and links:
        _found(ctx, webpage, links[: 4 * webpage.max_pages], task.depth + 1)
    if task.depth == 0 and webpage.title is None and part.title:
        webpage.title = part.title


def _normal(url: str) -> str | None:
    try:
        return normal(url)
    except Unprocessable:
        return None


def _file(ctx: Ctx, webpage: Webpage, part: WebpagePart, visit: _Visit, staged: storage.Staged) -> None:
    """The page's text as a document of the webpage's collection, or as a new version of the one it is already."""
    collection = ctx.session.get_one(Collection, webpage.collection_id)
    title = (webpage.title if part.depth == 0 and webpage.title else part.title) or part.url
    name = f"{title[:200]}.md"
    quotas.room_for_document(ctx, collection.kind, staged.size)
    document = None if part.document_id is None else ctx.session.get(Document, part.document_id)
    if document is not None and document.deleted_at is None:
        stored = storage.keep(ctx, staged, name=name, purpose=documents.PURPOSE)
        documents.new_version(
            ctx,
            document,
            blob_id=stored.id,
            kind=KINDS["md"],
            size=staged.size,
            sha256=staged.sha256.hex(),
            title=title,
        )
        return
    stored = storage.keep(ctx, staged, name=name, purpose=documents.PURPOSE)
    filed = documents.add(
        ctx,
        collection,
        blob_id=stored.id,
        kind=KINDS["md"],
        size=staged.size,
        sha256=staged.sha256.hex(),
        filename=stored.name,
        title=title,
        tags=webpage.tags,
        source="webpage",
        url=visit.url,
        distinct=False,
        added_by=webpage.added_by,
    )
    part.document_id = filed.document.id


def _failed(ctx: Ctx, task: _Task, why: Failed) -> None:
    part = ctx.session.get(WebpagePart, task.part_id)
    if part is None:
        return
    part.state, part.crawled_at = "failed", ctx.now()
    part.http_status = why.status
    part.failure_code, part.failure = why.code, why.message[:2000]
    if why.status in (404, 410) and part.document_id is not None:  # it is gone, and so is what it said
        documents.discard(ctx, [part.document_id])
        part.document_id = part.content_hash = part.text = None


def _finish(ctx: Ctx, webpage_id: UUID, number: int) -> None:
    """The crawl is over: pages that it did not meet go, and the webpage says how it went."""
    webpage = ctx.session.get(Webpage, webpage_id, with_for_update=True, populate_existing=True)
    if webpage is None or webpage.crawl != number:
        return
    parts = ctx.session.scalars(select(WebpagePart).where(WebpagePart.webpage_id == webpage_id)).all()
    first = next((part for part in parts if part.depth == 0 and part.crawl == number), None)
    failed = first is None or first.state == "failed"
    if not failed:
        for part in parts:
            if part.crawl < number:
                documents.discard(ctx, [part.document_id] if part.document_id else [])
                ctx.session.delete(part)
            elif part.state == "found":  # beyond the number of pages
                ctx.session.delete(part)
    webpage.state = "failed" if failed else "completed"
    webpage.failure_code = first.failure_code if failed and first else None
    webpage.failure = first.failure if failed and first else None
    webpage.last_crawled_at = ctx.now()
    webpage.next_crawl_at = next_after(webpage.refresh, ctx.now())


def give_up(ctx: Ctx, webpage_id: UUID, reason: str) -> None:
    """All attempts failed. `reason` is for operators."""
    webpage = ctx.session.get(Webpage, webpage_id)
    if webpage is not None:
        webpage.state, webpage.failure_code = "failed", "unreachable"
        webpage.failure = "The page could not be read in several attempts."
        webpage.last_crawled_at = ctx.now()
        webpage.next_crawl_at = next_after(webpage.refresh, ctx.now())
