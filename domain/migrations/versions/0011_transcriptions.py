"""Transcriptions: recordings, what was said in them, bots in meetings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
EMPTY = sa.text("'[]'::jsonb")


def upgrade() -> None:
    op.create_table(
        "transcription",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.String(300), nullable=False),
        sa.Column("source", sa.String(8), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("wanted_language", sa.String(35), nullable=True),
        sa.Column("notes_wanted", sa.Boolean(), nullable=False),
        sa.Column("notes_language", sa.String(35), nullable=True),
        sa.Column("vocabulary", postgresql.JSONB(), server_default=EMPTY, nullable=False),
        sa.Column("knowledge_base_id", sa.Uuid(), nullable=True),
        sa.Column("document_id", sa.Uuid(), nullable=True),
        sa.Column("blob_id", sa.Uuid(), nullable=True),
        sa.Column("media_type", sa.String(128), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("begun_at", TIME, nullable=False),
        sa.Column("language", sa.String(35), nullable=True),
        sa.Column("duration", sa.Float(), nullable=True),
        sa.Column("position", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("turns", postgresql.JSONB(), nullable=True),
        sa.Column("notes", postgresql.JSONB(), nullable=True),
        sa.Column("failure_code", sa.String(32), nullable=True),
        sa.Column("failure", sa.String(2000), nullable=True),
        sa.Column("completed_at", TIME, nullable=True),
        sa.Column("event_number", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("events", postgresql.JSONB(), server_default=EMPTY, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("source IN ('upload', 'meet_bot')", name="ck_transcription_source"),
        sa.CheckConstraint(
            "state IN ('recording', 'pending', 'processing', 'completed', 'failed')", name="ck_transcription_state"
        ),
        sa.ForeignKeyConstraint(
            ["document_id"], ["document.id"], name="fk_transcription_document_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["knowledge_base_id"], ["collection.id"], name="fk_transcription_knowledge_base_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_transcription_organisation_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["account.id"], name="fk_transcription_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_transcription"),
    )
    op.create_index("ix_transcription_document_id", "transcription", ["document_id"], unique=False)
    op.create_index("ix_transcription_knowledge_base_id", "transcription", ["knowledge_base_id"], unique=False)
    op.create_index("ix_transcription_listing", "transcription", ["organisation_id", "user_id", "id"], unique=False)
    op.create_index("ix_transcription_user_id", "transcription", ["user_id"], unique=False)
    op.create_table(
        "transcription_segment",
        sa.Column("transcription_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("started", sa.Float(), nullable=False),
        sa.Column("ended", sa.Float(), nullable=False),
        sa.Column("speaker", sa.String(200), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"],
            ["organisation.id"],
            name="fk_transcription_segment_organisation_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["transcription_id"],
            ["transcription.id"],
            name="fk_transcription_segment_transcription_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("transcription_id", "ordinal", name="pk_transcription_segment"),
    )
    op.create_index(
        "ix_transcription_segment_organisation_id", "transcription_segment", ["organisation_id"], unique=False
    )
    op.create_table(
        "meeting_bot",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("transcription_id", sa.Uuid(), nullable=False),
        sa.Column("meeting_url", sa.String(2048), nullable=False),
        sa.Column("meeting_key", sa.String(64), nullable=False),
        sa.Column("platform", sa.String(16), nullable=False),
        sa.Column("bot_name", sa.String(60), nullable=False),
        sa.Column("announce", sa.Boolean(), nullable=False),
        sa.Column("join_at", TIME, nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("service", sa.String(12), nullable=False),
        sa.Column("service_id", sa.String(200), nullable=True),
        sa.Column("reserved_at", TIME, nullable=False),
        sa.Column("recalled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("joined_at", TIME, nullable=True),
        sa.Column("left_at", TIME, nullable=True),
        sa.Column("misses", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint(
            "state IN ('scheduled', 'joining', 'waiting', 'recording', 'leaving', 'ended', 'failed')",
            name="ck_meeting_bot_state",
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_meeting_bot_organisation_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["transcription_id"], ["transcription.id"], name="fk_meeting_bot_transcription_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["account.id"], name="fk_meeting_bot_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_meeting_bot"),
    )
    op.create_index("ix_meeting_bot_transcription_id", "meeting_bot", ["transcription_id"], unique=False)
    op.create_index("ix_meeting_bot_user_id", "meeting_bot", ["user_id"], unique=False)
    op.create_index(
        "uq_meeting_bot_meeting",
        "meeting_bot",
        ["organisation_id", "user_id", "meeting_key"],
        unique=True,
        postgresql_where=sa.text("state NOT IN ('ended', 'failed')"),
    )


def downgrade() -> None:
    op.drop_table("meeting_bot")
    op.drop_table("transcription_segment")
    op.drop_table("transcription")
