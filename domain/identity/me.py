"""Who calls: the person, their organisation, its tier, and what that comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from domain import audit, billing
from domain.identity import groups, languages, memberships, organisations, pictures
from domain.identity.connector import consents
from domain.identity.memberships import Belonging
from domain.identity.models import Account, UserGroup, UserSession
from domain.identity.pictures import Scaled
from domain.kernel.context import ApiKeyActor, Ctx, UserActor
from domain.kernel.errors import Unprocessable

PRODUCT = "beeflow"
KEEP = object()
"""Stands for a picture that stays."""


@dataclass(frozen=True, slots=True)
class Me:
    """`method`: how the session was opened (`UserSession.method`), or `api_key`."""

    account: Account
    belonging: Belonging
    plan: billing.Plan
    method: str
    consent_version: str | None


@dataclass(frozen=True, slots=True)
class Permitted:
    role: str
    permissions: Sequence[str]
    groups: Sequence[UserGroup]
    belongings: Sequence[Belonging]
    current: UUID
    beta_features: Sequence[str]


def describe(ctx: Ctx) -> Me:
    """The caller. Raises `Unauthenticated` where that is no person."""
    account = memberships.caller(ctx)
    agreed = consents.latest(ctx, account.id)
    return Me(
        account,
        memberships.current(ctx),
        billing.plan_of(ctx, PRODUCT),
        _method(ctx),
        None if agreed is None else agreed.version,
    )


def permitted(ctx: Ctx) -> Permitted:
    """What the caller may do, and where it comes from."""
    account_id = memberships.caller_id(ctx)
    beta = organisations.get_organisation(ctx).settings.get("beta_features") or []
    return Permitted(
        memberships.current(ctx).role,
        sorted(ctx.permissions),
        memberships.groups_of(ctx, [account_id])[account_id],
        memberships.organisations_of(ctx, account_id),
        ctx.organisation,
        sorted({str(feature) for feature in beta}),
    )


def update_profile(
    ctx: Ctx, *, name: str | None = None, language: str | None = None, picture: Scaled | object | None = KEEP
) -> Account:
    """Change name, language or picture of the caller. `picture`: a new one, None for none, `KEEP` for the present one.

    Raises `KeptByNextcloud` for name and picture of somebody who is a Nextcloud's, `UnknownLanguage`, `Unprocessable`.
    """
    account = memberships.caller(ctx)
    changed = []
    if (name is not None or picture is not KEEP) and account.source == "nextcloud":
        raise groups.KeptByNextcloud("Nextcloud keeps your name and picture: change them there.")
    if name is not None:
        shown = " ".join(name.split())
        if not shown:
            raise Unprocessable("The name is empty.", reason="name_empty")
        account.name = shown
        changed.append("name")
    if language is not None:
        account.language = languages.check(language)
        changed.append("language")
    if picture is not KEEP:
        assert picture is None or isinstance(picture, Scaled)
        pictures.put(ctx, account, picture)
        changed.append("picture")
    ctx.session.flush()
    audit.record(
        ctx, "user.profile_update", resource_type="user", resource_id=account.id, details={"fields": sorted(changed)}
    )
    return account


def _method(ctx: Ctx) -> str:
    actor = ctx.actor
    if isinstance(actor, ApiKeyActor):
        return "api_key"
    found = None
    if isinstance(actor, UserActor) and actor.session_id is not None:
        found = ctx.session.get(UserSession, actor.session_id)
        if found is not None and found.parent_id is not None:
            found = ctx.session.get(UserSession, found.parent_id)
    return "password" if found is None else found.method
