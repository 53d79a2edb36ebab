"""Jobs of identity: mails that nobody may time, rotation of signing keys, purging, erasure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from marshmallow import Schema, fields

from domain.agents import erasure as agents
from domain.agents import tiers
from domain.brains import erasure as brains
from domain.containers import erasure as containers
from domain.conversations import erasure as conversations
from domain.identity import accounts, erasure, tokens, upkeep
from domain.inference import erasure as inference
from domain.kernel.context import Ctx
from domain.kernel.outbox import enqueue
from domain.knowledge import erasure as knowledge
from domain.memory import personal
from domain.storage import erasure as storage
from domain.support import erasure as support
from domain.transcriptions import erasure as transcriptions
from workers.registry import cron, job


class AccountArgs(Schema):
    account_id = fields.UUID(required=True)


class MailArgs(Schema):
    """`address`: whence it was asked for, for the audit trail."""

    surface = fields.String(required=True)
    email = fields.String(required=True)
    address = fields.String(required=True, allow_none=True)


@job("identity.mail_password_reset", queue="interactive", args=MailArgs, simple=True)
def mail_password_reset(ctx: Ctx, args: dict[str, Any]) -> None:
    accounts.mail_password_reset(replace(ctx, address=args["address"]), args["surface"], args["email"])


@job("identity.mail_verification", queue="interactive", args=MailArgs, simple=True)
def mail_verification(ctx: Ctx, args: dict[str, Any]) -> None:
    accounts.mail_verification(replace(ctx, address=args["address"]), args["surface"], args["email"])


@cron("41 2 * * *")
@job("identity.rotate_keys", simple=True)
def rotate_keys(ctx: Ctx, args: dict[str, Any]) -> None:
    tokens.rotate(ctx)


@cron("13 * * * *")
@job("identity.purge", simple=True)
def purge(ctx: Ctx, args: dict[str, Any]) -> None:
    upkeep.purge_expired(ctx)


@cron("27 * * * *")
@job("identity.erase_due", simple=True)
def erase_due(ctx: Ctx, args: dict[str, Any]) -> None:
    for account_id in erasure.due_accounts(ctx):
        enqueue(
            ctx,
            "identity.erase",
            {"account_id": str(account_id)},
            unique=f"identity.erase:{account_id}:{ctx.now():%Y%m%d}",
        )
    if upkeep.erase_organisations(ctx):
        tiers.recount(ctx)


ERASERS: tuple[erasure.Eraser, ...] = (
    conversations.erase_person,
    transcriptions.erase_person,
    support.erase_person,
    knowledge.erase_person,
    personal.forget_person,
    agents.erase_person,
    brains.erase_person,
    containers.erase_person,
    inference.erase_person,
    storage.erase_person,
)
"""What each context takes away of a person, in one organisation; files last, when nobody refers to them any more."""


@job("identity.erase", args=AccountArgs, simple=True)
def erase(ctx: Ctx, args: dict[str, Any]) -> None:
    """The account, and what was the person's own in each organisation, in one transaction."""
    erasure.erase_account(ctx, UUID(str(args["account_id"])), ERASERS)
