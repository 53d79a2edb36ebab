"""meet-bot: the bot that joins a meeting and takes notes."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain.transcriptions import bots
from handlers.beeflow import wire_transcriptions as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.beeflow import requests
    from thalweg.edge.application import Outside


def join_meeting(ctx: Ctx, body: requests.MeetBotJoin) -> Outside:
    return wire.journey(
        bots.send(
            ctx,
            meeting_url=body.meeting_url,
            wishes=wire.join_wishes(body),
            bot_name=body.bot_name,
            announce=body.announce,
            join_at=body.join_at,
        )
    )


def leave_meeting(ctx: Ctx, id: UUID) -> Outside:
    return wire.way_back(bots.recall(ctx, id))
