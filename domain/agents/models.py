"""The tables of agents: definitions and their versions, what the marketplace shows, who may use what, one's own
settings, skills, and confirmations of actions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from domain.kernel.models import Base, Identified, OrganisationOwned, Timestamped


class AgentRow(Identified, OrganisationOwned, Timestamped, Base):
    """An agent that somebody in the organisation made. Those that come with the platform are files, not rows."""

    __tablename__ = "agent"
    __table_args__ = (
        CheckConstraint("visibility IN ('private', 'group', 'organisation')", name="visibility"),
        UniqueConstraint("organisation_id", "key", name="uq_agent_organisation_id_key"),
        Index("ix_agent_updated", "organisation_id", "updated_at", "id"),
    )
    __organisation_index__: ClassVar[bool] = False

    key: Mapped[str] = mapped_column(String(64))
    """Its name for programs, made from the name; unique in the organisation and no built-in agent's."""
    name: Mapped[str] = mapped_column(String(120))
    description: Mapped[str | None] = mapped_column(String(2000))
    category: Mapped[str] = mapped_column(String(20), default="general")
    instructions: Mapped[str] = mapped_column(Text)
    instructions_hidden: Mapped[bool] = mapped_column(default=False)
    """A copy whose publisher keeps the instructions to himself: they work and are not shown."""
    avatar_url: Mapped[str | None] = mapped_column(Text)
    model: Mapped[str | None] = mapped_column(String(128))
    tier: Mapped[str | None] = mapped_column(String(8))
    temperature: Mapped[float | None] = mapped_column(Float)
    max_output_tokens: Mapped[int | None] = mapped_column(Integer)
    welcome_message: Mapped[str | None] = mapped_column(String(1000))
    starter_prompts: Mapped[list[Any]] = mapped_column(default=list)
    knowledge_base_ids: Mapped[list[Any]] = mapped_column(default=list)
    skill_ids: Mapped[list[Any]] = mapped_column(default=list)
    tools: Mapped[list[Any]] = mapped_column(default=list)
    guardrails: Mapped[dict[str, Any]] = mapped_column(default=dict)
    visibility: Mapped[str] = mapped_column(String(12), default="private")
    group_ids: Mapped[list[Any]] = mapped_column(default=list)
    owner_id: Mapped[UUID | None] = mapped_column(index=True)
    copied_from: Mapped[UUID | None] = mapped_column()
    version: Mapped[int] = mapped_column(Integer, default=1)


class AgentVersion(Identified, OrganisationOwned, Base):
    """What an agent was after each change. Append-only."""

    __tablename__ = "agent_version"
    __table_args__ = (UniqueConstraint("agent_id", "number", name="uq_agent_version_agent_id_number"),)

    agent_id: Mapped[UUID] = mapped_column(ForeignKey("agent.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer)
    definition: Mapped[dict[str, Any]] = mapped_column()
    changed_by: Mapped[UUID | None] = mapped_column()
    created_at: Mapped[datetime] = mapped_column()


class MarketplaceAgent(Base):
    """A published agent: a copy of what it was then, for every organisation to see. Hence not organisation-owned."""

    __tablename__ = "marketplace_agent"
    __table_args__ = (Index("ix_marketplace_agent_category", "category", "copies"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """The agent's own id. No foreign key: the row is removed by the verb that deletes the agent."""
    publisher_id: Mapped[UUID] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"), index=True)
    publisher_name: Mapped[str] = mapped_column(String(200))
    verified: Mapped[bool] = mapped_column(default=False)
    name: Mapped[str] = mapped_column(String(120))
    description: Mapped[str | None] = mapped_column(String(2000))
    tagline: Mapped[str] = mapped_column(String(160))
    category: Mapped[str] = mapped_column(String(20))
    tags: Mapped[list[Any]] = mapped_column(default=list)
    avatar_url: Mapped[str | None] = mapped_column(Text)
    starter_prompts: Mapped[list[Any]] = mapped_column(default=list)
    share_instructions: Mapped[bool] = mapped_column(default=False)
    definition: Mapped[dict[str, Any]] = mapped_column()
    version: Mapped[int] = mapped_column(Integer, default=1)
    copies: Mapped[int] = mapped_column(Integer, default=0)
    published_at: Mapped[datetime] = mapped_column()


class PlatformAgentSetting(Base):
    """What holds for an agent wherever no organisation, group or user says otherwise."""

    __tablename__ = "platform_agent_setting"
    __table_args__ = (CheckConstraint("access IN ('allow', 'deny')", name="access"),)

    agent_key: Mapped[str] = mapped_column(String(64), primary_key=True)
    access: Mapped[str | None] = mapped_column(String(8))
    model_tier: Mapped[str | None] = mapped_column(String(8))
    max_iterations: Mapped[int | None] = mapped_column(Integer)
    timeout_seconds: Mapped[int | None] = mapped_column(Integer)
    overrides: Mapped[int] = mapped_column(Integer, default=0)
    """Organisations that say otherwise: counted here, because no organisation's session may count the others."""
    copies: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """How often organisations have copied it."""
    updated_by: Mapped[UUID | None] = mapped_column()
    updated_at: Mapped[datetime | None] = mapped_column()


class AgentAccess(Identified, OrganisationOwned, Timestamped, Base):
    """What an organisation, one of its groups or one of its users sets for an agent."""

    __tablename__ = "agent_access"
    __table_args__ = (
        CheckConstraint("tier IN ('organisation', 'group', 'user')", name="tier"),
        CheckConstraint("access IN ('allow', 'deny', 'inherit')", name="access"),
        CheckConstraint("(tier = 'organisation') = (subject_id IS NULL)", name="subject"),
        Index(
            "uq_agent_access_subject",
            "organisation_id",
            "tier",
            "subject_id",
            "agent_key",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
    )
    __organisation_index__: ClassVar[bool] = False

    tier: Mapped[str] = mapped_column(String(12))
    subject_id: Mapped[UUID | None] = mapped_column()
    """The group or the user; NULL for the organisation itself."""
    agent_key: Mapped[str] = mapped_column(String(64))
    access: Mapped[str] = mapped_column(String(8), default="inherit")
    model_tier: Mapped[str | None] = mapped_column(String(8))
    reason: Mapped[str | None] = mapped_column(String(500))
    updated_by: Mapped[UUID | None] = mapped_column()


class AgentSetting(Identified, OrganisationOwned, Timestamped, Base):
    """A user's own settings of an agent. They narrow what the tiers allow."""

    __tablename__ = "agent_setting"
    __table_args__ = (
        UniqueConstraint("organisation_id", "user_id", "agent_key", name="uq_agent_setting_user_id_agent_key"),
    )
    __organisation_index__: ClassVar[bool] = False

    user_id: Mapped[UUID] = mapped_column(index=True)
    agent_key: Mapped[str] = mapped_column(String(64))
    enabled: Mapped[bool] = mapped_column(default=True)
    instructions: Mapped[str | None] = mapped_column(String(4000))
    model_tier: Mapped[str | None] = mapped_column(String(8))
    disabled_tools: Mapped[list[Any]] = mapped_column(default=list)
    confirm_writes: Mapped[bool] = mapped_column(default=True)


class Skill(Identified, OrganisationOwned, Timestamped, Base):
    """An installed skill: instructions and tools that agents may be given. What it says is fixed with its version."""

    __tablename__ = "skill"
    __table_args__ = (
        CheckConstraint("visibility IN ('private', 'organisation')", name="visibility"),
        Index(
            "uq_skill_installation",
            "organisation_id",
            "marketplace_id",
            "installed_for",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
    )
    __organisation_index__: ClassVar[bool] = False

    marketplace_id: Mapped[UUID] = mapped_column()
    name: Mapped[str] = mapped_column(String(120))
    description: Mapped[str] = mapped_column(String(2000))
    version: Mapped[str] = mapped_column(String(32))
    instructions: Mapped[str] = mapped_column(Text)
    permissions: Mapped[list[Any]] = mapped_column(default=list)
    tools: Mapped[list[Any]] = mapped_column(default=list)
    settings: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """Sealed JSON: a setting may be a credential."""
    visibility: Mapped[str] = mapped_column(String(12), default="private")
    installed_by: Mapped[UUID | None] = mapped_column()
    installed_for: Mapped[UUID | None] = mapped_column()
    """The one who may give it to agents; NULL: everybody in the organisation."""


class SkillInstalls(Base):
    """How many organisations have a skill of the marketplace."""

    __tablename__ = "skill_installs"

    marketplace_id: Mapped[UUID] = mapped_column(primary_key=True)
    installs: Mapped[int] = mapped_column(Integer, default=0)


class Confirmation(Identified, OrganisationOwned, Base):
    """An action that waits for somebody's word. Its token is made from the installation's key and never stored."""

    __tablename__ = "confirmation"
    __table_args__ = (Index("ix_confirmation_conversation", "conversation_id", "created_at"),)

    user_id: Mapped[UUID | None] = mapped_column()
    conversation_id: Mapped[UUID] = mapped_column()
    turn_id: Mapped[UUID] = mapped_column()
    call_id: Mapped[str] = mapped_column(String(128))
    tool: Mapped[str] = mapped_column(String(128))
    arguments: Mapped[dict[str, Any]] = mapped_column()
    created_at: Mapped[datetime] = mapped_column()
    expires_at: Mapped[datetime] = mapped_column()
    used_at: Mapped[datetime | None] = mapped_column()
