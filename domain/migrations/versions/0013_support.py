"""Support: tickets, what was said in them, and the numbers that organisations have given."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "ticket_desk",
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_ticket_desk_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("organisation_id", name="pk_ticket_desk"),
    )
    op.create_table(
        "ticket",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(998), nullable=False),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("priority", sa.String(8), nullable=False),
        sa.Column("priority_given", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(8), nullable=False),
        sa.Column("requester_email", sa.String(254), nullable=True),
        sa.Column("requester_name", sa.String(200), nullable=True),
        sa.Column("assignee_id", sa.Uuid(), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("finding_id", sa.Uuid(), nullable=True),
        sa.Column("message_count", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("judged_round", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("category", sa.String(64), nullable=True),
        sa.Column("language", sa.String(35), nullable=True),
        sa.Column("summary", sa.String(2000), nullable=True),
        sa.Column("suggestion_state", sa.String(12), nullable=True),
        sa.Column("suggestion", postgresql.JSONB(), nullable=True),
        sa.Column("suggested_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("status IN ('open', 'pending', 'solved', 'closed')", name="ck_ticket_status"),
        sa.CheckConstraint("priority IN ('low', 'normal', 'high', 'urgent')", name="ck_ticket_priority"),
        sa.CheckConstraint("source IN ('mail', 'tool')", name="ck_ticket_source"),
        sa.CheckConstraint("suggestion_state IN ('pending', 'completed', 'failed')", name="ck_ticket_suggestion_state"),
        sa.ForeignKeyConstraint(["assignee_id"], ["account.id"], name="fk_ticket_assignee_id", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name="fk_ticket_created_by", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_ticket_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_ticket"),
        sa.UniqueConstraint("organisation_id", "number", name="uq_ticket_organisation_id_number"),
    )
    op.create_index("ix_ticket_assignee_id", "ticket", ["assignee_id"], unique=False)
    op.create_index("ix_ticket_created_by", "ticket", ["created_by"], unique=False)
    op.create_index("ix_ticket_listing", "ticket", ["organisation_id", "updated_at", "id"], unique=False)
    op.create_table(
        "ticket_message",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sender_email", sa.String(254), nullable=True),
        sa.Column("sender_name", sa.String(200), nullable=True),
        sa.Column("subject", sa.String(998), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("message_id", sa.String(998), nullable=True),
        sa.Column("message_key", sa.String(64), nullable=True),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("search", postgresql.TSVECTOR(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_ticket_message_organisation_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["ticket_id"], ["ticket.id"], name="fk_ticket_message_ticket_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_ticket_message"),
        sa.UniqueConstraint("ticket_id", "position", name="uq_ticket_message_ticket_id_position"),
    )
    op.create_index("ix_ticket_message_organisation_id", "ticket_message", ["organisation_id"], unique=False)
    op.create_index("ix_ticket_message_search", "ticket_message", ["search"], unique=False, postgresql_using="gin")
    op.create_index(
        "uq_ticket_message_message_key",
        "ticket_message",
        ["organisation_id", "message_key"],
        unique=True,
        postgresql_where=sa.text("message_key IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("ticket_message")
    op.drop_table("ticket")
    op.drop_table("ticket_desk")
