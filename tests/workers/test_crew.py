"""The threads of a worker that runs jobs beside each other: no place and no limit outlives what it was taken for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from workers.limits import Interrupted, Watch
from workers.processes import Concurrent, Crew
from workers.queues import Doorbell

PLACES = 2


class Quiet:
    """A runner: calls `job` with its own limit in hand."""

    def __init__(self) -> None:
        self.running: dict[UUID, Any] = {}
        self.lease = 60.0
        self.limit: Callable[[float, float], AbstractContextManager[None]] = lambda soft, hard: None  # type: ignore[assignment,return-value]
        self.job: Callable[[], None] = lambda: None
        self.ran = threading.Semaphore(0)

    def run(self, job_id: UUID) -> None:
        try:
            self.job()
        finally:
            self.ran.release()


@pytest.fixture
def runner() -> Quiet:
    return Quiet()


@pytest.fixture
def crew(runner: Quiet) -> Iterator[Crew]:
    made = Crew(runner, PLACES)  # type: ignore[arg-type]
    yield made
    made.part(5)


@pytest.fixture
def worker(crew: Crew, runner: Quiet, valkey: Redis) -> Concurrent:
    return Concurrent("interactive", valkey, runner, stop=threading.Event(), crew=crew)


def ring(worker: Concurrent, name: str) -> None:
    """What RQ's loop does with a doorbell: `worker` has taken a place for it."""
    assert worker._crew.place(5), "there is no place left"
    queue = Queue("interactive", connection=worker.connection, serializer=JSONSerializer, job_class=Doorbell)
    worker.execute_job(SimpleNamespace(id=name), queue)  # type: ignore[arg-type]


def free(crew: Crew) -> int:
    """How many places there are."""
    taken = 0
    while taken <= PLACES and crew.place(0.2):
        taken += 1
    for _ in range(taken):
        crew.vacate()
    return taken


def watched(crew: Crew) -> int:
    return len(crew._watch._jobs)


def test_a_doorbell_that_is_none_gives_its_place_back(worker: Concurrent, crew: Crew) -> None:
    for number in range(PLACES + 1):
        ring(worker, f"not-a-uuid-{number}")
    assert free(crew) == PLACES


def test_a_thread_that_the_machine_refuses_gives_its_place_back(
    worker: Concurrent, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        for _ in range(PLACES + 1):
            with pytest.raises(RuntimeError):
                ring(worker, str(uuid4()))
    assert free(crew) == PLACES
    assert not crew._threads


def test_a_job_that_ran_gives_its_place_back_once(worker: Concurrent, crew: Crew, runner: Quiet) -> None:
    for _ in range(PLACES + 1):
        ring(worker, str(uuid4()))
        assert runner.ran.acquire(timeout=5)
    assert free(crew) == PLACES


def test_a_limit_ends_with_its_thread_whatever_became_of_it(worker: Concurrent, crew: Crew, runner: Quiet) -> None:
    kept: list[Any] = []

    def job() -> None:
        limit = runner.limit(60, 90)
        kept.append(limit)  # never left: as when an exception lands where its `finally` begins
        limit.__enter__()
        assert watched(crew) == 1

    runner.job = job
    ring(worker, str(uuid4()))
    assert runner.ran.acquire(timeout=5)
    end = time.monotonic() + 5
    while watched(crew) and time.monotonic() < end:
        time.sleep(0.01)
    assert watched(crew) == 0
    assert free(crew) == PLACES


def test_an_exception_that_lands_while_a_limit_is_noted_leaves_none() -> None:
    watch = Watch()

    class Lands:
        """A lock, at whose end the first time an exception lands that another thread has raised in this one."""

        def __init__(self) -> None:
            self.inner, self.still = threading.Lock(), True

        def __enter__(self) -> None:
            self.inner.acquire()

        def __exit__(self, *_: object) -> None:
            self.inner.release()
            if self.still:
                self.still = False
                raise Interrupted

    watch._lock = Lands()  # type: ignore[assignment]
    with pytest.raises(Interrupted), watch.limit(60, 90):
        pytest.fail("the job has begun")
    assert watch._jobs == {}
