"""Knowledge bases: collections whose passages are measured in characters, and which the Marketplace may show.

`create`, `update`, `search`, `remove_document`; of other organisations what `marketplace` shows; what else is done with
one is done as with any collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import update as change

from domain.kernel.context import Ctx
from domain.kernel.errors import Forbidden, Invalid
from domain.knowledge import access, asking, collections, documents, marketplace, searching
from domain.knowledge.collections import Holding
from domain.knowledge.models import WebpagePart
from domain.knowledge.rules import Chunking, Mode, Settings
from domain.knowledge.searching import Found

KIND = "knowledge_base"
SIZE, OVERLAP = 1_000, 200
"""Characters: what the built-in embedder sees at once (about 256 tokens), and a fifth of it."""
TOKEN = 4
"""Characters of a token, about: for bases whose passages were measured in tokens."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What is to change in how documents are cut and searched; None: stays as it is."""

    size: int | None = None
    overlap: int | None = None
    search_mode: Mode | None = None
    min_score: float | None = None


def create(
    ctx: Ctx,
    name: str,
    *,
    description: str | None = None,
    language: str | None = None,
    visibility: str = "private",
    group_ids: Sequence[UUID] = (),
    tuning: Tuning | None = None,
) -> Holding:
    """Make an empty one that belongs to the caller.

    Raises `Conflict`, `Forbidden` (`public` is for those who may publish), `Invalid`, `PaymentRequired` (fact `reason`:
    `tier_limit`), `Unprocessable`.
    """
    _may_publish(ctx, visibility)
    wanted = tuning or Tuning()
    size = wanted.size or SIZE
    overlap = min(OVERLAP, size // 5) if wanted.overlap is None else wanted.overlap
    settings = Settings(Chunking("characters", size, overlap))
    return collections.create(
        ctx,
        KIND,
        name,
        description=description,
        language=language,
        visibility=visibility,
        group_ids=group_ids,
        settings=replace(settings, **_searched(wanted)),
    )


def update(ctx: Ctx, base_id: UUID, *, tuning: Tuning | None = None, **changes: Any) -> Holding:
    """Change what is given: `changes` are those of `collections.update_collection`.

    Raises `NotFound`, `Forbidden`, `Conflict`, `Invalid`, `Unprocessable`.
    """
    found = collections.find(ctx, base_id, KIND, edit=True)
    visibility = changes.get("visibility", found.visibility)
    if visibility != found.visibility:
        _may_publish(ctx, visibility)
    if not str(changes.get("name", found.name)).strip():
        raise Invalid("name: something has to stand in it.", field="name")
    if visibility == "group" and not changes.get("group_ids", found.group_ids):
        raise Invalid("groupIds: visibility `group` needs at least one group.")
    if tuning is not None:
        changes["settings"] = _searched(tuning)
        if tuning.size is not None or tuning.overlap is not None:
            present = in_characters(Settings.of(found.settings).chunking)
            changes["settings"]["chunking"] = Chunking(
                "characters",
                present.size if tuning.size is None else tuning.size,
                present.overlap if tuning.overlap is None else tuning.overlap,
            )
    return collections.update_collection(ctx, base_id, KIND, **changes)


def search(
    ctx: Ctx,
    base_id: UUID,
    query: str,
    *,
    mode: Mode | None = None,
    min_score: float | None = None,
    document_ids: Sequence[UUID] | None = None,
    tags: Sequence[str] | None = None,
    limit: int = 10,
) -> Found:
    """Search one, at home or a public one of another organisation; None: in its own way, down to its own bound. It is
    on record that somebody did, not what was asked.

    Raises `NotFound`, `Invalid`.
    """
    # The models are asked before the transaction's first statement.
    vectors = {} if mode == "text" else asking.vectors_for(ctx, query, [base_id])
    wanted: dict[str, Any] = {
        "mode": mode if vectors else "text",
        "vector": vectors,
        "min_score": min_score,
        "collections": [base_id],
        "documents": document_ids,
        "tags": tags,
        "limit": limit,
        "highlight": False,
    }
    if collections.get_many(ctx, [base_id]):
        collections.find(ctx, base_id, KIND)
        found = searching.search(ctx, query, **wanted)
    else:
        with marketplace.visiting(ctx, base_id) as there:
            found = searching.search(there, query, eyes=access.GUEST, **wanted)
    searching.record(ctx, "knowledge_base.search", [base_id], found)
    return found


def remove_document(ctx: Ctx, base_id: UUID, document_id: UUID) -> None:
    """Take a document out. The text of a webpage comes back with its next crawl, which must not take it for known.

    Raises `NotFound`, `Forbidden`.
    """
    collections.find(ctx, base_id, KIND)
    documents.remove(ctx, document_id, collection_id=base_id)
    ctx.session.execute(
        change(WebpagePart)
        .where(WebpagePart.document_id == document_id)
        .values(document_id=None, content_hash=None, etag=None, last_modified=None, updated_at=ctx.now())
        .execution_options(synchronize_session=False)
    )


def in_characters(chunking: Chunking) -> Chunking:
    """The sizes as a knowledge base says them."""
    if chunking.unit == "characters":
        return chunking
    return Chunking("characters", max(200, TOKEN * chunking.size), TOKEN * chunking.overlap)


def _searched(tuning: Tuning) -> dict[str, Any]:
    given = {"search_mode": tuning.search_mode, "min_score": tuning.min_score}
    return {name: value for name, value in given.items() if value is not None}


def _may_publish(ctx: Ctx, visibility: str) -> None:
    needed = access.MANAGE[KIND]
    if visibility == "public" and not {needed, "admin"} & ctx.permissions:
        raise Forbidden("Administrators put knowledge bases into the Marketplace.", required_scope=needed)
