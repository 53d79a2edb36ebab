"""A span around each attempt of a job, with what tells it from others and nothing that was sent."""

from __future__ import annotations

import pytest

pytest.importorskip("opentelemetry.sdk")
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from thalweg.traces import Traces
from workers.registry import GiveUp
from workers.runner import Outcome, Runner


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


def test_a_worker_that_ends_sends_what_its_streams_still_lack(traced, published):
    closed = []
    published.close = lambda: closed.append(True)
    traced.close()
    assert closed == [True]
