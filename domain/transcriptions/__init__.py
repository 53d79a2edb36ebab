"""Transcriptions: recordings and meetings turned into text and notes. See docs/transcriptions.md.

`submit`, `find`, `list_transcriptions`, `events_after` for recordings; `bots` (send, sent, recall, get) for meetings;
for jobs `recognising` and `attending`; `configure` at start-up, `services.bind` in tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.kernel.lazily import offers

if TYPE_CHECKING:
    from domain.transcriptions import attending, bots, recognising, services
    from domain.transcriptions.models import MeetingBot, Transcription, TranscriptionSegment
    from domain.transcriptions.progress import channel
    from domain.transcriptions.recordings import Whole, Wishes, events_after, find, list_transcriptions, submit
    from domain.transcriptions.rules import percent
    from domain.transcriptions.services import configure
else:
    __getattr__ = offers(__name__, __file__)

__all__ = [
    "MeetingBot",
    "Transcription",
    "TranscriptionSegment",
    "Whole",
    "Wishes",
    "attending",
    "bots",
    "channel",
    "configure",
    "events_after",
    "find",
    "list_transcriptions",
    "percent",
    "recognising",
    "services",
    "submit",
]
