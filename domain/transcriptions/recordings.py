"""Recordings that people hand in, and what becomes of them: submit, find, list, and how one ends."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import defer

from domain import audit, billing, inference, knowledge, storage
from domain.kernel import outbox
from domain.kernel.context import Ctx
from domain.kernel.errors import DomainError, Forbidden, NotFound, TooLarge, Unavailable, Unprocessable
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage, Page
from domain.transcriptions import decoding, progress, rules
from domain.transcriptions.models import Transcription, TranscriptionSegment
from domain.transcriptions.progress import Event

PURPOSE = "recording"
ATTEMPTS = 6
"""Of each job that hears a recording."""
WHOLE = 24 * rules.MEGABYTE
"""The largest recording that is sent to a provider as it is, where nothing can decode it here."""

FAILURES = {
    "unreadable": "The recording cannot be decoded. It may be damaged, or hold no sound.",
    "too_long": "The recording is longer than 6 hours.",
    "no_speech": "Nobody speaks in this recording.",
    "not_admitted": "Nobody let the bot into the meeting.",
    "meeting_over": "There was no meeting to join: it was over, had not begun, or does not exist.",
    "recalled": "The bot was recalled before it heard anything.",
    "model_unavailable": "The speech model was not available.",
    "internal": "Something went wrong on our side, and further attempts did not help.",
}


class NoRecording(DomainError):
    """The bytes are no recording of a kind that is taken."""

    code = "unsupported_media_type"
    default = "This is no recording: MP3, M4A, WAV, Ogg, WebM, FLAC and MP4 are taken."


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be made of a recording. `language`s are BCP 47."""

    title: str | None = None
    language: str | None = None
    notes: bool = True
    notes_language: str | None = None
    vocabulary: tuple[str, ...] = ()
    knowledge_base_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Whole:
    """A transcription with what was said."""

    transcription: Transcription
    segments: Sequence[TranscriptionSegment]


def submit(ctx: Ctx, source: BinaryIO | str | os.PathLike[str], *, filename: str, wishes: Wishes) -> Transcription:
    """Keep a recording and promise its text. Call it before other statements: the bytes are streamed first.

    Raises `Unavailable` (no speech model), `NoRecording`, `TooLarge`, `NotFound` or `Forbidden` for the knowledge
    base, `PaymentRequired` when the storage is full.
    """
    hears()
    staged = storage.stage(ctx, source, max_bytes=rules.MAX_BYTES)
    _must_fit(ctx, staged.size)
    if staged.found not in rules.FORMATS:
        raise NoRecording
    must_take(ctx, wishes.knowledge_base_id)
    shown = storage.display_name(filename)
    stored = storage.keep(ctx, staged, name=shown, purpose=PURPOSE)
    row = begin(ctx, wishes, source="upload", state="pending", title=shown.rpartition(".")[0] or shown)
    row.blob_id, row.media_type, row.size = stored.id, staged.found, staged.size
    ctx.session.flush()
    promise(ctx, row)
    audit.record(
        ctx,
        "transcription.create",
        resource_type="transcription",
        resource_id=row.id,
        details={"size": staged.size, "media_type": staged.found},
    )
    return row


def promise(ctx: Ctx, row: Transcription) -> None:
    """Promise the text of a recording that is stored."""
    outbox.enqueue(ctx, "transcriptions.transcribe", {"transcription_id": str(row.id)}, max_attempts=ATTEMPTS)


def hears() -> None:
    """Raise `Unavailable` that names what to set where recordings cannot be heard here."""
    try:
        inference.drivers().transcriber.available()
    except Unprocessable as missing:
        raise Unavailable(
            f"{missing.message.rstrip('.')}, or a provider's model in the setting `speech` (`openai:whisper-1`).",
            reason="model_unavailable",
        ) from None


def must_take(ctx: Ctx, knowledge_base_id: UUID | None) -> None:
    """Raises `NotFound` and `Forbidden` unless the caller may add to the knowledge base."""
    if knowledge_base_id is not None and not knowledge.get(ctx, knowledge_base_id, "knowledge_base").may_edit:
        raise Forbidden("This knowledge base is not yours to add to.", required_scope="organisation:manage")


def begin(ctx: Ctx, wishes: Wishes, *, source: str, state: str, title: str) -> Transcription:
    row = Transcription(
        id=new_id(),
        user_id=owner(ctx),
        title=(wishes.title or title)[:300],
        source=source,
        state=state,
        wanted_language=wishes.language,
        notes_wanted=wishes.notes,
        notes_language=wishes.notes_language,
        vocabulary=list(wishes.vocabulary),
        knowledge_base_id=wishes.knowledge_base_id,
        begun_at=ctx.now(),
        position=0.0,
        event_number=0,
        events=[],
    )
    ctx.session.add(row)
    return row


def owner(ctx: Ctx) -> UUID:
    """The person who acts. Raises `Forbidden` for a caller who is none."""
    user_id: UUID | None = getattr(ctx.actor, "user_id", None)
    if user_id is None:
        raise Forbidden("Recordings belong to a person: a key or service of the organisation has none of its own.")
    return user_id


def find(ctx: Ctx, transcription_id: UUID) -> Whole:
    """The caller's own. Raises `NotFound`."""
    row = ctx.session.scalar(
        select(Transcription).where(Transcription.id == transcription_id, Transcription.user_id == owner(ctx))
    )
    if row is None:
        raise NotFound("There is no such transcription.")
    return Whole(row, () if row.content is None else segments(ctx, row.id))


def segments(ctx: Ctx, transcription_id: UUID) -> Sequence[TranscriptionSegment]:
    return ctx.session.scalars(
        select(TranscriptionSegment)
        .where(TranscriptionSegment.transcription_id == transcription_id)
        .order_by(TranscriptionSegment.ordinal)
    ).all()


def list_transcriptions(
    ctx: Ctx,
    page: OffsetPage,
    *,
    words: str | None = None,
    state: str | None = None,
    source: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Page[Transcription]:
    """The caller's, the latest first. `since` is inclusive, `until` exclusive."""
    conditions: list[ColumnElement[bool]] = [Transcription.user_id == owner(ctx)]
    if state is not None:
        conditions.append(Transcription.state == state)
    if source is not None:
        conditions.append(Transcription.source == source)
    if since is not None:
        conditions.append(Transcription.begun_at >= since)
    if until is not None:
        conditions.append(Transcription.begun_at < until)
    conditions += [
        or_(
            Transcription.title.icontains(word, autoescape=True), Transcription.content.icontains(word, autoescape=True)
        )
        for word in (words or "").split()[:10]
    ]
    total = ctx.session.scalar(select(func.count(Transcription.id)).where(*conditions))
    rows = ctx.session.scalars(
        select(Transcription)
        .where(*conditions)
        .options(defer(Transcription.notes), defer(Transcription.events), defer(Transcription.turns))
        .order_by(Transcription.id.desc())
        .offset(page.offset)
        .limit(page.limit)
    ).all()
    return Page(rows, total=total or 0)


def events_after(ctx: Ctx, transcription_id: UUID, number: int = 0) -> list[Event]:
    """The kept events with a number above `number`, in order. Raises `NotFound`."""
    return [
        (count, name, data) for count, name, data in find(ctx, transcription_id).transcription.events if count > number
    ]


# --- how it ends -----------------------------------------------------------------------------------------------


def locked(ctx: Ctx, transcription_id: UUID) -> Transcription | None:
    return ctx.session.scalar(
        select(Transcription)
        .where(Transcription.id == transcription_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def fail(ctx: Ctx, row: Transcription, code: str, message: str | None = None) -> Event:
    """End a locked one that cannot be turned into text. The recording goes."""
    row.state, row.failure_code = "failed", code
    row.failure = (message or FAILURES[code])[:2000]
    row.completed_at = None
    erase(ctx, row)
    return progress.tell(row, "transcription.failed")


def erase(ctx: Ctx, row: Transcription) -> None:
    """The recording and who spoke in it are needed no longer."""
    row.turns = None
    if row.blob_id is not None:
        blob_id, row.blob_id = row.blob_id, None
        try:
            storage.delete(ctx, blob_id, purpose=PURPOSE)
        except NotFound:  # it is gone already
            return


def _must_fit(ctx: Ctx, size: int) -> None:
    bound = billing.plan_of(ctx, "beeflow").limits.get("beeflow.document_bytes")
    most = rules.MAX_BYTES if bound is None else min(rules.MAX_BYTES, bound)
    if not decoding.possible():
        most = min(most, WHOLE)
    if size > most:
        raise TooLarge(f"Recordings of {most // rules.MEGABYTE} MB at most are taken here.", max_bytes=most)
