"""Jobs of brains: running a chain, and announcing events that could not be published when they happened."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from marshmallow import Schema, fields

from domain import brains
from domain.kernel.context import Ctx, Work
from workers.registry import job, warm


class InvocationArgs(Schema):
    invocation_id = fields.UUID(required=True)


def give_up(ctx: Ctx, args: dict[str, Any], reason: str) -> None:
    """The stream of a chain that cannot be run must end all the same."""
    brains.give_up(ctx, UUID(str(args["invocation_id"])), reason)


@job("brains.run", queue="interactive", args=InvocationArgs, soft=110, hard=130, max_attempts=5, on_failed=give_up)
def run(work: Work, args: dict[str, Any]) -> None:
    brains.run(work, args["invocation_id"])


@job("brains.announce", queue="interactive", args=InvocationArgs, soft=30, hard=45, max_attempts=20)
def announce(work: Work, args: dict[str, Any]) -> None:
    brains.announce(work, args["invocation_id"])


warm("interactive")(brains.warm)
