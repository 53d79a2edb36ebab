"""Transcriptions, their notes, and bots in meetings, as Bee Flow's contract has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from domain import transcriptions
from handlers.beeflow.wire_people import Known, among, person
from handlers.wiring import page_of, timestamp
from thalweg.edge.application import Outside, Reply

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage, Page
    from domain.transcriptions import MeetingBot, Transcription, TranscriptionSegment, Whole
    from domain.transcriptions.bots import Leaving, Sending
    from generated.beeflow import requests, responses

MOST_SPEAKERS = 50


def upload_wishes(body: requests.TranscriptionUpload) -> transcriptions.Wishes:
    return transcriptions.Wishes(
        title=body.title,
        language=body.language,
        notes=body.notes,
        notes_language=body.notes_language,
        vocabulary=tuple(body.vocabulary or ()),
        knowledge_base_id=body.knowledge_base_id,
    )


def join_wishes(body: requests.MeetBotJoin) -> transcriptions.Wishes:
    return transcriptions.Wishes(
        title=body.title, language=body.language, notes=body.notes, knowledge_base_id=body.knowledge_base_id
    )


def created(ctx: Ctx, row: Transcription) -> Reply:
    location = f"{ctx.base_path}/api/transcriptions/{row.id}"
    return Reply(_transcription(ctx, row, ()), status=202, headers={"Location": location})


def whole(ctx: Ctx, found: Whole) -> responses.Transcription:
    return _transcription(ctx, found.transcription, found.segments)


def page(ctx: Ctx, asked: OffsetPage, found: Page[Transcription]) -> responses.TranscriptionPage:
    known = among(ctx, (row.user_id for row in found.items))
    return {"items": [_summary(ctx, row, known) for row in found.items], **page_of(found, asked)}


def _summary(ctx: Ctx, row: Transcription, known: Known | None = None) -> responses.TranscriptionSummary:
    return {
        "id": str(row.id),
        "title": row.title,
        "source": cast("Any", row.source),
        "status": cast("Any", row.state),
        "percent": transcriptions.percent(row.state, row.position, row.duration, row.content is not None),
        "language": row.language,
        "durationSeconds": row.duration,
        "knowledgeBaseId": None if row.knowledge_base_id is None else str(row.knowledge_base_id),
        "error": _failure(row),
        "createdBy": person(ctx, row.user_id, known),
        "createdAt": timestamp(row.begun_at),
        "completedAt": timestamp(row.completed_at),
    }


def _transcription(ctx: Ctx, row: Transcription, segments: Sequence[TranscriptionSegment]) -> responses.Transcription:
    keys = _keys(segments)
    return {
        **_summary(ctx, row),
        "text": row.content,
        "speakers": [
            {
                "key": key,
                "name": name,
                "seconds": round(sum(s.ended - s.started for s in segments if s.speaker == name), 3),
            }
            for name, key in keys.items()
        ],
        "segments": [
            {
                "start": each.started,
                "end": each.ended,
                "speaker": None if each.speaker is None else keys.get(each.speaker),
                "text": each.content,
            }
            for each in segments
        ],
        "notes": _notes(row.notes),
    }


def _keys(segments: Sequence[TranscriptionSegment]) -> Mapping[str, str]:
    """`S1`, `S2`, ... for the names, as they come up."""
    names = list(dict.fromkeys(each.speaker for each in segments if each.speaker is not None))
    return {name: f"S{number}" for number, name in enumerate(names[:MOST_SPEAKERS], 1)}


def _notes(kept: Mapping[str, Any] | None) -> responses.MeetingNotes | None:
    if kept is None:
        return None
    return {
        "summary": kept["summary"],
        "topics": kept["topics"],
        "decisions": kept["decisions"],
        "tasks": [
            {"text": task["text"], "assignee": task["assignee"], "dueDate": task["due"]} for task in kept["tasks"]
        ],
        "model": kept["model"],
    }


def _failure(row: Transcription) -> responses.TranscriptionFailure | None:
    if row.failure_code is None:
        return None
    return {"code": cast("Any", row.failure_code), "message": row.failure or ""}


# --- bots ------------------------------------------------------------------------------------------------------


def journey(sending: Sending) -> Outside:
    """Ask the service with no transaction open, and go on from what it says."""
    return Outside(sending.ask, lambda ctx, news: sent(ctx, transcriptions.bots.sent(ctx, sending, news)))


def sent(ctx: Ctx, row: MeetingBot) -> Reply:
    location = f"{ctx.base_path}/api/transcriptions/{row.transcription_id}"
    return Reply(bot(ctx, row), status=202, headers={"Location": location})


def way_back(leaving: Leaving) -> Outside:
    """Tell the service with no transaction open; whether it heard or not, the bot is recalled."""
    return Outside(leaving.ask, lambda ctx, _: bot(ctx, transcriptions.bots.get(ctx, leaving.bot_id)))


def bot(ctx: Ctx, row: MeetingBot) -> responses.MeetBot:
    return {
        "id": str(row.id),
        "meetingUrl": row.meeting_url,
        "platform": cast("Any", row.platform),
        "botName": row.bot_name,
        "status": cast("Any", row.state),
        "transcriptionId": str(row.transcription_id),
        "joinAt": timestamp(row.join_at),
        "joinedAt": timestamp(row.joined_at),
        "leftAt": timestamp(row.left_at),
        "createdBy": person(ctx, row.user_id),
        "createdAt": timestamp(row.created_at),
    }
