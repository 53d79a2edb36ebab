"""transcriptions: recordings turned into text and notes."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import transcriptions
from handlers.beeflow import wire_transcriptions as wire

if TYPE_CHECKING:
    from datetime import datetime

    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.beeflow import requests, responses
    from thalweg.edge.application import Reply


def list_transcriptions(
    ctx: Ctx,
    page: OffsetPage,
    q: str | None = None,
    status: str | None = None,
    source: str | None = None,
    from_: datetime | None = None,
    to: datetime | None = None,
) -> responses.TranscriptionPage:
    found = transcriptions.list_transcriptions(ctx, page, words=q, state=status, source=source, since=from_, until=to)
    return wire.page(ctx, page, found)


def create_transcription(ctx: Ctx, body: requests.TranscriptionUpload) -> Reply:
    with body.audio.open() as source:
        made = transcriptions.submit(ctx, source, filename=body.audio.name, wishes=wire.upload_wishes(body))
    return wire.created(ctx, made)


def get_transcription(ctx: Ctx, id: UUID) -> responses.Transcription:
    return wire.whole(ctx, transcriptions.find(ctx, id))
