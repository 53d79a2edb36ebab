"""Worker processes: an RQ worker that answers doorbells.

Public: `LongLived` (jobs in this process: models stay warm, nothing is forked), `Concurrent` (the same, several beside
each other: for jobs that mostly wait for somebody else) and `Forking` (each job in a child with limits, for what
strangers sent). Each serves one queue: RQ moves a doorbell to the worker atomically only then.

RQ's loop and registration are kept; its per-job records are not, because Postgres has them. A job costs two
round trips to Valkey instead of about twenty.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any
from uuid import UUID

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker, worker_registration
from rq.exceptions import DequeueTimeout, StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import now
from rq.worker import WorkerStatus

from domain.kernel.confine import bounds
from domain.kernel.ledger import Claim, LedgerAway
from thalweg import heartbeats
from workers.limits import Interrupted, Watch
from workers.queues import Doorbell, answer
from workers.runner import Keeper, Outcome, Runner

log = structlog.get_logger("thalweg.jobs")

GRACE = 8.0
"""Seconds a job may take to finish after SIGTERM before it is handed back."""


class _Worker(SimpleWorker):
    job_class = Doorbell
    dequeue_timeout = 1  # an idle worker looks for a request to stop once a second
    connection_timeout = 5

    def __init__(
        self, queue: str, connection: Redis, runner: Runner, *, stop: threading.Event, grace: float = GRACE
    ) -> None:
        super().__init__(
            [Queue(queue, connection=connection, serializer=JSONSerializer, job_class=Doorbell)],
            connection=connection,
            serializer=JSONSerializer,
            worker_ttl=60,
            log_job_description=False,
        )
        self.runner = runner
        self.stop = stop
        self.served = queue
        self._grace = grace
        self._beat_at = 0.0
        self._stop_asked_at = time.monotonic()

    # --- RQ's extension points ---

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """The next doorbell. Waits out a Valkey that is away, and ends the loop when asked to stop."""
        self.set_state(WorkerStatus.IDLE)
        pause = 0.1
        idle_since = time.monotonic()
        while not self.stop.is_set():
            try:
                self.beat()
                found = self.queue_class.dequeue_any(
                    self._ordered_queues,
                    timeout,
                    connection=self.connection,
                    job_class=Doorbell,
                    serializer=JSONSerializer,
                )
            except DequeueTimeout:
                if max_idle_time is not None and time.monotonic() - idle_since >= max_idle_time:
                    return None
            except (RedisError, OSError) as problem:
                log.warning("valkey is away", error=type(problem).__name__)
                self.stop.wait(pause)
                pause = min(pause * 2, 2.0)
            else:
                return found
        raise StopRequested

    def execute_job(self, job: Job, queue: Queue) -> None:
        self.set_state(WorkerStatus.BUSY)
        try:
            answer(self.connection, self.served, [job.id])
        except (RedisError, OSError) as problem:  # the row knows what is to be done; the sweeper clears the bell
            log.warning("doorbell left behind", error=type(problem).__name__)
        try:
            self.perform_row(UUID(job.id))
        except ValueError:
            log.error("not a doorbell of ours", rung=job.id[:64])
        except LedgerAway:
            log.error("postgres is away: the job will be handed out again", job_id=job.id)
        except Interrupted:
            self.stop.set()
        finally:
            self._state = WorkerStatus.IDLE

    def perform_row(self, job_id: UUID) -> None:
        raise NotImplementedError

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """First signal: finish the job within the grace time. Second, a second later or more: hand it back now."""
        if not self.stop.is_set():
            self.stop.set()
            self._stop_asked_at = time.monotonic()
            self.stop_soon()
        elif time.monotonic() - self._stop_asked_at > 1.0:
            self.stop_now()

    request_force_stop = request_stop

    def stop_soon(self) -> None:
        raise NotImplementedError

    def stop_now(self) -> None:
        raise NotImplementedError

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """RQ asks three times a job; `beat` is often enough."""

    def beat(self) -> None:
        """Every few seconds: tell RQ's registry and the health check that this worker lives."""
        if time.monotonic() - self._beat_at < heartbeats.RHYTHM:
            return
        self._beat_at = time.monotonic()
        super().heartbeat()
        super().set_state(self._state)
        heartbeats.beat(self.connection, "worker", {"queue": self.served, "name": self.name})

    def beat_if_valkey(self) -> None:
        try:
            self.beat()
        except (RedisError, OSError):
            log.debug("no sign of life: valkey is away")

    def set_state(self, state: str, pipeline: Any = None) -> None:
        self._state = state

    def subscribe(self) -> None:
        """No remote commands: the supervisor speaks in signals, and one connection and thread a worker are spared."""

    def check_for_suspension(self, burst: bool) -> None:
        """`rq suspend` would stop these queues for good and unseen; workers are stopped by stopping them."""

    def clean_registries(self) -> None:
        """Only RQ's list of workers: rows are swept by `workers.sweeper`, which knows what became of them."""
        for queue in self.queues:
            worker_registration.clean_worker_registry(queue)
        self.last_cleaned_at = now()  # type: ignore[assignment]  # else it is due again before the next doorbell

    def clean_group_registries(self) -> None:
        """There are no groups."""

    def teardown(self) -> None:
        try:
            heartbeats.leave(self.connection, "worker")
            super().teardown()  # type: ignore[no-untyped-call]
        except (RedisError, OSError):
            log.warning("left without saying so: valkey is away")


class LongLived(_Worker):
    """Runs jobs in this process. A job past its hard limit ends the process, and the supervisor starts another."""

    def work(self, *args: Any, **kwargs: Any) -> bool:
        keeper = Keeper(self.runner, also=self.beat_if_valkey)
        keeper.start()
        previous = signal.signal(signal.SIGUSR1, self._interrupt)
        try:
            return bool(super().work(*args, **kwargs))
        finally:
            keeper.stop()
            signal.signal(signal.SIGUSR1, previous)

    def perform_row(self, job_id: UUID) -> None:
        self.runner.run(job_id)

    def stop_soon(self) -> None:
        timer = threading.Timer(self._grace, self.stop_now)
        timer.daemon = True
        timer.start()

    def stop_now(self) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self.runner.running:
            raise Interrupted


class Crew:
    """The threads of a process that runs jobs beside each other: `threads` at most, each job in one of its own.

    It outlives the RQ worker that gives it jobs, which begins anew when Valkey goes at a bad moment.
    """

    PARTING = 2.0
    """Seconds that interrupted jobs get to let go by themselves."""

    def __init__(self, runner: Runner, threads: int) -> None:
        self.runner = runner
        self.hurry = threading.Event()
        self._places = threading.BoundedSemaphore(threads)
        self._threads: set[threading.Thread] = set()
        self._watch = Watch()
        self._keeper = Keeper(runner)
        runner.limit = self._watch.limit
        self._watch.start()
        self._keeper.start()

    def place(self, seconds: float) -> bool:
        """Take a place for one job, when one becomes free in time."""
        return self._places.acquire(timeout=seconds)

    def vacate(self) -> None:
        self._places.release()

    def perform(self, job_id: UUID) -> None:
        """Run the job in the place that was taken. Raises `RuntimeError` when the machine has no thread for it: the
        place is still the caller's then."""
        thread = threading.Thread(target=self._perform, args=(job_id,), name=f"job-{job_id}", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            self._threads.discard(thread)
            raise

    def part(self, grace: float) -> None:
        """Let jobs finish for `grace` seconds, interrupt those that have not, and hand back what does not let go."""
        self._join(grace)
        if self._threads:
            self._watch.interrupt()
            self.hurry.clear()
            self._join(self.PARTING)
        for claim in list(self.runner.running.values()):
            try:
                self.runner.hand_back(claim)
            except LedgerAway:
                log.warning("job not handed back: its lease will run out", job_id=str(claim.id))
        self._watch.stop()
        self._keeper.stop()

    def _perform(self, job_id: UUID) -> None:
        try:
            self.runner.run(job_id)
        except LedgerAway:
            log.error("postgres is away: the job will be handed out again", job_id=str(job_id))
        except Interrupted:
            log.debug("job interrupted", job_id=str(job_id))
        finally:
            self._watch.leave(threading.get_ident())
            self._threads.discard(threading.current_thread())
            self._places.release()

    def _join(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for thread in list(self._threads):
            while thread.is_alive() and time.monotonic() < end and not self.hurry.is_set():
                thread.join(0.1)


class Concurrent(_Worker):
    """Gives jobs to a `Crew`: several run beside each other in this process.

    A turn spends most of its time waiting for a model; one at a time, a second person would wait for the first one's
    answer. A job past its hard limit ends the process with all that run in it: their leases run out, and they are run
    again.
    """

    def __init__(self, *args: Any, crew: Crew, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._crew = crew
        self._given = False

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """The next doorbell, once there is a place for its job."""
        while not self._crew.place(0.5):
            if self.stop.is_set():
                raise StopRequested
            self.beat_if_valkey()
        found = None
        try:
            found = super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
        finally:
            if found is None:
                self._crew.vacate()
        return found

    def execute_job(self, job: Job, queue: Queue) -> None:
        self._given = False
        try:
            super().execute_job(job, queue)
        finally:
            if not self._given:
                self._crew.vacate()

    def perform_row(self, job_id: UUID) -> None:
        self._crew.perform(job_id)
        self._given = True

    def stop_soon(self) -> None:
        """The loop sees `stop` within a second; what runs is the crew's."""

    def stop_now(self) -> None:
        self._crew.hurry.set()


_EXITS = {outcome: 10 + number for number, outcome in enumerate(Outcome)}
_OUTCOMES = {code: outcome for outcome, code in _EXITS.items()}


class Forking(_Worker):
    """Runs each job in a child with a session, a memory and a time limit of its own; the parent keeps the lease.

    `fresh` makes the child's runner: connections do not survive a fork. `memory` is bytes beyond what the parent has.
    Linux only, like the limits it keeps.
    """

    def __init__(self, *args: Any, fresh: Callable[[], Runner], memory: int = 768 << 20, **kwargs: Any) -> None:
        if not hasattr(os, "pidfd_open"):
            raise RuntimeError("the queue 'untrusted' needs Linux 5.3 or newer: its limits are kept by the kernel")
        super().__init__(*args, **kwargs)
        self._fresh = fresh
        self._memory = memory
        self._end_by: float | None = None

    def perform_row(self, job_id: UUID) -> None:
        claim = self.runner.claim(job_id)
        if claim is None:
            return
        spec = self.runner.registry.jobs.get(claim.name)
        hard = spec.hard if spec else 60.0
        with self.runner.span(claim) as tell:
            worker = os.getpid()
            child = os.fork()
            if child == 0:
                self._be_child(claim, hard, worker)
            reason, outcome = self._watch(claim, child, hard)
            if reason is not None:
                log.warning("job process ended", job_id=str(claim.id), job=claim.name, reason=reason)
                outcome = self.runner.died(claim, reason).value
            tell(outcome)

    def _be_child(self, claim: Claim, hard: float, worker: int) -> None:
        code = 1
        try:
            bounds.die_with_parent()  # a stranger's file is not read on where nobody keeps the lease and the time
            if os.getppid() != worker:  # gone already
                os._exit(code)
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            bounds.bound(memory=bounds.mapped() + self._memory, seconds=int(hard) + 1, files=256, file_bytes=1 << 30)
            own = self._fresh()
            code = _EXITS[own.perform(claim)]
            own.flush()
        except BaseException:
            log.exception("job process failed")
        finally:
            os._exit(code)  # no clean-up: it would touch connections that belong to the parent

    def _watch(self, claim: Claim, child: int, hard: float) -> tuple[str | None, str]:
        """Wait for the child, keeping the lease; answer why it ended without recording an outcome (or None), and the
        outcome that it recorded (or what this process knows of it)."""
        descriptor = os.pidfd_open(child)
        killed: str | None = None
        end = time.monotonic() + hard + 1.0  # the child's own watchdog comes first, and leaves a traceback
        extend_at = time.monotonic() + self.runner.lease / 3
        try:
            while not select.select([descriptor], [], [], 0.5)[0]:
                now = time.monotonic()
                if killed is not None:
                    continue
                if now > end:
                    killed = f"It did not end within its limit of {hard:g} s."
                elif self._end_by is not None and now > self._end_by:
                    killed = "returned"
                elif now > extend_at:
                    extend_at = now + self.runner.lease / 3
                    killed = None if self._extend(claim) else "lost"
                if killed is not None:
                    _kill_group(child)
                self.beat_if_valkey()
            _kill_group(child)  # grandchildren do not outlive the job
            status = os.waitpid(child, 0)[1]
        finally:
            os.close(descriptor)
        if killed == "returned":
            self.runner.hand_back(claim)
            return None, Outcome.RETURNED.value
        if killed == "lost":
            return None, Outcome.LOST.value
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) in _OUTCOMES:
            return None, _OUTCOMES[os.WEXITSTATUS(status)].value
        return killed or _why(status), Outcome.LOST.value

    def _extend(self, claim: Claim) -> bool:
        try:
            return self.runner.extend(claim)
        except LedgerAway:
            return True  # the child's next transaction will find out

    def stop_soon(self) -> None:
        self._end_by = time.monotonic() + self._grace

    def stop_now(self) -> None:
        self._end_by = time.monotonic()


def _kill_group(child: int) -> None:
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)  # before its setsid


def _why(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return "It used up its CPU time."
        return f"Its process was ended by {signal.Signals(number).name}."
    return (
        f"Its process ended with code {os.WEXITSTATUS(status)}: over a memory or time limit, or a fault in native code."
    )
