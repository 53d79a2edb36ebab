"""Containers: workspaces in which agents run code, and which agent works in which."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "container",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("name_key", sa.String(400), nullable=False),
        sa.Column("driver", sa.String(16), nullable=False),
        sa.Column("external_id", sa.String(128), nullable=True),
        sa.Column("memory", sa.String(4), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("rest_minutes", sa.Integer(), nullable=False),
        sa.Column("file_ids", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("notes", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("failure", sa.String(500), nullable=True),
        sa.Column("last_active_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint(
            "state IN ('creating', 'running', 'expired', 'error', 'deleted')", name="ck_container_state"
        ),
        sa.CheckConstraint("memory IN ('1g', '4g', '16g', '64g')", name="ck_container_memory"),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name="fk_container_created_by", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_container_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_container"),
    )
    op.create_index("ix_container_created_by", "container", ["created_by"], unique=False)
    op.create_index(
        "ix_container_expires_at",
        "container",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index("ix_container_listing", "container", ["organisation_id", "id"], unique=False)
    op.create_index(
        "uq_container_name",
        "container",
        ["organisation_id", "name_key"],
        unique=True,
        postgresql_where=sa.text("state IN ('creating', 'running')"),
    )
    op.create_table(
        "container_binding",
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("agent_key", sa.String(128), nullable=False),
        sa.Column("container_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["container_id"], ["container.id"], name="fk_container_binding_container_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_container_binding_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("organisation_id", "agent_key", name="pk_container_binding"),
    )
    op.create_index("ix_container_binding_container_id", "container_binding", ["container_id"], unique=False)


def downgrade() -> None:
    op.drop_table("container_binding")
    op.drop_table("container")
