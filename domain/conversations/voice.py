"""Turns that are spoken: what can be heard here, how a recording becomes a question, and an answer sound."""

from __future__ import annotations

import base64
import io
import logging
import re
import tempfile
import wave
from pathlib import Path

from domain import inference
from domain.conversations import events
from domain.conversations.speaking import beside, within
from domain.conversations.turn_state import State
from domain.inference import Deadline, Hearing
from domain.kernel.errors import DomainError, Unprocessable
from domain.storage.sniffing import sniff
from domain.transcriptions import decoding
from domain.transcriptions.recordings import hears as must_hear
from domain.transcriptions.rules import FORMATS

__all__ = ["aloud", "heard", "measure", "must_hear", "must_speak", "speak"]

log = logging.getLogger("thalweg.conversations")

MOST_SECONDS = 300
PIECE = 300
"""Characters that are spoken at once, where a sentence is not longer."""
MOST_PIECES = 60
PIECE_SECONDS = 20.0


def must_speak(voice: str | None) -> None:
    """Raise `Unprocessable` when a voice is asked for by name and nothing can be said aloud here."""
    if voice is not None:
        inference.drivers().speaker.available()


def measure(recording: bytes) -> None:
    """Raise `Unprocessable` for what is no recording, or is longer than `MOST_SECONDS`, as far as that can be known
    without hearing it: where nothing decodes here, what is no WAV is measured by nobody. Takes up to some seconds."""
    found = sniff(io.BytesIO(recording), len(recording))
    if found not in FORMATS:
        raise Unprocessable(
            "This is no recording that can be heard: WebM, Ogg, WAV, MP3, M4A or FLAC.",
            reason="unreadable",
            field="audio",
        )
    seconds = _of_wav(recording) if found == "audio/wav" else None
    if seconds is None and decoding.possible():
        seconds = len(_decoded(recording, FORMATS[found], MOST_SECONDS + 1)) / decoding.SECOND
    if seconds is not None and seconds > MOST_SECONDS:
        raise Unprocessable("The recording is longer than five minutes.", reason="too_long", field="audio")


def heard(recording: bytes, deadline: Deadline, language: str | None) -> Hearing:
    """What is said in a recording; `language` (BCP 47) is found out without it. Raises as a transcriber does."""
    transcriber = inference.drivers().transcriber
    found = sniff(io.BytesIO(recording), len(recording))
    if decoding.possible() and found in FORMATS:
        # A stranger's bytes are decoded in a process of their own; the model gets samples.
        recording = decoding.as_wav(_decoded(recording, FORMATS[found], MOST_SECONDS + 1))
    return transcriber.hear(recording, deadline, language=language)


def aloud(text: str) -> list[str]:
    """An answer in pieces as they are spoken: whole sentences, without the signs that are for the eye."""
    plain = re.sub(r"\[\d{1,3}(?:\s*,\s*\d{1,3})*\]|```.*?```|[*_`#>|]+", " ", text, flags=re.DOTALL)
    pieces: list[str] = []
    for sentence in re.split(r"(?<=[.!?…:])\s+|\n+", plain):
        words = re.sub(r"\s+([.,;!?])", r"\1", " ".join(sentence.split()))
        if not re.search(r"\w", words):
            continue
        if pieces and len(pieces[-1]) + len(words) < PIECE:
            pieces[-1] = f"{pieces[-1]} {words}"
        else:
            pieces += [words[at : at + PIECE * 4] for at in range(0, len(words), PIECE * 4)]
    return pieces[:MOST_PIECES]


def speak(state: State, text: str) -> None:
    """Say the answer aloud, piece by piece, each a committed step. An answer that cannot be spoken is still an answer:
    the stream says so and goes on. Raises `Cancelled`, `Ended`."""
    speaker = inference.drivers().speaker
    journal = state.journal
    voice = state.options.get("voice")
    try:
        speaker.available()
    except Unprocessable:
        return  # text alone, as where nobody asked for sound
    for index, piece in enumerate(aloud(text)):
        key = f"spoken/{index}"
        kept = journal.done(key)
        if kept is None:
            try:
                deadline = within(PIECE_SECONDS, state.deadline)
                sound = beside(lambda: speaker.say(piece, deadline, voice=voice), deadline, journal)  # noqa: B023
            except DomainError as problem:
                log.warning("answer not spoken", extra={"code": problem.code, "reason": problem.message})
                with journal.writing() as writer:
                    writer.step(key, {"silent": True})
                    writer.event(
                        events.PROGRESS,
                        message="The answer cannot be spoken",
                        label=f"The answer cannot be spoken: {problem.message}",
                        percent=None,
                    )
                return
            with journal.writing() as writer:
                writer.step(key, {})
                writer.event(
                    events.AUDIO,
                    message="Speaking",
                    index=index,
                    media_type=speaker.media_type,
                    sound=base64.b64encode(sound).decode(),
                )
        elif kept.get("silent"):
            return


def _of_wav(recording: bytes) -> float | None:
    try:
        with wave.open(io.BytesIO(recording)) as opened:
            frame = opened.getnchannels() * opened.getsampwidth()
            # Its header may claim anything: what is there counts.
            return float(min(opened.getnframes(), len(recording) // max(1, frame)) / opened.getframerate())
    except (wave.Error, EOFError, ZeroDivisionError):
        return None


def _decoded(recording: bytes, format_: str, seconds: float) -> bytes:
    with tempfile.NamedTemporaryFile(prefix="voice-") as kept:
        kept.write(recording)
        kept.flush()
        with decoding.samples(Path(kept.name), format_, 0.0) as samples:
            sound, _ = samples.ahead(seconds)
            return sound
