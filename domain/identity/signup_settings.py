"""Who may come in: an organisation's own rules, and those of the server, which are its first organisation's.

An invitation names an organisation. Who comes without one meets the rules of the organisation that the server was set
up with; on a server that was not set up, people found organisations of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from domain import audit
from domain.identity import groups, memberships, organisations, roles, rules, setup
from domain.identity.models import Account, Organisation
from domain.kernel.context import Ctx
from domain.kernel.db import acting_for
from domain.kernel.errors import Forbidden

SURFACE = "beeflow"
SECTION = "signup"
OPEN, WAITLIST, INVITE_ONLY = "open", "waitlist", "invite_only"


class SignupRefused(Forbidden):
    """Nobody comes in this way. Fact `reason`: `signup_disabled` or `domain_not_allowed`."""


@dataclass(frozen=True, slots=True)
class SignupSettings:
    """`default_role` is a rung (`roles.ROLES`). `updated_by` is None while nobody has changed anything."""

    mode: str
    allowed_domains: tuple[str, ...] = ()
    default_role: str = "member"
    default_group_ids: tuple[UUID, ...] = ()
    provision_from_sso: bool = True
    notify_email: str | None = None
    updated_at: datetime | None = None
    updated_by: UUID | None = None

    def admit(self, email: str) -> None:
        """Raise `SignupRefused` for an address of a domain that may not sign up."""
        domain = rules.email_key(email).rpartition("@")[2]
        if self.allowed_domains and domain not in self.allowed_domains:
            raise SignupRefused("Addresses of this domain cannot sign up here.", reason="domain_not_allowed")


@dataclass(frozen=True, slots=True)
class ServerRules:
    """The rules for those who come without an invitation; `home` is the organisation whose they are."""

    home: UUID | None
    settings: SignupSettings


def get(ctx: Ctx) -> SignupSettings:
    """The rules of the context's organisation."""
    organisation = organisations.get_organisation(ctx)
    return _of(organisation)


def of_server(ctx: Ctx) -> ServerRules:
    """The rules of the server, for a context of nobody."""
    home = setup.home(ctx)
    if home is None:
        return ServerRules(None, SignupSettings(OPEN))
    with acting_for(ctx, home) as inside:
        return ServerRules(home, get(inside))


def updated_by(ctx: Ctx, settings: SignupSettings) -> Account | None:
    """Who changed the settings last."""
    return None if settings.updated_by is None else ctx.session.get(Account, settings.updated_by)


def update(
    ctx: Ctx,
    *,
    mode: str,
    allowed_domains: Sequence[str],
    default_role: str,
    default_group_ids: Sequence[UUID],
    provision_from_sso: bool,
    notify_email: str | None,
) -> SignupSettings:
    """Replace the rules of the context's organisation. Whoever waits goes on waiting.

    Raises `UnknownGroup`, or `Forbidden` for a default role that the caller could not give.
    """
    organisation = ctx.session.scalars(
        select(Organisation)
        .where(Organisation.id == ctx.organisation, Organisation.deleted_at.is_(None))
        .with_for_update()
    ).one()
    before = _of(organisation)
    if default_role != before.default_role:
        roles.must_outrank(memberships.rank(ctx), default_role)
    try:
        kept = groups.check(ctx, default_group_ids)
    except groups.KeptByNextcloud as refused:
        raise groups.UnknownGroup("Nextcloud keeps one of the groups: people get into it there.") from refused
    organisation.settings = {
        **organisation.settings,
        SECTION: {
            "mode": mode,
            "allowed_domains": sorted(set(allowed_domains)),
            "default_role": default_role,
            "default_group_ids": [str(group_id) for group_id in kept],
            "provision_from_sso": provision_from_sso,
            "notify_email": notify_email,
            "updated_at": ctx.now().isoformat(),
            "updated_by": str(memberships.caller_id(ctx)),
        },
    }
    ctx.session.flush()
    audit.record(
        ctx,
        "signup_settings.update",
        resource_type="organisation",
        resource_id=organisation.id,
        details={"from": before.mode, "to": mode, "domains": sorted(set(allowed_domains)), "role": default_role},
    )
    return _of(organisation)


def _of(organisation: Organisation) -> SignupSettings:
    stored: dict[str, Any] = organisation.settings.get(SECTION) or {}
    at, by = stored.get("updated_at"), stored.get("updated_by")
    return SignupSettings(
        mode=stored.get("mode") or INVITE_ONLY,
        allowed_domains=tuple(stored.get("allowed_domains") or ()),
        default_role=stored.get("default_role") or "member",
        default_group_ids=tuple(UUID(group_id) for group_id in stored.get("default_group_ids") or ()),
        provision_from_sso=stored.get("provision_from_sso", True),
        notify_email=stored.get("notify_email"),
        updated_at=organisation.created_at if at is None else datetime.fromisoformat(at),
        updated_by=None if by is None else UUID(by),
    )
