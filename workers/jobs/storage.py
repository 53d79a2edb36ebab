"""Jobs of storage: bytes that have come, bytes that must go, and what died half-way."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from domain import storage
from domain.kernel.context import Work
from workers.registry import cron, job


class ObjectArgs(Schema):
    object_id = fields.UUID(required=True)


class SettleArgs(ObjectArgs):
    look = fields.Integer(load_default=0)


@job("storage.purge", args=ObjectArgs, soft=60, hard=90, max_attempts=20)
def purge(work: Work, args: dict[str, Any]) -> None:
    storage.purge(work, args["object_id"])


@job("storage.settle", args=SettleArgs, soft=600, hard=660, max_attempts=20)
def settle(work: Work, args: dict[str, Any]) -> None:
    storage.settle(work, args["object_id"], args["look"])


@cron("17 * * * *")
@job("storage.sweep", soft=1800, hard=1860, max_attempts=2)
def sweep(work: Work, args: dict[str, Any]) -> None:
    storage.sweep(work)
