"""First contact: which organisation a Nextcloud belongs to, and the key it speaks with from then on.

    news = instances.read(hello)                     # no transaction: the instance is asked who it is
    outcome = instances.bootstrap(ctx, hello, news)  # a transaction

The enrolment key comes with every connector, so it proves little: it never yields the key of an instance that is known.
Whoever lost theirs asks the organisation's administrators, like somebody new.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate
from sqlalchemy import select

from domain import audit
from domain.identity import accounts, memberships, nonces, organisations
from domain.identity.connector import claims, users
from domain.identity.federation import rules
from domain.identity.models import Account, ConnectorClaim, ConnectorInstance, Membership, Organisation
from domain.identity.roles import MANAGERS
from domain.kernel import crypto, outgoing
from domain.kernel.context import Ctx
from domain.kernel.db import across_organisations, acting_for
from domain.kernel.errors import Conflict, DomainError, Forbidden, Invalid
from domain.kernel.ids import new_id
from domain.kernel.outgoing import UpstreamFailed

KEY_PREFIX = "bft_"
SECONDS = 8.0
REPEATED = timedelta(hours=24)
"""How long an idempotency key is remembered."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What a connector says of itself. `enrolling`: signed with the enrolment key. `pending_id`: it asks again."""

    instance_id: str
    base_url: str
    admin_uid: str
    admin_email: str
    admin_name: str | None = None
    callback_url: str | None = None
    enrolling: bool = True
    pending_id: UUID | None = None
    idempotency_key: str | None = None
    """Chosen by the connector: who repeats the first contact with it is the one that made it."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the instance says of itself, asked where it is said to be."""

    version: str
    title: str | None


@dataclass(frozen=True, slots=True)
class Bound:
    organisation_id: UUID
    organisation_name: str
    tenant_key: str
    is_new: bool
    version: str


class InstanceMismatch(Forbidden):
    default = "The Nextcloud at this address is another one."


def read(hello: Hello) -> Told | DomainError:
    """Ask the instance who it is. Calls it; not inside a transaction. What went wrong is answered, for `bootstrap`."""
    try:
        return _read(hello)
    except DomainError as failed:
        return failed


def bootstrap(ctx: Ctx, hello: Hello, told: Told | DomainError) -> Bound | claims.Pending:
    """Bind the instance, or have an administrator asked.

    Raises what `read` met, `InstanceMismatch`, `Conflict` where the address's organisation has another instance,
    `LimitExceeded` for too many open claims, `Forbidden` for a claim that was turned down.
    """
    if isinstance(told, DomainError):
        raise told
    email = rules.address_of(hello.admin_email)
    if email is None:
        raise Invalid("The administrator's address is not one.")
    known = _known(ctx, hello.instance_id)
    if hello.pending_id is not None:
        return _decided(ctx, hello, told, known)
    if known is not None and not hello.enrolling and known.revoked_at is None:
        return _again(ctx, known, hello, told)
    if known is not None:
        return _repeated(ctx, known, hello, told) or _ask(ctx, known.organisation_id, hello, told)
    candidate = _organisation_of(ctx, email)
    if candidate is not None:
        return _ask(ctx, candidate, hello, told)
    return _found(ctx, hello, told, email)


# --- the instance -----------------------------------------------------------------------------------------


class _Told(Schema):
    class Meta:
        unknown = EXCLUDE


class _Version(_Told):
    string = fields.String(required=True, validate=validate.Length(1, 32))


class _App(_Told):
    instance_id = fields.String(required=True, data_key="instanceId", validate=validate.Length(6, 64))


class _Theming(_Told):
    name = fields.String(load_default=None, allow_none=True)


class _Capable(_Told):
    bee_flow = fields.Nested(_App, load_default=None)
    theming = fields.Nested(_Theming, load_default=None)


class _Data(_Told):
    version = fields.Nested(_Version, required=True)
    capabilities = fields.Nested(_Capable, required=True)


def _read(hello: Hello) -> Told:
    parts = urlsplit(hello.base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise Invalid("The address of the instance is not one.")
    plain = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    answer = outgoing.client().get(
        f"{plain}/ocs/v2.php/cloud/capabilities?format=json",
        headers={"OCS-APIRequest": "true", "Accept": "application/json"},
        seconds=SECONDS,
        max_bytes=512 * 1024,
    )
    if not answer.ok:
        raise UpstreamFailed("The Nextcloud does not tell its capabilities.")
    told = answer.json()
    try:
        data: dict[str, Any] = _Data().load(told["ocs"]["data"])
    except (ValidationError, KeyError, TypeError):
        raise UpstreamFailed("The Nextcloud does not tell its capabilities.") from None
    app, theming = data["capabilities"]["bee_flow"], data["capabilities"]["theming"]
    if app is None or not crypto.same(app["instance_id"], hello.instance_id):
        raise InstanceMismatch
    return Told(data["version"]["string"], None if theming is None else rules.name_of(theming["name"]))


# --- outcomes -----------------------------------------------------------------------------------------------


def _again(ctx: Ctx, known: ConnectorInstance, hello: Hello, told: Told) -> Bound:
    """A known instance that proves itself with its key gets it again."""
    with acting_for(ctx, known.organisation_id) as inside:
        organisation = organisations.get_organisation(inside)
        instance = _loaded(inside, hello.instance_id)
        _describe(inside, instance, hello, told)
        key = crypto.unseal(instance, "tenant_key")
        assert key is not None
        _record(inside, instance, is_new=False)
        return Bound(organisation.id, organisation.name, key.reveal(), False, told.version)


def _repeated(ctx: Ctx, known: ConnectorInstance, hello: Hello, told: Told) -> Bound | None:
    """The outcome of the first contact once more, for whoever made it within the last day, under the same key."""
    said = (known.base_url, known.admin_uid, known.admin_email)
    if hello.idempotency_key is None or said != (hello.base_url, hello.admin_uid, hello.admin_email):
        return None
    if known.revoked_at is not None or known.created_at + REPEATED <= ctx.now():
        return None
    with ctx.session.begin_nested() as look:
        unknown = _first_contact(ctx, hello)
        look.rollback()
    if unknown:
        return None
    with acting_for(ctx, known.organisation_id) as inside:
        organisation = organisations.get_organisation(inside)
        key = crypto.unseal(_loaded(inside, hello.instance_id), "tenant_key")
        assert key is not None
        return Bound(organisation.id, organisation.name, key.reveal(), True, told.version)


def _first_contact(ctx: Ctx, hello: Hello) -> bool:
    """Remember which key a first contact was made under; False when it is known already."""
    value = f"{hello.instance_id}:{hello.idempotency_key}"
    return nonces.spend(ctx, "connector_first_contact", value, ctx.now() + REPEATED)


def _ask(ctx: Ctx, organisation_id: UUID, hello: Hello, told: Told) -> claims.Pending:
    with acting_for(ctx, organisation_id) as inside:
        pending = claims.open_claim(inside, hello.instance_id, hello.base_url, _facts(hello, told))
        audit.record(
            inside,
            "connector.bootstrap",
            resource_type="connector_claim",
            resource_id=pending.id,
            outcome="partial",
            details={"instance": hello.instance_id},
        )
        return pending


def _decided(ctx: Ctx, hello: Hello, told: Told, known: ConnectorInstance | None) -> Bound | claims.Pending:
    """The connector asks what became of its claim; an accepted one is made good here, with a fresh key."""
    assert hello.pending_id is not None
    with across_organisations(ctx) as wide:
        organisation_id = wide.session.scalar(
            select(ConnectorClaim.organisation_id).where(
                ConnectorClaim.id == hello.pending_id, ConnectorClaim.instance_id == hello.instance_id
            )
        )
    if organisation_id is None:
        raise Forbidden("There is no such claim of this instance.")
    with acting_for(ctx, organisation_id) as inside:
        claim = claims.get(inside, hello.pending_id)
        if claim.accepted is False or claim.expires_at <= inside.now():
            raise Forbidden("The claim was turned down, or has lapsed.")
        if claim.accepted is None:
            return claims.pending(claim)
        if known is not None and known.organisation_id != organisation_id:
            raise Conflict("The instance belongs to another organisation meanwhile.")
        if known is None and _instance_of(inside) is not None:
            raise Conflict("The organisation has another instance meanwhile.")
        claim.expires_at = inside.now()  # made good once
        organisation = organisations.get_organisation(inside)
        instance, key = _bind(inside, hello, told, fresh=known is None)
        _adopt_admin(inside, claim, hello)
        _record(inside, instance, is_new=False)
        return Bound(organisation.id, organisation.name, key, False, told.version)


def _found(ctx: Ctx, hello: Hello, told: Told, email: str) -> Bound:
    """A new organisation, with the administrator as its owner."""
    name = told.title or urlsplit(hello.base_url).hostname or hello.instance_id
    organisation = organisations.create_organisation(ctx, name=name[:200], slug=f"nc-{new_id().hex[-12:]}")
    account = users.make_account(ctx, hello.instance_id, hello.admin_uid, email, _name(hello))
    with acting_for(ctx, organisation.id) as inside:
        memberships.add(inside, account.id, "owner", source=users.SOURCE, external_id=hello.admin_uid)
        instance, key = _bind(inside, hello, told, fresh=True)
        _record(inside, instance, is_new=True)
    if hello.idempotency_key is not None:
        _first_contact(ctx, hello)
    return Bound(organisation.id, organisation.name, key, True, told.version)


def _bind(inside: Ctx, hello: Hello, told: Told, *, fresh: bool) -> tuple[ConnectorInstance, str]:
    key = crypto.token(KEY_PREFIX)
    if fresh:
        instance = ConnectorInstance(
            organisation_id=inside.organisation, instance_id=hello.instance_id, base_url=hello.base_url
        )
    else:
        instance = _loaded(inside, hello.instance_id)
    crypto.seal(instance, "tenant_key", key)
    instance.revoked_at = None
    _describe(inside, instance, hello, told)
    inside.session.add(instance)
    inside.session.flush()
    return instance, key


def _describe(inside: Ctx, instance: ConnectorInstance, hello: Hello, told: Told) -> None:
    instance.base_url, instance.version = hello.base_url, told.version
    instance.admin_uid, instance.admin_email = hello.admin_uid, hello.admin_email
    instance.callback_url = hello.callback_url
    instance.seen_at = inside.now()


def _adopt_admin(inside: Ctx, claim: ConnectorClaim, hello: Hello) -> None:
    """Tie the uid that asked to the member whose address it named: their organisation has agreed."""
    member = inside.session.scalars(
        select(Membership)
        .join(Account, Account.id == Membership.account_id)
        .where(
            Account.email_key == str(claim.facts.get("email_key")),
            Account.email_verified_at.is_not(None),
            Account.platform_role.is_(None),
            Membership.status == "active",
            Membership.external_id.is_(None),
        )
    ).one_or_none()
    taken = inside.session.scalar(select(Membership.id).where(Membership.external_id == hello.admin_uid))
    if member is not None and taken is None:
        member.external_id = hello.admin_uid


def _organisation_of(ctx: Ctx, email: str) -> UUID | None:
    """The organisation that an account of that address belongs to and that has no instance, None where there is no
    account. Raises `Conflict` where all have one."""
    account = accounts.find(ctx, email)
    if account is None or account.email_verified_at is None:
        return None  # who has not proved the address must not be asked in its owner's place
    with across_organisations(ctx) as wide:
        rows = wide.session.execute(
            select(Membership.organisation_id, ConnectorInstance.id)
            .join(Organisation, Organisation.id == Membership.organisation_id)
            .outerjoin(ConnectorInstance, ConnectorInstance.organisation_id == Membership.organisation_id)
            .where(
                Membership.account_id == account.id,
                Membership.status == "active",
                Organisation.deleted_at.is_(None),
            )
            .order_by(Membership.role.in_(MANAGERS).desc(), Organisation.personal, Membership.joined_at)
        ).all()
    free = [row.organisation_id for row in rows if row.id is None]
    if not free:
        raise Conflict("This address belongs to an organisation with another instance.")
    chosen: UUID = free[0]
    return chosen


def _known(ctx: Ctx, instance_id: str) -> ConnectorInstance | None:
    with across_organisations(ctx) as wide:
        row = wide.session.execute(
            select(ConnectorInstance, Organisation.deleted_at)
            .join(Organisation, Organisation.id == ConnectorInstance.organisation_id)
            .where(ConnectorInstance.instance_id == instance_id)
            .with_for_update(of=ConnectorInstance)
        ).one_or_none()
        if row is None:
            return None
        known, closed = row
        if closed is not None:  # the organisation is gone, and the instance begins anew
            wide.session.delete(known)
            wide.session.flush()
            return None
        return known


def _instance_of(inside: Ctx) -> UUID | None:
    return inside.session.scalar(
        select(ConnectorInstance.id).where(ConnectorInstance.organisation_id == inside.organisation).limit(1)
    )


def _loaded(inside: Ctx, instance_id: str) -> ConnectorInstance:
    return inside.session.scalars(
        select(ConnectorInstance)
        .where(ConnectorInstance.instance_id == instance_id, ConnectorInstance.organisation_id == inside.organisation)
        .with_for_update()
    ).one()


def _facts(hello: Hello, told: Told) -> dict[str, Any]:
    email = rules.address_of(hello.admin_email)
    return {
        "admin_uid": hello.admin_uid,
        "email_key": email,
        "name": _name(hello),
        "version": told.version,
        "callback_url": hello.callback_url,
    }


def _name(hello: Hello) -> str:
    given = None if hello.admin_name is None else unquote(hello.admin_name)
    return rules.name_of(given, hello.admin_uid) or "Administrator"


def _record(inside: Ctx, instance: ConnectorInstance, *, is_new: bool) -> None:
    audit.record(
        inside,
        "connector.bootstrap",
        resource_type="connector",
        resource_id=instance.id,
        details={"instance": instance.instance_id, "version": instance.version, "is_new": is_new},
    )
