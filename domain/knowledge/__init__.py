"""Knowledge: what people upload, crawl and record, made searchable and citable. One store behind every surface.

Collections (`create`, `get`, `list_collections`, `update_collection`, `delete_collection`, `default`), documents
(`upload`, `find`, `list_documents`, `passages`, `original`, `move`, `remove`), knowledge bases (`bases`) and public
ones of other organisations (`marketplace`), vector stores (`stores`) and their files (`vector_files`), webpages
(`webpages`), `search`, `reindex`; for jobs `ingestion`, `upkeep`, `crawling`; progress by `events_after`.
See docs/knowledge.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.kernel.lazily import offers

if TYPE_CHECKING:
    from domain.knowledge import (
        access,
        asking,
        bases,
        crawling,
        ingestion,
        marketplace,
        stores,
        upkeep,
        vector_files,
        webpages,
    )
    from domain.knowledge.collections import (
        UNSET,
        Holding,
        create,
        default,
        delete_collection,
        get,
        get_many,
        list_collections,
        update_collection,
    )
    from domain.knowledge.documents import Filed, find, list_documents, move, original, passages, remove, upload
    from domain.knowledge.documents import get_many as get_documents
    from domain.knowledge.extraction.kinds import KINDS, NotTaken
    from domain.knowledge.extraction.readers import warm
    from domain.knowledge.models import Chunk, Collection, CollectionEntry, Document
    from domain.knowledge.progress import channel, events_after
    from domain.knowledge.rules import Chunking, Settings
    from domain.knowledge.searching import Citation, Found, Passage, in_reach, search
    from domain.knowledge.transcripts import add_transcript
    from domain.knowledge.upkeep import Reindexing, reindex
else:
    __getattr__ = offers(__name__, __file__)

__all__ = [
    "KINDS",
    "UNSET",
    "Chunk",
    "Chunking",
    "Citation",
    "Collection",
    "CollectionEntry",
    "Document",
    "Filed",
    "Found",
    "Holding",
    "NotTaken",
    "Passage",
    "Reindexing",
    "Settings",
    "access",
    "add_transcript",
    "asking",
    "bases",
    "channel",
    "crawling",
    "create",
    "default",
    "delete_collection",
    "events_after",
    "find",
    "get",
    "get_documents",
    "get_many",
    "in_reach",
    "ingestion",
    "list_collections",
    "list_documents",
    "marketplace",
    "move",
    "original",
    "passages",
    "reindex",
    "remove",
    "search",
    "stores",
    "update_collection",
    "upkeep",
    "upload",
    "vector_files",
    "warm",
    "webpages",
]
