"""Jobs of containers: making them, dropping what they held, ending those that rested too long."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from marshmallow import Schema, fields

from domain import containers
from domain.kernel.context import Ctx, Work
from workers.registry import cron, job


class ContainerArgs(Schema):
    container_id = fields.UUID(required=True)


class DiscardArgs(Schema):
    driver = fields.String(required=True)
    external_id = fields.String(required=True)


def give_up(ctx: Ctx, args: dict[str, Any], reason: str) -> None:
    """A container that cannot be made must say so."""
    containers.give_up(ctx, UUID(str(args["container_id"])))


@job("containers.prepare", args=ContainerArgs, soft=300, hard=330, max_attempts=4, on_failed=give_up)
def prepare(work: Work, args: dict[str, Any]) -> None:
    containers.prepare(work, args["container_id"])


@job("containers.discard", args=DiscardArgs, soft=90, hard=120, max_attempts=10)
def discard(work: Work, args: dict[str, Any]) -> None:
    containers.discard(work, args["driver"], args["external_id"])


@cron("* * * * *")
@job("containers.expire", simple=True)
def expire(ctx: Ctx, args: dict[str, Any]) -> None:
    containers.expire(ctx)


@cron("40 3 * * *")
@job("containers.sweep", soft=600, hard=660)
def sweep(work: Work, args: dict[str, Any]) -> None:
    containers.sweep(work)
