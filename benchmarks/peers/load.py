"""Load on one address: wrk when it is there, else a small generator of our own.

The own generator is Python and cannot saturate the quickest servers; CPU per request does not depend on it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

CONNECTIONS = 32
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True)
class Outcome:
    """One stretch of load. Latencies in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int


def tool() -> str:
    return "wrk" if shutil.which("wrk") else "own"


def run(
    url: str,
    body: bytes | None,
    seconds: float,
    core: int,
    folder: Path,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Outcome:
    """Load `url` for `seconds` from a process on `core`: POST when there is a body."""
    pin = {"preexec_fn": lambda: os.sched_setaffinity(0, {core})}
    if tool() == "own":
        command = [sys.executable, __file__, url, str(seconds), json.dumps(dict(headers))]
        done = subprocess.run(command, input=body or b"", capture_output=True, check=True, **pin)
        return Outcome(**json.loads(done.stdout))
    command = ["wrk", "--latency", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    if body is not None:
        script = folder / "post.lua"
        script.write_text(
            "wrk.method = 'POST'\nwrk.headers['content-type'] = 'application/json'\n"
            f"wrk.body = [==[{body.decode()}]==]\n",
            encoding="utf-8",
        )
        command += ["-s", str(script)]
    done = subprocess.run([*command, url], capture_output=True, check=True, **pin)
    return _read_wrk(done.stdout.decode())


def _read_wrk(text: str) -> Outcome:
    total = re.search(r"(\d+) requests in ([0-9.]+)s", text)
    assert total is not None, text
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    socket = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    errors = int(wrong[1]) if wrong else 0
    errors += sum(int(count) for count in socket.groups()) if socket else 0
    return Outcome(int(total[1]), float(total[2]), _wrk_time(text, "50%"), _wrk_time(text, "99%"), errors)


def _wrk_time(text: str, share: str) -> float:
    found = re.search(rf"{share}\s+([0-9.]+)(us|ms|s)", text)
    assert found is not None, text
    return float(found[1]) * _UNITS[found[2]]


# --- our own generator ------------------------------------------------------------------------------


class _Client(asyncio.Protocol):
    def __init__(self, request: bytes, times: list[float], end: float) -> None:
        self._request, self._times, self._end = request, times, end
        self._buffer = b""
        self._sent = 0.0
        self.errors = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        self._sent = time.perf_counter()
        if self._sent > self._end:
            self._transport.close()
            return
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data
        head = buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = re.search(rb"content-length: (\d+)", buffer[:head], re.IGNORECASE)
        if length is not None and len(buffer) < head + 4 + int(length[1]):
            return
        self._times.append(time.perf_counter() - self._sent)
        self.errors += buffer[9:10] != b"2"
        self._buffer = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        self.errors += error is not None
        if not self.over.done():
            self.over.set_result(None)


async def _generate(url: str, seconds: float, body: bytes, headers: Mapping[str, str]) -> Outcome:
    found = re.fullmatch(r"http://([^:/]+):(\d+)(/.*)", url)
    assert found is not None
    host, port, path = found[1], int(found[2]), found[3]
    request = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
    request += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if body:
        request += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    times: list[float] = []
    start = time.perf_counter()
    clients = []
    for _ in range(CONNECTIONS):
        _, client = await asyncio.get_running_loop().create_connection(
            lambda: _Client(request.encode() + b"\r\n" + body, times, start + seconds), host, port
        )
        clients.append(client)
    await asyncio.gather(*(client.over for client in clients))
    took = time.perf_counter() - start
    ordered = sorted(times) or [0.0]
    p50, p99 = ordered[len(ordered) // 2] * 1000, ordered[int(len(ordered) * 0.99)] * 1000
    return Outcome(len(times), took, p50, p99, sum(client.errors for client in clients))


def main() -> None:
    import uvloop

    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("seconds", type=float)
    parser.add_argument("headers", type=json.loads)
    given = parser.parse_args()
    body = sys.stdin.buffer.read()
    print(json.dumps(uvloop.run(_generate(given.url, given.seconds, body, given.headers)).__dict__))


if __name__ == "__main__":
    main()
