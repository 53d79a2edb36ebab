"""Recordings to text with OpenAI, or a server that speaks its protocol (`/audio/transcriptions`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.inference.ports import Deadline, Heard, Hearing, TimedOut
from domain.kernel.errors import Unavailable, Unprocessable

MAX_CHARACTERS = 200_000
LANGUAGES = {
    "english": "en",
    "german": "de",
    "dutch": "nl",
    "french": "fr",
    "spanish": "es",
    "italian": "it",
    "portuguese": "pt",
    "polish": "pl",
    "danish": "da",
    "swedish": "sv",
    "norwegian": "no",
    "finnish": "fi",
    "czech": "cs",
    "russian": "ru",
    "ukrainian": "uk",
    "turkish": "tr",
    "japanese": "ja",
    "chinese": "zh",
    "korean": "ko",
    "arabic": "ar",
}
"""The protocol names languages in English."""
# What a format begins with. The protocol tells formats by the file's name.
_BEGINNINGS = ((b"RIFF", "wav"), (b"fLaC", "flac"), (b"OggS", "ogg"), (b"\x1aE\xdf\xa3", "webm"), (b"ID3", "mp3"))


class ProviderSpeech:
    """Transcriber. Nothing is sent before the first recording."""

    def __init__(self, model: str, key: str, base_url: str | None) -> None:
        self._model = model
        self._key = key
        self._base_url = base_url

    def available(self) -> None:
        """A provider is: whether it can be reached shows when it is asked."""

    def transcribe(self, recording: bytes, deadline: Deadline) -> str:
        """What is said. Raises Unprocessable for what the provider cannot decode, Unavailable when it is away."""
        said = self._asked(recording, deadline, {})
        return str(said.text).strip()[:MAX_CHARACTERS]

    def hear(
        self, recording: bytes, deadline: Deadline, *, language: str | None = None, vocabulary: Sequence[str] = ()
    ) -> Hearing:
        """Times need a model that tells them (`whisper-1`); with another the whole recording is one thing said."""
        wanted: dict[str, Any] = {}
        if not self._model.startswith("gpt-"):  # those answer without times
            wanted |= {"response_format": "verbose_json", "timestamp_granularities": ["segment"]}
        if language is not None:
            wanted["language"] = language.partition("-")[0].lower()
        if vocabulary:
            wanted["prompt"] = ", ".join(vocabulary)[:800]
        told = self._asked(recording, deadline, wanted)
        said = [
            Heard(float(each.start), float(each.end), each.text.strip())
            for each in getattr(told, "segments", None) or ()
            if each.text.strip()
        ]
        if not said and (text := str(told.text).strip()[:MAX_CHARACTERS]):
            said = [Heard(0.0, float(getattr(told, "duration", 0.0) or 0.0), text)]
        spoken = wanted.get("language") or LANGUAGES.get(str(getattr(told, "language", "") or "").lower())
        return Hearing(tuple(said), spoken if said else None)

    def _asked(self, recording: bytes, deadline: Deadline, wanted: dict[str, Any]) -> Any:
        deadline.check()
        import openai

        client = openai.OpenAI(
            api_key=self._key, base_url=self._base_url, timeout=max(0.1, deadline.remaining()), max_retries=0
        )
        try:
            with client:
                return client.audio.transcriptions.create(
                    model=self._model, file=(_name(recording), recording), **wanted
                )
        except openai.APITimeoutError:
            raise TimedOut from None
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            raise Unprocessable("The recording cannot be decoded. WAV, MP3, FLAC and OGG can.") from None
        except openai.OpenAIError:
            # Its text may repeat the key or the address.
            raise Unavailable("The provider that transcribes recordings is not available right now.") from None


def _name(recording: bytes) -> str:
    for beginning, kind in _BEGINNINGS:
        if recording.startswith(beginning):
            return f"recording.{kind}"
    return "recording.m4a" if recording[4:8] == b"ftyp" else "recording.mp3"
