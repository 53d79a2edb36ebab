"""API keys: issued once in plain, stored as a digest, verified with one indexed query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import func, or_, select, update

from domain import audit
from domain.identity import revocations, roles, rules
from domain.identity.models import Account, ApiKey, Membership, Organisation
from domain.kernel import crypto
from domain.kernel.context import ApiKeyActor, Ctx, SystemActor, actor_name
from domain.kernel.cursor import listed
from domain.kernel.db import Database, across_organisations
from domain.kernel.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from domain.kernel.pages import CursorPage, OffsetPage, Page

READ_ONLY = "read-only"
SEEN = timedelta(minutes=1)
"""`last_used_at` is written at most this often, so a busy key does not turn every read into a write."""


@dataclass(frozen=True, slots=True)
class VerifiedKey:
    """What a good key stands for. `requests_per_minute` is None where the limit is the contract's.

    `account_id` and `role` are those of the person it acts as; a key without one acts for its organisation.
    """

    key_id: UUID
    organisation_id: UUID
    kind: str
    scopes: frozenset[str]
    requests_per_minute: int | None
    expires_at: datetime | None
    account_id: UUID | None = None
    role: str | None = None
    platform_role: str | None = None
    networks: tuple[str, ...] = ()

    @property
    def permissions(self) -> frozenset[str]:
        """What the key may: its scopes, or what the person it acts as may, on the surface of its kind."""
        if self.role is not None:
            own = roles.permissions_of(self.kind, self.role, self.platform_role)
            return roles.read_only(own) if READ_ONLY in self.scopes else own
        if self.kind in roles.KEY_GRANTS:
            granted = roles.KEY_GRANTS[self.kind]
            return frozenset[str]().union(*(granted.get(scope, ()) for scope in self.scopes))
        return rules.granted(self.kind, self.scopes)

    @property
    def actor(self) -> ApiKeyActor:
        return ApiKeyActor(self.key_id, self.account_id)


class TooManyKeys(Conflict):
    """There are as many active keys as there may be."""

    reason = "too_many_keys"


def issue_api_key(
    ctx: Ctx,
    name: str,
    scopes: Sequence[str],
    kind: str = "thalium",
    expires_at: datetime | None = None,
    *,
    requests_per_minute: int | None = None,
    account_id: UUID | None = None,
    most: int | None = None,
    unique_name: bool = False,
) -> tuple[ApiKey, str]:
    """A new key and its plain text, which is shown here and never again.

    `account_id`: the person that the key acts as. `most`: how many active keys of the kind there may be, for that
    person or else for the organisation (`TooManyKeys`). `unique_name`: a name only once among those (`Conflict`).

    Nobody hands out more than they hold: of Thalium's scopes, one that the caller lacks is `Forbidden` (fact
    `required_scope`), unless the caller is an admin or the platform. Raises `Invalid` for an unknown kind or scope, an
    empty name, or an expiry that is past.
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
    if kind in rules.DELEGATED and not isinstance(ctx.actor, SystemActor) and "admin" not in ctx.permissions:
        for scope in wanted:
            if scope not in ctx.permissions:
                raise Forbidden("A key cannot have a scope that its maker lacks.", required_scope=scope)
    if most is not None or unique_name:
        _make_room(ctx, kind, account_id, name if unique_name else None, most)
    prefix = rules.PREFIXES[kind]
    plain = crypto.token(prefix)
    key = ApiKey(
        organisation_id=ctx.organisation,
        kind=kind,
        name=name,
        prefix=plain[: len(prefix) + rules.SHOWN],
        suffix=plain[-4:],
        digest=crypto.digest(plain),
        scopes=wanted,
        created_by=actor_name(ctx.actor),
        account_id=account_id,
        requests_per_minute=requests_per_minute,
        expires_at=expires_at,
    )
    ctx.session.add(key)
    ctx.session.flush()
    audit.record(
        ctx,
        "api_key.create",
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
    account_id: UUID | None = None,
    over_after: datetime | None = None,
) -> Page[ApiKey]:
    """The organisation's keys (or a person's), newest first. `active_only` leaves out the revoked and the expired.

    `over_after` leaves out those that were revoked or expired before.
    """
    page = page or CursorPage()
    statement = select(ApiKey).where(ApiKey.organisation_id == ctx.organisation)
    if account_id is not None:
        statement = statement.where(ApiKey.account_id == account_id)
    if over_after is not None:
        statement = statement.where(
            or_(ApiKey.revoked_at.is_(None), ApiKey.revoked_at > over_after),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > over_after),
        )
    if kind is not None:
        statement = statement.where(ApiKey.kind == kind)
    if active_only:
        expired = ApiKey.expires_at <= ctx.now()
        statement = statement.where(ApiKey.revoked_at.is_(None), expired.is_not(True))
    if isinstance(page, CursorPage):
        listing = f"api_key:{kind}:{active_only}:{account_id}"
        return listed(ctx.session, statement, ApiKey.created_at, ApiKey.id, page=page, listing=listing, descending=True)
    total = ctx.session.scalar(select(func.count()).select_from(statement.subquery()))
    ordered = statement.order_by(ApiKey.created_at.desc(), ApiKey.id.desc())
    return Page(ctx.session.scalars(ordered.limit(page.limit).offset(page.offset)).all(), total=total)


def revoke_api_key(
    ctx: Ctx, key_id: UUID, *, kind: str | None = None, account_id: UUID | None = None, active: bool = False
) -> ApiKey:
    """Revoke a key for good. From the commit on no process accepts it (see `revocations`).

    A key that is already revoked stays as it is. Raises `NotFound`, also for a key of another kind or person than
    named, and with `active` for one that is revoked already.
    """
    key = get_api_key(ctx, key_id)
    if kind not in (None, key.kind) or account_id not in (None, key.account_id) or (active and key.revoked_at):
        raise NotFound
    if key.revoked_at is None:
        key.revoked_at = ctx.now()
        audit.record(ctx, "api_key.revoke", resource_type="api_key", resource_id=key.id, details={"name": key.name})
        revocations.announce(ctx, "key", key.id)
    return key


def revoke_keys_of(ctx: Ctx, account_id: UUID, organisation_id: UUID | None = None) -> int:
    """Revoke all keys that act as a person (in one organisation, or everywhere); how many there were."""
    with across_organisations(ctx) as platform:
        ending = update(ApiKey).where(ApiKey.account_id == account_id, ApiKey.revoked_at.is_(None))
        if organisation_id is not None:
            ending = ending.where(ApiKey.organisation_id == organisation_id)
        ended = platform.session.scalars(
            ending.values(revoked_at=ctx.now()).returning(ApiKey.id).execution_options(synchronize_session="fetch")
        ).all()
    if ended:
        revocations.announce(ctx, "user", account_id)
    return len(ended)


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
                ApiKey.account_id,
                Membership.role,
                Membership.status,
                Account.platform_role,
                Account.deactivated_at,
                Account.deletion_due_at,
                Organisation.networks,
            )
            .join(Organisation, Organisation.id == ApiKey.organisation_id)
            .outerjoin(Account, Account.id == ApiKey.account_id)
            .outerjoin(
                Membership,
                (Membership.account_id == ApiKey.account_id) & (Membership.organisation_id == ApiKey.organisation_id),
            )
            .where(
                ApiKey.digest == crypto.digest(plain),
                ApiKey.kind == kind,
                ApiKey.revoked_at.is_(None),
                Organisation.deleted_at.is_(None),
            )
        ).one_or_none()
        if row is None or (row.expires_at is not None and row.expires_at <= now):
            raise Unauthenticated
        if row.account_id is not None and (row.status != "active" or row.deactivated_at or row.deletion_due_at):
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
        row.id,
        row.organisation_id,
        row.kind,
        frozenset(row.scopes),
        row.requests_per_minute,
        row.expires_at,
        row.account_id,
        row.role,
        row.platform_role,
        tuple(row.networks),
    )


def _make_room(ctx: Ctx, kind: str, account_id: UUID | None, name: str | None, most: int | None) -> None:
    """Count one after the other: of two that ask at once for the last place, one is refused."""
    ctx.session.execute(
        select(Organisation.id).where(Organisation.id == ctx.organisation).with_for_update(key_share=True)
    )
    expired = ApiKey.expires_at <= ctx.now()
    active = select(ApiKey.name).where(
        ApiKey.organisation_id == ctx.organisation,
        ApiKey.kind == kind,
        ApiKey.revoked_at.is_(None),
        expired.is_not(True),
    )
    if account_id is not None:
        active = active.where(ApiKey.account_id == account_id)
    names = ctx.session.scalars(active).all()
    if name is not None and name in names:
        raise Conflict("There is an active key of this name.", reason="name_taken")
    if most is not None and len(names) >= most:
        raise TooManyKeys(f"There are {most} active keys already: revoke one first.")
