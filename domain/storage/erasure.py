"""A person's files, when their account is erased: what was for them alone goes, the rest loses their name."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import select, update

from domain.kernel.context import Ctx
from domain.storage import objects, rules
from domain.storage.models import StoredObject


def delete_of(ctx: Ctx, account_id: UUID, purposes: Collection[str]) -> int:
    """Delete what a person has brought for these purposes, in the context's organisation; how many."""
    wanted = select(StoredObject).where(
        StoredObject.account_id == account_id,
        StoredObject.purpose.in_(list(purposes)),
        StoredObject.state != rules.DELETED,
    )
    found = ctx.session.scalars(wanted.with_for_update()).all()
    for stored in found:
        objects.forget(ctx, stored)
    return len(found)


def erase_person(ctx: Ctx, account_id: UUID) -> None:
    """Nothing of the context's organisation says any more that this person has brought it. Files that they kept there
    for the organisation stay."""
    ctx.session.execute(
        update(StoredObject)
        .where(StoredObject.account_id == account_id)
        .values(account_id=None)
        .execution_options(synchronize_session=False)
    )
