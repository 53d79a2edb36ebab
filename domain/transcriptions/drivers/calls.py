"""Calls to a service for meeting bots: JSON there and back."""

from __future__ import annotations

from domain.kernel.outgoing_json import Service
from domain.transcriptions.services import Declined, Gone

SECONDS = 15.0
MAX_BYTES = 8 << 20


def calls(base: str, key: str) -> Service:
    """Its calls, to paths below `/api/v1/`."""
    return Service(
        f"{base}/api/v1",
        f"Token {key}",
        name="The meeting bot's service",
        setting="meeting_bot_key",
        gone=Gone,
        declined=Declined,
        seconds=SECONDS,
        max_bytes=MAX_BYTES,
    )
