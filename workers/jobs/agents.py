"""Jobs of agents and models: trying keys of one's own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from marshmallow import Schema, fields

from domain import inference
from domain.kernel.context import Ctx, Work
from workers.registry import job


class TrialArgs(Schema):
    trial_id = fields.UUID(required=True)


def abandon(ctx: Ctx, args: dict[str, Any], reason: str) -> None:
    inference.byok.abandon_trial(ctx, UUID(str(args["trial_id"])))


@job("inference.try_models", queue="interactive", args=TrialArgs, soft=130, hard=150, max_attempts=2, on_failed=abandon)
def try_models(work: Work, args: dict[str, Any]) -> None:
    inference.byok.run_trial(work, args["trial_id"])
