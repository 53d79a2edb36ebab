"""A person's recordings, when their account is erased."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import delete, select

from domain.kernel.context import Ctx
from domain.storage.erasure import delete_of
from domain.transcriptions import recordings
from domain.transcriptions.models import MeetingBot, Transcription


def erase_person(ctx: Ctx, account_id: UUID) -> int:
    """Erase the person's transcriptions in the context's organisation, with recordings that are still there and the
    bots that were sent; how many. A bot in a meeting is not told: what it brings finds nothing to go to."""
    found = ctx.session.scalars(select(Transcription).where(Transcription.user_id == account_id).with_for_update())
    rows = found.all()
    for row in rows:
        recordings.erase(ctx, row)
    delete_of(ctx, account_id, [recordings.PURPOSE])
    for table in (MeetingBot, Transcription):
        ctx.session.execute(
            delete(table).where(table.user_id == account_id).execution_options(synchronize_session=False)
        )
    return len(rows)
