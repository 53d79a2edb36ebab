"""Jobs of notifications: delivering a mail."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from marshmallow import Schema, fields

from domain import notifications
from domain.kernel.context import Ctx, Work
from workers.registry import job


class MailArgs(Schema):
    mail_id = fields.UUID(required=True)


def give_up(ctx: Ctx, args: dict[str, Any], reason: str) -> None:
    """The row says the same as the job: failed, and why."""
    notifications.give_up(ctx, UUID(str(args["mail_id"])), reason)


@job(
    "notifications.deliver",
    args=MailArgs,
    soft=90,
    hard=120,
    max_attempts=14,
    on_failed=give_up,
    retry_base=10,
    retry_cap=3600,
)
def deliver(work: Work, args: dict[str, Any]) -> None:
    notifications.deliver(work, args["mail_id"])
