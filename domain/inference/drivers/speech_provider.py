"""Recordings to text with OpenAI, or a server that speaks its protocol (`/audio/transcriptions`)."""

from __future__ import annotations

from domain.inference.ports import Deadline, TimedOut
from domain.kernel.errors import Unavailable, Unprocessable

MAX_CHARACTERS = 200_000
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
        deadline.check()
        import openai

        client = openai.OpenAI(
            api_key=self._key, base_url=self._base_url, timeout=max(0.1, deadline.remaining()), max_retries=0
        )
        try:
            with client:
                said = client.audio.transcriptions.create(model=self._model, file=(_name(recording), recording))
        except openai.APITimeoutError:
            raise TimedOut from None
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            raise Unprocessable("The recording cannot be decoded. WAV, MP3, FLAC and OGG can.") from None
        except openai.OpenAIError:
            # Its text may repeat the key or the address.
            raise Unavailable("The provider that transcribes recordings is not available right now.") from None
        return said.text.strip()[:MAX_CHARACTERS]


def _name(recording: bytes) -> str:
    for beginning, kind in _BEGINNINGS:
        if recording.startswith(beginning):
            return f"recording.{kind}"
    return "recording.m4a" if recording[4:8] == b"ftyp" else "recording.mp3"
