"""Tables of knowledge. A document has versions; a collection has entries; an entry shows one index of passages.

An index is one way of cutting and embedding one version. Several entries may share it, and while a new one is built the
entry goes on showing the old one: re-embedding never leaves a gap, and a passage row is written once and never changed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    Text,
    Uuid,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REGCONFIG, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from domain.kernel.models import Base, Identified, OrganisationOwned, Timestamped

DIMENSIONS = (384, 768, 1024, 1536)
"""Sizes of vectors that can be kept, a column and an HNSW graph each. NULLs cost neither room nor graph."""


class Collection(Identified, OrganisationOwned, Timestamped, Base):
    """A Thallus collection, a Bee Flow knowledge base or a Starter vector store."""

    __tablename__ = "collection"

    kind: Mapped[str] = mapped_column(String(16))
    owner_id: Mapped[UUID | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    """Whose it is; NULL: the organisation's."""
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"))
    name: Mapped[str] = mapped_column(String(128))
    name_key: Mapped[str] = mapped_column(String(300))
    """The name as it is compared."""
    description: Mapped[str | None] = mapped_column(Text)
    visibility: Mapped[str] = mapped_column(String(16))
    group_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), default=list, server_default=sql("'{}'"))
    is_default: Mapped[bool] = mapped_column(default=False, server_default=sql("false"))
    include_in_research: Mapped[bool] = mapped_column(default=True, server_default=sql("true"))
    language: Mapped[str | None] = mapped_column(String(35))
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=sql("'{}'::jsonb"))
    """`chunking` {unit, size, overlap}, `search_mode`, `min_score` (see `rules.Settings`)."""
    model: Mapped[str] = mapped_column(String(128))
    """The embedding model of new indexes."""
    notes: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=sql("'{}'::jsonb"))
    """The caller's own metadata."""
    generation: Mapped[int] = mapped_column(default=0, server_default=sql("0"))
    """How often everything was indexed anew."""
    reindex_total: Mapped[int | None]
    reindex_started_at: Mapped[datetime | None]
    expires_after_days: Mapped[int | None] = mapped_column(SmallInteger)
    last_active_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    expired_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    def over(self, now: datetime) -> bool:
        """Whether its time is over: `access.lasting` for a row in hand."""
        return self.expired_at is not None or (self.expires_at is not None and self.expires_at <= now)

    __organisation_index__: ClassVar[bool] = False
    __table_args__ = (
        CheckConstraint("kind IN ('collection', 'knowledge_base', 'vector_store')", name="kind"),
        CheckConstraint("visibility IN ('private', 'group', 'organisation', 'public')", name="visibility"),
        CheckConstraint("visibility <> 'private' OR owner_id IS NOT NULL", name="private_has_owner"),
        Index(
            "uq_collection_name",
            "organisation_id",
            "kind",
            "owner_id",
            "name_key",
            unique=True,
            postgresql_where=sql("deleted_at IS NULL"),
            postgresql_nulls_not_distinct=True,
        ),
        Index(
            "uq_collection_default",
            "organisation_id",
            "kind",
            "owner_id",
            unique=True,
            postgresql_where=sql("is_default AND deleted_at IS NULL"),
            postgresql_nulls_not_distinct=True,
        ),
        Index("ix_collection_expires_at", "expires_at", postgresql_where=sql("expires_at IS NOT NULL")),
        Index("ix_collection_deleted_at", "deleted_at", postgresql_where=sql("deleted_at IS NOT NULL")),
    )


class Document(Identified, OrganisationOwned, Timestamped, Base):
    """Something to read: an upload, a crawled page, a transcript, a file of a vector store. Its bytes are versioned."""

    __tablename__ = "document"

    source: Mapped[str] = mapped_column(String(16))
    home_id: Mapped[UUID | None] = mapped_column(ForeignKey("collection.id", ondelete="SET NULL"), index=True)
    """The collection it came in by; NULL for a page that is kept by itself."""
    owner_id: Mapped[UUID | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"))
    title: Mapped[str] = mapped_column(String(300))
    filename: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default=sql("'{}'"))
    attributes: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=sql("'{}'::jsonb"))
    url: Mapped[str | None] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(16))
    """`pdf`, `docx`, ... by its bytes (see `extraction.kinds`)."""
    media_type: Mapped[str] = mapped_column(String(128))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    version_id: Mapped[UUID | None]
    """The newest version. No foreign key: the version points here."""
    language: Mapped[str | None] = mapped_column(String(8))
    page_count: Mapped[int | None]
    event_number: Mapped[int] = mapped_column(default=0, server_default=sql("0"))
    events: Mapped[list[Any]] = mapped_column(JSONB, default=list, server_default=sql("'[]'::jsonb"))
    """The latest progress events, [number, name, data] each: what a stream that was torn off goes on with."""
    deleted_at: Mapped[datetime | None]

    __organisation_index__: ClassVar[bool] = False
    __table_args__ = (
        CheckConstraint("source IN ('upload', 'webpage', 'transcript', 'vector_file', 'email')", name="source"),
        Index("ix_document_listing", "organisation_id", "id"),
        Index("ix_document_deleted_at", "deleted_at", postgresql_where=sql("deleted_at IS NOT NULL")),
    )


class DocumentVersion(Identified, OrganisationOwned, Timestamped, Base):
    """Bytes of a document, and what reading them gave."""

    __tablename__ = "document_version"

    document_id: Mapped[UUID] = mapped_column(ForeignKey("document.id", ondelete="CASCADE"))
    number: Mapped[int]
    blob_id: Mapped[UUID]
    """A stored object of `domain.storage`."""
    owns_blob: Mapped[bool] = mapped_column(default=True, server_default=sql("true"))
    """Whether the blob goes when the version goes: a vector store's file belongs to the object storage."""
    kind: Mapped[str] = mapped_column(String(16))
    media_type: Mapped[str] = mapped_column(String(128))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(12), default="pending")
    failure_code: Mapped[str | None] = mapped_column(String(32))
    failure: Mapped[str | None] = mapped_column(String(2000))
    language: Mapped[str | None] = mapped_column(String(8))
    page_count: Mapped[int | None]
    characters: Mapped[int | None] = mapped_column(BigInteger)
    details: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=sql("'{}'::jsonb"))
    """What the file says of itself (title, author), and what a reader should know (`truncated`)."""
    extracted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("state IN ('pending', 'extracted', 'failed')", name="state"),
        Index("uq_document_version_number", "document_id", "number", unique=True),
    )


class ExtractedText(OrganisationOwned, Base):
    """The text of a version: blocks with their places, compressed (see `extraction.blocks`)."""

    __tablename__ = "extracted_text"

    version_id: Mapped[UUID] = mapped_column(ForeignKey("document_version.id", ondelete="CASCADE"), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class PassageIndex(Identified, OrganisationOwned, Timestamped, Base):
    """A version cut by one profile and embedded with one model."""

    __tablename__ = "passage_index"

    document_id: Mapped[UUID] = mapped_column(ForeignKey("document.id", ondelete="CASCADE"), index=True)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("document_version.id", ondelete="CASCADE"))
    profile: Mapped[str] = mapped_column(String(80))
    """The chunking as a word: unit, size, overlap, and the cutter's own version; `#n` for a forced new generation."""
    chunking: Mapped[dict[str, Any]]
    model: Mapped[str] = mapped_column(String(128))
    dimensions: Mapped[int] = mapped_column(SmallInteger)
    configuration: Mapped[str] = mapped_column(String(24))
    """PostgreSQL's text search configuration of the version's language."""
    state: Mapped[str] = mapped_column(String(10), default="building")
    planned: Mapped[int | None]
    """Passages it will have; known once the text is cut."""
    chunk_count: Mapped[int] = mapped_column(default=0, server_default=sql("0"))
    bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default=sql("0"))
    """What its passages take: text and vectors."""

    __table_args__ = (
        CheckConstraint("state IN ('building', 'ready')", name="state"),
        CheckConstraint("dimensions IN (384, 768, 1024, 1536)", name="dimensions"),
        Index("uq_passage_index_profile", "version_id", "profile", "model", unique=True),
    )


class CollectionEntry(Identified, OrganisationOwned, Timestamped, Base):
    """A document in a collection: how far its reading is, and which index searches see."""

    __tablename__ = "collection_entry"

    collection_id: Mapped[UUID] = mapped_column(ForeignKey("collection.id", ondelete="CASCADE"))
    document_id: Mapped[UUID] = mapped_column(ForeignKey("document.id", ondelete="CASCADE"))
    version_id: Mapped[UUID]
    """The version that is shown, or being read."""
    content_key: Mapped[str | None] = mapped_column(String(64))
    """The SHA-256, where the same bytes may stand in the collection only once."""
    external_id: Mapped[str | None] = mapped_column(String(64))
    """What a vector store's caller calls the file."""
    attributes: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=sql("'{}'::jsonb"))
    chunking: Mapped[dict[str, Any] | None]
    """Its own sizes; NULL: the collection's."""
    index_id: Mapped[UUID | None] = mapped_column(ForeignKey("passage_index.id", ondelete="SET NULL"), index=True)
    """What searches see."""
    pending_index_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("passage_index.id", ondelete="SET NULL"), index=True
    )
    """What is being built, and takes the place of `index_id` once it is whole."""
    reindex: Mapped[bool] = mapped_column(default=False, server_default=sql("false"))
    """Waits for its turn in an indexing of the whole collection."""
    state: Mapped[str] = mapped_column(String(12), default="pending")
    stage: Mapped[str | None] = mapped_column(String(12))
    progress: Mapped[int] = mapped_column(SmallInteger, default=0, server_default=sql("0"))
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0, server_default=sql("0"))
    failure_code: Mapped[str | None] = mapped_column(String(32))
    failure: Mapped[str | None] = mapped_column(String(2000))
    added_by: Mapped[UUID | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"))
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]

    __organisation_index__: ClassVar[bool] = False
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'processing', 'completed', 'failed')", name="state"),
        CheckConstraint("stage IN ('extracting', 'chunking', 'embedding')", name="stage"),
        Index("uq_collection_entry_document", "organisation_id", "collection_id", "document_id", unique=True),
        Index("uq_collection_entry_content", "collection_id", "content_key", unique=True),
        Index("uq_collection_entry_external", "collection_id", "external_id", unique=True),
        Index("ix_collection_entry_document_id", "document_id"),
    )


class Chunk(Identified, OrganisationOwned, Base):
    """A passage. Written once with its vector, never changed."""

    __tablename__ = "chunk"

    index_id: Mapped[UUID] = mapped_column(ForeignKey("passage_index.id", ondelete="CASCADE"))
    document_id: Mapped[UUID]
    version_id: Mapped[UUID]
    ordinal: Mapped[int]
    text: Mapped[str] = mapped_column(Text)
    heading: Mapped[str | None] = mapped_column(Text)
    page: Mapped[int | None]
    tokens: Mapped[int]
    position: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """`start`, `end` (characters of the extracted text), `headings`, `page`, `last_page`, `sheet`, `cells`, `seconds`:
    those that the format has."""
    model: Mapped[str] = mapped_column(String(128))
    configuration: Mapped[Any] = mapped_column(REGCONFIG)
    tsv: Mapped[Any] = mapped_column(
        TSVECTOR,
        Computed("to_tsvector(configuration, coalesce(heading, '') || ' ' || text)", persisted=True),
        deferred=True,
    )
    embedding_384: Mapped[Any] = mapped_column(HALFVEC(384), nullable=True, deferred=True)
    embedding_768: Mapped[Any] = mapped_column(HALFVEC(768), nullable=True, deferred=True)
    embedding_1024: Mapped[Any] = mapped_column(HALFVEC(1024), nullable=True, deferred=True)
    embedding_1536: Mapped[Any] = mapped_column(HALFVEC(1536), nullable=True, deferred=True)

    __table_args__ = (
        Index("uq_chunk_ordinal", "index_id", "ordinal", unique=True),
        Index("ix_chunk_tsv", "tsv", postgresql_using="gin"),
        *(
            Index(
                f"ix_chunk_embedding_{size}",
                f"embedding_{size}",
                postgresql_using="hnsw",
                postgresql_ops={f"embedding_{size}": "halfvec_cosine_ops"},
            )
            for size in DIMENSIONS
        ),
        {"postgresql_with": {"toast_tuple_target": 4080}},  # two rows a page, their vectors with them
    )


class Webpage(Identified, OrganisationOwned, Timestamped, Base):
    """An address that is crawled: one page, or what it links to, once or by a rhythm."""

    __tablename__ = "webpage"

    collection_id: Mapped[UUID | None] = mapped_column(ForeignKey("collection.id", ondelete="CASCADE"), index=True)
    added_by: Mapped[UUID | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    url: Mapped[str] = mapped_column(Text)
    url_key: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the address as it is compared."""
    title: Mapped[str | None] = mapped_column(String(300))
    depth: Mapped[int] = mapped_column(SmallInteger)
    max_pages: Mapped[int] = mapped_column(SmallInteger)
    refresh: Mapped[str] = mapped_column(String(8))
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default=sql("'{}'"))
    state: Mapped[str] = mapped_column(String(12), default="pending")
    failure_code: Mapped[str | None] = mapped_column(String(32))
    failure: Mapped[str | None] = mapped_column(String(2000))
    crawl: Mapped[int] = mapped_column(default=0, server_default=sql("0"))
    """The number of the crawl under way, or of the last one."""
    last_crawled_at: Mapped[datetime | None]
    next_crawl_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("state IN ('pending', 'processing', 'completed', 'failed')", name="state"),
        CheckConstraint("refresh IN ('never', 'daily', 'weekly', 'monthly')", name="refresh"),
        Index(
            "uq_webpage_collection_url",
            "collection_id",
            "url_key",
            unique=True,
            postgresql_where=sql("collection_id IS NOT NULL"),
        ),
        Index(
            "uq_webpage_own_url",
            "organisation_id",
            "added_by",
            "url_key",
            unique=True,
            postgresql_where=sql("collection_id IS NULL"),
            postgresql_nulls_not_distinct=True,
        ),
        Index("ix_webpage_next_crawl_at", "next_crawl_at", postgresql_where=sql("next_crawl_at IS NOT NULL")),
    )


class WebpagePart(Identified, OrganisationOwned, Timestamped, Base):
    """One page of a crawl. Its text is a document's."""

    __tablename__ = "webpage_part"

    webpage_id: Mapped[UUID] = mapped_column(ForeignKey("webpage.id", ondelete="CASCADE"))
    url: Mapped[str] = mapped_column(Text)
    url_key: Mapped[str] = mapped_column(String(64))
    title: Mapped[str | None] = mapped_column(String(300))
    depth: Mapped[int] = mapped_column(SmallInteger)
    crawl: Mapped[int]
    """The crawl that found it; those that an ended crawl no longer found go."""
    state: Mapped[str] = mapped_column(String(10), default="found")
    http_status: Mapped[int | None] = mapped_column(SmallInteger)
    etag: Mapped[str | None] = mapped_column(String(300))
    last_modified: Mapped[str | None] = mapped_column(String(64))
    content_hash: Mapped[str | None] = mapped_column(String(64))
    text: Mapped[str | None] = mapped_column(Text, deferred=True)
    """The page's main text in Markdown."""
    size: Mapped[int] = mapped_column(default=0, server_default=sql("0"))
    links: Mapped[list[Any]] = mapped_column(JSONB, default=list, server_default=sql("'[]'::jsonb"))
    """Where it leads: a page that has not changed since is not read again, and its links still count."""
    failure_code: Mapped[str | None] = mapped_column(String(32))
    failure: Mapped[str | None] = mapped_column(String(2000))
    document_id: Mapped[UUID | None] = mapped_column(ForeignKey("document.id", ondelete="SET NULL"), index=True)
    crawled_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("state IN ('found', 'read', 'failed')", name="state"),
        Index("uq_webpage_part_url", "webpage_id", "url_key", unique=True),
    )
