"""Identity: accounts, memberships, sessions, tokens, sign-up, federation, connectors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "sign_in_guard",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failing_since", TIME, nullable=True),
        sa.Column("locked_until", TIME, nullable=True),
        sa.Column("locks", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sign_in_guard")),
    )
    op.create_index(op.f("ix_sign_in_guard_updated_at"), "sign_in_guard", ["updated_at"], unique=False)
    op.create_table(
        "account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("platform_role", sa.Text(), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("password_changed_at", TIME, nullable=True),
        sa.Column("email_verified_at", TIME, nullable=True),
        sa.Column("language", sa.Text(), server_default=sa.text("'en'"), nullable=False),
        sa.Column("timezone", sa.Text(), server_default=sa.text("'UTC'"), nullable=False),
        sa.Column("job_title", sa.Text(), nullable=True),
        sa.Column("avatar_url", sa.Text(), nullable=True),
        sa.Column("preferences", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("deactivated_at", TIME, nullable=True),
        sa.Column("last_sign_in_at", TIME, nullable=True),
        sa.Column("deletion_requested_at", TIME, nullable=True),
        sa.Column("deletion_due_at", TIME, nullable=True),
        sa.Column("erased_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("platform_role IN ('superadmin', 'support')", name=op.f("ck_account_platform_role")),
        sa.CheckConstraint("char_length(email) BETWEEN 1 AND 320", name=op.f("ck_account_email_length")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 200", name=op.f("ck_account_name_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("email_key", name=op.f("uq_account_email_key")),
    )
    op.create_index(op.f("ix_account_deletion_due_at"), "account", ["deletion_due_at"], unique=False)
    op.create_table(
        "sign_in_flow",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("browser", sa.LargeBinary(), nullable=True),
        sa.Column("secrets", sa.LargeBinary(), nullable=True),
        sa.Column("surface", sa.Text(), nullable=False),
        sa.Column("facts", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_flow")),
        sa.UniqueConstraint("state", name=op.f("uq_sign_in_flow_state")),
    )
    op.create_index(op.f("ix_sign_in_flow_expires_at"), "sign_in_flow", ["expires_at"], unique=False)
    op.create_table(
        "signing_key",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("private", sa.LargeBinary(), nullable=False),
        sa.Column("public", JSONB(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("signs_from", TIME, nullable=False),
        sa.Column("retires_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_key")),
    )
    op.create_table(
        "spent_nonce",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_spent_nonce")),
    )
    op.create_index(op.f("ix_spent_nonce_expires_at"), "spent_nonce", ["expires_at"], unique=False)
    op.create_table(
        "connector_claim",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("facts", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("accepted", sa.Boolean(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"],
            ["organisation.id"],
            name=op.f("fk_connector_claim_organisation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connector_claim")),
        sa.UniqueConstraint("digest", name=op.f("uq_connector_claim_digest")),
    )
    op.create_index(op.f("ix_connector_claim_organisation_id"), "connector_claim", ["organisation_id"], unique=False)
    op.create_table(
        "connector_instance",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("tenant_key", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("admin_uid", sa.Text(), nullable=True),
        sa.Column("admin_email", sa.Text(), nullable=True),
        sa.Column("callback_url", sa.Text(), nullable=True),
        sa.Column("seen_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"],
            ["organisation.id"],
            name=op.f("fk_connector_instance_organisation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connector_instance")),
        sa.UniqueConstraint("instance_id", name=op.f("uq_connector_instance_instance_id")),
    )
    op.create_index(
        op.f("ix_connector_instance_organisation_id"), "connector_instance", ["organisation_id"], unique=False
    )
    op.create_table(
        "consent",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("accepted_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_consent_account_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_consent_organisation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent")),
        sa.UniqueConstraint(
            "organisation_id", "account_id", "version", name=op.f("uq_consent_organisation_id_account_id_version")
        ),
    )
    op.create_index(op.f("ix_consent_account_id"), "consent", ["account_id"], unique=False)
    op.create_table(
        "external_identity",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("profile", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("seen_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_external_identity_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_external_identity")),
        sa.UniqueConstraint("provider", "issuer", "subject", name=op.f("uq_external_identity_provider_issuer_subject")),
    )
    op.create_index(op.f("ix_external_identity_account_id"), "external_identity", ["account_id"], unique=False)
    op.create_table(
        "membership",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("external_at", TIME, nullable=True),
        sa.Column("joined_at", TIME, nullable=True),
        sa.Column("seen_at", TIME, nullable=True),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint(
            "role IN ('owner', 'admin', 'analyst', 'agent', 'member', 'auditor', 'viewer')",
            name=op.f("ck_membership_role"),
        ),
        sa.CheckConstraint(
            "status IN ('invited', 'pending', 'active', 'disabled', 'deleted')", name=op.f("ck_membership_status")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_membership_account_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_membership_organisation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_membership")),
        sa.UniqueConstraint("organisation_id", "account_id", name=op.f("uq_membership_organisation_id_account_id")),
        sa.UniqueConstraint("organisation_id", "external_id", name=op.f("uq_membership_organisation_id_external_id")),
    )
    op.create_index(op.f("ix_membership_account_id"), "membership", ["account_id"], unique=False)
    op.create_table(
        "one_time_token",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("organisation_id", sa.Uuid(), nullable=True),
        sa.Column("facts", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_one_time_token_account_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_one_time_token_organisation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_one_time_token")),
        sa.UniqueConstraint("digest", name=op.f("uq_one_time_token_digest")),
    )
    op.create_index("ix_one_time_token_account_id_purpose", "one_time_token", ["account_id", "purpose"], unique=False)
    op.create_index(op.f("ix_one_time_token_expires_at"), "one_time_token", ["expires_at"], unique=False)
    op.create_index(op.f("ix_one_time_token_organisation_id"), "one_time_token", ["organisation_id"], unique=False)
    op.create_table(
        "password_history",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_password_history_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_password_history")),
    )
    op.create_index(op.f("ix_password_history_account_id"), "password_history", ["account_id"], unique=False)
    op.create_table(
        "service_token",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=True),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("signing_kid", sa.Text(), nullable=False),
        sa.Column("issued_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.Column("revoked_reason", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_service_token_organisation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_token")),
        sa.UniqueConstraint("digest", name=op.f("uq_service_token_digest")),
    )
    op.create_index("ix_service_token_account_created_at", "service_token", ["account", "created_at"], unique=False)
    op.create_index(op.f("ix_service_token_organisation_id"), "service_token", ["organisation_id"], unique=False)
    op.create_table(
        "signup_request",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("company", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("status IN ('pending', 'approved', 'rejected')", name=op.f("ck_signup_request_status")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_signup_request_account_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_signup_request_organisation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signup_request")),
    )
    op.create_index(op.f("ix_signup_request_account_id"), "signup_request", ["account_id"], unique=False)
    op.create_index(
        "ix_signup_request_organisation_id_created_at",
        "signup_request",
        ["organisation_id", "created_at"],
        unique=False,
    )
    op.create_index(
        "uq_signup_request_pending",
        "signup_request",
        ["organisation_id", "email_key"],
        unique=True,
        postgresql_where=sa.text("status = 'pending'"),
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "user_group",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("settings", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_user_group_organisation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_group")),
        sa.UniqueConstraint("organisation_id", "external_id", name=op.f("uq_user_group_organisation_id_external_id")),
        sa.UniqueConstraint("organisation_id", "name_key", name=op.f("uq_user_group_organisation_id_name_key")),
    )
    op.create_table(
        "user_session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=True),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("surface", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("client", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("location", JSONB(), nullable=True),
        sa.Column("remembered", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("origin", sa.Text(), nullable=True),
        sa.Column("idle_seconds", sa.Integer(), nullable=True),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("ends_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("revoked_reason", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_user_session_account_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_user_session_organisation_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["user_session.id"], name=op.f("fk_user_session_parent_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_session")),
    )
    op.create_index("ix_user_session_account_id_created_at", "user_session", ["account_id", "created_at"], unique=False)
    op.create_index(op.f("ix_user_session_expires_at"), "user_session", ["expires_at"], unique=False)
    op.create_index(op.f("ix_user_session_organisation_id"), "user_session", ["organisation_id"], unique=False)
    op.create_index(op.f("ix_user_session_parent_id"), "user_session", ["parent_id"], unique=False)
    op.create_table(
        "group_member",
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("group_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_group_member_account_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["group_id"], ["user_group.id"], name=op.f("fk_group_member_group_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_group_member_organisation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", "account_id", name=op.f("pk_group_member")),
    )
    op.create_index(
        "ix_group_member_organisation_id_account_id", "group_member", ["organisation_id", "account_id"], unique=False
    )
    op.create_table(
        "invite",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("email_key", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("group_ids", sa.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("invited_by", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("signup_request_id", sa.Uuid(), nullable=True),
        sa.Column("max_redemptions", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("redemptions", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("(organisation_id IS NULL) = (role IS NULL)", name=op.f("ck_invite_role_with_organisation")),
        sa.CheckConstraint("redemptions BETWEEN 0 AND max_redemptions", name=op.f("ck_invite_redemptions")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_invite_account_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_invite_organisation_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["signup_request_id"], ["signup_request.id"], name=op.f("fk_invite_signup_request_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invite")),
        sa.UniqueConstraint("digest", name=op.f("uq_invite_digest")),
    )
    op.create_index(op.f("ix_invite_account_id"), "invite", ["account_id"], unique=False)
    op.create_index("ix_invite_created_at", "invite", ["created_at"], unique=False)
    op.create_index(op.f("ix_invite_organisation_id"), "invite", ["organisation_id"], unique=False)
    op.create_table(
        "refresh_token",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"], ["user_session.id"], name=op.f("fk_refresh_token_session_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refresh_token")),
        sa.UniqueConstraint("digest", name=op.f("uq_refresh_token_digest")),
    )
    op.create_index(op.f("ix_refresh_token_expires_at"), "refresh_token", ["expires_at"], unique=False)
    op.create_index(op.f("ix_refresh_token_session_id"), "refresh_token", ["session_id"], unique=False)
    op.create_table(
        "strangers_idempotency_record",
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("headers", JSONB(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("stream", JSONB(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("operation", "key", name=op.f("pk_strangers_idempotency_record")),
    )
    op.create_index(
        "ix_strangers_idempotency_record_expires_at", "strangers_idempotency_record", ["expires_at"], unique=False
    )
    op.create_table(
        "server_setup",
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("done", name=op.f("ck_server_setup_only_one")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_server_setup_organisation_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("done", name=op.f("pk_server_setup")),
    )
    op.create_table(
        "account_picture",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_account_picture_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_account_picture")),
    )
    op.add_column("api_key", sa.Column("account_id", sa.Uuid(), nullable=True))
    op.add_column("api_key", sa.Column("suffix", sa.Text(), nullable=True))
    op.create_index(op.f("ix_api_key_account_id"), "api_key", ["account_id"], unique=False)
    op.create_foreign_key(
        op.f("fk_api_key_account_id"), "api_key", "account", ["account_id"], ["id"], ondelete="CASCADE"
    )
    op.add_column("organisation", sa.Column("personal", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("organisation", sa.Column("settings", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False))
    op.add_column(
        "organisation", sa.Column("networks", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False)
    )
    op.add_column(
        "organisation", sa.Column("require_sso", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("organisation", sa.Column("idle_minutes", sa.Integer(), nullable=True))
    op.create_index(
        "ix_organisation_public_name",
        "organisation",
        ["name"],
        unique=False,
        postgresql_where=sa.text("(settings #>> '{profile,public}') = 'true' AND deleted_at IS NULL"),
    )


def downgrade() -> None:

    op.drop_index("ix_organisation_public_name", table_name="organisation")
    op.drop_column("organisation", "idle_minutes")
    op.drop_column("organisation", "require_sso")
    op.drop_column("organisation", "networks")
    op.drop_column("organisation", "settings")
    op.drop_column("organisation", "personal")
    op.drop_constraint(op.f("fk_api_key_account_id"), "api_key", type_="foreignkey")
    op.drop_index(op.f("ix_api_key_account_id"), table_name="api_key")
    op.drop_column("api_key", "account_id")
    op.drop_column("api_key", "suffix")
    op.drop_table("account_picture")
    op.drop_table("server_setup")
    op.drop_index("ix_strangers_idempotency_record_expires_at", table_name="strangers_idempotency_record")
    op.drop_table("strangers_idempotency_record")
    op.drop_index(op.f("ix_refresh_token_session_id"), table_name="refresh_token")
    op.drop_index(op.f("ix_refresh_token_expires_at"), table_name="refresh_token")
    op.drop_table("refresh_token")
    op.drop_index(op.f("ix_invite_organisation_id"), table_name="invite")
    op.drop_index("ix_invite_created_at", table_name="invite")
    op.drop_index(op.f("ix_invite_account_id"), table_name="invite")
    op.drop_table("invite")
    op.drop_index("ix_group_member_organisation_id_account_id", table_name="group_member")
    op.drop_table("group_member")
    op.drop_index(op.f("ix_user_session_parent_id"), table_name="user_session")
    op.drop_index(op.f("ix_user_session_organisation_id"), table_name="user_session")
    op.drop_index(op.f("ix_user_session_expires_at"), table_name="user_session")
    op.drop_index("ix_user_session_account_id_created_at", table_name="user_session")
    op.drop_table("user_session")
    op.drop_table("user_group")
    op.drop_index(
        "uq_signup_request_pending",
        table_name="signup_request",
        postgresql_where=sa.text("status = 'pending'"),
        postgresql_nulls_not_distinct=True,
    )
    op.drop_index("ix_signup_request_organisation_id_created_at", table_name="signup_request")
    op.drop_index(op.f("ix_signup_request_account_id"), table_name="signup_request")
    op.drop_table("signup_request")
    op.drop_index(op.f("ix_service_token_organisation_id"), table_name="service_token")
    op.drop_index("ix_service_token_account_created_at", table_name="service_token")
    op.drop_table("service_token")
    op.drop_index(op.f("ix_password_history_account_id"), table_name="password_history")
    op.drop_table("password_history")
    op.drop_index(op.f("ix_one_time_token_organisation_id"), table_name="one_time_token")
    op.drop_index(op.f("ix_one_time_token_expires_at"), table_name="one_time_token")
    op.drop_index("ix_one_time_token_account_id_purpose", table_name="one_time_token")
    op.drop_table("one_time_token")
    op.drop_index(op.f("ix_membership_account_id"), table_name="membership")
    op.drop_table("membership")
    op.drop_index(op.f("ix_external_identity_account_id"), table_name="external_identity")
    op.drop_table("external_identity")
    op.drop_index(op.f("ix_consent_account_id"), table_name="consent")
    op.drop_table("consent")
    op.drop_index(op.f("ix_connector_instance_organisation_id"), table_name="connector_instance")
    op.drop_table("connector_instance")
    op.drop_index(op.f("ix_connector_claim_organisation_id"), table_name="connector_claim")
    op.drop_table("connector_claim")
    op.drop_index(op.f("ix_spent_nonce_expires_at"), table_name="spent_nonce")
    op.drop_table("spent_nonce")
    op.drop_table("signing_key")
    op.drop_index(op.f("ix_sign_in_flow_expires_at"), table_name="sign_in_flow")
    op.drop_table("sign_in_flow")
    op.drop_index(op.f("ix_account_deletion_due_at"), table_name="account")
    op.drop_table("account")
    op.drop_index(op.f("ix_sign_in_guard_updated_at"), table_name="sign_in_guard")
    op.drop_table("sign_in_guard")
