"""Jobs survive `kill -9` of workers, schedulers, Valkey and Postgres at random points: none lost, none doubled.

Real processes on real servers. `THALWEG_TEST_FAULT_JOBS` sets the number of jobs (default 300; 2000 for the full run),
`THALWEG_TEST_FAULT_SEED` repeats a run.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from redis import Redis
from sqlalchemy import text

from domain.kernel.errors import Unavailable
from domain.kernel.outbox import enqueue
from tests.faults.house import House, kill
from thalweg import heartbeats

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("jobs_under_fault.py")
JOBS = int(os.environ.get("THALWEG_TEST_FAULT_JOBS", "300"))
FAULTS = ["worker"] * 5 + ["scheduler"] * 3 + ["valkey", "valkey emptied", "postgres"]


class Workshop(House):
    """Two workers and two schedulers."""

    PARTS: ClassVar = {"worker 1": (), "worker 2": (), "scheduler 1": (), "scheduler 2": ()}

    def furnish(self) -> None:
        with self.ctx() as ctx:
            ctx.session.execute(text("CREATE TABLE fault_row (number int, step text)"))

    def command(self, name: str) -> list[str]:
        return [sys.executable, str(PROGRAM), name.split()[0]]

    def strike(self, fault: str, chance: random.Random) -> bool:
        """False: there was no worker at work to be killed."""
        if fault == "worker":
            victim = self._worker_at_work(chance)
            if victim is None:
                return False
            victim.kill()
        elif fault == "scheduler":
            self.children[f"scheduler {chance.choice((1, 2))}"].kill()
        elif fault == "postgres":
            self.strike_server(self.postgres, chance)
        elif fault == "valkey":
            self.strike_server(self.valkey, chance)
        else:
            kill(self.valkey.process)
            self.valkey.stop()
            shutil.rmtree(self.valkey.folder / "appendonlydir")
            time.sleep(chance.uniform(0, 0.5))
            assert self.valkey.start() == self.environment["THALWEG_REDIS_URL"]
        return True

    def _worker_at_work(self, chance: random.Random) -> subprocess.Popen[bytes] | None:
        """A worker in the middle of a job. Killing those that only start would leave nobody to come so far."""
        end = time.monotonic() + 60
        while time.monotonic() < end and set(_states(self)) != {"done"}:
            rows = self.ask("SELECT worker FROM job WHERE state = 'running'")
            busy = {int(worker.split(":")[1]) for (worker,) in rows}
            at_work = [child for child in self.children.values() if child.pid in busy and child.poll() is None]
            if at_work:
                return chance.choice(at_work)
            time.sleep(0.05)
        return None


@pytest.fixture
def house() -> Iterator[Workshop]:
    with Workshop.standing() as house:
        yield house


@pytest.mark.timeout(900)
def test_no_job_is_lost_or_doubled_while_everything_is_killed(house: Workshop) -> None:
    seed = int(os.environ.get("THALWEG_TEST_FAULT_SEED", time.time_ns() % 1_000_000))
    chance = random.Random(seed)
    print(f"seed {seed}, {JOBS} jobs")
    producer = threading.Thread(target=_promise, args=(house, JOBS), daemon=True)
    producer.start()

    struck: Counter[str] = Counter()
    # Every kind strikes at least once (a worker first, while there is work), then at random for a while.
    plan = ["worker", *chance.sample(sorted(set(FAULTS) - {"worker"}), k=len(set(FAULTS)) - 1)]
    calm = None
    while plan or not _all_done(house, JOBS):
        if calm is not None and time.monotonic() > calm and not plan:
            assert time.monotonic() < calm + 120, f"seed {seed}: not done after {dict(struck)}: {_states(house)}"
            time.sleep(0.3)
            continue
        fault = plan.pop(0) if plan else chance.choice(FAULTS)
        if house.strike(fault, chance):
            struck[fault] += 1
            calm = calm or time.monotonic() + 10 + JOBS * 0.04
        time.sleep(chance.uniform(0.2, 1.5))
    producer.join()
    attempts = _attempts(house)
    print(f"struck {dict(struck)}, jobs by attempts {attempts}")

    with house.ctx() as ctx:
        rows = ctx.session.execute(text("SELECT number, step, count(*) FROM fault_row GROUP BY 1, 2")).all()
    expected = {(n, step): 1 for n in range(JOBS) for step in (("first", "second") if n % 2 else ("only",))}
    assert {(number, step): count for number, step, count in rows} == expected, f"seed {seed}"
    assert _states(house) == {"done": JOBS}, f"seed {seed}"
    assert set(struck) == set(FAULTS), f"seed {seed}"
    assert max(attempts) > 1, f"seed {seed}: no kill fell into a job, this run proves little"


@pytest.mark.timeout(300)
def test_workers_and_schedulers_outlive_valkey_and_postgres(house: Workshop) -> None:
    """Neither a restart nor an absence of some seconds ends a process: warm models stay warm."""
    processes = {name: child.pid for name, child in house.children.items()}
    with Redis.from_url(house.environment["THALWEG_REDIS_URL"]) as valkey:
        up = time.monotonic() + 90
        while set(processes.values()) - {sign.pid for sign in heartbeats.signs(valkey)}:
            assert time.monotonic() < up, heartbeats.signs(valkey)
            time.sleep(0.1)
    chance = random.Random(1)
    for fault in ("valkey", "postgres", "valkey emptied"):
        house.strike(fault, chance)
    kill(house.valkey.process)
    house.valkey.stop()
    time.sleep(3.0)
    house.valkey.start()
    _promise(house, 20)
    deadline = time.monotonic() + 90
    while not _all_done(house, 20):
        assert time.monotonic() < deadline, _states(house)
        time.sleep(0.1)
    assert {name: child.pid for name, child in house.children.items()} == processes


def _promise(house: Workshop, jobs: int) -> None:
    """A producer that repeats a promise whose commit it is not sure of, under the same unique key."""
    for number in range(jobs):
        name = "fault.two_steps" if number % 2 else "fault.one_row"
        while True:
            try:
                with house.ctx() as ctx:
                    enqueue(ctx, name, {"number": number}, unique=f"fault:{number}", max_attempts=50)
                break
            except Unavailable:
                time.sleep(0.1)
        if number % 3 == 0:  # slowly enough to be promising while things die, fast enough to keep the workers busy
            time.sleep(0.05)


def _all_done(house: Workshop, jobs: int) -> bool:
    return _states(house) == {"done": jobs}


def _states(house: Workshop) -> dict[str, int]:
    return dict(house.ask("SELECT state, count(*) FROM job GROUP BY state"))


def _attempts(house: Workshop) -> dict[int, int]:
    return dict(house.ask("SELECT attempts, count(*) FROM job GROUP BY attempts ORDER BY attempts"))
