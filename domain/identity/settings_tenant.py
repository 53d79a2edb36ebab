"""A tenant's own settings: whom to talk to about bills, where billing events go, notes on the plan, switches.

They are the section `tenant` of the organisation's settings.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import select

from domain import audit, billing
from domain.identity.models import Organisation
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid, NotFound

SECTION = "tenant"
PRODUCT = "starter"
_LOCAL = ("localhost", "local", "internal", "lan", "home.arpa", "test", "invalid", "onion")
"""Names that are nobody's on the net (RFC 6761, RFC 8375, RFC 9476)."""


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody to talk to about bills."""

    name: str
    email: str
    role: str | None = None
    phone: str | None = None
    notify_billing: bool = True


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """`updated_at` is None as long as nobody has set anything."""

    organisation_id: UUID
    contacts: Sequence[Contact] = ()
    webhook_url: str | None = None
    plan_metadata: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, bool] = field(default_factory=dict)
    updated_at: datetime | None = None


def read(ctx: Ctx) -> TenantSettings:
    """The settings of the caller's tenant, empty for a new one. Raises `NotFound` when it was closed."""
    return _settings(_organisation(ctx))


def write(
    ctx: Ctx,
    *,
    contacts: Sequence[Contact],
    webhook_url: str | None,
    plan_metadata: Mapping[str, str],
    flags: Mapping[str, bool],
) -> TenantSettings:
    """Set all settings at once. Raises `Invalid` for a webhook that is not public HTTPS, and for a switch that turns on
    what the plan does not hold."""
    if webhook_url is not None:
        check_public_https(webhook_url)
    _check_flags(ctx, flags)
    organisation = _organisation(ctx, lock=True)
    before = _settings(organisation)
    wanted = {
        "contacts": [asdict(contact) for contact in contacts],
        "webhook_url": webhook_url,
        "plan_metadata": dict(plan_metadata),
        "flags": dict(flags),
    }
    organisation.settings = {**organisation.settings, SECTION: {**wanted, "updated_at": ctx.now().isoformat()}}
    ctx.session.flush()
    after = _settings(organisation)
    audit.record(
        ctx,
        "organisation.settings_update",
        resource_type="organisation",
        resource_id=organisation.id,
        details=_changes(before, after),
    )
    return after


def check_public_https(url: str) -> None:
    """Raise `Invalid` unless an address is HTTPS, without credentials, and of a host that may be public.

    Nothing is resolved here: whoever posts there judges the address that the name leads to (`kernel.outgoing`).
    """
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise Invalid("The webhook's address makes no sense.", reason="webhook_address") from None
    if parts.scheme != "https" or not host or parts.username is not None or parts.password is not None:
        raise Invalid("The webhook's address has to be https:// and without credentials.", reason="webhook_address")
    if not _may_be_public(host):
        raise Invalid("The webhook's address has to be public.", reason="webhook_address")


def _may_be_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        pass
    labels = host.split(".")
    # A last label of digits is another way of writing an IPv4 address (0177.1, 2130706433, 0x7f.1).
    return len(labels) > 1 and labels[-1].isascii() and labels[-1][0].isalpha() and not host.endswith(_LOCAL_NAMES)


_LOCAL_NAMES = tuple(f".{name}" for name in _LOCAL)


def _check_flags(ctx: Ctx, flags: Mapping[str, bool]) -> None:
    plan = billing.plan_of(ctx, PRODUCT)
    sold = frozenset[str]().union(*(other.features for other in billing.plans.catalogue(PRODUCT).values()))
    lacking = sorted(name for name, on in flags.items() if on and name in sold - plan.features)
    if lacking:
        raise Invalid(
            f"The plan {plan.name} does not hold {', '.join(lacking)}.", reason="feature_not_in_plan", plan=plan.name
        )


def _organisation(ctx: Ctx, *, lock: bool = False) -> Organisation:
    wanted = select(Organisation).where(Organisation.id == ctx.organisation, Organisation.deleted_at.is_(None))
    if lock:  # settings of several sections lie in one column: whoever writes one must have read the others as they are
        wanted = wanted.with_for_update(key_share=True).execution_options(populate_existing=True)
    organisation = ctx.session.scalars(wanted).one_or_none()
    if organisation is None:
        raise NotFound
    return organisation


def _settings(organisation: Organisation) -> TenantSettings:
    kept: Mapping[str, Any] = organisation.settings.get(SECTION, {})
    changed = kept.get("updated_at")
    return TenantSettings(
        organisation.id,
        tuple(Contact(**contact) for contact in kept.get("contacts", ())),
        kept.get("webhook_url"),
        kept.get("plan_metadata", {}),
        kept.get("flags", {}),
        None if changed is None else datetime.fromisoformat(changed),
    )


def _changes(before: TenantSettings, after: TenantSettings) -> dict[str, Any]:
    """What changed, for the audit trail: people are counted, not named."""
    changes: dict[str, Any] = {}
    if before.contacts != after.contacts:
        changes["billing_contacts"] = {"from": len(before.contacts), "to": len(after.contacts)}
    for name in ("webhook_url", "plan_metadata", "flags"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            changes[name] = {"from": old, "to": new}
    return changes
