"""A recording's words as a document: its passages cite the second at which they were said."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from domain import storage
from domain.kernel.context import Ctx
from domain.kernel.errors import Unprocessable
from domain.knowledge import collections, documents, languages, quotas
from domain.knowledge.documents import Filed
from domain.knowledge.extraction.blocks import Block, packed, tidy
from domain.knowledge.extraction.kinds import KINDS
from domain.knowledge.models import DocumentVersion, ExtractedText


@dataclass(frozen=True, slots=True)
class Said:
    """Something said without a break; `start` and `end` in seconds."""

    start: float
    end: float
    text: str
    speaker: str | None = None


def add_transcript(
    ctx: Ctx, collection_id: UUID, title: str, said: Sequence[Said], *, language: str | None = None
) -> Filed:
    """File a transcript in a collection that the caller may change; it is cut and embedded like any document.

    Raises `NotFound`, `Forbidden`, `PaymentRequired`, `Unprocessable` when nothing was said.
    """
    blocks = [
        Block(tidy(f"{each.speaker}: {each.text}" if each.speaker else each.text), seconds=each.start)
        for each in said
        if each.text.strip()
    ]
    if not blocks:
        raise Unprocessable("Nobody speaks in this recording.")
    words = "\n".join(block.text for block in blocks).encode()
    staged = storage.stage(ctx, io.BytesIO(words))
    collection = collections.find(ctx, collection_id, edit=True)
    quotas.room_for_document(ctx, collection.kind, staged.size)
    stored = storage.keep(ctx, staged, name=f"{title[:240]}.txt", purpose=documents.PURPOSE)
    filed = documents.add(
        ctx,
        collection,
        blob_id=stored.id,
        kind=KINDS["txt"],
        size=staged.size,
        sha256=staged.sha256.hex(),
        filename=stored.name,
        title=title,
        source="transcript",
        distinct=False,
    )
    version = ctx.session.get_one(DocumentVersion, filed.entry.version_id)
    ctx.session.execute(
        insert(ExtractedText),
        [{"version_id": version.id, "organisation_id": ctx.organisation, "content": packed(blocks)}],
    )
    version.state, version.extracted_at = "extracted", ctx.now()
    version.language = filed.document.language = language or languages.detect(words.decode())
    version.characters = sum(len(block.text) for block in blocks)
    return filed
