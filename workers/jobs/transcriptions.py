"""Jobs of transcriptions: hearing, notes, and looking after bots in meetings.

What strangers recorded is decoded in a child process of its own; the worker sees samples, so it may keep the model.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from marshmallow import Schema, fields

from domain import transcriptions
from domain.kernel.context import Ctx, Work
from workers.registry import job


class TranscriptionArgs(Schema):
    transcription_id = fields.UUID(required=True)


class BotArgs(Schema):
    bot_id = fields.UUID(required=True)


class WithdrawArgs(Schema):
    service = fields.String(required=True)
    key = fields.String(required=True)


class ForgetArgs(Schema):
    service = fields.String(required=True)
    service_id = fields.String(required=True)


def give_up(ctx: Ctx, args: dict[str, Any], reason: str) -> None:
    transcriptions.recognising.give_up(ctx, UUID(str(args["transcription_id"])))


def give_up_notes(ctx: Ctx, args: dict[str, Any], reason: str) -> None:
    transcriptions.recognising.give_up_notes(ctx, UUID(str(args["transcription_id"])))


def give_up_bot(ctx: Ctx, args: dict[str, Any], reason: str) -> None:
    transcriptions.attending.give_up(ctx, UUID(str(args["bot_id"])))


@job("transcriptions.transcribe", args=TranscriptionArgs, soft=600, hard=660, max_attempts=6, on_failed=give_up)
def transcribe(work: Work, args: dict[str, Any]) -> None:
    transcriptions.recognising.transcribe(work, args["transcription_id"])


@job("transcriptions.note", args=TranscriptionArgs, soft=240, hard=270, on_failed=give_up_notes)
def note(work: Work, args: dict[str, Any]) -> None:
    transcriptions.recognising.note(work, args["transcription_id"])


@job("transcriptions.attend", args=BotArgs, soft=600, hard=660, on_failed=give_up_bot)
def attend(work: Work, args: dict[str, Any]) -> None:
    transcriptions.attending.attend(work, args["bot_id"])


@job("transcriptions.withdraw", args=WithdrawArgs, soft=90, hard=120, max_attempts=10)
def withdraw(work: Work, args: dict[str, Any]) -> None:
    transcriptions.attending.withdraw(args["service"], args["key"])


@job("transcriptions.forget", args=ForgetArgs, soft=60, hard=90, max_attempts=10)
def forget(work: Work, args: dict[str, Any]) -> None:
    transcriptions.attending.forget(args["service"], args["service_id"])
