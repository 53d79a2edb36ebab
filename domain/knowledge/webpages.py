"""Addresses that are crawled: adding, reading and removing them. `crawling` visits them."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import undefer

from domain import audit
from domain.kernel import outbox, outgoing
from domain.kernel.context import Ctx
from domain.kernel.db import acting_for
from domain.kernel.errors import Conflict, Forbidden, NotFound, Unprocessable
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage, Page
from domain.knowledge import access, collections, documents
from domain.knowledge.models import Collection, Webpage, WebpagePart

REFRESH = {"daily": timedelta(days=1), "weekly": timedelta(days=7), "monthly": timedelta(days=30)}
QUEUE = "fetching"
MAX_TEXT = 1_000_000
MAX_URL = 2_048
_PORTS = {"http": 80, "https": 443}
_LOCAL = ("localhost", ".localhost", ".local", ".internal", ".home.arpa", ".lan")


@dataclass(frozen=True, slots=True)
class Crawled:
    """A webpage and what was read for it. `text` is the first page's, in Markdown."""

    webpage: Webpage
    parts: Sequence[WebpagePart] = ()
    text: str | None = None
    page_count: int = 0
    may_edit: bool = False


def add(
    ctx: Ctx,
    url: str,
    *,
    collection_id: UUID | None = None,
    title: str | None = None,
    depth: int = 0,
    max_pages: int = 1,
    refresh: str = "never",
    tags: Sequence[str] = (),
) -> Crawled:
    """Keep an address and promise its crawl. With a collection its text becomes searchable there.

    Raises `Unprocessable` (fact `reason`: `address_refused`), `NotFound`, `Forbidden`, `Conflict`.
    """
    address = normal(url)
    if collection_id is not None:
        collections.find(ctx, collection_id, "knowledge_base", edit=True)
    now = ctx.now()
    row = {
        "id": new_id(),
        "organisation_id": ctx.organisation,
        "collection_id": collection_id,
        "added_by": getattr(ctx.actor, "user_id", None),
        "url": address,
        "url_key": key_of(address),
        "title": title,
        "depth": depth,
        "max_pages": max_pages,
        "refresh": refresh,
        "tags": list(dict.fromkeys(tags)),
        "state": "pending",
        "crawl": 1,
        "created_at": now,
        "updated_at": now,
    }
    made = ctx.session.scalars(insert(Webpage).on_conflict_do_nothing().returning(Webpage), [row]).one_or_none()
    if made is None:
        raise Conflict("This address is there already.", reason="webpage_exists")
    promise(ctx, made)
    audit.record(
        ctx,
        "webpage.create",
        resource_type="webpage",
        resource_id=made.id,
        details={"host": urlsplit(address).hostname},
    )
    return Crawled(made, may_edit=True)


def promise(ctx: Ctx, webpage: Webpage) -> None:
    outbox.enqueue(ctx, "knowledge.crawl", {"webpage_id": str(webpage.id), "crawl": webpage.crawl}, queue=QUEUE)


def get(ctx: Ctx, webpage_id: UUID) -> Crawled:
    """With its pages and the text of the first. Raises `NotFound`."""
    found = _find(ctx, webpage_id)
    parts = ctx.session.scalars(
        select(WebpagePart)
        .where(WebpagePart.webpage_id == found.id, WebpagePart.crawled_at.is_not(None))
        .order_by(WebpagePart.depth, WebpagePart.id)
        .options(undefer(WebpagePart.text))
        .limit(500)
    ).all()
    text = next((part.text for part in parts if part.text and part.depth == 0), None)
    read = sum(1 for part in parts if part.state == "read")
    return Crawled(found, parts, None if text is None else text[:MAX_TEXT], read, _may_edit(ctx, found))


def list_webpages(
    ctx: Ctx,
    page: OffsetPage,
    *,
    search: str | None = None,
    collection_id: UUID | None = None,
    state: str | None = None,
) -> Page[Crawled]:
    """Those that the caller added and those of knowledge bases that they can use, the last added first.

    Raises `NotFound` for a knowledge base that the caller cannot see.
    """
    conditions = [_visible(access.viewer(ctx))]
    if collection_id is not None:
        collections.find(ctx, collection_id, "knowledge_base")
        conditions.append(Webpage.collection_id == collection_id)
    if state is not None:
        conditions.append(Webpage.state == state)
    for word in (search or "").split()[:10]:
        said = (Webpage.url, func.coalesce(Webpage.title, ""), func.array_to_string(Webpage.tags, " "))
        conditions.append(or_(*(each.icontains(word, autoescape=True) for each in said)))
    query = select(Webpage).outerjoin(Collection, Collection.id == Webpage.collection_id).where(*conditions)
    total = ctx.session.scalar(query.with_only_columns(func.count(Webpage.id)))
    rows = ctx.session.scalars(query.order_by(Webpage.id.desc()).offset(page.offset).limit(page.limit)).all()
    counts = ctx.session.execute(
        select(WebpagePart.webpage_id, func.count(WebpagePart.id))
        .where(WebpagePart.webpage_id.in_([each.id for each in rows]), WebpagePart.state == "read")
        .group_by(WebpagePart.webpage_id)
    )
    read = {webpage_id: count for webpage_id, count in counts}  # noqa: C416 - rows are no tuples to the checker
    return Page(
        [Crawled(each, page_count=read.get(each.id, 0), may_edit=_may_edit(ctx, each)) for each in rows],
        total=total,
    )


def remove(ctx: Ctx, webpage_id: UUID) -> None:
    """Remove it with the text that it brought, and end its crawls. Raises `NotFound`, `Forbidden`."""
    found = _find(ctx, webpage_id)
    if not _may_edit(ctx, found):
        raise Forbidden("Those who added it, or may change its knowledge base, can remove it.")
    parts = ctx.session.scalars(select(WebpagePart).where(WebpagePart.webpage_id == found.id)).all()
    documents.discard(ctx, [part.document_id for part in parts if part.document_id is not None])
    ctx.session.delete(found)
    audit.record(ctx, "webpage.delete", resource_type="webpage", resource_id=webpage_id)


def due(ctx: Ctx) -> int:
    """Promise the crawls whose time has come. A cron, as the platform."""
    now = ctx.now()
    rows = ctx.session.execute(
        select(Webpage.id, Webpage.organisation_id)
        .where(Webpage.next_crawl_at <= now)
        .order_by(Webpage.next_crawl_at)
        .limit(500)
    ).all()
    for webpage_id, organisation_id in rows:
        with acting_for(ctx, organisation_id) as theirs:
            found = theirs.session.get(Webpage, webpage_id, with_for_update=True, populate_existing=True)
            if found is None or found.next_crawl_at is None or found.next_crawl_at > now:
                continue
            found.crawl += 1
            found.next_crawl_at = next_after(found.refresh, now)
            theirs.session.flush()
            promise(theirs, found)
    return len(rows)


def next_after(refresh: str, now: datetime) -> datetime | None:
    rhythm = REFRESH.get(refresh)
    return None if rhythm is None else now + rhythm


def _find(ctx: Ctx, webpage_id: UUID) -> Webpage:
    found = ctx.session.scalars(
        select(Webpage)
        .outerjoin(Collection, Collection.id == Webpage.collection_id)
        .where(Webpage.id == webpage_id, _visible(access.viewer(ctx)))
    ).one_or_none()
    if found is None:
        raise NotFound("There is no such webpage.")
    return found


def _visible(eyes: access.Viewer) -> ColumnElement[bool]:
    within = Collection.id.is_not(None) & access.visible(eyes)
    if eyes.everything:
        return within | Webpage.collection_id.is_(None)
    return within if eyes.user_id is None else within | (Webpage.added_by == eyes.user_id)


def _may_edit(ctx: Ctx, webpage: Webpage) -> bool:
    if webpage.added_by is not None and webpage.added_by == getattr(ctx.actor, "user_id", None):
        return True
    if webpage.collection_id is not None:
        return access.may_edit(ctx, ctx.session.get_one(Collection, webpage.collection_id))
    return bool({"organisation:manage", "admin"} & ctx.permissions)


# --- addresses ------------------------------------------------------------------------------------------------


def key_of(url: str) -> str:
    """What two spellings of one address have in common."""
    return hashlib.sha256(url.encode()).hexdigest()


def normal(url: str) -> str:
    """The address as RFC 3986 writes it, without fragment, default port and capitals in its host.

    Raises `Unprocessable` (fact `reason`: `address_refused`) for one that is not of the public Internet as far as that
    can be told without asking: names are judged again by what they resolve to, at every connection.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").rstrip(".").lower(), parts.port
    except ValueError:
        raise _refused("This is not an address.") from None
    if parts.scheme.lower() not in _PORTS or not host:
        raise _refused("Only addresses with http or https are crawled.")
    if parts.username is not None or parts.password is not None:
        raise _refused("An address with a password in it is not crawled.")
    try:
        literal: ipaddress.IPv4Address | ipaddress.IPv6Address | None = ipaddress.ip_address(host)
    except ValueError:
        literal = None
    if literal is not None:
        if not outgoing.client().may_call(literal):
            raise _refused("This address is not of the public Internet.")
    elif host.endswith(_LOCAL) or "." not in host:
        raise _refused("This name is not of the public Internet.")
    scheme = parts.scheme.lower()
    shown = f"[{host}]" if ":" in host else host
    where = shown if port in (None, _PORTS[scheme]) else f"{shown}:{port}"
    address = urlunsplit((scheme, where, _written(parts.path) or "/", _written(parts.query, "?"), ""))
    if not address.isascii() or len(address) > MAX_URL:
        raise _refused(f"An address has {MAX_URL:,} characters at most, and a host in ASCII.")
    return address


_STRAY = re.compile(r"%(?![0-9A-Fa-f]{2})")


def _written(part: str, more: str = "") -> str:
    """A path or query with everything escaped that an address may not hold: pages link to what browsers understand."""
    return quote(_STRAY.sub("%25", part), safe="/%:@!$&'()*+,;=~-._" + more)


def _refused(why: str) -> Unprocessable:
    return Unprocessable(why, reason="address_refused")
