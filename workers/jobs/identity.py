"""Jobs of identity: mails that nobody may time, rotation of signing keys, purging, erasure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from marshmallow import Schema, fields

from domain import conversations
from domain.identity import accounts, tokens, upkeep
from domain.inference import byok
from domain.kernel.context import Ctx
from domain.kernel.db import acting_for
from domain.kernel.outbox import enqueue
from domain.memory import personal
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
    for account_id in upkeep.due_accounts(ctx):
        enqueue(
            ctx,
            "identity.erase",
            {"account_id": str(account_id)},
            unique=f"identity.erase:{account_id}:{ctx.now():%Y%m%d}",
        )
    upkeep.erase_members(ctx)
    upkeep.erase_organisations(ctx)


@job("identity.erase", args=AccountArgs, simple=True)
def erase(ctx: Ctx, args: dict[str, Any]) -> None:
    """The account, and what was the person's own in each organisation, in one transaction."""
    account_id = UUID(str(args["account_id"]))
    for organisation_id in upkeep.erase_account(ctx, account_id) or ():
        with acting_for(ctx, organisation_id) as inside:
            conversations.erase_person(inside, account_id)
            personal.forget_person(inside, account_id)
            byok.delete_model_settings(inside, account_id)
