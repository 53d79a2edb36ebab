"""voice: a turn that is spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain import conversations
from handlers import turns
from handlers.beeflow import wire_conversations as wire
from thalweg.edge.application import Outside

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.beeflow import requests
    from thalweg.edge.application import Stream


def start_voice_turn(ctx: Ctx, body: requests.VoiceTurnRequest, last_event_id: str | None = None) -> Stream | Outside:
    at = turns.mark(last_event_id)
    if at is not None:
        return wire.voice(turns.resumed(ctx, at), after=at.number)
    conversations.voice.must_hear()
    conversations.voice.must_speak(body.voice)
    with body.audio.open() as source:
        recording = source.read()
    return Outside(
        lambda: conversations.voice.measure(recording),
        lambda ctx, _: wire.voice(conversations.start(ctx, **wire.spoken(ctx, body, recording))),
    )
