"""From a recording to text and notes: two jobs, each of which may be killed anywhere and goes on where it was.

`transcribe` stores what was said piece by piece with the position that it reached, in one transaction a piece. `note`
writes the notes, files the text in the knowledge base and completes, in one transaction.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from sqlalchemy import func, select

from domain import inference, knowledge, storage
from domain.inference import Deadline, Hearing
from domain.inference.choice import chat_model
from domain.kernel import outbox
from domain.kernel.context import Ctx, UserActor, Work
from domain.kernel.errors import DomainError, Forbidden, NotFound, PaymentRequired, TooLarge, Unavailable, Unprocessable
from domain.knowledge.transcripts import Said
from domain.transcriptions import decoding, notes, progress, recordings, rules
from domain.transcriptions.models import Transcription, TranscriptionSegment
from domain.transcriptions.progress import Event

TURN = 60.0
"""Seconds after which a long recording gives the worker back and goes on in another job."""
HEARING = 240.0
"""Seconds that one piece may take."""
NOTING = 180.0


@dataclass(frozen=True, slots=True)
class _Plan:
    id: UUID
    blob_id: UUID
    format: str
    position: float
    ordinal: int
    language: str | None
    vocabulary: tuple[str, ...]
    turns: tuple[tuple[float, float, str], ...]


def transcribe(work: Work, transcription_id: UUID) -> None:
    """Hear a recording from where it stands. The job `transcriptions.transcribe`."""
    with work.transaction() as ctx:
        row = _unheard(ctx, transcription_id)
        if row is None or row.blob_id is None:
            work.complete(ctx)
            return
        before, event = progress.latest(row), None
        if row.state == "pending":
            row.state = "processing"
            event = progress.tell(row)
        plan = _plan(ctx, row)
    progress.publish(work, plan.id, *before, event)
    try:
        inference.drivers().transcriber.available()
        with storage.local_path(work, plan.blob_id) as path:
            if decoding.possible():
                _by_pieces(work, plan, path)
            else:
                _at_once(work, plan, path)
    except decoding.Unreadable as broken:
        _end(work, plan.id, "unreadable", broken.message)
    except NotFound:  # the recording is not there any more
        _end(work, plan.id, "internal")
    except Unavailable as away:
        if away.facts.get("reason") != "language_not_heard" and work.attempt < recordings.ATTEMPTS:
            raise
        _end(work, plan.id, "model_unavailable", away.message)
    except Unprocessable as refused:
        # The model's: nothing here can hear, or it cannot read what was decoded for it.
        _end(work, plan.id, "unreadable" if decoding.possible() else "model_unavailable", refused.message)


def _by_pieces(work: Work, plan: _Plan, path: Path) -> None:
    began = time.monotonic()
    transcriber = inference.drivers().transcriber
    position, ordinal, language = plan.position, plan.ordinal, plan.language
    with decoding.samples(path, plan.format, position) as samples:
        while True:
            sound, last = samples.ahead(rules.PIECE)
            seconds = len(sound) / decoding.SECOND
            if max(samples.seconds or 0.0, position + seconds) > rules.MAX_SECONDS + 1:
                _end(work, plan.id, "too_long")
                return
            hearing = Hearing(())
            if seconds >= 0.1:
                deadline = Deadline(max(1.0, min(HEARING, work.remaining() - 10)))
                hearing = transcriber.hear(
                    decoding.as_wav(sound), deadline, language=language, vocabulary=plan.vocabulary
                )
            count, done = rules.settled(hearing.said, seconds, last=last)
            tired = time.monotonic() - began > TURN or work.remaining() < HEARING / 2
            with work.transaction() as ctx:
                row = _unheard(ctx, plan.id)
                if row is None:  # withdrawn meanwhile
                    work.complete(ctx)
                    return
                ordinal = _write(ctx, row, plan, hearing, count, ordinal, position)
                position += done
                language = language or hearing.language
                row.position = position
                row.language = row.language or language
                row.duration = samples.seconds if samples.seconds and samples.seconds >= position else row.duration
                event = _on(work, ctx, row, last=last, tired=tired)
            progress.publish(work, plan.id, event)
            if last or tired:
                return
            samples.advance(done)


def _at_once(work: Work, plan: _Plan, path: Path) -> None:
    """Where nothing decodes here, a provider hears the recording as it is."""
    deadline = Deadline(max(1.0, min(HEARING, work.remaining() - 10)))
    hearing = inference.drivers().transcriber.hear(
        path.read_bytes(), deadline, language=plan.language, vocabulary=plan.vocabulary
    )
    with work.transaction() as ctx:
        row = _unheard(ctx, plan.id)
        if row is None:
            work.complete(ctx)
            return
        _write(ctx, row, plan, hearing, len(hearing.said), 0, 0.0)
        row.position = hearing.said[-1].end if hearing.said else 0.0
        row.language = row.language or plan.language or hearing.language
        event = _on(work, ctx, row, last=True, tired=False)
    progress.publish(work, plan.id, event)


def _plan(ctx: Ctx, row: Transcription) -> _Plan:
    known = ctx.session.scalar(
        select(func.count()).select_from(TranscriptionSegment).where(TranscriptionSegment.transcription_id == row.id)
    )
    assert row.blob_id is not None
    return _Plan(
        row.id,
        row.blob_id,
        rules.FORMATS[row.media_type or ""],
        row.position,
        known or 0,
        row.wanted_language or row.language,
        tuple(map(str, row.vocabulary)),
        tuple((float(start), float(end), str(name)) for start, end, name in row.turns or ()),
    )


def _unheard(ctx: Ctx, transcription_id: UUID) -> Transcription | None:
    row = recordings.locked(ctx, transcription_id)
    return row if row is not None and row.state in ("pending", "processing") and row.content is None else None


def _write(
    ctx: Ctx, row: Transcription, plan: _Plan, hearing: Hearing, count: int, ordinal: int, position: float
) -> int:
    """Store what stands of a piece; the next free ordinal."""
    for heard in hearing.said[:count]:
        text = inference.clean(heard.text)[0].strip()[: rules.SEGMENT_TEXT]
        if not text or ordinal >= rules.MOST_SEGMENTS:
            continue
        start = position + max(0.0, heard.start)
        end = max(start, position + heard.end)
        ctx.session.add(
            TranscriptionSegment(
                transcription_id=row.id,
                ordinal=ordinal,
                started=round(start, 3),
                ended=round(end, 3),
                speaker=_speaker(plan.turns, start, end),
                content=text,
            )
        )
        ordinal += 1
    ctx.session.flush()
    return ordinal


def _speaker(turns: tuple[tuple[float, float, str], ...], start: float, end: float) -> str | None:
    """Who spoke most of this, as the meeting's service told; None where nobody is known to have."""
    shares: dict[str, float] = {}
    for began, ended, name in turns:
        shared = min(end, ended) - max(start, began)
        if shared > 0:
            shares[name] = shares.get(name, 0.0) + shared
    return max(shares, key=lambda name: shares[name]) if shares else None


def _on(work: Work, ctx: Ctx, row: Transcription, *, last: bool, tired: bool) -> Event:
    if last:
        return _heard(work, ctx, row)
    if tired:
        recordings.promise(ctx, row)
        work.complete(ctx)
    return progress.tell(row)


def _heard(work: Work, ctx: Ctx, row: Transcription) -> Event:
    """The text is there: the recording goes."""
    work.complete(ctx)
    said = recordings.segments(ctx, row.id)
    if not said:
        return recordings.fail(ctx, row, "no_speech")
    row.content = _text(said)
    row.duration = max(row.duration or 0.0, row.position)
    recordings.erase(ctx, row)
    if not row.notes_wanted:
        return _complete(ctx, row)
    outbox.enqueue(ctx, "transcriptions.note", {"transcription_id": str(row.id)})
    return progress.tell(row)


def _text(said: object) -> str:
    """Paragraphs: a new one where somebody else speaks, or after a pause."""
    parts: list[str] = []
    before: TranscriptionSegment | None = None
    for each in said:  # type: ignore[attr-defined]
        goes_on = before is not None and each.speaker == before.speaker and each.started - before.ended < 2.0
        parts.append((" " if goes_on else "\n\n" if parts else "") + each.content)
        before = each
    return "".join(parts)[: rules.MOST_TEXT]


# --- notes -----------------------------------------------------------------------------------------------------


def note(work: Work, transcription_id: UUID) -> None:
    """Write the notes and complete. The job `transcriptions.note`."""
    with work.transaction() as ctx:
        row = _unnoted(ctx, transcription_id)
        if row is None:
            work.complete(ctx)
            return
        before = progress.latest(row)
        spoken = [notes.Spoken(each.started, each.content, each.speaker) for each in recordings.segments(ctx, row.id)]
        today, language = row.begun_at.date(), row.notes_language
        try:
            model = chat_model(ctx, row.user_id, "medium")
        except DomainError:  # the person's own key was refused: nothing else may stand in for it but quotation
            model = inference.drivers().chat("extractive")
    progress.publish(work, transcription_id, *before)
    deadline = Deadline(max(1.0, min(NOTING, work.remaining() - 20)))
    try:
        written = notes.write(model, spoken, today, deadline, language=language)
    except inference.TimedOut:
        written = notes.by_quotation(spoken, today, Deadline(max(1.0, work.remaining() - 5)))
    with work.transaction() as ctx:
        row = _unnoted(ctx, transcription_id)
        event = None
        if row is not None:
            row.notes = written.stored()
            event = _complete(ctx, row)
        work.complete(ctx)
    progress.publish(work, transcription_id, event)


def _unnoted(ctx: Ctx, transcription_id: UUID) -> Transcription | None:
    row = recordings.locked(ctx, transcription_id)
    return row if row is not None and row.state == "processing" and row.content is not None else None


def _complete(ctx: Ctx, row: Transcription) -> Event:
    if row.knowledge_base_id is not None:
        _file(ctx, row)
    row.state, row.completed_at = "completed", ctx.now()
    return progress.tell(row, "transcription.completed")


def _file(ctx: Ctx, row: Transcription) -> None:
    """The text goes to the knowledge base as the person who made it: what they may not add to any more gets nothing."""
    person = replace(ctx, actor=UserActor(row.user_id))
    said = [Said(s.started, s.ended, s.content, s.speaker) for s in recordings.segments(ctx, row.id)]
    spoken = None if row.language is None else row.language.partition("-")[0].lower()[:8]
    assert row.knowledge_base_id is not None
    try:
        filed = knowledge.add_transcript(person, row.knowledge_base_id, row.title, said, language=spoken)
    except (NotFound, Forbidden, PaymentRequired, TooLarge):
        row.knowledge_base_id = None
    else:
        row.document_id = filed.document.id


# --- when it does not go well ----------------------------------------------------------------------------------


def _end(work: Work, transcription_id: UUID, code: str, message: str | None = None) -> None:
    with work.transaction() as ctx:
        row = _unheard(ctx, transcription_id)
        event = None if row is None else recordings.fail(ctx, row, code, message)
        work.complete(ctx)
    progress.publish(work, transcription_id, event)


def give_up(ctx: Ctx, transcription_id: UUID) -> None:
    """`transcribe` has failed for good."""
    row = _unheard(ctx, transcription_id)
    if row is not None:
        recordings.fail(ctx, row, "internal")


def give_up_notes(ctx: Ctx, transcription_id: UUID) -> None:
    """`note` has failed for good: the text is there all the same."""
    row = _unnoted(ctx, transcription_id)
    if row is not None:
        _complete(ctx, row)
