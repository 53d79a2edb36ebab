from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as ValkeyAway
from rq.job import Job as RQJob
from rq.serializers import JSONSerializer
from sqlalchemy import text

from domain.kernel.ids import new_id
from domain.kernel.ledger import Ledger, Wakeups
from domain.kernel.outbox import Job
from thalweg import heartbeats
from workers.queues import answer, connect, queue
from workers.relay import Relay
from workers.sweeper import Rhythm, Sweeper

Promise = Callable[..., UUID]
Row = Callable[[UUID], Job]


@pytest.fixture
def relay(ledger: Ledger, database_url: str, valkey: Redis) -> Relay:
    return Relay(ledger, Wakeups(database_url), valkey)


@pytest.fixture
def sweeper(ledger: Ledger, valkey: Redis) -> Sweeper:
    return Sweeper(ledger, valkey, rhythm=Rhythm(lost_after=0.0))


def test_due_rows_are_rung_in_their_queues_oldest_first_with_nothing_but_their_id(
    relay: Relay, promise: Promise, row: Row, valkey: Redis
) -> None:
    first, second = promise("a", {"secret": "s"}), promise("a")
    other = promise("b", queue="interactive")
    assert relay.step() == 3
    assert queue("default", valkey).get_job_ids() == [str(first), str(second)]
    assert queue("interactive", valkey).get_job_ids() == [str(other)]
    assert row(first).state == "queued"
    rung = RQJob.fetch(str(first), connection=valkey, serializer=JSONSerializer)
    assert (list(rung.args), dict(rung.kwargs)) == ([], {})
    everything = valkey.hgetall(f"rq:job:{first}")
    assert b"secret" not in b"".join(everything.values())
    assert relay.step() == 0


def test_a_relay_that_dies_between_bell_and_commit_rings_again(
    ledger: Ledger, relay: Relay, promise: Promise, row: Row, valkey: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = promise("a")

    class Death(BaseException):
        pass

    import workers.relay

    ring = workers.relay.ring

    def ring_and_die(connection: Redis, rows: Any) -> None:
        ring(connection, rows)
        raise Death

    monkeypatch.setattr(workers.relay, "ring", ring_and_die)
    with pytest.raises(Death):
        relay.step()
    assert row(job_id).state == "pending"
    monkeypatch.setattr(workers.relay, "ring", ring)
    assert relay.step() == 1
    assert queue("default", valkey).get_job_ids() == [str(job_id)] * 2  # twice, never not at all


def test_without_valkey_nothing_is_marked_as_rung(
    ledger: Ledger, database_url: str, promise: Promise, row: Row
) -> None:
    job_id = promise("a")
    away = connect("redis://127.0.0.1:1", timeout=0.2)
    with pytest.raises(ValkeyAway):
        Relay(ledger, Wakeups(database_url), away).step()
    assert row(job_id).state == "pending"


def test_several_relays_share_the_rows_and_ring_each_once(
    database_url: str, promise: Promise, valkey: Redis, valkey_url: str
) -> None:
    ids = {str(promise("a")) for _ in range(60)}
    moved: list[int] = []

    def act() -> None:
        relay = Relay(Ledger(database_url), Wakeups(database_url), connect(valkey_url))
        while step := relay.step():
            moved.append(step)

    threads = [threading.Thread(target=act) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rung = queue("default", valkey).get_job_ids()
    assert sorted(rung) == sorted(ids)
    assert sum(moved) == 60


def test_a_running_relay_hears_the_bell_and_stops_when_asked(
    database_url: str, promise: Promise, valkey: Redis, valkey_url: str
) -> None:
    stop = threading.Event()
    relay = Relay(Ledger(database_url), Wakeups(database_url), connect(valkey_url))
    thread = threading.Thread(target=relay.run, args=(stop,))
    thread.start()
    waits = []
    for _ in range(5):
        time.sleep(0.4)
        job_id, at = promise("a"), time.monotonic()
        while str(job_id) not in queue("default", valkey).get_job_ids():
            assert time.monotonic() - at < 5
            time.sleep(0.002)
        waits.append(time.monotonic() - at)
    stop.set()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert sorted(waits)[2] < 0.3  # by the bell: polling alone would take up to a second


def test_a_lease_that_ran_out_returns_the_row(
    ledger: Ledger, sweeper: Sweeper, promise: Promise, row: Row, alter: Callable[..., None]
) -> None:
    alive, dead = promise("a"), promise("a")
    for job_id in (alive, dead):
        assert ledger.claim(job_id, new_id(), lease=30) is not None
    alter(dead, lease_until=timedelta(seconds=-1))
    assert sweeper.sweep() == 1
    assert (row(alive).state, row(dead).state, row(dead).attempts) == ("running", "pending", 1)


def test_rows_whose_doorbell_waits_in_its_queue_are_left_alone(
    relay: Relay, sweeper: Sweeper, promise: Promise, row: Row
) -> None:
    job_id = promise("a")
    relay.step()
    assert sweeper.sweep() == 0
    assert row(job_id).state == "queued"


def test_when_valkey_was_emptied_every_row_is_rung_again(
    relay: Relay, sweeper: Sweeper, promise: Promise, row: Row, valkey: Redis
) -> None:
    ids = [promise("a") for _ in range(30)]
    relay.step()
    valkey.flushall()
    sweeper._batch = 10  # more rows than one look takes in
    assert sweeper.sweep() == 30
    assert {row(job_id).state for job_id in ids} == {"pending"}
    assert relay.step() == 30


def test_a_doorbell_taken_by_a_worker_that_died_before_claiming_is_rung_again(
    relay: Relay, sweeper: Sweeper, promise: Promise, row: Row, valkey: Redis
) -> None:
    taken, answered = promise("a"), promise("a")
    relay.step()
    name = queue("default", valkey)
    assert valkey.lmove(name.key, name.intermediate_queue_key) == str(taken).encode()
    valkey.lmove(name.key, name.intermediate_queue_key)
    answer(valkey, "default", [str(answered)])
    assert sweeper.sweep() == 2
    assert {row(taken).state, row(answered).state} == {"pending"}
    assert valkey.lrange(name.intermediate_queue_key, 0, -1) == []


def test_old_done_rows_go_failed_ones_stay_longer_and_what_is_in_flight_stays(
    ledger: Ledger, valkey: Redis, promise: Promise, as_platform: Any
) -> None:
    for state in ("pending", "running", "done", "failed"):
        job_id = promise("a")
        with as_platform() as ctx:
            ctx.session.execute(text("UPDATE job SET state = :state WHERE id = :id"), {"state": state, "id": job_id})
    time.sleep(0.05)
    sweeper = Sweeper(ledger, valkey, rhythm=Rhythm(done=timedelta(0)), purges={"others": iter([3, 0]).__next__})
    assert sweeper.purge() == 4
    with as_platform() as ctx:
        left = ctx.session.execute(text("SELECT state FROM job ORDER BY state")).scalars().all()
    assert left == ["failed", "pending", "running"]


def test_a_further_purge_that_fails_does_not_keep_the_others_from_running(
    ledger: Ledger, valkey: Redis, promise: Promise, as_platform: Any
) -> None:
    def broken() -> int:
        raise RuntimeError

    counted = iter([2, 0])
    sweeper = Sweeper(ledger, valkey, purges={"broken": broken, "after": counted.__next__})
    assert sweeper.purge() == 2


def test_signs_of_life_are_fresh_then_stale_then_forgotten(valkey: Redis) -> None:
    heartbeats.beat(valkey, "relay", {"queue": "default"})
    (sign,) = heartbeats.signs(valkey)
    assert (sign.kind, sign.detail, sign.fresh) == ("relay", {"queue": "default"}, True)
    old = {"kind": "worker", "host": "h", "pid": 1, "at": time.time() - 4000, "detail": {}}
    valkey.hset(heartbeats.KEY, "worker:h:1", json.dumps(old))
    assert [s.fresh for s in heartbeats.signs(valkey)] == [True, False]
    assert heartbeats.forget(valkey) == 1
    heartbeats.leave(valkey, "relay")
    assert heartbeats.signs(valkey) == []
