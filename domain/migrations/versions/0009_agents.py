"""Agents: definitions, versions, marketplace, access, own settings, skills, confirmations, keys of one's own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "agent",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("description", sa.String(length=2000), nullable=True),
        sa.Column("category", sa.String(length=20), nullable=False),
        sa.Column("instructions", sa.Text(), nullable=False),
        sa.Column("instructions_hidden", sa.Boolean(), nullable=False),
        sa.Column("avatar_url", sa.Text(), nullable=True),
        sa.Column("model", sa.String(length=128), nullable=True),
        sa.Column("tier", sa.String(length=8), nullable=True),
        sa.Column("temperature", sa.Float(), nullable=True),
        sa.Column("max_output_tokens", sa.Integer(), nullable=True),
        sa.Column("welcome_message", sa.String(length=1000), nullable=True),
        sa.Column("starter_prompts", JSONB(), nullable=False),
        sa.Column("knowledge_base_ids", JSONB(), nullable=False),
        sa.Column("skill_ids", JSONB(), nullable=False),
        sa.Column("tools", JSONB(), nullable=False),
        sa.Column("guardrails", JSONB(), nullable=False),
        sa.Column("visibility", sa.String(length=12), nullable=False),
        sa.Column("group_ids", JSONB(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("copied_from", sa.Uuid(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("visibility IN ('private', 'group', 'organisation')", name="ck_agent_visibility"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_agent_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_agent"),
        sa.UniqueConstraint("organisation_id", "key", name="uq_agent_organisation_id_key"),
    )
    op.create_index("ix_agent_owner_id", "agent", ["owner_id"], unique=False)
    op.create_index("ix_agent_updated", "agent", ["organisation_id", "updated_at", "id"], unique=False)
    op.create_table(
        "agent_version",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("definition", JSONB(), nullable=False),
        sa.Column("changed_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["agent.id"], name="fk_agent_version_agent_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_agent_version_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_agent_version"),
        sa.UniqueConstraint("agent_id", "number", name="uq_agent_version_agent_id_number"),
    )
    op.create_index("ix_agent_version_organisation_id", "agent_version", ["organisation_id"], unique=False)
    op.create_table(
        "marketplace_agent",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("publisher_id", sa.Uuid(), nullable=False),
        sa.Column("publisher_name", sa.String(length=200), nullable=False),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("description", sa.String(length=2000), nullable=True),
        sa.Column("tagline", sa.String(length=160), nullable=False),
        sa.Column("category", sa.String(length=20), nullable=False),
        sa.Column("tags", JSONB(), nullable=False),
        sa.Column("avatar_url", sa.Text(), nullable=True),
        sa.Column("starter_prompts", JSONB(), nullable=False),
        sa.Column("share_instructions", sa.Boolean(), nullable=False),
        sa.Column("definition", JSONB(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("copies", sa.Integer(), nullable=False),
        sa.Column("published_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["publisher_id"], ["organisation.id"], name="fk_marketplace_agent_publisher_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_marketplace_agent"),
    )
    op.create_index("ix_marketplace_agent_category", "marketplace_agent", ["category", "copies"], unique=False)
    op.create_index("ix_marketplace_agent_publisher_id", "marketplace_agent", ["publisher_id"], unique=False)
    op.create_table(
        "platform_agent_setting",
        sa.Column("agent_key", sa.String(length=64), nullable=False),
        sa.Column("access", sa.String(length=8), nullable=True),
        sa.Column("model_tier", sa.String(length=8), nullable=True),
        sa.Column("max_iterations", sa.Integer(), nullable=True),
        sa.Column("timeout_seconds", sa.Integer(), nullable=True),
        sa.Column("overrides", sa.Integer(), nullable=False),
        sa.Column("copies", sa.Integer(), server_default="0", nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", TIME, nullable=True),
        sa.CheckConstraint("access IN ('allow', 'deny')", name="ck_platform_agent_setting_access"),
        sa.PrimaryKeyConstraint("agent_key", name="pk_platform_agent_setting"),
    )
    op.create_table(
        "agent_access",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("tier", sa.String(length=12), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("agent_key", sa.String(length=64), nullable=False),
        sa.Column("access", sa.String(length=8), nullable=False),
        sa.Column("model_tier", sa.String(length=8), nullable=True),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("(tier = 'organisation') = (subject_id IS NULL)", name="ck_agent_access_subject"),
        sa.CheckConstraint("access IN ('allow', 'deny', 'inherit')", name="ck_agent_access_access"),
        sa.CheckConstraint("tier IN ('organisation', 'group', 'user')", name="ck_agent_access_tier"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_agent_access_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_agent_access"),
    )
    op.create_index(
        "uq_agent_access_subject",
        "agent_access",
        ["organisation_id", "tier", "subject_id", "agent_key"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "agent_setting",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("agent_key", sa.String(length=64), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("instructions", sa.String(length=4000), nullable=True),
        sa.Column("model_tier", sa.String(length=8), nullable=True),
        sa.Column("disabled_tools", JSONB(), nullable=False),
        sa.Column("confirm_writes", sa.Boolean(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_agent_setting_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_agent_setting"),
        sa.UniqueConstraint("organisation_id", "user_id", "agent_key", name="uq_agent_setting_user_id_agent_key"),
    )
    op.create_index("ix_agent_setting_user_id", "agent_setting", ["user_id"], unique=False)
    op.create_table(
        "skill",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("marketplace_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("description", sa.String(length=2000), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("instructions", sa.Text(), nullable=False),
        sa.Column("permissions", JSONB(), nullable=False),
        sa.Column("tools", JSONB(), nullable=False),
        sa.Column("settings", sa.LargeBinary(), nullable=True),
        sa.Column("visibility", sa.String(length=12), nullable=False),
        sa.Column("installed_by", sa.Uuid(), nullable=True),
        sa.Column("installed_for", sa.Uuid(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("visibility IN ('private', 'organisation')", name="ck_skill_visibility"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_skill_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_skill"),
    )
    op.create_index(
        "uq_skill_installation",
        "skill",
        ["organisation_id", "marketplace_id", "installed_for"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "skill_installs",
        sa.Column("marketplace_id", sa.Uuid(), nullable=False),
        sa.Column("installs", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("marketplace_id", name="pk_skill_installs"),
    )
    op.create_table(
        "confirmation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("turn_id", sa.Uuid(), nullable=False),
        sa.Column("call_id", sa.String(length=128), nullable=False),
        sa.Column("tool", sa.String(length=128), nullable=False),
        sa.Column("arguments", JSONB(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_confirmation_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_confirmation"),
    )
    op.create_index("ix_confirmation_conversation", "confirmation", ["conversation_id", "created_at"], unique=False)
    op.create_index("ix_confirmation_organisation_id", "confirmation", ["organisation_id"], unique=False)
    op.create_table(
        "model_setting",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=True),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("key_hint", sa.String(length=32), nullable=True),
        sa.Column("address", JSONB(), nullable=False),
        sa.Column("models", JSONB(), nullable=False),
        sa.Column("embedding_secret", sa.LargeBinary(), nullable=True),
        sa.Column("embedding", JSONB(), nullable=True),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("disclaimer_accepted_at", TIME, nullable=True),
        sa.Column("validated_at", TIME, nullable=True),
        sa.Column("saved_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("status IN ('ok', 'invalid', 'unchecked')", name="ck_model_setting_status"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_model_setting_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_model_setting"),
        sa.UniqueConstraint("organisation_id", "user_id", name="uq_model_setting_organisation_id_user_id"),
    )
    op.create_index("ix_model_setting_user_id", "model_setting", ["user_id"], unique=False)
    op.create_table(
        "model_trial",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("save", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("given", sa.LargeBinary(), nullable=True),
        sa.Column("checks", JSONB(), nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("state IN ('queued', 'done')", name="ck_model_trial_state"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_model_trial_organisation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_model_trial"),
    )
    op.create_index("ix_model_trial_organisation_id", "model_trial", ["organisation_id"], unique=False)
    op.create_index("ix_model_trial_user_id", "model_trial", ["user_id"], unique=False)


def downgrade() -> None:
    op.drop_table("model_trial")
    op.drop_table("model_setting")
    op.drop_table("confirmation")
    op.drop_table("skill_installs")
    op.drop_table("skill")
    op.drop_table("agent_setting")
    op.drop_table("agent_access")
    op.drop_table("platform_agent_setting")
    op.drop_table("marketplace_agent")
    op.drop_table("agent_version")
    op.drop_table("agent")
