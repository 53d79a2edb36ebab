"""Tables of identity: organisations, accounts and what ties them together, and everything that proves who somebody is.

An account is a person and belongs to no organisation; a membership ties it to one. Rows that are found before their
organisation is known (sessions, tokens, sign-in flows) carry it as a plain column: only identity's own verbs read them,
always by a digest or together with the account.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Index, LargeBinary, Text, UniqueConstraint, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column, synonym

from domain.kernel.models import Base, Identified, OrganisationOwned, Scoped, Timestamped


class Organisation(Identified, Timestamped, Scoped, Base):
    """The one tenant behind every surface: organisation, workspace and tenant are this row."""

    __tablename__ = "organisation"
    __owner_attribute__: ClassVar[str] = "id"

    organisation_id: Mapped[UUID] = synonym("id")
    name: Mapped[str] = mapped_column(Text)
    slug: Mapped[str] = mapped_column(Text, unique=True)
    personal: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    """Made with an account, for that account alone."""
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    """Settings by section (`profile`, `signup`, `tenant`, ...): see `domain.identity.settings`."""
    networks: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default=text("'{}'"))
    """The IP allowlist, as CIDR; empty: every address is allowed."""
    require_sso: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    idle_minutes: Mapped[int | None]
    """Sessions end after this long without use; None: as the platform has it."""
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("char_length(name) BETWEEN 1 AND 200", name="name_length"),
        CheckConstraint("slug ~ '^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$'", name="slug_form"),
        Index(
            "ix_organisation_public_name",
            "name",
            postgresql_where=text("(settings #>> '{profile,public}') = 'true' AND deleted_at IS NULL"),
        ),
    )


class ServerSetup(Base):
    """That this server was set up, and the organisation that was made then: whose sign-up settings hold for those who
    come without an invitation. At most one row."""

    __tablename__ = "server_setup"

    done: Mapped[bool] = mapped_column(primary_key=True, default=True)
    organisation_id: Mapped[UUID | None] = mapped_column(ForeignKey("organisation.id", ondelete="SET NULL"))
    created_at: Mapped[datetime]

    __table_args__ = (CheckConstraint("done", name="only_one"),)


class ApiKey(Identified, Timestamped, OrganisationOwned, Base):
    """A key as it may be stored: its digest, and the few first characters by which its owner knows it."""

    __tablename__ = "api_key"

    kind: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    prefix: Mapped[str] = mapped_column(Text)
    suffix: Mapped[str | None] = mapped_column(Text)
    """The last characters, for surfaces that show how a key ends."""
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_by: Mapped[str | None] = mapped_column(Text)
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    """Whose key it is, for keys that act as a person."""
    requests_per_minute: Mapped[int | None]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("kind IN ('thalium', 'thallus', 'thalian', 'beeflow')", name="kind"),
        CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
        CheckConstraint("requests_per_minute > 0", name="positive_rate"),
        Index("ix_api_key_organisation_id_created_at", "organisation_id", "created_at", "id"),
    )
    __organisation_index__: ClassVar[bool] = False


class Account(Identified, Timestamped, Base):
    """A person, whichever surface they came in by. One address, one account."""

    __tablename__ = "account"

    email: Mapped[str] = mapped_column(Text)
    email_key: Mapped[str] = mapped_column(Text, unique=True)
    """The address as it is compared (`rules.email_key`)."""
    name: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    """`signup`, `invite`, `sso`, `nextcloud`, `setup` or `operator`."""
    platform_role: Mapped[str | None] = mapped_column(Text)
    """`superadmin` or `support`, for people who run the platform; set at the command line alone."""
    password_hash: Mapped[str | None] = mapped_column(Text)
    password_changed_at: Mapped[datetime | None]
    email_verified_at: Mapped[datetime | None]
    language: Mapped[str] = mapped_column(Text, default="en", server_default=text("'en'"))
    timezone: Mapped[str] = mapped_column(Text, default="UTC", server_default=text("'UTC'"))
    job_title: Mapped[str | None] = mapped_column(Text)
    avatar_url: Mapped[str | None] = mapped_column(Text)
    preferences: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    deactivated_at: Mapped[datetime | None]
    last_sign_in_at: Mapped[datetime | None]
    deletion_requested_at: Mapped[datetime | None]
    deletion_due_at: Mapped[datetime | None] = mapped_column(index=True)
    erased_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("char_length(email) BETWEEN 1 AND 320", name="email_length"),
        CheckConstraint("char_length(name) BETWEEN 1 AND 200", name="name_length"),
        CheckConstraint("platform_role IN ('superadmin', 'support')", name="platform_role"),
    )


class Picture(Base):
    """An account's picture, made small and stripped of everything else: a few kilobytes of WebP."""

    __tablename__ = "account_picture"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


class SignInGuard(Base):
    """Failed sign-ins of an address, whether or not it has an account: so a lock does not tell that there is one.

    The failures from one network, and what strangers may do so many times in a while, are counted in the same way.
    """

    __tablename__ = "sign_in_guard"

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    """Of the address as it is compared, or of what else is counted (`guard`)."""
    failures: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    failing_since: Mapped[datetime | None]
    locked_until: Mapped[datetime | None]
    locks: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    """How often in a row it was locked: each lock is longer where the policy says so."""
    updated_at: Mapped[datetime] = mapped_column(index=True)


class PasswordHistory(Identified, Base):
    """Earlier passwords of an account, as hashes, so that they are not taken again."""

    __tablename__ = "password_history"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    password_hash: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class Membership(Identified, Timestamped, OrganisationOwned, Base):
    """An account in an organisation: its role there, and its state."""

    __tablename__ = "membership"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    role: Mapped[str] = mapped_column(Text)
    """One of `roles.ROLES`."""
    status: Mapped[str] = mapped_column(Text)
    """`invited`, `pending`, `active`, `disabled` or `deleted`."""
    source: Mapped[str] = mapped_column(Text)
    external_id: Mapped[str | None] = mapped_column(Text)
    """The uid in the organisation's Nextcloud, for those who come from there."""
    external_at: Mapped[datetime | None]
    """When the newest event of there was, that was carried out."""
    joined_at: Mapped[datetime | None]
    seen_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("organisation_id", "account_id"),
        UniqueConstraint("organisation_id", "external_id"),
        CheckConstraint("status IN ('invited', 'pending', 'active', 'disabled', 'deleted')", name="status"),
        CheckConstraint(
            "role IN ('owner', 'admin', 'analyst', 'agent', 'member', 'auditor', 'viewer')",
            name="role",
        ),
    )
    __organisation_index__: ClassVar[bool] = False


class UserGroup(Identified, Timestamped, OrganisationOwned, Base):
    """A group of members, made here or kept by the organisation's Nextcloud."""

    __tablename__ = "user_group"

    name: Mapped[str] = mapped_column(Text)
    name_key: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    external_id: Mapped[str | None] = mapped_column(Text)
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))

    __table_args__ = (
        UniqueConstraint("organisation_id", "name_key"),
        UniqueConstraint("organisation_id", "external_id"),
    )
    __organisation_index__: ClassVar[bool] = False


class GroupMember(OrganisationOwned, Base):
    __tablename__ = "group_member"

    group_id: Mapped[UUID] = mapped_column(ForeignKey("user_group.id", ondelete="CASCADE"), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    created_at: Mapped[datetime]

    __table_args__ = (Index("ix_group_member_organisation_id_account_id", "organisation_id", "account_id"),)
    __organisation_index__: ClassVar[bool] = False


class UserSession(Identified, Timestamped, Base):
    """One sign-in, on one surface. Every access token names its session and is worth nothing once that is over."""

    __tablename__ = "user_session"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    organisation_id: Mapped[UUID | None] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"), index=True)
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("user_session.id", ondelete="CASCADE"), index=True)
    """The session it was made from, for frames and handshakes: it ends with that."""
    surface: Mapped[str] = mapped_column(Text)
    method: Mapped[str] = mapped_column(Text)
    """How the person proved to be who they are: `password`, `google`, `saml`, `nextcloud`, `frame`, ..."""
    address: Mapped[str | None] = mapped_column(Text)
    user_agent: Mapped[str | None] = mapped_column(Text)
    client: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    location: Mapped[dict[str, Any] | None]
    remembered: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    origin: Mapped[str | None] = mapped_column(Text)
    idle_seconds: Mapped[int | None]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    ends_at: Mapped[datetime | None]
    """However much it is used, it does not slide past this."""
    revoked_at: Mapped[datetime | None]
    revoked_reason: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index("ix_user_session_account_id_created_at", "account_id", "created_at"),)


class RefreshToken(Identified, Base):
    """A refresh token of a session, by its digest. Traded once; trading it again ends the session."""

    __tablename__ = "refresh_token"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("user_session.id", ondelete="CASCADE"), index=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]


class SigningKey(Base):
    """A key pair that signs access tokens. The private half is encrypted; the public one is published."""

    __tablename__ = "signing_key"

    kid: Mapped[str] = mapped_column(Text, primary_key=True)
    private: Mapped[bytes] = mapped_column(LargeBinary)
    public: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    signs_from: Mapped[datetime]
    """Published before it signs, so that every verifier knows it by then."""
    retires_at: Mapped[datetime | None]
    """No token that it signed is good after this."""


class ServiceToken(Identified, Timestamped, Base):
    """A token of a service account; `id` is its jti."""

    __tablename__ = "service_token"

    account: Mapped[str] = mapped_column(Text)
    organisation_id: Mapped[UUID | None] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"), index=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    fingerprint: Mapped[str | None] = mapped_column(Text)
    signing_kid: Mapped[str] = mapped_column(Text)
    issued_by: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime]
    seen_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str | None] = mapped_column(Text)
    revoked_reason: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index("ix_service_token_account_created_at", "account", "created_at"),)


class OneTimeToken(Identified, Base):
    """A token that works once: from a mail, a sign-in at another place, a popup."""

    __tablename__ = "one_time_token"

    purpose: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    organisation_id: Mapped[UUID | None] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"), index=True)
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_one_time_token_account_id_purpose", "account_id", "purpose"),)


class SpentNonce(Base):
    """What may be seen once only (captcha solutions, vault nonces, assertions), kept until it has expired."""

    __tablename__ = "spent_nonce"

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    purpose: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Invite(Identified, Timestamped, Base):
    """Into an organisation (`organisation_id` and `role` are set), or to found one (both are empty)."""

    __tablename__ = "invite"

    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    hint: Mapped[str] = mapped_column(Text)
    """The first characters of the token."""
    organisation_id: Mapped[UUID | None] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"), index=True)
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    """The account that waits for it, where there is one."""
    email: Mapped[str | None] = mapped_column(Text)
    email_key: Mapped[str | None] = mapped_column(Text)
    role: Mapped[str | None] = mapped_column(Text)
    group_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid(as_uuid=True)), default=list, server_default=text("'{}'"))
    note: Mapped[str | None] = mapped_column(Text)
    invited_by: Mapped[str] = mapped_column(Text)
    """The name that the invitation shows."""
    issuer: Mapped[str] = mapped_column(Text)
    """The actor, for the record."""
    signup_request_id: Mapped[UUID | None] = mapped_column(ForeignKey("signup_request.id", ondelete="SET NULL"))
    max_redemptions: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    redemptions: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("redemptions BETWEEN 0 AND max_redemptions", name="redemptions"),
        CheckConstraint("(organisation_id IS NULL) = (role IS NULL)", name="role_with_organisation"),
        Index("ix_invite_created_at", "created_at"),
    )


class SignupRequest(Identified, Timestamped, Base):
    """Somebody who asks to be let in: to the platform, or (with `organisation_id`) to one organisation."""

    __tablename__ = "signup_request"

    organisation_id: Mapped[UUID | None] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"))
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    """The account that was made already and waits, where there is one."""
    email: Mapped[str] = mapped_column(Text)
    email_key: Mapped[str] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(Text)
    company: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str | None] = mapped_column(Text)
    language: Mapped[str | None] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, default="pending", server_default=text("'pending'"))
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        CheckConstraint("status IN ('pending', 'approved', 'rejected')", name="status"),
        Index("ix_signup_request_organisation_id_created_at", "organisation_id", "created_at"),
        Index(
            "uq_signup_request_pending",
            "organisation_id",
            "email_key",
            unique=True,
            postgresql_where=text("status = 'pending'"),
            postgresql_nulls_not_distinct=True,
        ),
    )


class ExternalIdentity(Identified, Timestamped, Base):
    """An account's identity at a provider, by the provider's own id."""

    __tablename__ = "external_identity"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    provider: Mapped[str] = mapped_column(Text)
    issuer: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(Text)
    profile: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    seen_at: Mapped[datetime | None]

    __table_args__ = (UniqueConstraint("provider", "issuer", "subject"),)


class SignInFlow(Identified, Base):
    """A sign-in that is under way at a provider: what has to come back with it. Good once, for minutes."""

    __tablename__ = "sign_in_flow"

    provider: Mapped[str] = mapped_column(Text)
    state: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    """Digest of the `state` (or of the SAML request id)."""
    browser: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Digest of the cookie that ties it to one browser."""
    secrets: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Encrypted: PKCE verifier and nonce, as JSON."""
    surface: Mapped[str] = mapped_column(Text)
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]


class ConnectorInstance(Identified, Timestamped, OrganisationOwned, Base):
    """A Nextcloud whose connector speaks for an organisation, with the key that they share."""

    __tablename__ = "connector_instance"

    instance_id: Mapped[str] = mapped_column(Text, unique=True)
    base_url: Mapped[str] = mapped_column(Text)
    tenant_key: Mapped[bytes] = mapped_column(LargeBinary)
    """Encrypted."""
    version: Mapped[str | None] = mapped_column(Text)
    admin_uid: Mapped[str | None] = mapped_column(Text)
    admin_email: Mapped[str | None] = mapped_column(Text)
    callback_url: Mapped[str | None] = mapped_column(Text)
    seen_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class ConnectorClaim(Identified, Timestamped, OrganisationOwned, Base):
    """An instance that asks to be bound to an organisation; its administrator decides."""

    __tablename__ = "connector_claim"

    instance_id: Mapped[str] = mapped_column(Text)
    base_url: Mapped[str] = mapped_column(Text)
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    """Of the token in the mail that accepts the claim."""
    expires_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    accepted: Mapped[bool | None]


class Consent(Identified, OrganisationOwned, Base):
    """That a person agreed to a version of the privacy notice."""

    __tablename__ = "consent"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    version: Mapped[str] = mapped_column(Text)
    language: Mapped[str | None] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    accepted_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("organisation_id", "account_id", "version"),)
    __organisation_index__: ClassVar[bool] = False
