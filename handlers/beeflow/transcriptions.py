"""transcriptions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def list_transcriptions(
    ctx: Ctx,
    page: OffsetPage,
    q: str | None = None,
    status: str | None = None,
    source: str | None = None,
    from_: datetime | None = None,
    to: datetime | None = None,
) -> responses.TranscriptionPage:
    """List transcriptions."""
    raise not_implemented()


def create_transcription(ctx: Ctx, body: requests.TranscriptionUpload) -> responses.Transcription:
    """Submit a recording."""
    raise not_implemented()


def get_transcription(ctx: Ctx, id: UUID) -> responses.Transcription:
    """Read a transcription."""
    raise not_implemented()
