"""Extensions, organisations and keys, the audit chain, billing, idempotency."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

EXTENSIONS = ("ltree", "vector", "pg_trgm")


def organisation() -> sa.Column[object]:
    return sa.Column("organisation_id", sa.Uuid(), nullable=False)


def owned(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["organisation_id"], ["organisation.id"], name=f"fk_{table}_organisation_id", ondelete="CASCADE"
    )


def moment(name: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    for extension in EXTENSIONS:
        op.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")

    op.create_table(
        "organisation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        moment("deleted_at", nullable=True),
        moment("created_at"),
        moment("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_organisation"),
        sa.UniqueConstraint("slug", name="uq_organisation_slug"),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 200", name="ck_organisation_name_length"),
        sa.CheckConstraint("slug ~ '^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$'", name="ck_organisation_slug_form"),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        organisation(),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_by", sa.Text()),
        sa.Column("requests_per_minute", sa.Integer()),
        moment("expires_at", nullable=True),
        moment("last_used_at", nullable=True),
        moment("revoked_at", nullable=True),
        moment("created_at"),
        moment("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("digest", name="uq_api_key_digest"),
        sa.CheckConstraint("kind IN ('thalium', 'thallus', 'thalian', 'beeflow')", name="ck_api_key_kind"),
        sa.CheckConstraint("octet_length(digest) = 32", name="ck_api_key_digest_is_sha256"),
        sa.CheckConstraint("requests_per_minute > 0", name="ck_api_key_positive_rate"),
        owned("api_key"),
    )
    op.create_index("ix_api_key_organisation_id_created_at", "api_key", ["organisation_id", "created_at", "id"])

    audit()

    op.create_table(
        "subscription",
        organisation(),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("overage", sa.Boolean(), nullable=False),
        moment("created_at"),
        moment("updated_at"),
        sa.PrimaryKeyConstraint("organisation_id", "product", name="pk_subscription"),
        owned("subscription"),
    )
    op.create_table(
        "usage_counter",
        organisation(),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "metric", "month", name="pk_usage_counter"),
        sa.CheckConstraint("used >= 0", name="ck_usage_counter_not_negative"),
        owned("usage_counter"),
    )
    op.create_table(
        "idempotency_record",
        organisation(),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("headers", pg.JSONB(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("stream", pg.JSONB()),
        moment("created_at"),
        moment("expires_at"),
        sa.PrimaryKeyConstraint("organisation_id", "operation", "key", name="pk_idempotency_record"),
        owned("idempotency_record"),
    )
    op.create_index("ix_idempotency_record_expires_at", "idempotency_record", ["expires_at"])
    # Rows that are updated in place again and again keep room for it on their page (heap-only tuples).
    for table in ("audit_head", "usage_counter"):
        op.execute(f"ALTER TABLE {table} SET (fillfactor = 50)")


def audit() -> None:
    op.create_table(
        "audit_head",
        organisation(),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("base_sequence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("base_hash", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("organisation_id", name="pk_audit_head"),
    )
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        organisation(),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text()),
        sa.Column("resource_type", sa.Text()),
        sa.Column("resource_id", sa.Text()),
        sa.Column("correlation_id", sa.Text()),
        sa.Column("surface", sa.Text()),
        sa.Column("address", sa.Text()),
        sa.Column("user_agent", sa.Text()),
        sa.Column("duration_ms", sa.BigInteger()),
        sa.Column("details", sa.JSON(), nullable=False),
        moment("created_at"),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=False),
        sa.Column("row_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entry"),
        sa.UniqueConstraint("organisation_id", "sequence", name="uq_audit_entry_organisation_id_sequence"),
        sa.CheckConstraint("outcome IN ('success', 'failure', 'partial', 'denied')", name="ck_audit_entry_outcome"),
    )
    for name, columns in {
        "created_at": ["created_at"],
        "action": ["action", "sequence"],
        "actor_id": ["actor_id", "sequence"],
        "resource": ["resource_type", "resource_id", "sequence"],
        "correlation_id": ["correlation_id"],
    }.items():
        op.create_index(f"ix_audit_entry_organisation_id_{name}", "audit_entry", ["organisation_id", *columns])
    op.execute(
        """
        CREATE FUNCTION audit_entry_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' AND current_setting('thalweg.audit_retention', true) = 'on' THEN
                RETURN OLD;
            END IF;
            RAISE EXCEPTION 'audit entries are append-only (%)', TG_OP USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER audit_entry_rows BEFORE UPDATE OR DELETE ON audit_entry
        FOR EACH ROW EXECUTE FUNCTION audit_entry_is_append_only()
        """
    )
    op.execute(
        """
        CREATE TRIGGER audit_entry_table BEFORE TRUNCATE ON audit_entry
        FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_is_append_only()
        """
    )


def downgrade() -> None:
    for table in ("idempotency_record", "usage_counter", "subscription", "audit_entry", "audit_head", "api_key"):
        op.drop_table(table)
    op.drop_table("organisation")
    op.execute("DROP FUNCTION audit_entry_is_append_only()")
    # The extensions stay: another schema of the same database may use them.
