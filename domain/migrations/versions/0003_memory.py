"""Memory rings (`ring_entry`)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import VECTOR
from sqlalchemy.dialects import postgresql

from domain.memory.address import Ltree

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# What a leaf says never changes. `status` (is it still believed?) and `embedding` (an index of the text, made anew with
# another model) are not what it says. Erasure stays possible.
LEAF = """
CREATE FUNCTION ring_entry_leaf_is_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.organisation_id, NEW.brain_id, NEW.ring, NEW.session_id, NEW.entity_id, NEW.address_key::text, NEW.level,
        NEW.source, NEW.role, NEW.kind, NEW.text, NEW.content, NEW.confidence, NEW.superseded_by, NEW.trace_id,
        NEW.dedupe_key, NEW.created_at)
       IS DISTINCT FROM
       (OLD.organisation_id, OLD.brain_id, OLD.ring, OLD.session_id, OLD.entity_id, OLD.address_key::text, OLD.level,
        OLD.source, OLD.role, OLD.kind, OLD.text, OLD.content, OLD.confidence, OLD.superseded_by, OLD.trace_id,
        OLD.dedupe_key, OLD.created_at)
    THEN
        RAISE EXCEPTION 'a leaf entry is immutable' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "ring_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("brain_id", sa.Uuid(), nullable=True),
        sa.Column("ring", sa.String(16), nullable=False),
        sa.Column("session_id", sa.String(128), nullable=True),
        sa.Column("entity_id", sa.String(128), nullable=True),
        sa.Column("address_key", Ltree(), nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("role", sa.String(64), nullable=True),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("content", postgresql.JSONB(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("embedding", VECTOR(384), nullable=False),
        sa.Column("superseded_by", sa.Uuid(), nullable=True),
        sa.Column("trace_id", sa.Uuid(), nullable=True),
        sa.Column("dedupe_key", sa.String(200), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("ring IN ('session', 'entity', 'institutional')", name="ck_ring_entry_ring"),
        sa.CheckConstraint("level IN ('root', 'branch', 'leaf')", name="ck_ring_entry_level"),
        sa.CheckConstraint("status IN ('active', 'contested', 'archived')", name="ck_ring_entry_status"),
        sa.CheckConstraint(
            "source IN ('chain', 'direct_write', 'seeding', 'calibrator', 'reclassification')",
            name="ck_ring_entry_source",
        ),
        sa.CheckConstraint("kind IN ('statement', 'question', 'answer', 'guidance')", name="ck_ring_entry_kind"),
        sa.CheckConstraint("nlevel(address_key) = 4", name="ck_ring_entry_four_levels"),
        sa.CheckConstraint("confidence >= 0 AND confidence <= 1", name="ck_ring_entry_confidence"),
        sa.CheckConstraint("ring <> 'session' OR session_id IS NOT NULL", name="ck_ring_entry_session"),
        sa.CheckConstraint("ring <> 'entity' OR entity_id IS NOT NULL", name="ck_ring_entry_entity"),
        sa.CheckConstraint("level <> 'leaf' OR superseded_by IS NULL", name="ck_ring_entry_leaf"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_ring_entry_organisation_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["superseded_by"], ["ring_entry.id"], name="fk_ring_entry_superseded_by", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_ring_entry"),
    )
    op.create_index("ix_ring_entry_organisation_id", "ring_entry", ["organisation_id"])
    op.create_index("uq_ring_entry_dedupe_key", "ring_entry", ["organisation_id", "dedupe_key"], unique=True)
    op.create_index("ix_ring_entry_brain", "ring_entry", ["organisation_id", "brain_id", "ring", "id"])
    op.create_index(
        "ix_ring_entry_session", "ring_entry", ["brain_id", "session_id"], postgresql_where=sa.text("ring = 'session'")
    )
    op.create_index(
        "ix_ring_entry_entity",
        "ring_entry",
        ["brain_id", "entity_id"],
        postgresql_where=sa.text("entity_id IS NOT NULL"),
    )
    op.create_index("ix_ring_entry_superseded_by", "ring_entry", ["superseded_by"])
    op.create_index("ix_ring_entry_address_key", "ring_entry", ["address_key"], postgresql_using="gist")
    op.create_index(
        "ix_ring_entry_embedding",
        "ring_entry",
        ["embedding"],
        postgresql_using="hnsw",
        postgresql_ops={"embedding": "vector_cosine_ops"},
    )
    op.execute(LEAF)
    op.execute(
        "CREATE TRIGGER ring_entry_leaf BEFORE UPDATE ON ring_entry FOR EACH ROW WHEN (OLD.level = 'leaf') "
        "EXECUTE FUNCTION ring_entry_leaf_is_immutable()"
    )


def downgrade() -> None:
    op.drop_table("ring_entry")
    op.execute("DROP FUNCTION ring_entry_leaf_is_immutable()")
