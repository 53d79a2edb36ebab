"""Jobs of conversations: answering a turn, what comes after it, and what is cleared away."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from marshmallow import Schema, fields

from domain import conversations
from domain.kernel.context import Ctx, Work
from domain.kernel.db import acting_for
from domain.kernel.outbox import enqueue
from workers.registry import cron, job, warm


class TurnArgs(Schema):
    turn_id = fields.UUID(required=True)


class ConversationArgs(Schema):
    conversation_id = fields.UUID(required=True)


class TitleArgs(Schema):
    conversation_id = fields.UUID(required=True)
    request_id = fields.UUID(required=True)


def give_up(ctx: Ctx, args: dict[str, Any], reason: str) -> None:
    """The stream of a turn that cannot be run must end all the same."""
    conversations.give_up(ctx, UUID(str(args["turn_id"])), reason)


@job("conversations.answer", queue="interactive", args=TurnArgs, soft=320, hard=345, max_attempts=3, on_failed=give_up)
def answer(work: Work, args: dict[str, Any]) -> None:
    conversations.run(work, args["turn_id"])


@job("conversations.announce", queue="interactive", args=TurnArgs, soft=30, hard=45, max_attempts=20)
def announce(work: Work, args: dict[str, Any]) -> None:
    conversations.announce(work, args["turn_id"])


@job("conversations.expire", queue="interactive", args=TurnArgs, soft=30, hard=45, simple=True)
def expire(ctx: Ctx, args: dict[str, Any]) -> None:
    conversations.expire(ctx, args["turn_id"])


@job("conversations.retitle", queue="interactive", args=TitleArgs, soft=30, hard=45, max_attempts=2)
def retitle(work: Work, args: dict[str, Any]) -> None:
    conversations.retitle(work, args["conversation_id"], args["request_id"])


@job("conversations.digest", queue="default", args=TurnArgs, soft=60, hard=90, max_attempts=3)
def digest(work: Work, args: dict[str, Any]) -> None:
    conversations.digest(work, args["turn_id"])


@job("conversations.erase", queue="default", args=ConversationArgs, soft=30, hard=45, simple=True)
def erase(ctx: Ctx, args: dict[str, Any]) -> dict[str, bool]:
    return {"erased": conversations.erase(ctx, args["conversation_id"])}


@cron("17 * * * *")
@job("conversations.purge", soft=60, hard=90, simple=True)
def purge(ctx: Ctx, args: dict[str, Any]) -> dict[str, int]:
    """Conversations that were deleted 30 days ago, and the single words of yesterday's turns."""
    return {"conversations": conversations.purge_deleted(ctx), "turns": conversations.compact(ctx)}


@cron("23 1 * * *")
@job("conversations.retention", soft=60, hard=90, simple=True)
def retention(ctx: Ctx, args: dict[str, Any]) -> dict[str, int]:
    """Every night, each organisation's own job: what it has said about how long things are kept."""
    due = conversations.retention.due(ctx)
    for organisation_id in due:
        with acting_for(ctx, organisation_id) as inside:
            enqueue(inside, "conversations.retain", {}, unique=f"conversations.retain:{ctx.now():%Y%m%d}")
    return {"organisations": len(due)}


@job("conversations.retain", soft=240, hard=270)
def retain(work: Work, args: dict[str, Any]) -> None:
    conversations.retention.keep_to(work)


warm("interactive")(conversations.warm)
