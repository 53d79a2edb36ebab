"""Organisations: making, reading, closing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from domain import audit, billing
from domain.identity import revocations, rules
from domain.identity.models import Organisation
from domain.kernel.context import Ctx
from domain.kernel.db import OrganisationSession, across_organisations, acting_for
from domain.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from domain.kernel.ids import new_id


def create_organisation(
    ctx: Ctx, *, name: str, slug: str | None = None, plan: str = "spark", personal: bool = False
) -> Organisation:
    """A new organisation on a Thalium plan. `ctx` belongs to none yet (public, or the platform's).

    Without `slug`, one is made of the name. Raises `Conflict` when the slug is taken, `Invalid` for a bad name, slug or
    plan.
    """
    name = name.strip()
    if not 1 <= len(name) <= 200 or "\x00" in name:
        raise Invalid("The name must have 1 to 200 characters.")
    organisation_id = new_id()
    if slug is None:
        slug = rules.slug_of(name) or organisation_id.hex[-12:]
    if not rules.is_slug(slug):
        raise Invalid("The slug must have 1 to 63 of a-z, 0-9 and '-', and begin and end with a letter or digit.")
    with acting_for(ctx, organisation_id) as inside:
        organisation = Organisation(id=organisation_id, name=name, slug=slug, personal=personal)
        try:
            with inside.session.begin_nested():
                inside.session.add(organisation)
        except IntegrityError:
            raise Conflict("This slug is taken.", slug=slug) from None
        audit.record(
            inside,
            "organisation.create",
            resource_type="organisation",
            resource_id=organisation_id,
            details={"name": name, "slug": slug},
        )
        billing.subscribe(inside, plan)
    return organisation


def free_slug(ctx: Ctx, name: str) -> str:
    """A slug made of a name, with something behind it where that one is taken. Two of a name may still collide."""
    plain = rules.slug_of(name) or "organisation"
    with across_organisations(ctx) as wide:
        taken = wide.session.scalar(select(Organisation.id).where(Organisation.slug == plain))
    return plain if taken is None else f"{plain[:54].rstrip('-')}-{new_id().hex[-8:]}"


def get_organisation(ctx: Ctx) -> Organisation:
    """The context's own organisation. Raises `NotFound` when it was closed."""
    organisation = ctx.session.scalars(
        select(Organisation).where(Organisation.id == ctx.organisation, Organisation.deleted_at.is_(None))
    ).one_or_none()
    if organisation is None:
        raise NotFound
    return organisation


def find_organisation(ctx: Ctx, slug: str) -> Organisation:
    """An organisation by its slug, for operators: needs a platform context. Raises `NotFound`."""
    session = ctx.session
    assert isinstance(session, OrganisationSession)
    organisation = session.scalars(
        select(Organisation).where(Organisation.slug == slug, Organisation.deleted_at.is_(None))
    ).one_or_none()
    if organisation is None:
        raise NotFound
    return organisation


def close_organisation(ctx: Ctx) -> Organisation:
    """Close the context's organisation: from the commit on, none of its keys is accepted. Data stays."""
    organisation = get_organisation(ctx)
    organisation.deleted_at = ctx.now()
    audit.record(ctx, "organisation.close", resource_type="organisation", resource_id=organisation.id)
    revocations.announce(ctx)
    return organisation


def require_workspace(ctx: Ctx, workspace_id: UUID | None) -> None:
    """Raise `Forbidden` (fact `reason`: `workspace_mismatch`) unless a request names the caller's own workspace.

    Whether there is such a workspace at all is not told. None means the caller's own.
    """
    if workspace_id is not None and workspace_id != ctx.organisation:
        raise Forbidden("This credential is not for that workspace.", reason="workspace_mismatch")


def allow_networks(ctx: Ctx, networks: Sequence[str]) -> Organisation:
    """Set the IP allowlist: addresses and networks in CIDR, none for every address. Raises `Invalid` for other things.

    Nobody locks themselves out: the caller's own address has to be inside (`Conflict`, fact `reason`:
    `locks_out_caller`).
    """
    organisation = get_organisation(ctx)
    try:
        wanted = sorted({rules.network(given) for given in networks})
    except ValueError as wrong:
        raise Invalid(f"The allowlist takes addresses and networks: {wrong}.") from None
    if ctx.address is not None and not rules.inside(ctx.address, wanted):
        raise Conflict("The list would lock out the address that sets it.", reason="locks_out_caller")
    before, organisation.networks = organisation.networks, wanted
    audit.record(
        ctx,
        "organisation.networks_update",
        resource_type="organisation",
        resource_id=organisation.id,
        details={"from": before, "to": wanted},
    )
    revocations.announce(ctx)  # what processes remember of callers holds the old list
    return organisation


def require_sso(ctx: Ctx, required: bool) -> Organisation:
    """Whether passwords are refused for this organisation. Sessions that are open go on."""
    organisation = get_organisation(ctx)
    organisation.require_sso = required
    _changed(ctx, organisation, {"require_sso": required})
    return organisation


def limit_idle(ctx: Ctx, minutes: int | None) -> Organisation:
    """End sessions after so many minutes without use; None for no such limit. It holds from the next refresh on."""
    organisation = get_organisation(ctx)
    organisation.idle_minutes = minutes
    _changed(ctx, organisation, {"idle_minutes": minutes})
    return organisation


def names_of(ctx: Ctx, ids: Collection[UUID]) -> Mapping[UUID, str]:
    """What organisations are called, for whoever reads what they have published. Those that are closed are left out."""
    if not ids:
        return {}
    with across_organisations(ctx) as wide:
        wanted = select(Organisation.id, Organisation.name).where(
            Organisation.id.in_(list(ids)), Organisation.deleted_at.is_(None)
        )
        return {row.id: row.name for row in wide.session.execute(wanted)}


def all_organisations(ctx: Ctx) -> Sequence[Organisation]:
    """Every organisation that is open, by slug, for operators: needs a platform context."""
    return ctx.session.scalars(
        select(Organisation).where(Organisation.deleted_at.is_(None)).order_by(Organisation.slug)
    ).all()


def _changed(ctx: Ctx, organisation: Organisation, details: dict[str, Any]) -> None:
    audit.record(
        ctx,
        "organisation.settings_update",
        resource_type="organisation",
        resource_id=organisation.id,
        details=details,
    )
