"""voice."""

from __future__ import annotations

from typing import Any

from domain.kernel.context import Ctx
from generated.beeflow import requests
from thalweg.edge.problem import not_implemented


def start_voice_turn(ctx: Ctx, body: requests.VoiceTurnRequest) -> Any:
    """Speak to an agent and hear it answer."""
    raise not_implemented()
