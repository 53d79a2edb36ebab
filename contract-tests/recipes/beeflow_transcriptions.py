"""Bee Flow: recordings and meetings, with a provider that hears and a service that sends bots, both on loopback."""

from __future__ import annotations

import functools
import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import httpx

from recipes.world import Call, Person, World, recipe

_numbers = itertools.count(1)
WAV = b"RIFF\x24\x08\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80>\x00\x00\x00}\x00\x00\x02\x00\x10\x00data" + (
    b"\x00\x08\x00\x00" + bytes(2048)
)


NONSENSE = "https://us02web.zoom.us/j/404404404"
"""A meeting for which the service answers nothing that its protocol knows."""


class _Server(BaseHTTPRequestHandler):
    """Hears the same in every recording, lets every bot in, and out again when it is told."""

    protocol_version = "HTTP/1.1"
    bots = itertools.count(1)
    gone: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        bot = self.path.rpartition("/")[2]
        state = "ended" if bot in self.gone else "joining"
        self._answer({"id": bot, "state": state, "events": [], "results": []})

    def do_DELETE(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.endswith("/audio/transcriptions"):
            said = {"id": 0, "start": 0.0, "end": 2.5, "text": "We agreed on three months of notice."}
            self._answer({"text": said["text"], "language": "english", "duration": 2.5, "segments": [said]})
            return
        if self.path.endswith("/leave"):
            self.gone.add(self.path.split("/")[-2])
        if NONSENSE.encode() in body:
            self._answer({})
            return
        self._answer({"id": f"bot_{next(self.bots)}", "state": "joining", "events": []})

    def _answer(self, told: Any) -> None:
        content = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@functools.cache
def settings() -> dict[str, str]:
    """What the platform has to be told to use them. The server runs as long as the tests."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    return {
        "speech": "openai:whisper-1",
        "openai_base_url": f"{url}/v1",
        "meeting_bot": "attendee",
        "meeting_bot_url": url,
        "meeting_bot_key": "loopback",
    }


def submitted(world: World, who: Person) -> str:
    reply = httpx.post(
        f"{world.url}/beeflow/api/transcriptions",
        files={"audio": ("Steering.wav", WAV, "audio/wav")},
        headers=who.headers(),
        timeout=30,
    )
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


def meeting() -> dict[str, Any]:
    return {"meetingUrl": f"https://us02web.zoom.us/j/{next(_numbers)}", "title": "Steering committee"}


@recipe("beeflow", "createTranscription")
def create(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert reply.json()["title"] == "Steering committee"
        assert reply.headers["location"].endswith(reply.json()["id"])

    form = {"title": "Steering committee", "language": "en", "vocabulary": ["Babbage", "Jacquard"]}
    return Call(files={"audio": ("a.wav", WAV, "audio/wav")}, form=form, once=True, check=check)


@recipe("beeflow", "listTranscriptions")
def list_transcriptions(world: World) -> Call:
    who = world.person("beeflow")
    known = submitted(world, who)

    def check(reply: httpx.Response) -> None:
        assert [each["id"] for each in reply.json()["items"]] == [known]

    return Call(query={"source": "upload", "q": "steering"}, who=who, check=check)


@recipe("beeflow", "getTranscription")
def get(world: World) -> Call:
    who = world.person("beeflow")
    return Call(path={"id": submitted(world, who)}, who=who)


@recipe("beeflow", "joinMeeting")
def join(world: World) -> Call:
    return Call(json=meeting(), once=True)


@recipe("beeflow", "leaveMeeting")
def leave(world: World) -> Call:
    who = world.person("beeflow")
    reply = httpx.post(f"{world.url}/beeflow/api/meet-bot/join", json=meeting(), headers=who.headers(), timeout=30)
    assert reply.status_code == 202, reply.text
    return Call(path={"id": reply.json()["id"]}, who=who)
