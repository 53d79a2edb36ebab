"""Hearing by a provider, on loopback: with times, and as a whole where nothing decodes recordings here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from domain import inference
from domain.kernel.errors import TooLarge
from domain.transcriptions import decoding, recordings

TOLD = {
    "text": "Hello. Goodbye.",
    "language": "dutch",
    "duration": 4.0,
    "segments": [
        {"id": 0, "start": 0.5, "end": 1.5, "text": " Hello."},
        {"id": 1, "start": 2.0, "end": 3.5, "text": " Goodbye."},
    ],
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    bodies: list[bytes] = []

    class Provider(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            content = json.dumps(TOLD).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(decoding, "possible", lambda: False)
    address = f"http://127.0.0.1:{server.server_port}/v1"
    inference.configure({"speech": "openai:whisper-1", "openai_base_url": address})
    yield bodies
    server.shutdown()
    server.server_close()


def test_a_provider_hears_the_recording_as_it_is_and_tells_the_times(world, asked, recording):
    ada = world.person()
    made = world.submit(ada, recording(4), vocabulary=("Babbage",))
    world.settle()
    whole = world.found(ada, made)
    assert [(s.started, s.ended, s.content) for s in whole.segments] == [(0.5, 1.5, "Hello."), (2.0, 3.5, "Goodbye.")]
    assert (whole.transcription.state, whole.transcription.language) == ("completed", "nl")
    assert recording(4) in asked[0]
    assert b"Babbage" in asked[0]
    assert b"verbose_json" in asked[0]


def test_what_a_provider_does_not_take_whole_is_refused(world, asked, recording, monkeypatch):
    monkeypatch.setattr(recordings, "WHOLE", 1000)
    with pytest.raises(TooLarge):
        world.submit(world.person(), recording(1))
