"""A provider that says words aloud, and what is told when it does not."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from domain import inference
from domain.inference import Deadline, TimedOut
from domain.inference.drivers import voice_provider
from domain.kernel.errors import Unavailable, Unprocessable


@pytest.fixture
def provider():
    """A server that speaks: `answers` in order, as (status, bytes); `asked` is what came."""

    class Provider(BaseHTTPRequestHandler):
        answers: ClassVar[list[tuple[int, bytes]]] = []
        asked: ClassVar[list[dict]] = []

        def do_POST(self):
            self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, content = self.answers.pop(0)
            self.send_response(status)
            self.send_header("Content-Type", "audio/mpeg" if status == 200 else "application/json")
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


def speaker(provider) -> inference.Speaker:
    settings = {"voice": "openai:tts-1", "openai_base_url": provider.url, "openai_api_key": "sk-geheim"}
    return inference.configure(settings).speaker


def test_a_provider_speaks_with_the_voice_that_is_named_or_its_usual_one(provider):
    provider.answers = [(200, b"ID3one"), (200, b"ID3two")]
    driver = speaker(provider)
    driver.available()
    assert driver.say("Good morning.", Deadline(10)) == b"ID3one"
    assert driver.say("Good night.", Deadline(10), voice="nova") == b"ID3two"
    assert [(each["input"], each["voice"], each["model"]) for each in provider.asked] == [
        ("Good morning.", "alloy", "tts-1"),
        ("Good night.", "nova", "tts-1"),
    ]


@pytest.mark.parametrize(
    ("status", "error"), [(400, Unprocessable), (404, Unprocessable), (401, Unavailable), (500, Unavailable)]
)
def test_what_a_provider_refuses_is_told_without_its_words(provider, status, error):
    provider.answers = [(status, b'{"error": {"message": "the key sk-geheim is bad"}}')]
    with pytest.raises(error) as refused:
        speaker(provider).say("Good morning.", Deadline(10))
    assert "geheim" not in refused.value.message


def test_sound_that_no_event_can_hold_is_refused(provider, monkeypatch):
    monkeypatch.setattr(voice_provider, "MOST_BYTES", 3)
    provider.answers = [(200, b"ID3one")]
    with pytest.raises(Unprocessable):
        speaker(provider).say("Good morning.", Deadline(10))


def test_nothing_is_sent_when_the_time_is_over(provider):
    with pytest.raises(TimedOut):
        speaker(provider).say("Good morning.", Deadline(0))
    assert provider.asked == []


def test_a_server_without_a_voice_says_what_to_set():
    with pytest.raises(Unprocessable, match="openai:tts-1"):
        inference.configure({}).speaker.available()


@pytest.mark.parametrize("setting", ["openai:", "festival", "openai:tts-1"])
def test_a_voice_that_cannot_be_is_named_at_start_up(setting):
    with pytest.raises(ValueError, match="voice"):
        inference.configure({"voice": setting})
