"""A server that speaks OpenAI's protocol, for the provider's driver."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from domain import inference
from domain.inference import registry


class Replies(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server: Any = self.server
        server.requests.append((self.path, dict(self.headers), body))
        status, reply, wait = server.replies.pop(0) if len(server.replies) > 1 else server.replies[0]
        time.sleep(wait)
        data = json.dumps(reply).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if status == 429:
                self.send_header("Retry-After", "7")
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            pass  # the client went away: what a timeout looks like from here

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def openai_server() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Replies)
    server.requests, server.replies = [], []
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def completion() -> Callable[[str], dict[str, Any]]:
    def made(content: str) -> dict[str, Any]:
        return {
            "id": "c1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "stub",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
        }

    return made


@pytest.fixture(autouse=True)
def _bound() -> Iterator[None]:
    before = registry._bound
    yield
    registry._bound = before


@pytest.fixture(scope="session")
def minilm() -> inference.Embedder:
    return inference.drivers().embedder
