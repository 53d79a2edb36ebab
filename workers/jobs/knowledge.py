"""Jobs of knowledge: reading in, indexing anew, crawling, erasing. Strangers' bytes are read in `untrusted`; strangers'
hosts are waited for in `fetching`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from marshmallow import Schema, fields

from domain import knowledge
from domain.kernel.context import Ctx, Work
from workers.registry import cron, job, warm


class EntryArgs(Schema):
    entry_id = fields.UUID(required=True)


class EmbedArgs(EntryArgs):
    waits = fields.Integer()


class CollectionArgs(Schema):
    collection_id = fields.UUID(required=True)


class PurgeArgs(Schema):
    collection_id = fields.UUID()
    document_id = fields.UUID()


class CrawlArgs(Schema):
    webpage_id = fields.UUID(required=True)
    crawl = fields.Integer(required=True)


def give_up(ctx: Ctx, args: dict[str, Any], reason: str) -> None:
    """A document that cannot be read must say so."""
    knowledge.ingestion.give_up(ctx, UUID(str(args["entry_id"])), reason)


def give_up_crawl(ctx: Ctx, args: dict[str, Any], reason: str) -> None:
    knowledge.crawling.give_up(ctx, UUID(str(args["webpage_id"])), reason)


@job("knowledge.index", queue="untrusted", args=EntryArgs, soft=180, hard=200, max_attempts=5, on_failed=give_up)
def index(work: Work, args: dict[str, Any]) -> None:
    knowledge.ingestion.index(work, args["entry_id"])


@job("knowledge.embed", args=EmbedArgs, soft=240, hard=270, max_attempts=5, on_failed=give_up)
def embed(work: Work, args: dict[str, Any]) -> None:
    knowledge.ingestion.embed(work, args["entry_id"], args.get("waits", 0))


@job("knowledge.reindex", args=CollectionArgs, soft=120, hard=150)
def reindex(work: Work, args: dict[str, Any]) -> None:
    knowledge.upkeep.run_reindex(work, args["collection_id"])


@job("knowledge.purge", args=PurgeArgs, soft=240, hard=270, max_attempts=10)
def purge(work: Work, args: dict[str, Any]) -> None:
    knowledge.upkeep.purge(work, document_id=args.get("document_id"), collection_id=args.get("collection_id"))


@job(
    "knowledge.crawl",
    queue="fetching",
    args=CrawlArgs,
    soft=180,
    hard=200,
    max_attempts=5,
    on_failed=give_up_crawl,
    of_one=4,
)
def crawl(work: Work, args: dict[str, Any]) -> None:
    knowledge.crawling.crawl(work, args["webpage_id"], args["crawl"])


@cron("*/5 * * * *")
@job("knowledge.recrawl", simple=True)
def recrawl(ctx: Ctx, args: dict[str, Any]) -> None:
    knowledge.webpages.due(ctx)


@cron("*/10 * * * *")
@job("knowledge.expire", simple=True)
def expire(ctx: Ctx, args: dict[str, Any]) -> None:
    knowledge.upkeep.expire(ctx)


@cron("20 3 * * *")
@job("knowledge.sweep", simple=True)
def sweep(ctx: Ctx, args: dict[str, Any]) -> None:
    knowledge.upkeep.sweep(ctx)


@warm("fetching")
def load_page_reader() -> None:
    """Pages are all that is parsed here."""
    knowledge.warm(["html"])


warm("untrusted")(knowledge.warm)
