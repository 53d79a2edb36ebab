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
    protocol_version = "HTTP/1.1"  # connections stay open, as a provider's do

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


TEXT = "The depot opens at six in the morning."


class FaultServer:
    """`behave` is a list of what to do with each request in turn; the last is done for ever."""

    def __init__(self):
        outer = self
        self.behave, self.seen = ["answer"], []
        self.four = threading.Barrier(4)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.seen.append(body)
                what = outer.behave.pop(0) if len(outer.behave) > 1 else outer.behave[0]
                getattr(self, what.partition(":")[0])(what.partition(":")[2], body)

            def plain(self, status, body, **headers):
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": len(data), **headers}.items():
                    self.send_header(name.replace("_", "-"), str(value))
                self.end_headers()
                self.wfile.write(data)

            def begin(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True

            def chunk(self, delta=None, finish=None, usage=None):
                choices = [] if usage else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
                made = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "stub"}
                made["choices"] = choices
                if usage:
                    made["usage"] = usage
                self.wfile.write(f"data: {json.dumps(made)}\n\n".encode())
                self.wfile.flush()

            def close(self):
                self.chunk(finish="stop")
                self.chunk(usage={"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30})
                self.wfile.write(b"data: [DONE]\n\n")

            def words(self, text, pause=0.0):
                for start in range(0, len(text), 6):
                    self.chunk({"role": "assistant", "content": text[start : start + 6]})
                    time.sleep(pause)

            def answer(self, argument, body):
                self.begin()
                rest = TEXT
                partial = [m["content"] for m in body["messages"] if m["role"] == "assistant"]
                if partial and TEXT.startswith(str(partial[-1])):
                    rest = TEXT[len(partial[-1]) :]
                self.words(argument or rest)
                self.close()

            def slow(self, argument, body):
                self.begin()
                self.words(TEXT * 20, 0.1)
                self.close()

            def together(self, argument, body):
                """Answers nobody before four have asked."""
                outer.four.wait(15)
                self.answer(argument, body)

            def hang(self, argument, body):
                time.sleep(5)

            def drop(self, argument, body):
                self.begin()
                self.words(TEXT[: int(argument or 0)])
                self.connection.shutdown(2)
                self.connection.close()

            def garble(self, argument, body):
                self.begin()
                self.wfile.write(b"data: {this is not JSON\n\ndata: [DONE]\n\n")

            def empty(self, argument, body):
                self.begin()

            def status(self, argument, body):
                self.plain(
                    int(argument), {"error": {"message": "key sk-secret-000 was bad", "type": "x", "code": None}}
                )

            def limit(self, argument, body):
                self.plain(429, {"error": {"message": "slow down", "type": "rate_limit"}}, Retry_After=int(argument))

            def tool(self, argument, body):
                self.begin()
                if any(m["role"] == "tool" for m in body["messages"]):
                    self.words("It is 84.")
                    return self.close()
                self.chunk({"role": "assistant", "tool_calls": [{"index": 0, "id": "call_a", "type": "function",
                            "function": {"name": "calculator", "arguments": ""}}]})  # fmt: skip
                for piece in ('{"expres', 'sion": "12*7"}'):
                    self.chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
                self.chunk(finish="tool_calls")
                self.chunk(usage={"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10})
                self.wfile.write(b"data: [DONE]\n\n")
                return None

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def fault_server():
    """`fault_server()`: a server that speaks OpenAI's protocol and misbehaves on request."""
    made = []

    def start():
        made.append(FaultServer())
        return made[-1]

    yield start
    for server in made:
        server.stop()
