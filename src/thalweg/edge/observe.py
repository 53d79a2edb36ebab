"""What an API process says of itself: an access line and two numbers for each request, metrics of all processes merged.

The hot path does a counter, a histogram and an append (a few microseconds in all); writing happens in batches. Labels
are operations of the contracts, never a caller's text.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

import orjson

from thalweg.edge import sse
from thalweg.traces import Traces

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Histogram

    from thalweg.edge.application import Caller

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

GaugeMode = Literal["livesum", "livemax", "livemin"]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SAMPLE_SECONDS = 2.0
_NO_SPAN: AbstractContextManager[None] = nullcontext()


class Served(Protocol):
    """What of an exchange goes into its access line (see `thalweg.edge.exchange.Exchange`)."""

    @property
    def scope(self) -> Any: ...
    @property
    def request_id(self) -> str: ...
    @property
    def surface(self) -> Any: ...
    @property
    def plan(self) -> Any: ...
    @property
    def caller(self) -> Caller | None: ...
    @property
    def status(self) -> int: ...


class Observer:
    """One for a process. `operation` at start-up, `finished` for each request, `render` for `/metrics`."""

    def __init__(self, settings: Any = None, *, access: AccessLog | None = None) -> None:
        """`settings`: log_level, log_format and otel_endpoint are read, where there are such."""
        level, form = getattr(settings, "log_level", "info"), getattr(settings, "log_format", "json")
        self._access = access if access is not None else AccessLog(form)
        self._says = level in ("debug", "info")
        self._metrics = _metrics()
        self._samples: list[Callable[[], None]] = []
        self._sampler: threading.Timer | None = None
        self._stopped = False
        self.traces = Traces.open(getattr(settings, "otel_endpoint", None), service="thalweg-api")
        self.gauge("thalweg_streams_open", "Open streams", lambda: sse.gauge.open)
        self.tally("thalweg_streams_ended", "Streams that ended, by cause", "ending", lambda: sse.gauge.ended)

    def operation(self, surface: str, operation_id: str) -> Callable[[int, float], None]:
        """What counts a finished request of one operation: `seen(status, seconds)`. Call it from one thread."""
        tally = _Tally(self._metrics, surface, operation_id)
        self._samples.append(tally.publish)
        return tally.seen

    def finished(self, exchange: Served, seconds: float) -> None:
        """Write a request's access line. A path is shown only where no operation is named: it may hold a secret."""
        if not self._says:
            return
        surface, plan, caller = exchange.surface, exchange.plan, exchange.caller
        line: dict[str, Any] = {
            "event": "request",
            "request_id": exchange.request_id,
            "method": exchange.scope["method"],
            "status": exchange.status,
            "ms": round(seconds * 1000, 2),
        }
        if plan is not None:
            line["operation"] = f"{surface.key}.{plan.operation_id}"
        else:
            line["path"] = exchange.scope.get("thalweg.path", exchange.scope["path"])[:200]
        if caller is not None:
            line["actor"] = caller.key
            organisation = caller.organisation_id
            if organisation is not None:
                line["organisation"] = str(organisation)
        self._access.write(line)

    def mismatch(self, operation_id: str) -> None:
        """Count a reply that broke its own contract."""
        self._metrics.mismatches.labels(operation_id).inc()

    def span(self, exchange: Served, operation: str, traceparent: bytes | None) -> AbstractContextManager[Any]:
        """What happens to a request as a span, child of the caller's `traceparent`; nothing without an endpoint."""
        return _NO_SPAN if self.traces is None else self._span(self.traces, exchange, operation, traceparent)

    @contextmanager
    def _span(self, told: Traces, exchange: Served, operation: str, traceparent: bytes | None) -> Iterator[None]:
        method = exchange.scope["method"]
        attributes = {
            "http.request.method": method,
            "thalweg.operation": operation,
            "thalweg.request_id": exchange.request_id,
        }
        parent = None if traceparent is None else traceparent.decode("latin-1")
        with told.span(f"{method} {operation}", traceparent=parent, attributes=attributes) as span:
            try:
                yield
            finally:
                told.answered(span, exchange.status)

    # --- numbers that are looked at, not counted ------------------------------------------------------

    def gauge(self, name: str, help_text: str, read: Callable[[], float], *, mode: GaugeMode = "livesum") -> None:
        """Show `read()`, looked at every two seconds (from a thread: reading attributes is fine, awaiting is not).

        `mode`: how several processes' values become one: `livesum`, `livemax`, `livemin`.
        """
        shown = _metrics().gauge(name, help_text, mode)
        self._samples.append(lambda: shown.set(read()))

    def tally(self, name: str, help_text: str, label: str, read: Callable[[], dict[str, int]]) -> None:
        """Show totals that something keeps by itself, by `label`, as a counter."""
        shown, known = _metrics().counter(name, help_text, label), dict(read())

        def sample() -> None:
            for value, total in list(read().items()):
                more = total - known.get(value, 0)
                if more > 0:
                    shown.labels(value).inc(more)
                    known[value] = total

        self._samples.append(sample)

    def watch(self, *, limits: Any = None, hub: Any = None, pool: Any = None) -> None:
        """Show the state of the process's `Limits`, `Hub` and thread `Pool`."""
        if limits is not None:
            self.gauge("thalweg_limits_up", "Whether limits are kept", lambda: limits.healthy, mode="livemin")
            self.tally(
                "thalweg_limits_checks",
                "Requests that met a limit",
                "outcome",
                lambda: {"granted": limits.granted, "refused": limits.refused, "blind": limits.blind},
            )
        if hub is not None:
            self.gauge("thalweg_streams_up", "Whether live events come in", lambda: hub.healthy, mode="livemin")
            self.gauge("thalweg_streams_listening", "Open streams and waits", lambda: hub.listening)
            self.tally("thalweg_streams_lost", "Events passed over", "where", lambda: {"store": hub.passed_over})
        if pool is not None:
            self.gauge("thalweg_threads", "Threads for requests", lambda: pool.size)
            self.gauge("thalweg_threads_backlog", "Requests waiting for a thread", lambda: pool.backlog)

    def start(self) -> None:
        """Begin to look at the gauges."""
        self._stopped = False
        self._sample()

    def stop(self) -> None:
        self._stopped = True
        if self._sampler is not None:
            self._sampler.cancel()
        self.sample()
        self._access.flush()
        if self.traces is not None:
            self.traces.close()

    def sample(self) -> None:
        """Look at every gauge now. One that cannot be read is left as it was."""
        for look in self._samples:
            try:
                look()
            except Exception:  # noqa: S112 - something that is not started yet, or already stopped
                continue

    def _sample(self) -> None:
        if self._stopped:
            return
        self.sample()
        self._sampler = threading.Timer(_SAMPLE_SECONDS, self._sample)
        self._sampler.daemon = True
        self._sampler.start()

    def render(self) -> bytes:
        """The numbers of all processes in Prometheus' text format. Reads files: call it in a thread."""
        self.sample()
        return _metrics().render()


class AccessLog:
    """Lines to standard error in batches: at most a twentieth of a second old, or 64 KiB. Safe between threads."""

    def __init__(self, form: str = "json", out: BinaryIO | None = None) -> None:
        self._render = orjson.dumps if form == "json" else _for_people
        self._out = out
        self._lines: list[bytes] = []
        self._size = 0
        self._lock = threading.Lock()
        self._due = threading.Event()
        self._writer: threading.Thread | None = None
        self._second, self._stamp = 0, ""
        atexit.register(self.flush)

    def write(self, line: dict[str, Any]) -> None:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        line["timestamp"] = f"{self._stamp}.{int(now * 1000) % 1000:03d}Z"
        line["level"] = "info"
        try:
            text = self._render(line)
        except TypeError:  # a lone surrogate from a hostile path
            text = orjson.dumps({key: str(value).encode("utf-8", "replace").decode() for key, value in line.items()})
        with self._lock:
            self._lines.append(text)
            first = len(self._lines) == 1
        if first:
            if self._writer is None or not self._writer.is_alive():
                self._start()
            self._due.set()

    def flush(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
        if not lines:
            return
        out = self._out or sys.stderr.buffer
        try:
            out.write(b"\n".join(lines) + b"\n")
            out.flush()
        except (OSError, ValueError):  # nobody reads the log any more: not a reason to stop serving
            return

    def _start(self) -> None:
        self._writer = threading.Thread(target=self._write_on, name="access-log", daemon=True)
        self._writer.start()

    def _write_on(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            time.sleep(0.05)
            self.flush()


def _for_people(line: dict[str, Any]) -> bytes:
    what = line.get("operation") or line.get("path")
    actor = line.get("actor", "-")
    text = f"{line['timestamp'][11:23]} {line['status']} {line['method']:<6} {what} {line['ms']} ms {actor}"
    return f"{text} {line['request_id']}".encode("utf-8", "backslashreplace")


class _Tally:
    """One operation's requests, counted here and published with the other numbers.

    Three counters of the metrics library on each request, with a lock each, cost more than routing it.
    """

    __slots__ = ("_buckets", "_labels", "_metrics", "_published", "_seconds", "_statuses")

    def __init__(self, metrics: _Metrics, *labels: str) -> None:
        self._metrics = metrics
        self._labels = labels
        self._statuses: dict[int, int] = {}
        self._buckets = [0] * (len(_BUCKETS) + 1)
        self._seconds = 0.0
        self._published: tuple[dict[int, int], list[int], float] = ({}, [0] * len(self._buckets), 0.0)

    def seen(self, status: int, seconds: float) -> None:
        # Only ever grows, and `publish` in its own thread takes differences: nothing to lock.
        self._buckets[bisect_left(_BUCKETS, seconds)] += 1
        self._seconds += seconds
        self._statuses[status] = self._statuses.get(status, 0) + 1

    def publish(self) -> None:
        statuses, buckets, seconds = self._published
        if self._statuses == statuses:
            return
        fresh = self._statuses.copy(), self._buckets.copy(), self._seconds
        self._published = fresh
        for status, count in fresh[0].items():
            more = count - statuses.get(status, 0)
            if more:
                self._metrics.requests.labels(*self._labels, str(status)).inc(more)
        latency = self._metrics.latency.labels(*self._labels)
        for bucket, count, known in zip(latency._buckets, fresh[1], buckets, strict=True):
            if count > known:
                bucket.inc(count - known)
        latency._sum.inc(fresh[2] - seconds)


# --- the registry, one a process ------------------------------------------------------------------


class _Metrics:
    """Every metric of the process. Counts in files when the supervisor has named a folder for them."""

    def __init__(self) -> None:
        from prometheus_client import REGISTRY, Counter, Gauge, Histogram

        self._registry: CollectorRegistry = REGISTRY
        self._gauge_type, self._counter_type = Gauge, Counter
        self._named: dict[str, Any] = {}
        self.requests: Counter = Counter(
            "thalweg_requests_total", "Requests by operation and status", ["surface", "operation", "status"]
        )
        self.latency: Histogram = Histogram(
            "thalweg_request_seconds",
            "From the first byte in to the last byte out",
            ["surface", "operation"],
            buckets=_BUCKETS,
        )
        self.mismatches: Counter = Counter(
            "thalweg_response_mismatches_total", "Replies that broke their own contract", ["operation"]
        )

    def gauge(self, name: str, help_text: str, mode: GaugeMode) -> Any:
        if name not in self._named:
            self._named[name] = self._gauge_type(name, help_text, multiprocess_mode=mode)
        return self._named[name]

    def counter(self, name: str, help_text: str, label: str) -> Any:
        if name not in self._named:
            self._named[name] = self._counter_type(name, help_text, [label])
        return self._named[name]

    def render(self) -> bytes:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        folder = os.environ.get(MULTIPROCESS)
        if not folder or not os.path.isdir(folder):
            return generate_latest(self._registry)
        _forget_the_dead(Path(folder))
        merged = CollectorRegistry()
        MultiProcessCollector(merged, path=folder)  # type: ignore[no-untyped-call]
        return generate_latest(merged)


_lock = threading.Lock()
_one: list[_Metrics] = []


def _metrics() -> _Metrics:
    with _lock:
        if not _one:
            _one.append(_Metrics())
        return _one[0]


def _forget_the_dead(folder: Path) -> None:
    """Live gauges of a process that was killed would be added for ever: nobody else takes them away."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not _alive(int(pid)):
            file.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
