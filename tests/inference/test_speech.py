"""Speech: what is said in a recording, by the extra's model or by a provider, and what is told when it cannot be."""

from __future__ import annotations

import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from domain import inference
from domain.inference import Deadline
from domain.inference.drivers.speech import Whisper
from domain.kernel.errors import Unavailable, Unprocessable

WAV = b"RIFF" + bytes(40)


@pytest.fixture
def provider():
    """A transcription server: `answers` in order; `asked` is what came."""

    class Provider(BaseHTTPRequestHandler):
        answers: ClassVar[list[tuple[int, dict]]] = []
        asked: ClassVar[list[tuple[str, str, bytes]]] = []

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.asked.append((self.path, self.headers["Authorization"], body))
            status, answer = self.answers.pop(0)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Provider.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield Provider
    server.shutdown()
    server.server_close()


def listen(provider) -> inference.Transcriber:
    settings = {"speech": "openai:whisper-1", "openai_base_url": provider.url, "openai_api_key": "sk-geheim"}
    return inference.configure(settings).transcriber


def test_a_provider_hears_a_recording(provider):
    provider.answers = [(200, {"text": " Good morning. "})]
    transcriber = listen(provider)
    transcriber.available()
    assert transcriber.transcribe(WAV, Deadline(10)) == "Good morning."
    path, authorisation, body = provider.asked[-1]
    assert path == "/v1/audio/transcriptions"
    assert authorisation == "Bearer sk-geheim"
    assert b'filename="recording.wav"' in body
    assert b"whisper-1" in body


@pytest.mark.parametrize(("status", "error"), [(400, Unprocessable), (401, Unavailable), (500, Unavailable)])
def test_what_a_provider_refuses_is_told_without_its_words(provider, status, error):
    provider.answers = [(status, {"error": {"message": "key sk-geheim"}})]
    with pytest.raises(error) as refused:
        listen(provider).transcribe(WAV, Deadline(10))
    assert "geheim" not in refused.value.message


def test_a_provider_without_key_or_address_is_named_at_start_up():
    with pytest.raises(ValueError, match="speech"):
        inference.configure({"speech": "openai:whisper-1"})


@pytest.mark.parametrize("setting", ["auto", "whisper"])
def test_the_extra_is_named_where_it_is_missing(setting):
    transcriber = inference.configure({"speech": setting}).transcriber
    assert isinstance(transcriber, Whisper)
    if importlib.util.find_spec("faster_whisper") is None:
        with pytest.raises(Unprocessable, match="thalweg --extra speech"):
            transcriber.available()
    else:
        transcriber.available()
