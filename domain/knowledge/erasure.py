"""A person's knowledge, when their account is erased: their personal collections, documents and pages go, the
organisation's lose their name."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import delete, select, update

from domain.kernel import outbox
from domain.kernel.context import Ctx
from domain.knowledge import deleting
from domain.knowledge.models import Collection, CollectionEntry, Document, Webpage


def erase_person(ctx: Ctx, account_id: UUID) -> None:
    """Take away, in the context's organisation, what was the person's own: from every search at once, and by the job
    `knowledge.purge` from the database and the storage."""
    now = ctx.now()
    own = ctx.session.scalars(select(Collection.id).where(Collection.owner_id == account_id)).all()
    deleting.mark(ctx, Document.owner_id == account_id)
    ctx.session.execute(
        update(Collection)
        .where(Collection.id.in_(own), Collection.deleted_at.is_(None))
        .values(deleted_at=now, updated_at=now, expires_at=None)
        .execution_options(synchronize_session=False)
    )
    for collection_id in own:
        outbox.enqueue(ctx, "knowledge.purge", {"collection_id": str(collection_id)})
    ctx.session.execute(
        delete(Webpage)
        .where(Webpage.added_by == account_id, Webpage.collection_id.is_(None))
        .execution_options(synchronize_session=False)
    )
    for column in (Collection.created_by, Document.created_by, CollectionEntry.added_by, Webpage.added_by):
        ctx.session.execute(
            update(column.class_)
            .where(column == account_id)
            .values({column.key: None})
            .execution_options(synchronize_session=False)
        )
