"""Streams: what 5,000 open ones cost one process, and how soon an event arrives.

    python benchmarks/streams.py [--streams 5000] [--rate 1000] [--events 4]

A server (uvicorn, uvloop, httptools) with the real hub and writer has a core to itself; clients, Valkey and publisher
share the other. A second server that only holds connections open shows what the server software itself takes. Memory is
the growth of the process's resident set, kernel socket buffers apart. Prints a table, writes reports/streams.json.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import orjson  # noqa: E402
import psutil  # noqa: E402
import uvicorn  # noqa: E402
import uvloop  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from thalweg.edge.application import Stream  # noqa: E402
from thalweg.edge.pool import Pool  # noqa: E402
from thalweg.edge.serve import GC_THRESHOLDS  # noqa: E402
from thalweg.edge.sse import StreamOptions, stream_sse  # noqa: E402
from thalweg.embedded.valkey import Valkey  # noqa: E402
from thalweg.streams import Hub, Publisher  # noqa: E402

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, OTHER_CORES = {CORES[0]}, set(CORES[1:]) or {CORES[0]}
GOALS = {"kib_per_stream": 40.0, "first_event_p95_ms": 100.0}
DONE = frozenset({"done"})


# --- the servers, each in a process of its own ---


def serve(kind: str, redis_url: str) -> None:
    os.sched_setaffinity(0, SERVER_CORE)
    hub, pool, options = Hub(redis_url), Pool(8), StreamOptions()
    headers = [(b"x-correlation-id", b"0197f3a2-7b1c-7def-8000-0123456789ab"), (b"x-content-type-options", b"nosniff")]

    async def ours(scope: Any, receive: Any, send: Any) -> None:
        stream = Stream(channel=scope["path"], terminal=DONE, history=lambda after: (), prefix="inv")
        await stream_sse(stream, hub, pool.run, receive, send, options, headers)

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async def run() -> None:
        await hub.start()
        app = ours if kind == "ours" else bare
        config = uvicorn.Config(
            app, port=0, lifespan="off", access_log=False, log_level="error", http="httptools", backlog=8192
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        await until(lambda: server.started, 10)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)  # as the API process does
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await task
        await hub.close()

    uvloop.run(run())


@contextmanager
def server(kind: str, redis_url: str) -> Iterator[tuple[psutil.Process, int]]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", kind],
        env={**os.environ, "BENCH_REDIS": redis_url},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield psutil.Process(process.pid), int(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


# --- the clients ---


class Client(asyncio.Protocol):
    """One stream: when it was asked for, what came when."""

    def __init__(self, path: str, changed: Callable[[], None]) -> None:
        self.path = path
        self.changed = changed
        self.asked = 0.0
        self.numbers: list[int] = []
        self.first = 0.0
        self.delays: list[float] = []
        self.rest = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.asked = time.monotonic()
        transport.write(f"GET {self.path} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if not self.first and b"data:" in data:
            self.first = now - self.asked
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"id: "):
                self.numbers.append(int(line.rpartition(b":")[2]))
            elif line.startswith(b"data: "):
                sent = orjson.loads(line[6:]).get("at", 0.0)
                if len(self.numbers) > 1:
                    self.delays.append(now - sent)
        self.changed()


async def clients_of(port: int, number: int, rate: float) -> list[Client]:
    """Open `number` streams at `rate` a second and wait until each has its first event."""
    loop = asyncio.get_running_loop()
    clients = [Client(f"/s{index}", lambda: None) for index in range(number)]
    start = time.monotonic()
    opening = []
    for index, client in enumerate(clients):
        ahead = start + index / rate - time.monotonic()
        if ahead > 0:
            await asyncio.sleep(ahead)
        opening.append(asyncio.ensure_future(loop.create_connection(lambda client=client: client, "127.0.0.1", port)))  # type: ignore[misc]
    await asyncio.gather(*opening)
    await until(lambda: all(client.first for client in clients), 30)
    return clients


async def until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the streams did not get their events in time")
        await asyncio.sleep(0.05)


def publish(redis_url: str, streams: int, first: int, last: int, rate: float) -> None:
    """Events `first` to `last` of every stream, round by round, each with its time; the last one is terminal."""
    publisher = Publisher(redis_url)
    start, count = time.monotonic(), 0
    for number in range(first, last + 1):
        for index in range(streams):
            ahead = start + count / rate - time.monotonic()
            if ahead > 0.001:
                time.sleep(ahead)
            count += 1
            name = "done" if number == last and last > 1 else "step"
            data = {"at": time.monotonic(), "text": "x" * 200}
            if not publisher.publish(f"/s{index}", number, name, data):
                raise RuntimeError("Valkey refused an event")


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        f"p{at}_ms": round(ordered[min(int(len(ordered) * at / 100), len(ordered) - 1)] * 1000, 2)
        for at in (50, 95, 99)
    }


async def measure(kind: str, redis_url: str, streams: int, rate: float, events: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    with server(kind, redis_url) as (process, port):
        warm = await clients_of(port, 50, 500)
        for client in warm:
            assert client.transport is not None
            client.transport.abort()
        await asyncio.sleep(0.5)
        before, cpu_before = process.memory_info().rss, sum(process.cpu_times()[:2])
        clients = await clients_of(port, streams, rate)
        await asyncio.sleep(1.0)
        grown, cpu = process.memory_info().rss - before, sum(process.cpu_times()[:2]) - cpu_before
        result["kib_per_stream"] = round(grown / streams / 1024, 1)
        result["cpu_us_per_opening"] = round(cpu / streams * 1e6)
        result["first_event"] = percentiles([client.first for client in clients])
        if kind == "ours":
            cpu_before = sum(process.cpu_times()[:2])
            await asyncio.sleep(3.0)
            result["idle_cpu_percent"] = round((sum(process.cpu_times()[:2]) - cpu_before) / 3 * 100, 1)
            cpu_before = sum(process.cpu_times()[:2])
            program = [sys.executable, __file__, "--publish", f"{streams},2,{events},{rate}"]
            publishing = await asyncio.create_subprocess_exec(*program, env={**os.environ, "BENCH_REDIS": redis_url})
            if await publishing.wait() != 0:
                raise RuntimeError("the publisher failed")
            await until(lambda: all(len(client.numbers) >= events for client in clients), 20)
            result["cpu_us_per_event"] = round(
                (sum(process.cpu_times()[:2]) - cpu_before) / (streams * (events - 1)) * 1e6
            )
            result["live_event"] = percentiles([delay for client in clients for delay in client.delays])
            result["in_order"] = sum(client.numbers == list(range(1, events + 1)) for client in clients)
            result["kib_per_stream_at_the_end"] = round((process.memory_info().rss - before) / streams / 1024, 1)
        for client in clients:
            if client.transport is not None:
                client.transport.abort()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=5000)
    parser.add_argument("--rate", type=float, default=1000, help="openings, and events, a second")
    parser.add_argument("--events", type=int, default=4, help="of each stream; the first is there before it opens")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--publish", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, os.environ["BENCH_REDIS"])
        return
    os.sched_setaffinity(0, OTHER_CORES)
    if options.publish:
        streams, first, last, rate = options.publish.split(",")
        publish(os.environ["BENCH_REDIS"], int(streams), int(first), int(last), float(rate))
        return
    with tempfile.TemporaryDirectory(prefix="thalweg-bench-", ignore_cleanup_errors=True) as folder:
        valkey = Valkey(Path(folder) / "valkey", volatile=True)
        valkey.start()
        try:
            publish(valkey.url, options.streams, 1, 1, 1e9)
            bare = uvloop.run(measure("bare", valkey.url, options.streams, options.rate, options.events))
            ours = uvloop.run(measure("ours", valkey.url, options.streams, options.rate, options.events))
        finally:
            with contextlib.suppress(Exception):
                valkey.stop()
    report(options, bare, ours)


def report(options: argparse.Namespace, bare: dict[str, Any], ours: dict[str, Any]) -> None:
    met = {
        "kib_per_stream": ours["kib_per_stream"] <= GOALS["kib_per_stream"],
        "first_event_p95_ms": ours["first_event"]["p95_ms"] <= GOALS["first_event_p95_ms"],
        "in_order": ours["in_order"] == options.streams,
    }
    table = Table(
        title=f"{options.streams} open streams on one process, {options.rate:.0f} openings and events a second"
    )
    for column in ("", "uvicorn alone", "with hub and SSE", "aim"):
        table.add_column(column, justify="left" if not column else "right")
    rows = [
        ("memory per stream, KiB", bare["kib_per_stream"], ours["kib_per_stream"], "40"),
        ("CPU per opening, µs", bare["cpu_us_per_opening"], ours["cpu_us_per_opening"], ""),
        ("request to first event, p50 ms", bare["first_event"]["p50_ms"], ours["first_event"]["p50_ms"], ""),
        ("request to first event, p95 ms", bare["first_event"]["p95_ms"], ours["first_event"]["p95_ms"], "100"),
        ("publish to client, p50 ms", "", ours["live_event"]["p50_ms"], ""),
        ("publish to client, p95 ms", "", ours["live_event"]["p95_ms"], "100"),
        ("CPU per event and client, µs", "", ours["cpu_us_per_event"], ""),
        ("CPU of all streams idle, %", "", ours["idle_cpu_percent"], ""),
        ("streams with every event once, in order", "", ours["in_order"], str(options.streams)),
    ]
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)
    folder = ROOT / "reports"
    folder.mkdir(exist_ok=True)
    figures = {"streams": options.streams, "rate": options.rate, "events": options.events}
    load = [round(value, 1) for value in os.getloadavg()]
    whole = {"setting": figures, "load": load, "uvicorn_alone": bare, "thalweg": ours, "goals": GOALS, "met": met}
    (folder / "streams.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
