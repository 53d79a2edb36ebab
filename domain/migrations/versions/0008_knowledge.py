"""Knowledge: collections, documents and their versions, passages, webpages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "collection",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("name_key", sa.String(length=300), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("visibility", sa.String(length=16), nullable=False),
        sa.Column("group_ids", sa.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("is_default", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("include_in_research", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("language", sa.String(length=35), nullable=True),
        sa.Column("settings", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("notes", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("generation", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("reindex_total", sa.Integer(), nullable=True),
        sa.Column("reindex_started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_after_days", sa.SmallInteger(), nullable=True),
        sa.Column("last_active_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('collection', 'knowledge_base', 'vector_store')", name="ck_collection_kind"),
        sa.CheckConstraint("visibility <> 'private' OR owner_id IS NOT NULL", name="ck_collection_private_has_owner"),
        sa.CheckConstraint(
            "visibility IN ('private', 'group', 'organisation', 'public')", name="ck_collection_visibility"
        ),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name="fk_collection_created_by", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_collection_organisation_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["account.id"], name="fk_collection_owner_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_collection"),
    )
    op.create_index(
        "ix_collection_deleted_at",
        "collection",
        ["deleted_at"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index(
        "ix_collection_expires_at",
        "collection",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index("ix_collection_owner_id", "collection", ["owner_id"], unique=False)
    op.create_index(
        "uq_collection_default",
        "collection",
        ["organisation_id", "kind", "owner_id"],
        unique=True,
        postgresql_where=sa.text("is_default AND deleted_at IS NULL"),
        postgresql_nulls_not_distinct=True,
    )
    op.create_index(
        "uq_collection_name",
        "collection",
        ["organisation_id", "kind", "owner_id", "name_key"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "document",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("home_id", sa.Uuid(), nullable=True),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("title", sa.String(length=300), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("attributes", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("media_type", sa.String(length=128), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=True),
        sa.Column("language", sa.String(length=8), nullable=True),
        sa.Column("page_count", sa.Integer(), nullable=True),
        sa.Column("event_number", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("events", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "source IN ('upload', 'webpage', 'transcript', 'vector_file', 'email')", name="ck_document_source"
        ),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name="fk_document_created_by", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["home_id"], ["collection.id"], name="fk_document_home_id", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_document_organisation_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["account.id"], name="fk_document_owner_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_document"),
    )
    op.create_index(
        "ix_document_deleted_at",
        "document",
        ["deleted_at"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index("ix_document_home_id", "document", ["home_id"], unique=False)
    op.create_index("ix_document_listing", "document", ["organisation_id", "id"], unique=False)
    op.create_index("ix_document_owner_id", "document", ["owner_id"], unique=False)
    op.create_table(
        "document_version",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("blob_id", sa.Uuid(), nullable=False),
        sa.Column("owns_blob", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("media_type", sa.String(length=128), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("failure_code", sa.String(length=32), nullable=True),
        sa.Column("failure", sa.String(length=2000), nullable=True),
        sa.Column("language", sa.String(length=8), nullable=True),
        sa.Column("page_count", sa.Integer(), nullable=True),
        sa.Column("characters", sa.BigInteger(), nullable=True),
        sa.Column("details", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("extracted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('pending', 'extracted', 'failed')", name="ck_document_version_state"),
        sa.ForeignKeyConstraint(
            ["document_id"], ["document.id"], name="fk_document_version_document_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_document_version_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_document_version"),
    )
    op.create_index("ix_document_version_organisation_id", "document_version", ["organisation_id"], unique=False)
    op.create_index("uq_document_version_number", "document_version", ["document_id", "number"], unique=True)
    op.create_table(
        "extracted_text",
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_extracted_text_organisation_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["document_version.id"], name="fk_extracted_text_version_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("version_id", name="pk_extracted_text"),
    )
    op.create_index("ix_extracted_text_organisation_id", "extracted_text", ["organisation_id"], unique=False)
    op.create_table(
        "passage_index",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("profile", sa.String(length=80), nullable=False),
        sa.Column("chunking", postgresql.JSONB(), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("dimensions", sa.SmallInteger(), nullable=False),
        sa.Column("configuration", sa.String(length=24), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("planned", sa.Integer(), nullable=True),
        sa.Column("chunk_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('building', 'ready')", name="ck_passage_index_state"),
        sa.CheckConstraint("dimensions IN (384, 768, 1024, 1536)", name="ck_passage_index_dimensions"),
        sa.ForeignKeyConstraint(
            ["document_id"], ["document.id"], name="fk_passage_index_document_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_passage_index_organisation_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["document_version.id"], name="fk_passage_index_version_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_passage_index"),
    )
    op.create_index("ix_passage_index_document_id", "passage_index", ["document_id"], unique=False)
    op.create_index("ix_passage_index_organisation_id", "passage_index", ["organisation_id"], unique=False)
    op.create_index("uq_passage_index_profile", "passage_index", ["version_id", "profile", "model"], unique=True)
    op.create_table(
        "collection_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("content_key", sa.String(length=64), nullable=True),
        sa.Column("external_id", sa.String(length=64), nullable=True),
        sa.Column("attributes", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("chunking", postgresql.JSONB(), nullable=True),
        sa.Column("index_id", sa.Uuid(), nullable=True),
        sa.Column("pending_index_id", sa.Uuid(), nullable=True),
        sa.Column("reindex", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("stage", sa.String(length=12), nullable=True),
        sa.Column("progress", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failure_code", sa.String(length=32), nullable=True),
        sa.Column("failure", sa.String(length=2000), nullable=True),
        sa.Column("added_by", sa.Uuid(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("stage IN ('extracting', 'chunking', 'embedding')", name="ck_collection_entry_stage"),
        sa.CheckConstraint(
            "state IN ('pending', 'processing', 'completed', 'failed')", name="ck_collection_entry_state"
        ),
        sa.ForeignKeyConstraint(["added_by"], ["account.id"], name="fk_collection_entry_added_by", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collection.id"], name="fk_collection_entry_collection_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["document_id"], ["document.id"], name="fk_collection_entry_document_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["index_id"], ["passage_index.id"], name="fk_collection_entry_index_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_collection_entry_organisation_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["pending_index_id"], ["passage_index.id"], name="fk_collection_entry_pending_index_id", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_collection_entry"),
    )
    op.create_index("ix_collection_entry_document_id", "collection_entry", ["document_id"], unique=False)
    op.create_index("ix_collection_entry_index_id", "collection_entry", ["index_id"], unique=False)
    op.create_index("ix_collection_entry_pending_index_id", "collection_entry", ["pending_index_id"], unique=False)
    op.create_index("uq_collection_entry_content", "collection_entry", ["collection_id", "content_key"], unique=True)
    op.create_index(
        "uq_collection_entry_document",
        "collection_entry",
        ["organisation_id", "collection_id", "document_id"],
        unique=True,
    )
    op.create_index("uq_collection_entry_external", "collection_entry", ["collection_id", "external_id"], unique=True)
    op.create_table(
        "chunk",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("index_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("heading", sa.Text(), nullable=True),
        sa.Column("page", sa.Integer(), nullable=True),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("position", postgresql.JSONB(), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("configuration", postgresql.REGCONFIG(), nullable=False),
        sa.Column(
            "tsv",
            postgresql.TSVECTOR(),
            sa.Computed("to_tsvector(configuration, coalesce(heading, '') || ' ' || text)", persisted=True),
            nullable=False,
        ),
        sa.Column("embedding_384", HALFVEC(384), nullable=True),
        sa.Column("embedding_768", HALFVEC(768), nullable=True),
        sa.Column("embedding_1024", HALFVEC(1024), nullable=True),
        sa.Column("embedding_1536", HALFVEC(1536), nullable=True),
        sa.ForeignKeyConstraint(["index_id"], ["passage_index.id"], name="fk_chunk_index_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_chunk_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_chunk"),
    )
    op.create_index(
        "ix_chunk_embedding_1024",
        "chunk",
        ["embedding_1024"],
        unique=False,
        postgresql_using="hnsw",
        postgresql_ops={"embedding_1024": "halfvec_cosine_ops"},
    )
    op.create_index(
        "ix_chunk_embedding_1536",
        "chunk",
        ["embedding_1536"],
        unique=False,
        postgresql_using="hnsw",
        postgresql_ops={"embedding_1536": "halfvec_cosine_ops"},
    )
    op.create_index(
        "ix_chunk_embedding_384",
        "chunk",
        ["embedding_384"],
        unique=False,
        postgresql_using="hnsw",
        postgresql_ops={"embedding_384": "halfvec_cosine_ops"},
    )
    op.create_index(
        "ix_chunk_embedding_768",
        "chunk",
        ["embedding_768"],
        unique=False,
        postgresql_using="hnsw",
        postgresql_ops={"embedding_768": "halfvec_cosine_ops"},
    )
    op.create_index("ix_chunk_organisation_id", "chunk", ["organisation_id"], unique=False)
    op.create_index("ix_chunk_tsv", "chunk", ["tsv"], unique=False, postgresql_using="gin")
    op.create_index("uq_chunk_ordinal", "chunk", ["index_id", "ordinal"], unique=True)
    op.create_table(
        "webpage",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=True),
        sa.Column("added_by", sa.Uuid(), nullable=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("url_key", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=300), nullable=True),
        sa.Column("depth", sa.SmallInteger(), nullable=False),
        sa.Column("max_pages", sa.SmallInteger(), nullable=False),
        sa.Column("refresh", sa.String(length=8), nullable=False),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("failure_code", sa.String(length=32), nullable=True),
        sa.Column("failure", sa.String(length=2000), nullable=True),
        sa.Column("crawl", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_crawled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_crawl_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("refresh IN ('never', 'daily', 'weekly', 'monthly')", name="ck_webpage_refresh"),
        sa.CheckConstraint("state IN ('pending', 'processing', 'completed', 'failed')", name="ck_webpage_state"),
        sa.ForeignKeyConstraint(["added_by"], ["account.id"], name="fk_webpage_added_by", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collection.id"], name="fk_webpage_collection_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_webpage_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_webpage"),
    )
    op.create_index("ix_webpage_collection_id", "webpage", ["collection_id"], unique=False)
    op.create_index(
        "ix_webpage_next_crawl_at",
        "webpage",
        ["next_crawl_at"],
        unique=False,
        postgresql_where=sa.text("next_crawl_at IS NOT NULL"),
    )
    op.create_index("ix_webpage_organisation_id", "webpage", ["organisation_id"], unique=False)
    op.create_index(
        "uq_webpage_collection_url",
        "webpage",
        ["collection_id", "url_key"],
        unique=True,
        postgresql_where=sa.text("collection_id IS NOT NULL"),
    )
    op.create_index(
        "uq_webpage_own_url",
        "webpage",
        ["organisation_id", "added_by", "url_key"],
        unique=True,
        postgresql_where=sa.text("collection_id IS NULL"),
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "webpage_part",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("webpage_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("url_key", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=300), nullable=True),
        sa.Column("depth", sa.SmallInteger(), nullable=False),
        sa.Column("crawl", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("http_status", sa.SmallInteger(), nullable=True),
        sa.Column("etag", sa.String(length=300), nullable=True),
        sa.Column("last_modified", sa.String(length=64), nullable=True),
        sa.Column("content_hash", sa.String(length=64), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("size", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("links", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("failure_code", sa.String(length=32), nullable=True),
        sa.Column("failure", sa.String(length=2000), nullable=True),
        sa.Column("document_id", sa.Uuid(), nullable=True),
        sa.Column("crawled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('found', 'read', 'failed')", name="ck_webpage_part_state"),
        sa.ForeignKeyConstraint(
            ["document_id"], ["document.id"], name="fk_webpage_part_document_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_webpage_part_organisation_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["webpage_id"], ["webpage.id"], name="fk_webpage_part_webpage_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_webpage_part"),
    )
    op.create_index("ix_webpage_part_document_id", "webpage_part", ["document_id"], unique=False)
    op.create_index("ix_webpage_part_organisation_id", "webpage_part", ["organisation_id"], unique=False)
    op.create_index("uq_webpage_part_url", "webpage_part", ["webpage_id", "url_key"], unique=True)


def downgrade() -> None:
    for table in (
        "webpage_part",
        "webpage",
        "chunk",
        "collection_entry",
        "passage_index",
        "extracted_text",
        "document_version",
        "document",
        "collection",
    ):
        op.drop_table(table)
