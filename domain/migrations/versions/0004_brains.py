"""Brains: `brain`, `invocation`, `role_result`, `invocation_event`."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def _owned(table: str) -> list[Any]:
    return [
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=f"fk_{table}_organisation_id", ondelete="CASCADE"
        ),
    ]


def upgrade() -> None:
    op.create_table(
        "brain",
        *_owned("brain"),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("slug", sa.String(63), nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("blocked_terms", JSONB(), nullable=False),
        sa.Column("role_config", JSONB(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("status IN ('active', 'archived')", name="ck_brain_status"),
        sa.UniqueConstraint("organisation_id", "slug", name="uq_brain_organisation_id_slug"),
    )
    op.create_index("ix_brain_organisation_id", "brain", ["organisation_id"])
    op.create_table(
        "invocation",
        *_owned("invocation"),
        sa.Column("brain_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.String(128), nullable=False),
        sa.Column("entity_id", sa.String(128), nullable=True),
        sa.Column("input_type", sa.String(8), nullable=False),
        sa.Column("input_content", sa.Text(), nullable=False),
        sa.Column("removed_characters", sa.Integer(), nullable=False),
        sa.Column("role_config", JSONB(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("artifact", JSONB(), nullable=True),
        sa.Column("actor_kind", sa.String(20), nullable=False),
        sa.Column("api_key_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("input_type IN ('text', 'image', 'audio')", name="ck_invocation_input_type"),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'complete', 'partial', 'failed')", name="ck_invocation_state"
        ),
        sa.ForeignKeyConstraint(["brain_id"], ["brain.id"], name="fk_invocation_brain_id", ondelete="CASCADE"),
    )
    op.create_index("ix_invocation_organisation_id", "invocation", ["organisation_id"])
    op.create_index("ix_invocation_brain_id", "invocation", ["brain_id"])
    op.create_index("ix_invocation_brain", "invocation", ["organisation_id", "brain_id", "state", "id"])
    op.create_table(
        "role_result",
        *_owned("role_result"),
        sa.Column("invocation_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("reason", sa.String(200), nullable=True),
        sa.Column("output", JSONB(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=False),
        sa.CheckConstraint("status IN ('complete', 'failed')", name="ck_role_result_status"),
        sa.UniqueConstraint("invocation_id", "role", name="uq_role_result_invocation_id_role"),
        sa.ForeignKeyConstraint(
            ["invocation_id"], ["invocation.id"], name="fk_role_result_invocation_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_role_result_organisation_id", "role_result", ["organisation_id"])
    op.create_table(
        "invocation_event",
        *_owned("invocation_event"),
        sa.Column("invocation_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("data", JSONB(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.UniqueConstraint("invocation_id", "number", name="uq_invocation_event_invocation_id_number"),
        sa.ForeignKeyConstraint(
            ["invocation_id"], ["invocation.id"], name="fk_invocation_event_invocation_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_invocation_event_organisation_id", "invocation_event", ["organisation_id"])


def downgrade() -> None:
    for table in ("invocation_event", "role_result", "invocation", "brain"):
        op.drop_table(table)
