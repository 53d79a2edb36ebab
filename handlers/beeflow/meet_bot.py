"""meet-bot."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def join_meeting(ctx: Ctx, body: requests.MeetBotJoin) -> responses.MeetBot:
    """Send the bot to a meeting."""
    raise not_implemented()


def leave_meeting(ctx: Ctx, id: UUID) -> responses.MeetBot:
    """Recall the bot from a meeting."""
    raise not_implemented()
