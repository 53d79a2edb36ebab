"""What a process says of itself: logs without secrets, access lines, metrics of several processes as one."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import orjson
import pytest
import structlog

from thalweg import logs
from thalweg.edge.observe import AccessLog, Observer
from thalweg.traces import Traces

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@dataclass
class Served:
    status: int = 200
    request_id: str = "r-1"
    scope: dict[str, Any] = field(default_factory=lambda: {"method": "POST", "path": "/x/secret-token"})
    surface: Any = field(default_factory=lambda: SimpleNamespace(key="shop"))
    plan: Any = field(default_factory=lambda: SimpleNamespace(operation_id="buyThing"))
    caller: Any = None


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Logs as JSON into a text; the logging of the test run comes back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    logs.configure("info", "json", out)
    yield out
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in out.getvalue().splitlines()]


# --- logs -----------------------------------------------------------------------------------------


def test_a_log_line_is_one_json_object_with_level_time_and_context(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r-9", operation="shop.buyThing"):
        structlog.get_logger("thalweg.test").warning("stock.low", left=3)
    (line,) = lines(stream)
    stamp = line.pop("timestamp")
    assert stamp.endswith("Z")
    assert line == {
        "event": "stock.low",
        "level": "warning",
        "logger": "thalweg.test",
        "left": 3,
        "request_id": "r-9",
        "operation": "shop.buyThing",
    }


def test_the_standard_librarys_loggers_go_the_same_way(stream: io.StringIO) -> None:
    logging.getLogger("some.driver").error("could not reach %s", "redis://user:hunter2@host:6379/0")
    (line,) = lines(stream)
    assert line["event"] == "could not reach redis://user:[redacted]@host:6379/0"
    assert line["level"] == "error"


def test_what_is_below_the_level_is_not_written(stream: io.StringIO) -> None:
    structlog.get_logger("thalweg.test").debug("chatter")
    logging.getLogger("x").debug("chatter")
    assert stream.getvalue() == ""


def test_an_exception_is_one_line_without_what_it_must_not_tell(stream: io.StringIO) -> None:
    try:
        raise ValueError(f"bad header Authorization: Bearer {JWT}")
    except ValueError:
        structlog.get_logger("thalweg.test").exception("failed")
    (line,) = lines(stream)
    assert "ValueError" in line["exception"]
    assert JWT not in stream.getvalue()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("password", "hunter2"),
        ("Authorization", "Bearer abc"),
        ("authorization", ["Bearer abc"]),
        ("cookie", "session=abc"),
        ("api_key", "abc"),
        ("X-API-Key", "abc"),
        ("token", "abc"),
        ("access_token", "abc"),
        ("client_secret", "abc"),
        ("note", f"got {JWT} from a caller"),
        ("note", "header was Bearer abcdef0123456789"),
        ("note", "password=abc&user=me"),
        ("note", "postgresql://thalweg:abc@db/thalweg"),
        ("note", "key sk_live_0123456789abcdef0123456789abcdef"),
        ("note", "key sk-proj-0123456789abcdef0123"),
        ("note", "refresh with 7Kq0123456789abcdefGhIjKlMnOpQrStUvWxYz0123"),
        ("headers", {"x": {"cookie": "abc"}}),
        ("items", [{"password": "abc"}]),
    ],
)
def test_secrets_are_taken_out_wherever_they_lie(key: str, value: Any) -> None:
    text = str(logs.redact(None, "info", {"event": "e", key: value}))
    assert logs.HIDDEN in text
    for secret in ("hunter2", "abc", JWT, "0123456789abcdef"):
        assert secret not in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("input_tokens", 12),
        ("tokens", 12),
        ("event", "conversation.created"),
        ("url", "https://example.org/path?x=1"),
        ("request_id", "0197f3a2-7b1c-7def-8000-0123456789ab"),
        ("operation", "thalium.invokeBrainWithAVeryLongOperationName"),
        ("job", "brains.run_the_whole_chain_for_one_invocation"),
    ],
)
def test_what_is_no_secret_stays(key: str, value: Any) -> None:
    assert logs.redact(None, "info", {key: value}) == {key: value}


def test_a_line_is_written_whatever_is_in_it(stream: io.StringIO) -> None:
    log = structlog.get_logger("thalweg.test")
    log.info("odd", value=object(), number=2**80, text="\ud800", path=Path("/x"), nested={1: {2: {3: [b"\xff"]}}})
    assert lines(stream)[0]["event"] == "odd"


# --- access lines -----------------------------------------------------------------------------------


def access(form: str = "json") -> tuple[Observer, io.BytesIO, AccessLog]:
    out = io.BytesIO()
    written = AccessLog(form, out)
    return Observer(access=written), out, written


def test_an_access_line_names_request_operation_actor_status_and_duration() -> None:
    observer, out, written = access()
    caller = SimpleNamespace(key="key:7", organisation_id=UUID(int=5))
    observer.finished(Served(caller=caller), 0.01234)
    written.flush()
    line = orjson.loads(out.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "request_id": "r-1",
        "method": "POST",
        "status": 200,
        "ms": 12.34,
        "operation": "shop.buyThing",
        "actor": "key:7",
        "organisation": "00000000-0000-0000-0000-000000000005",
    }


def test_the_path_of_an_operation_is_not_logged_and_that_of_a_page_is() -> None:
    observer, out, written = access()
    observer.finished(Served(), 0.1)
    observer.finished(Served(plan=None, scope={"method": "GET", "path": "/docs/\ud800" + "x" * 900}), 0.1)
    written.flush()
    first, second = out.getvalue().splitlines()
    assert b"secret-token" not in first
    assert len(orjson.loads(second)["path"]) <= 202


def test_lines_come_without_being_asked_for_and_in_order() -> None:
    observer, out, _ = access()
    for number in range(100):
        observer.finished(Served(request_id=f"r-{number}"), 0.1)
    end = time.monotonic() + 5
    while out.getvalue().count(b"\n") < 100:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert [orjson.loads(line)["request_id"] for line in out.getvalue().splitlines()] == [f"r-{n}" for n in range(100)]


def test_a_closed_output_does_not_stop_the_server() -> None:
    observer, out, written = access()
    out.close()
    observer.finished(Served(), 0.1)
    written.flush()


def test_people_get_a_line_they_can_read() -> None:
    observer, out, written = access("console")
    observer.finished(Served(caller=SimpleNamespace(key="key:7", organisation_id=None)), 0.01)
    written.flush()
    assert out.getvalue().decode().split()[1:] == ["200", "POST", "shop.buyThing", "10.0", "ms", "key:7", "r-1"]


# --- metrics ----------------------------------------------------------------------------------------

PROCESS = """
import sys
from pathlib import Path
from thalweg.edge import sse
from thalweg.edge.observe import Observer
observer = Observer()
seen = observer.operation("shop", "buyThing")
for _ in range(int(sys.argv[1])):
    seen(200, 0.02)
seen(429, 0.001)
observer.mismatch("buyThing")
sse.gauge.open = int(sys.argv[1])
sse.gauge.ended["terminal"] = 5
observer.sample()
print("ready", flush=True)
sys.stdin.readline()
if len(sys.argv) > 2:
    print(observer.render().decode())
"""


def test_the_numbers_of_several_processes_are_one_and_the_dead_no_longer_have_open_streams(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    killed, first, second = start("100"), start("10"), start("20", "show")
    killed.kill()
    killed.wait()
    text, _ = second.communicate("go\n", timeout=20)
    first.communicate("go\n", timeout=20)
    assert 'thalweg_requests_total{operation="buyThing",status="200",surface="shop"} 130.0' in text
    assert 'thalweg_requests_total{operation="buyThing",status="429",surface="shop"} 3.0' in text
    assert 'thalweg_request_seconds_bucket{le="0.01",operation="buyThing",surface="shop"} 3.0' in text
    assert 'thalweg_request_seconds_count{operation="buyThing",surface="shop"} 133.0' in text
    assert 'thalweg_response_mismatches_total{operation="buyThing"} 3.0' in text
    assert "thalweg_streams_open 30.0" in text
    assert 'thalweg_streams_ended_total{ending="terminal"} 15.0' in text


def test_the_state_of_limits_streams_and_threads_is_shown() -> None:
    observer = Observer(access=AccessLog(out=io.BytesIO()))
    limits = SimpleNamespace(healthy=True, granted=0, refused=0, blind=0)
    hub = SimpleNamespace(healthy=False, listening=3, passed_over=0)
    pool = SimpleNamespace(size=16, backlog=2)
    observer.watch(limits=limits, hub=hub, pool=pool)
    limits.refused = 4
    hub.passed_over = 2
    text = observer.render().decode()
    assert "thalweg_limits_up 1.0" in text
    assert 'thalweg_limits_checks_total{outcome="refused"} 4.0' in text
    assert "thalweg_streams_up 0.0" in text
    assert "thalweg_streams_listening 3.0" in text
    assert 'thalweg_streams_lost_total{where="store"} 2.0' in text
    assert "thalweg_threads_backlog 2.0" in text
    observer.stop()


def test_a_gauge_that_cannot_be_read_spoils_no_other() -> None:
    observer = Observer(access=AccessLog(out=io.BytesIO()))
    observer.gauge("thalweg_test_broken", "b", lambda: 1 / 0)
    observer.gauge("thalweg_test_whole", "w", lambda: 7)
    assert "thalweg_test_whole 7.0" in observer.render().decode()


# --- traces -----------------------------------------------------------------------------------------


def test_without_an_endpoint_no_tracer_and_no_exporter_is_imported() -> None:
    program = (
        "import sys; from thalweg.traces import Traces; from thalweg.edge.observe import Observer; "
        "assert Traces.open(None, service='x') is None; assert Observer().traces is None; "
        "late = ('opentelemetry.sdk.trace.', 'opentelemetry.exporter'); "
        "assert not [name for name in sys.modules if name.startswith(late)]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_a_span_continues_the_callers_trace_and_keeps_no_text_of_an_error() -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    traces = Traces(exporter, service="test")
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with traces.span("POST /thing", traceparent=parent, attributes={"thalweg.operation": "shop.buyThing"}) as span:
        handed_on = traces.traceparent()
        traces.answered(span, 503)
    with pytest.raises(ValueError), traces.span("job", kind="consumer", traceparent=handed_on):
        raise ValueError("hunter2")
    with traces.span("alone", traceparent="garbage"):
        pass
    traces.close()
    request, job, alone = exporter.get_finished_spans()
    assert request.context is not None
    assert job.parent is not None
    assert alone.parent is None
    assert f"{request.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert request.attributes == {"thalweg.operation": "shop.buyThing", "http.response.status_code": 503}
    assert not request.status.is_ok
    assert job.parent.span_id == request.context.span_id
    assert "hunter2" not in job.to_json()


def test_a_request_is_a_span_with_its_operation_and_status() -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    observer, exporter = Observer(access=AccessLog(out=io.BytesIO())), InMemorySpanExporter()
    exchange = Served(status=0)
    with observer.span(exchange, "shop.buyThing", b"00-ignored"):
        pass
    observer.traces = Traces(exporter, service="test")
    with observer.span(exchange, "shop.buyThing", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"):
        exchange.status = 201
    observer.traces.close()
    (span,) = exporter.get_finished_spans()
    assert span.name == "POST shop.buyThing"
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 201
    assert span.attributes["thalweg.request_id"] == "r-1"
    assert span.parent is not None
