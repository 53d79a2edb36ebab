"""API keys: issued once in plain, stored as a digest, verified with one indexed query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, update

from domain import audit
from domain.identity import revocations, rules
from domain.identity.models import ApiKey, Organisation
from domain.kernel import crypto
from domain.kernel.context import ApiKeyActor, Ctx, SystemActor
from domain.kernel.cursor import listed
from domain.kernel.db import Database
from domain.kernel.errors import Forbidden, Invalid, NotFound, Unauthenticated
from domain.kernel.pages import CursorPage, OffsetPage, Page

SEEN = timedelta(minutes=1)
"""`last_used_at` is written at most this often, so a busy key does not turn every read into a write."""


@dataclass(frozen=True, slots=True)
class VerifiedKey:
    """What a good key stands for. `requests_per_minute` is None where the limit is the contract's."""

    key_id: UUID
    organisation_id: UUID
    kind: str
    scopes: frozenset[str]
    requests_per_minute: int | None
    expires_at: datetime | None

    @property
    def permissions(self) -> frozenset[str]:
        """What the key may (`rules.granted`)."""
        return rules.granted(self.kind, self.scopes)

    @property
    def actor(self) -> ApiKeyActor:
        return ApiKeyActor(self.key_id)


def issue_api_key(
    ctx: Ctx,
    name: str,
    scopes: Sequence[str],
    kind: str = "thalium",
    expires_at: datetime | None = None,
    *,
    requests_per_minute: int | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its plain text, which is shown here and never again.

    Nobody hands out more than they hold: a scope that the caller lacks is `Forbidden` (fact `required_scope`), unless
    the caller is an admin or the platform. Raises `Invalid` for an unknown kind or scope, an empty name, or an expiry
    that is past.
    """
    name, wanted = name.strip(), sorted(set(scopes))
    if kind not in rules.PREFIXES:
        raise Invalid(f"There are no keys of kind {kind!r}.")
    if not 1 <= len(name) <= 200 or "\x00" in name:
        raise Invalid("The name must have 1 to 200 characters.")
    if not wanted:
        raise Invalid("A key needs at least one scope.")
    if unknown := rules.unknown_scopes(kind, wanted):
        raise Invalid(f"Unknown scope: {', '.join(unknown)[:200]}.")
    if expires_at is not None and expires_at <= ctx.now():
        raise Invalid("The expiry lies in the past.")
    if requests_per_minute is not None and not 1 <= requests_per_minute <= 1_000_000:
        raise Invalid("The requests per minute must be between 1 and 1,000,000.")
    if not isinstance(ctx.actor, SystemActor) and "admin" not in ctx.permissions:
        for scope in wanted:
            if scope not in ctx.permissions:
                raise Forbidden("A key cannot have a scope that its maker lacks.", required_scope=scope)
    prefix = rules.PREFIXES[kind]
    plain = crypto.token(prefix)
    key = ApiKey(
        organisation_id=ctx.organisation,
        kind=kind,
        name=name,
        prefix=plain[: len(prefix) + rules.SHOWN],
        digest=crypto.digest(plain),
        scopes=wanted,
        created_by=_author(ctx),
        requests_per_minute=requests_per_minute,
        expires_at=expires_at,
    )
    ctx.session.add(key)
    ctx.session.flush()
    audit.record(
        ctx,
        "api_key.issue",
        resource_type="api_key",
        resource_id=key.id,
        details={"name": name, "kind": kind, "scopes": wanted, "expires_at": expires_at, "prefix": key.prefix},
    )
    return key, plain


def get_api_key(ctx: Ctx, key_id: UUID) -> ApiKey:
    """One key of the organisation. Raises `NotFound`."""
    key = ctx.session.scalars(
        select(ApiKey).where(ApiKey.id == key_id, ApiKey.organisation_id == ctx.organisation)
    ).one_or_none()
    if key is None:
        raise NotFound
    return key


def list_api_keys(
    ctx: Ctx,
    page: OffsetPage | CursorPage | None = None,
    *,
    kind: str | None = None,
    active_only: bool = False,
) -> Page[ApiKey]:
    """The organisation's keys, newest first. `active_only` leaves out the revoked and the expired."""
    page = page or CursorPage()
    statement = select(ApiKey).where(ApiKey.organisation_id == ctx.organisation)
    if kind is not None:
        statement = statement.where(ApiKey.kind == kind)
    if active_only:
        expired = ApiKey.expires_at <= ctx.now()
        statement = statement.where(ApiKey.revoked_at.is_(None), expired.is_not(True))
    if isinstance(page, CursorPage):
        listing = f"api_key:{kind}:{active_only}"
        return listed(ctx.session, statement, ApiKey.created_at, ApiKey.id, page=page, listing=listing, descending=True)
    total = ctx.session.scalar(select(func.count()).select_from(statement.subquery()))
    ordered = statement.order_by(ApiKey.created_at.desc(), ApiKey.id.desc())
    return Page(ctx.session.scalars(ordered.limit(page.limit).offset(page.offset)).all(), total=total)


def revoke_api_key(ctx: Ctx, key_id: UUID) -> ApiKey:
    """Revoke a key for good. From the commit on no process accepts it (see `revocations`).

    A key that is already revoked stays as it is. Raises `NotFound`.
    """
    key = get_api_key(ctx, key_id)
    if key.revoked_at is None:
        key.revoked_at = ctx.now()
        audit.record(ctx, "api_key.revoke", resource_type="api_key", resource_id=key.id, details={"name": key.name})
        revocations.announce(ctx, key.id)
    return key


def verify_api_key(database: Database, plain: str, kind: str) -> VerifiedKey:
    """Who a key stands for. Raises `Unauthenticated`, the same for unknown, revoked, expired and closed.

    The look-up is by the digest of the whole key. Comparing in constant time would add nothing: what the index compares
    is a SHA-256, and nobody can steer its bytes towards a stored one without knowing the key.
    """
    if not rules.is_key(plain, kind):
        raise Unauthenticated
    # Real time, not a context's clock: there is no context yet.
    now = datetime.now(UTC)
    with database.session(None, platform=True) as session:
        row = session.execute(
            select(
                ApiKey.id,
                ApiKey.organisation_id,
                ApiKey.kind,
                ApiKey.scopes,
                ApiKey.requests_per_minute,
                ApiKey.expires_at,
                ApiKey.last_used_at,
            )
            .join(Organisation, Organisation.id == ApiKey.organisation_id)
            .where(
                ApiKey.digest == crypto.digest(plain),
                ApiKey.kind == kind,
                ApiKey.revoked_at.is_(None),
                Organisation.deleted_at.is_(None),
            )
        ).one_or_none()
        if row is None or (row.expires_at is not None and row.expires_at <= now):
            raise Unauthenticated
        if row.last_used_at is None or row.last_used_at <= now - SEEN:
            # Whoever finds the row locked leaves the note to the one that has it.
            free = select(ApiKey.id).where(ApiKey.id == row.id).with_for_update(skip_locked=True, key_share=True)
            session.execute(
                update(ApiKey)
                .where(ApiKey.id.in_(free))
                .values(last_used_at=now)
                .execution_options(synchronize_session=False)
            )
    return VerifiedKey(
        row.id, row.organisation_id, row.kind, frozenset(row.scopes), row.requests_per_minute, row.expires_at
    )


def _author(ctx: Ctx) -> str:
    actor = ctx.actor
    match actor:
        case ApiKeyActor():
            return f"api_key:{actor.key_id}"
        case SystemActor():
            return "system"
    identity = getattr(actor, "user_id", None) or getattr(actor, "account", None) or getattr(actor, "instance_id", None)
    return actor.kind if identity is None else f"{actor.kind}:{identity}"
