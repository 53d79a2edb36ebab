"""Storage: `stored_object`, `storage_usage`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "stored_object",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("media_type", sa.String(128), nullable=False),
        sa.Column("claimed_type", sa.String(128), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("agent_key", sa.String(64), nullable=True),
        sa.Column("notes", JSONB(), nullable=True),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("ready_at", TIME, nullable=True),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_stored_object"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_stored_object_organisation_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("key", name="uq_stored_object_key"),
        sa.CheckConstraint("state IN ('pending', 'ready', 'deleted')", name="ck_stored_object_state"),
        sa.CheckConstraint("size >= 0", name="ck_stored_object_size"),
        sa.CheckConstraint("state <> 'ready' OR sha256 IS NOT NULL", name="ck_stored_object_sealed"),
    )
    op.create_index("ix_stored_object_listing", "stored_object", ["organisation_id", "purpose", "id"])
    op.create_index(
        "ix_stored_object_pending", "stored_object", ["expires_at"], postgresql_where=sa.text("state = 'pending'")
    )
    op.create_index(
        "ix_stored_object_deleted", "stored_object", ["deleted_at"], postgresql_where=sa.text("state = 'deleted'")
    )
    op.create_table(
        "storage_usage",
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("objects", sa.BigInteger(), nullable=False),
        sa.Column("quota", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("organisation_id", name="pk_storage_usage"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_storage_usage_organisation_id", ondelete="CASCADE"
        ),
        sa.CheckConstraint("bytes >= 0 AND objects >= 0", name="ck_storage_usage_not_negative"),
    )


def downgrade() -> None:
    op.drop_table("storage_usage")
    op.drop_table("stored_object")
