"""Worker processes as they are started in production, on a real Postgres and Valkey."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from redis import Redis

from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.outbox import Job
from thalweg import heartbeats
from workers.main import run_worker

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("process_under_test.py")
Process = subprocess.Popen[bytes]
Promise = Callable[..., UUID]
Row = Callable[[UUID], Job]
Notes = Callable[[], list[str]]
LetGo = Callable[[], None]


@pytest.fixture(scope="module")
def environment(database_url: str, valkey_url: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("THALWEG_")},
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
        "THALWEG_DATABASE_URL": database_url,
        "THALWEG_SECRET_KEYS": f"test:{crypto.KeyRing.new_key()}",
        "THALWEG_REDIS_URL": valkey_url,
    }


@pytest.fixture(scope="module")
def scheduler(environment: dict[str, str]) -> Iterator[Process]:
    """Relay, scheduler and sweeper, beside the workers of all tests here."""
    process = subprocess.Popen([sys.executable, str(PROGRAM), "scheduler"], env=environment)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def start(environment: dict[str, str], valkey: Redis) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def act(*role: str) -> Process:
        started.append(subprocess.Popen([sys.executable, str(PROGRAM), *role], env=environment))
        return started[-1]

    yield act
    for child in started:
        child.kill()
        child.wait()


@pytest.fixture
def worker(scheduler: Process, start: Callable[..., Process]) -> Callable[..., Process]:
    """Start a worker of a queue. Its lease is long but where it is to run out: on a busy machine a short one does."""
    return lambda queue="default", grace=5.0, lease=20.0: start("worker", queue, str(grace), str(lease))


@pytest.fixture
def let_go(as_platform: Callable[[], AbstractContextManager[Ctx]], note: Callable[[Ctx, str], None]) -> LetGo:
    """End all jobs `held`."""

    def act() -> None:
        with as_platform() as ctx:
            note(ctx, "let go")

    return act


def until(true: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def alive(valkey: Redis, process: Process) -> set[str]:
    return {sign.kind for sign in heartbeats.signs(valkey) if sign.pid == process.pid}


def states(row: Row, *ids: UUID) -> list[str]:
    return [row(job_id).state for job_id in ids]


def test_a_long_lived_worker_runs_every_job_in_its_own_warm_process(
    worker: Callable[..., Process], promise: Promise, row: Row, notes: Notes
) -> None:
    process = worker()
    ids = [promise("pid") for _ in range(3)]
    until(lambda: states(row, *ids) == ["done"] * 3)
    assert [note.split()[0] for note in notes()] == [str(process.pid)] * 3
    assert notes()[0].endswith(f"warm in {process.pid}")


def test_an_untrusted_job_runs_in_a_process_and_session_of_its_own(
    worker: Callable[..., Process], promise: Promise, row: Row, notes: Notes
) -> None:
    process = worker("untrusted")
    ids = [promise("pid", queue="untrusted") for _ in range(2)]
    until(lambda: states(row, *ids) == ["done"] * 2)
    children = [note.split()[:2] for note in notes()]
    assert len({pid for pid, _ in children}) == 2
    assert all(pid == session != str(process.pid) for pid, session in children)


@pytest.mark.parametrize("queue", ["default", "interactive", "untrusted", "fetching"])
def test_asked_to_stop_a_worker_finishes_a_short_job_first(
    queue: str, worker: Callable[..., Process], promise: Promise, row: Row, notes: Notes, let_go: LetGo
) -> None:
    process = worker(queue, 30)
    job_id = promise("held", queue=queue)
    until(lambda: notes() == ["sleeping"])
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert (process.poll(), states(row, job_id)) == (None, ["running"])
    let_go()
    assert process.wait(timeout=25) == 0
    assert states(row, job_id) == ["done"]


@pytest.mark.parametrize("queue", ["interactive", "fetching"])
def test_jobs_that_mostly_wait_run_beside_each_other_up_to_the_number_of_threads(
    queue: str,
    environment: dict[str, str],
    worker: Callable[..., Process],
    promise: Promise,
    row: Row,
    notes: Notes,
    let_go: LetGo,
) -> None:
    environment[f"THALWEG_{queue.upper()}_THREADS"] = "4"
    process = worker(queue)
    ids = [promise("held", queue=queue) for _ in range(6)]
    until(lambda: notes() == ["sleeping"] * 4)
    time.sleep(1.0)
    assert notes() == ["sleeping"] * 4
    let_go()
    until(lambda: states(row, *ids) == ["done"] * 6)
    assert process.poll() is None


def test_an_interactive_job_past_its_soft_limit_fails_alone(
    worker: Callable[..., Process], promise: Promise, row: Row, notes: Notes
) -> None:
    process = worker("interactive")
    late = promise("idle", queue="interactive", max_attempts=1)
    good = promise("sleep", {"seconds": 3}, queue="interactive")
    until(lambda: states(row, late, good) == ["failed", "done"])
    assert row(late).last_error == "The time limit of 0.5 s was reached."
    assert sorted(notes()) == ["failed: The time limit of 0.5 s was reached.", "sleeping", "slept"]
    assert process.poll() is None


def test_interactive_jobs_are_run_again_when_one_of_them_ends_the_process(
    worker: Callable[..., Process], promise: Promise, row: Row, notes: Notes, let_go: LetGo
) -> None:
    process = worker("interactive", lease=4)
    good = promise("held", queue="interactive")
    until(lambda: notes() == ["sleeping"])
    bad = promise("deaf", queue="interactive", max_attempts=1)
    assert process.wait(timeout=60) != 0
    let_go()
    worker("interactive")
    until(lambda: states(row, bad, good) == ["failed", "done"])
    assert row(good).attempts == 2
    assert notes().count("slept") == 1


def test_a_second_request_to_stop_does_not_wait_for_interactive_jobs(
    worker: Callable[..., Process], promise: Promise, row: Row, notes: Notes
) -> None:
    process = worker("interactive", 60)
    ids = [promise("sleep", {"seconds": 50}, queue="interactive") for _ in range(3)]
    until(lambda: notes() == ["sleeping"] * 3)
    process.send_signal(signal.SIGTERM)
    time.sleep(2.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert {row(job_id).state for job_id in ids} <= {"pending", "queued"}
    assert [row(job_id).attempts for job_id in ids] == [0, 0, 0]


@pytest.mark.parametrize("queue", ["default", "interactive", "untrusted", "fetching"])
def test_asked_to_stop_a_worker_hands_a_long_job_back_and_another_takes_it(
    queue: str, worker: Callable[..., Process], promise: Promise, row: Row, notes: Notes
) -> None:
    process = worker(queue, 0.3)
    job_id = promise("sleep", {"seconds": 30}, queue=queue)
    until(lambda: notes() == ["sleeping"])
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert time.monotonic() - asked < 15
    assert row(job_id).state in ("pending", "queued")
    assert row(job_id).attempts == 0
    worker(queue)
    until(lambda: notes() == ["sleeping"] * 2)
    assert row(job_id).attempts == 1


def test_an_idle_worker_stops_at_once_and_leaves_no_sign_of_life(worker: Callable[..., Process], valkey: Redis) -> None:
    process = worker()
    until(lambda: alive(valkey, process) == {"worker"})
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert alive(valkey, process) == set()


def test_the_scheduler_process_tells_of_its_three_parts_and_stops_cleanly(
    start: Callable[..., Process], valkey: Redis
) -> None:
    process = start("scheduler")
    until(lambda: alive(valkey, process) == {"relay", "sweeper", "scheduler"})
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    assert alive(valkey, process) == set()


def test_a_job_stuck_in_native_code_ends_its_process_at_the_hard_limit_and_fails_visibly(
    worker: Callable[..., Process], promise: Promise, row: Row, notes: Notes
) -> None:
    process = worker(lease=4)
    job_id = promise("stuck", max_attempts=1)
    assert process.wait(timeout=60) != 0
    worker()  # what a supervisor does
    until(lambda: states(row, job_id) == ["failed"])
    assert notes() == ["failed: The worker stopped without an answer."]


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ("stuck", "Its process ended with code 1"),
        ("hog", "MemoryError in hog"),
        ("crash", "Its process was ended by SIGSEGV."),
    ],
)
def test_an_untrusted_job_takes_only_its_own_process_down(
    job: str, reason: str, worker: Callable[..., Process], promise: Promise, row: Row, notes: Notes
) -> None:
    process = worker("untrusted")
    bad, good = promise(job, queue="untrusted", max_attempts=1), promise("pid", queue="untrusted")
    until(lambda: states(row, bad, good) == ["failed", "done"])
    assert (row(bad).last_error or "").startswith(reason)
    assert any(note.startswith(f"failed: {reason}") for note in notes())
    assert process.poll() is None


def test_what_an_untrusted_job_started_does_not_outlive_it(
    worker: Callable[..., Process], promise: Promise, row: Row, notes: Notes
) -> None:
    worker("untrusted")
    job_id = promise("litter", queue="untrusted")
    until(lambda: states(row, job_id) == ["done"])
    (grandchild,) = notes()
    until(lambda: _gone(int(grandchild)), 5)


@pytest.mark.parametrize("queue", ["default", "interactive"])
def test_doorbells_that_are_not_ours_are_dropped_and_the_worker_goes_on(
    queue: str, environment: dict[str, str], worker: Callable[..., Process], promise: Promise, row: Row, valkey: Redis
) -> None:
    environment["THALWEG_INTERACTIVE_THREADS"] = "2"
    worker(queue)
    for number in range(3):
        valkey.rpush(f"rq:queue:{queue}", f"not-a-uuid-{number}")
    job_id = promise("pid", queue=queue)
    until(lambda: states(row, job_id) == ["done"])
    assert valkey.llen(f"rq:queue:{queue}:intermediate") == 0


@pytest.mark.parametrize("queue", ["default", "interactive", "untrusted", "fetching"])
def test_a_worker_killed_in_mid_job_is_made_up_for_by_another(
    queue: str, worker: Callable[..., Process], promise: Promise, row: Row, notes: Notes, let_go: LetGo
) -> None:
    first = worker(queue, lease=4)
    job_id = promise("held", queue=queue)
    until(lambda: notes() == ["sleeping"])
    first.kill()
    worker(queue)
    until(lambda: notes() == ["sleeping"] * 2)
    let_go()
    until(lambda: states(row, job_id) == ["done"])
    assert notes() == ["let go", "sleeping", "sleeping", "slept"]
    assert row(job_id).attempts == 2


@pytest.mark.parametrize("queue", ["default", "interactive"])
def test_a_job_longer_than_its_lease_is_kept_by_its_worker(
    queue: str, worker: Callable[..., Process], promise: Promise, row: Row, notes: Notes
) -> None:
    worker(queue, lease=4)
    worker(queue, lease=4)
    job_id = promise("sleep", {"seconds": 10}, queue=queue)
    until(lambda: states(row, job_id) == ["done"])
    assert (notes(), row(job_id).attempts) == (["sleeping", "slept"], 1)


@pytest.mark.parametrize("queues", [[], ["default", "interactive"], ["fast"]])
def test_a_worker_process_serves_exactly_one_known_queue(queues: list[str]) -> None:
    with pytest.raises(ValueError, match="exactly one queue"):
        run_worker(SimpleNamespace(), queues)  # type: ignore[arg-type]


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True
