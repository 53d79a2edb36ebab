"""Notifications: mails."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "mail",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=True),
        sa.Column("template", sa.String(60), nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("recipient", sa.String(254), nullable=False),
        sa.Column("facts", sa.LargeBinary(), nullable=True),
        sa.Column("unique_key", sa.String(200), nullable=True),
        sa.Column("message_id", sa.String(320), nullable=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("sent_at", TIME, nullable=True),
        sa.Column("failed_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mail"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_mail_organisation_id", ondelete="CASCADE"
        ),
        sa.CheckConstraint("state IN ('pending', 'sending', 'sent', 'failed')", name="ck_mail_state"),
        sa.CheckConstraint("state <> 'sent' OR (facts IS NULL AND sent_at IS NOT NULL)", name="ck_mail_sent_is_wiped"),
    )
    op.create_index(
        "uq_mail_unique_key",
        "mail",
        ["organisation_id", "unique_key"],
        unique=True,
        postgresql_where=sa.text("unique_key IS NOT NULL"),
        postgresql_nulls_not_distinct=True,
    )
    op.create_index("ix_mail_organisation_id", "mail", ["organisation_id"])
    op.create_index("ix_mail_failed_at", "mail", ["failed_at"], postgresql_where=sa.text("state = 'failed'"))


def downgrade() -> None:
    op.drop_table("mail")
