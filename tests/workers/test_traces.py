"""A span around each attempt of a job, with what tells it from others and nothing that was sent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.sdk")
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from domain.kernel.outbox import enqueue
from thalweg.traces import Traces
from workers.registry import GiveUp, RetryLater
from workers.runner import Outcome, Runner

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traced(database, ledger, registry, published, exporter):
    traces = Traces(exporter, service="test")

    class Ended(Runner):
        def spans(self):
            traces.close()
            return exporter.get_finished_spans()

    return Ended(database, ledger, registry, publisher=published, worker="test", traces=traces)


def test_an_attempt_is_a_span_with_the_request_it_comes_from(traced, registry, promise):
    @registry.job("greet", simple=True)
    def greet(ctx, args):
        return None

    job = promise("greet", {"secret": "geheim"})
    assert traced.run(job) is Outcome.DONE
    assert traced.run(job) is Outcome.NOTHING
    [span] = traced.spans()
    assert span.name == "job greet"
    assert dict(span.attributes) == {
        "job.id": str(job),
        "job.queue": "default",
        "job.attempt": 1,
        "job.outcome": "done",
        "request.id": "req-1",
    }
    assert span.status.is_unset
    assert "geheim" not in span.to_json()


def test_an_attempt_that_fails_is_an_error_without_its_words(traced, registry, promise):
    @registry.job("refuse", simple=True)
    def refuse(ctx, args):
        raise GiveUp("geheim")

    assert traced.run(promise("refuse")) is Outcome.FAILED
    [span] = traced.spans()
    assert not span.status.is_ok
    assert span.status.description == "failed"
    assert "geheim" not in span.to_json()


def test_an_attempt_belongs_to_the_trace_in_which_the_job_was_promised(traced, registry, promise, row):
    attempts = []

    @registry.job("again", simple=True)
    def again(ctx, args):
        attempts.append(1)
        if len(attempts) == 1:
            raise RetryLater("once more", seconds=0)

    requests = Traces(InMemorySpanExporter(), service="api")
    with requests.span("POST /thing") as request:
        job = promise("again")
    requests.close()
    assert traced.run(job) is Outcome.RETRIED
    assert traced.run(job) is Outcome.DONE
    came = request.get_span_context()
    assert row(job).traceparent == f"00-{came.trace_id:032x}-{came.span_id:016x}-{came.trace_flags:02x}"
    spans = [span for span in traced.spans() if span.name == "job again"]
    assert [span.parent.span_id for span in spans] == [came.span_id] * 2
    assert {span.context.trace_id for span in spans} == {came.trace_id}


def test_a_job_of_a_job_belongs_to_the_same_trace(traced, registry, promise):
    @registry.job("second", simple=True)
    def second(ctx, args):
        return None

    made = []

    @registry.job("first", simple=True)
    def first(ctx, args):
        made.append(enqueue(ctx, "second", {}))

    requests = Traces(InMemorySpanExporter(), service="api")
    with requests.span("POST /thing") as request:
        job = promise("first")
    requests.close()
    assert traced.run(job) is Outcome.DONE
    assert traced.run(made[0]) is Outcome.DONE
    first_span, second_span = (span for span in traced.spans() if span.name.startswith("job "))
    assert second_span.parent.span_id == first_span.context.span_id
    assert second_span.context.trace_id == request.get_span_context().trace_id


def test_a_job_that_nobody_traces_has_a_trace_of_its_own(traced, registry, promise, row):
    @registry.job("alone", simple=True)
    def alone(ctx, args):
        return None

    job = promise("alone")
    assert row(job).traceparent is None
    assert traced.run(job) is Outcome.DONE
    [span] = traced.spans()
    assert span.parent is None


def test_a_process_that_does_not_trace_does_not_import_what_traces():
    script = (
        "import sys; from domain.kernel.outbox import _traceparent as t; print(t(), 'opentelemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "False"]


def test_a_worker_that_ends_sends_what_its_streams_still_lack(traced, published):
    closed = []
    published.close = lambda: closed.append(True)
    traced.close()
    assert closed == [True]
