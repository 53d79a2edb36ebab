"""Jobs of support: a ticket is read, and an answer suggested."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from marshmallow import Schema, fields

from domain import support
from domain.kernel.context import Ctx, Work
from workers.registry import job


class TicketArgs(Schema):
    ticket_id = fields.UUID(required=True)


def give_up(ctx: Ctx, args: dict[str, Any], reason: str) -> None:
    support.suggesting.give_up(ctx, UUID(str(args["ticket_id"])))


@job("support.suggest_reply", args=TicketArgs, soft=240, hard=270, on_failed=give_up)
def suggest_reply(work: Work, args: dict[str, Any]) -> None:
    support.suggesting.suggest(work, args["ticket_id"])
