"""Consent: that somebody agreed to a version of the privacy notice, and when. Kept as proof as long as the account."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from domain import audit
from domain.identity import memberships
from domain.identity.models import Consent
from domain.kernel.context import Ctx
from domain.kernel.ids import new_id

_notice: str | None = None


def ask_for(version: str | None) -> None:
    """Give this process the version that people have to agree to (setting `privacy_notice`); None: to none."""
    global _notice
    _notice = version


def is_due(ctx: Ctx, account_id: UUID) -> bool:
    """Whether somebody has yet to agree to the present notice, in the context's organisation."""
    if _notice is None:
        return False
    agreed = select(Consent.id).where(Consent.account_id == account_id, Consent.version == _notice)
    return ctx.session.scalar(agreed) is None


def latest(ctx: Ctx, account_id: UUID) -> Consent | None:
    """What somebody agreed to last, or None."""
    agreed = select(Consent).where(Consent.account_id == account_id).order_by(Consent.accepted_at.desc(), Consent.id)
    return ctx.session.scalars(agreed.limit(1)).first()


def record(ctx: Ctx, version: str, *, language: str | None = None) -> Consent:
    """The caller agrees to a version. Agreeing again answers the first record. Raises `Unauthenticated` for a caller
    who is no person."""
    account_id = memberships.caller_id(ctx)
    made = ctx.session.scalar(
        insert(Consent)
        .values(
            id=new_id(),
            organisation_id=ctx.organisation,
            account_id=account_id,
            version=version,
            language=language,
            address=ctx.address,
            accepted_at=ctx.now(),
        )
        .on_conflict_do_nothing(index_elements=["organisation_id", "account_id", "version"])
        .returning(Consent.id)
    )
    found = ctx.session.scalars(
        select(Consent).where(Consent.account_id == account_id, Consent.version == version)
    ).one()
    details = {"version": version, "language": language, "again": made is None}
    audit.record(ctx, "consent.create", resource_type="consent", resource_id=found.id, details=details)
    return found
