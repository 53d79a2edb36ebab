"""The one way in which documents are deleted: at once for everybody, and later from the disk.

What is marked here is found by no query from the commit on. The job `knowledge.purge` erases it; whoever marks promises
that job.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, select, update

from domain.kernel.context import Ctx
from domain.knowledge.models import CollectionEntry, Document


def mark(ctx: Ctx, *which: ColumnElement[bool]) -> None:
    """Delete the documents that fulfil all of `which`. They leave every collection, so that searches, which go by the
    entries of collections, need not look at documents."""
    chosen = select(Document.id).where(*which)
    ctx.session.execute(
        delete(CollectionEntry)
        .where(CollectionEntry.document_id.in_(chosen))
        .execution_options(synchronize_session=False)
    )
    ctx.session.execute(
        update(Document)
        .where(*which, Document.deleted_at.is_(None))
        .values(deleted_at=ctx.now(), updated_at=ctx.now())
        .execution_options(synchronize_session=False)
    )
