"""Thallus: models with keys of one's own. The provider is a server on loopback that speaks OpenAI's protocol; what it
does with the requests of a key can be told it: answer, drop, wait, garble, limit, refuse."""

from __future__ import annotations

import functools
import itertools
import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import httpx

from recipes.world import Call, Person, World, recipe

BASE = "/thallus/api/v1"
SAID = "The depot opens at six in the morning."
MODELS = {"fast": "small", "medium": "middle", "large": "big"}
LEAK = "sk-leaked-by-the-provider"
"""Stands in what the provider says when it refuses: nobody may be shown it."""
_numbers = itertools.count(1)


@dataclass
class Provider:
    """`tell(key, ...)`: what is done with the next requests of a key, one after the other; the last for ever.

    `answer[:words]`, `drop:<characters>` (and the connection is gone), `wait:<seconds>`, `garble`, `empty`,
    `status:<number>`, `limit:<seconds>`, `call:<tool>:<JSON>`, `redirect:<url>`.
    """

    url: str = ""
    told: dict[str, list[str]] = field(default_factory=dict)
    seen: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    def tell(self, key: str, *what: str) -> None:
        self.told[key] = list(what)

    def next(self, key: str) -> str:
        told = self.told.get(key, ["answer"])
        return told.pop(0) if len(told) > 1 else told[0]


class _Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: Provider

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = str(self.headers["Authorization"]).removeprefix("Bearer ")
        self.provider.seen[key].append(body)
        what, _, rest = self.provider.next(key).partition(":")
        try:
            getattr(self, what)(rest, body)
        except OSError:
            self.close_connection = True  # the client has gone

    def answer(self, words: str, body: dict[str, Any]) -> None:
        if self.path.endswith("/embeddings"):
            self._plain(200, {"data": [{"embedding": [0.1] * 12}]})
            return
        said = words or SAID
        before = [m["content"] for m in body["messages"] if m["role"] == "assistant" and m.get("content")]
        if before and said.startswith(str(before[-1])):
            said = said[len(before[-1]) :]
        self._begin()
        self._words(said)
        self._end("stop")

    def wait(self, seconds: str, body: dict[str, Any]) -> None:
        time.sleep(float(seconds))
        self.answer("", body)

    def drop(self, characters: str, body: dict[str, Any]) -> None:
        self._begin()
        self._words(SAID[: int(characters or 0)])
        self.connection.shutdown(2)
        self.connection.close()

    def garble(self, rest: str, body: dict[str, Any]) -> None:
        self._begin()
        self.wfile.write(b"data: {this is not JSON\n\ndata: [DONE]\n\n")

    def empty(self, rest: str, body: dict[str, Any]) -> None:
        self._begin()

    def status(self, number: str, body: dict[str, Any]) -> None:
        self._plain(int(number), {"error": {"message": f"{LEAK} and {self.headers['Authorization']}", "type": "x"}})

    def limit(self, seconds: str, body: dict[str, Any]) -> None:
        self._plain(429, {"error": {"message": "slow down", "type": "rate_limit"}}, **{"Retry-After": seconds})

    def redirect(self, url: str, body: dict[str, Any]) -> None:
        self._plain(307, {}, Location=url)

    def call(self, given: str, body: dict[str, Any]) -> None:
        """Calls a tool, and speaks once it knows what became of that."""
        name, _, arguments = given.partition(":")
        if body["messages"][-1]["role"] == "tool":
            self.answer("", body)
            return
        self._begin()
        function = {"name": name, "arguments": arguments or "{}"}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        self._chunk({"role": "assistant", "tool_calls": [call]})
        self._end("tool_calls")

    def _plain(self, status: int, told: Any, **headers: str) -> None:
        content = json.dumps(told).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def _words(self, text: str) -> None:
        for start in range(0, len(text), 6):
            self._chunk({"role": "assistant", "content": text[start : start + 6]})

    def _end(self, why: str) -> None:
        self._chunk({}, finish=why)
        self._chunk(None, usage={"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30})
        self.wfile.write(b"data: [DONE]\n\n")

    def _chunk(self, delta: Any, finish: str | None = None, **more: Any) -> None:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        made = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "stub", "choices": choices}
        self.wfile.write(f"data: {json.dumps({**made, **more})}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        pass


@functools.cache
def provider() -> Provider:
    """Started when it is first needed, and left to the end of the process."""
    made = Provider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Server,), {"provider": made}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}/v1"
    return made


def fresh_key() -> str:
    return f"sk-own-{next(_numbers)}-{uuid4().hex}"


def credentials(key: str | None = None) -> dict[str, str]:
    return {"provider": "openai", "api_key": key or fresh_key(), "base_url": provider().url}


def chosen(key: str | None = None, **more: Any) -> dict[str, Any]:
    """What is sent to work with a key of the loopback provider's."""
    return {"disclaimer_accepted": True, "credentials": credentials(key), "models": MODELS, **more}


def configured(world: World, who: Person) -> str:
    """Let a person work with a key of their own; answers the key."""
    key = fresh_key()
    token = {"Authorization": f"Bearer {who.token}"}
    reply = httpx.put(f"{world.url}{BASE}/settings/models", json=chosen(key), headers=token, timeout=60)
    assert reply.status_code == 200, reply.text
    return key


@recipe("thallus", "getModelSettings")
def get_settings(world: World) -> Call:
    who = world.person("thallus")
    configured(world, who)

    def check(reply: httpx.Response) -> None:
        assert (reply.json()["source"], reply.json()["models"]) == ("byok", MODELS)

    return Call(who=who, check=check)


@recipe("thallus", "updateModelSettings")
def update_settings(world: World) -> Call:
    return Call(json=chosen())


@recipe("thallus", "deleteModelSettings")
def delete_settings(world: World) -> Call:
    who = world.person("thallus")
    configured(world, who)
    return Call(who=who)


@recipe("thallus", "validateModelSettings")
def validate_settings(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert reply.json()["valid"] is True

    return Call(json={"credentials": credentials(), "models": ["small", "big"]}, check=check)


@recipe("thallus", "listModelProviders")
def list_providers(world: World) -> Call:
    return Call()
