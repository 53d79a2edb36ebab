"""The outbox (`job`) and the last ticks of cron entries (`cron_tick`)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "organisation_id",
            sa.Uuid(),
            sa.ForeignKey("organisation.id", ondelete="CASCADE", name="fk_job_organisation_id"),
        ),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("queue", sa.String(60), nullable=False),
        sa.Column("args", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False, server_default="pending"),
        sa.Column("available_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("max_attempts", sa.Integer(), nullable=False, server_default="5"),
        sa.Column("lease_token", sa.Uuid()),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("worker", sa.String(120)),
        sa.Column("rung_at", sa.DateTime(timezone=True)),
        sa.Column("unique_key", sa.String(200)),
        sa.Column("last_error", sa.Text()),
        sa.Column("request_id", sa.String(128), nullable=False, server_default="-"),
        sa.Column("traceparent", sa.String(55)),
        sa.Column("result", postgresql.JSONB()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.CheckConstraint("state IN ('pending', 'queued', 'running', 'done', 'failed')", name=op.f("ck_job_state")),
        sa.CheckConstraint("max_attempts > 0", name=op.f("ck_job_max_attempts")),
        postgresql_with={
            "fillfactor": "70",
            "autovacuum_vacuum_scale_factor": "0",
            "autovacuum_vacuum_threshold": "2000",
            "autovacuum_vacuum_insert_scale_factor": "0.1",
            "autovacuum_analyze_scale_factor": "0.05",
        },
    )
    for name, columns, state in (
        ("ix_job_pending", ["available_at", "id"], "pending"),
        ("ix_job_queued", ["queue", "rung_at"], "queued"),
        ("ix_job_running", ["lease_until"], "running"),
        ("ix_job_failed", ["id"], "failed"),
    ):
        op.create_index(name, "job", columns, postgresql_where=sa.text(f"state = '{state}'"))
    op.create_index(
        "uq_job_unique_key",
        "job",
        ["organisation_id", "unique_key"],
        unique=True,
        postgresql_where=sa.text("unique_key IS NOT NULL"),
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "cron_tick",
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("last_tick", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cron_tick")),
    )


def downgrade() -> None:
    op.drop_table("cron_tick")
    op.drop_table("job")
