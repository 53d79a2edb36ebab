"""Conversations: messages, turns with their events and steps, feedback, guardrail events; memories of people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import VECTOR
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
SOURCES = "source IN ('chain', 'direct_write', 'seeding', 'calibrator', 'reclassification', 'conversation')"
CATEGORIES = "category IN ('MEMORIES', 'PREFERENCES', 'FACTS', 'PATTERNS')"


def upgrade() -> None:
    op.create_table(
        "conversation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("owner_key", sa.String(length=200), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("surface", sa.String(length=20), nullable=False),
        sa.Column("source", sa.String(length=12), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=True),
        sa.Column("title_given", sa.Boolean(), nullable=False),
        sa.Column("agent_key", sa.String(length=64), nullable=True),
        sa.Column("agent_id", sa.Uuid(), nullable=True),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("branch_message_id", sa.Uuid(), nullable=True),
        sa.Column("message_count", sa.Integer(), nullable=False),
        sa.Column("last_message", sa.String(length=500), nullable=True),
        sa.Column("last_message_at", TIME, nullable=True),
        sa.Column("context", JSONB(), nullable=False),
        sa.Column("extracted_up_to", sa.Integer(), nullable=False),
        sa.Column("moved_at", TIME, nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("source IN ('chat', 'voice', 'automation', 'embed')", name="ck_conversation_source"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_conversation_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_conversation"),
    )
    op.create_index("ix_conversation_agent_id", "conversation", ["agent_id"], unique=False)
    op.create_index(
        "ix_conversation_deleted",
        "conversation",
        ["deleted_at"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index("ix_conversation_moved", "conversation", ["organisation_id", "moved_at", "id"], unique=False)
    op.create_index(
        "ix_conversation_owner", "conversation", ["organisation_id", "owner_key", "moved_at", "id"], unique=False
    )
    op.create_index("ix_conversation_user_id", "conversation", ["user_id"], unique=False)
    op.create_index(
        "uq_conversation_client_id",
        "conversation",
        ["organisation_id", "owner_key", "client_id"],
        unique=True,
        postgresql_where=sa.text("client_id IS NOT NULL"),
    )
    op.create_table(
        "message",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("mode", sa.String(length=12), nullable=True),
        sa.Column("turn_id", sa.Uuid(), nullable=True),
        sa.Column("agent_key", sa.String(length=64), nullable=True),
        sa.Column("model", sa.String(length=128), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column("citations", JSONB(), nullable=False),
        sa.Column("tool_calls", JSONB(), nullable=False),
        sa.Column("attachments", JSONB(), nullable=False),
        sa.Column("structured_output", JSONB(), nullable=True),
        sa.Column("search", TSVECTOR(), nullable=True),
        sa.Column("embedding", VECTOR(384), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("role IN ('user', 'assistant', 'system')", name="ck_message_role"),
        sa.CheckConstraint(
            "status IN ('complete', 'streaming', 'awaiting_decision', 'cancelled', 'blocked', 'failed')",
            name="ck_message_status",
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name="fk_message_conversation_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_message_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_message"),
        sa.UniqueConstraint("conversation_id", "position", name="uq_message_conversation_id_position"),
    )
    op.create_index(
        "ix_message_embedding",
        "message",
        ["embedding"],
        unique=False,
        postgresql_using="hnsw",
        postgresql_ops={"embedding": "vector_cosine_ops"},
    )
    op.create_index("ix_message_organisation_id", "message", ["organisation_id"], unique=False)
    op.create_index("ix_message_search", "message", ["search"], unique=False, postgresql_using="gin")
    op.create_index("ix_message_turn_id", "message", ["turn_id"], unique=False)
    op.create_table(
        "message_feedback",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("owner_key", sa.String(length=200), nullable=False),
        sa.Column("rating", sa.String(length=4), nullable=False),
        sa.Column("comment", sa.String(length=2000), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("rating IN ('up', 'down')", name="ck_message_feedback_rating"),
        sa.ForeignKeyConstraint(
            ["message_id"], ["message.id"], name="fk_message_feedback_message_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_message_feedback_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_message_feedback"),
        sa.UniqueConstraint("message_id", "owner_key", name="uq_message_feedback_message_id_owner_key"),
    )
    op.create_index("ix_message_feedback_organisation_id", "message_feedback", ["organisation_id"], unique=False)
    op.create_table(
        "turn",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("question_id", sa.Uuid(), nullable=False),
        sa.Column("owner_key", sa.String(length=200), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("surface", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("exclusive", sa.String(length=200), nullable=True),
        sa.Column("mode", sa.String(length=12), nullable=False),
        sa.Column("mode_used", sa.String(length=12), nullable=True),
        sa.Column("agent_key", sa.String(length=64), nullable=False),
        sa.Column("agent_used", sa.String(length=64), nullable=True),
        sa.Column("permissions", JSONB(), nullable=False),
        sa.Column("options", JSONB(), nullable=False),
        sa.Column("recording", sa.LargeBinary(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("cancel_requested_at", TIME, nullable=True),
        sa.Column("waiting_for", sa.String(length=12), nullable=True),
        sa.Column("waiting_until", TIME, nullable=True),
        sa.Column("decision", JSONB(), nullable=True),
        sa.Column("error_code", sa.String(length=40), nullable=True),
        sa.Column("error_message", sa.String(length=2000), nullable=True),
        sa.Column("retry_after", sa.Integer(), nullable=True),
        sa.Column("stop_reason", sa.String(length=12), nullable=True),
        sa.Column("model", sa.String(length=128), nullable=True),
        sa.Column("response_id", sa.String(length=128), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("tool_calls", sa.Integer(), nullable=False),
        sa.Column("agents", sa.Integer(), nullable=False),
        sa.Column("compacted", sa.Boolean(), nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("mode IN ('auto', 'ask', 'research', 'investigate')", name="ck_turn_mode"),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled')", name="ck_turn_state"
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name="fk_turn_conversation_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_turn_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_turn"),
    )
    op.create_index("ix_turn_conversation_id", "turn", ["conversation_id"], unique=False)
    op.create_index("ix_turn_ended", "turn", ["ended_at"], unique=False, postgresql_where=sa.text("NOT compacted"))
    op.create_index("ix_turn_organisation_id", "turn", ["organisation_id"], unique=False)
    op.create_index("ix_turn_owner", "turn", ["organisation_id", "owner_key", "surface", "created_at"], unique=False)
    op.create_index(
        "uq_turn_conversation_active",
        "turn",
        ["conversation_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('queued', 'running', 'waiting')"),
    )
    op.create_index(
        "uq_turn_exclusive",
        "turn",
        ["organisation_id", "exclusive"],
        unique=True,
        postgresql_where=sa.text("exclusive IS NOT NULL AND state IN ('queued', 'running', 'waiting')"),
    )
    op.create_table(
        "turn_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("turn_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("data", JSONB(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_turn_event_organisation_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name="fk_turn_event_turn_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_turn_event"),
        sa.UniqueConstraint("turn_id", "number", name="uq_turn_event_turn_id_number"),
    )
    op.create_index("ix_turn_event_organisation_id", "turn_event", ["organisation_id"], unique=False)
    op.create_table(
        "turn_step",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("turn_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("output", JSONB(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_turn_step_organisation_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name="fk_turn_step_turn_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_turn_step"),
        sa.UniqueConstraint("turn_id", "key", name="uq_turn_step_turn_id_key"),
    )
    op.create_index("ix_turn_step_organisation_id", "turn_step", ["organisation_id"], unique=False)
    op.create_table(
        "guardrail_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("agent_id", sa.Uuid(), nullable=True),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("violation_type", sa.String(length=20), nullable=False),
        sa.Column("categories", JSONB(), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("action_taken", sa.String(length=10), nullable=False),
        sa.Column("source", sa.String(length=12), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint(
            "action_taken IN ('block', 'redact', 'alert', 'stripped')", name="ck_guardrail_event_action_taken"
        ),
        sa.CheckConstraint("direction IN ('input', 'output')", name="ck_guardrail_event_direction"),
        sa.CheckConstraint(
            "violation_type IN ('pii', 'custom_term', 'moderation', 'unicode_smuggling')",
            name="ck_guardrail_event_violation_type",
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_guardrail_event_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_guardrail_event"),
    )
    op.create_index("ix_guardrail_event_time", "guardrail_event", ["organisation_id", "created_at", "id"], unique=False)
    op.create_table(
        "forgotten_memory",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_forgotten_memory_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_forgotten_memory"),
    )
    op.create_index("ix_forgotten_memory_organisation_id", "forgotten_memory", ["organisation_id"], unique=False)
    op.create_index("ix_forgotten_memory_user", "forgotten_memory", ["user_id", "conversation_id"], unique=False)

    # Memories of people stand in the same store as the rings of brains.
    op.add_column("ring_entry", sa.Column("user_id", sa.Uuid(), nullable=True))
    op.add_column("ring_entry", sa.Column("category", sa.String(12), nullable=True))
    op.add_column("ring_entry", sa.Column("importance", sa.Float(), nullable=True))
    op.add_column("ring_entry", sa.Column("conversation_id", sa.Uuid(), nullable=True))
    op.add_column("ring_entry", sa.Column("use_count", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("ring_entry", sa.Column("last_used_at", TIME, nullable=True))
    op.alter_column("ring_entry", "embedding", nullable=True)
    op.drop_constraint("ck_ring_entry_source", "ring_entry")
    op.create_check_constraint("ck_ring_entry_source", "ring_entry", SOURCES)
    op.create_check_constraint("ck_ring_entry_category", "ring_entry", CATEGORIES)
    op.create_check_constraint("ck_ring_entry_importance", "ring_entry", "importance >= 0 AND importance <= 1")
    op.create_index(
        "ix_ring_entry_user", "ring_entry", ["user_id", "id"], postgresql_where=sa.text("user_id IS NOT NULL")
    )


def downgrade() -> None:
    op.execute("DELETE FROM ring_entry WHERE user_id IS NOT NULL")
    op.drop_index("ix_ring_entry_user", "ring_entry")
    for constraint in ("importance", "category", "source"):
        op.drop_constraint(f"ck_ring_entry_{constraint}", "ring_entry")
    op.create_check_constraint("ck_ring_entry_source", "ring_entry", SOURCES.replace(", \x27conversation\x27", ""))
    op.alter_column("ring_entry", "embedding", nullable=False)
    for column in ("last_used_at", "use_count", "conversation_id", "importance", "category", "user_id"):
        op.drop_column("ring_entry", column)
    op.drop_table("forgotten_memory")
    op.drop_table("guardrail_event")
    op.drop_table("turn_step")
    op.drop_table("turn_event")
    op.drop_table("turn")
    op.drop_table("message_feedback")
    op.drop_table("message")
    op.drop_table("conversation")
