"""A repeated request has its effect once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from domain.kernel.clock import FixedClock, SystemClock
from domain.kernel.context import SystemActor
from domain.kernel.errors import IdempotencyInFlight, IdempotencyMismatch
from domain.kernel.idempotency import Idempotency, IdempotencyRecord, Kept, purge_expired

REPLY = Kept(201, (("content-type", "application/json"), ("location", "/x")), b'{"id":1}', {"channel": "c"})
idempotency = Idempotency(Kept)


def call(world: Any, key: str, title: str, *, of: Any = None, clock: Any = None, fingerprint: bytes = b"f") -> Kept:
    """A handler that makes a book, behind the key."""
    organisation = of or world.ours
    with world.database.context(SystemActor(), organisation, clock=clock) as ctx:
        kept = idempotency.begin(ctx, "createBook", key, fingerprint)
        if kept is not None:
            return kept
        shelf = world.our_shelf if organisation == world.ours else world.their_shelf
        ctx.session.add(world.Book(shelf_id=shelf, title=title))
        idempotency.record(ctx, "createBook", key, fingerprint, REPLY)
        return REPLY


def books(world: Any, title: str) -> int:
    with world.database.session(None, platform=True) as session:
        return session.scalar(select(func.count(world.Book.id)).where(world.Book.title == title)) or 0


def test_the_same_request_is_answered_with_the_first_reply(world: Any) -> None:
    first, second = call(world, "k1", "replayed"), call(world, "k1", "replayed")
    assert first == second == REPLY
    assert books(world, "replayed") == 1


def test_another_request_with_the_key_is_a_mismatch(world: Any) -> None:
    call(world, "k2", "mismatch")
    with pytest.raises(IdempotencyMismatch):
        call(world, "k2", "mismatch", fingerprint=b"other")
    assert books(world, "mismatch") == 1


def test_keys_belong_to_an_organisation_and_an_operation(world: Any) -> None:
    call(world, "k3", "apart")
    call(world, "k3", "apart", of=world.theirs)
    assert books(world, "apart") == 2
    with world.database.context(SystemActor(), world.ours) as ctx:
        assert idempotency.begin(ctx, "another", "k3", b"f") is None


def test_a_failed_request_leaves_no_record(world: Any) -> None:
    with pytest.raises(ZeroDivisionError), world.database.context(SystemActor(), world.ours) as ctx:  # noqa: PT012
        assert idempotency.begin(ctx, "createBook", "k4", b"f") is None
        idempotency.record(ctx, "createBook", "k4", b"f", REPLY)
        raise ZeroDivisionError
    call(world, "k4", "after a failure")
    assert books(world, "after a failure") == 1


def test_while_the_first_runs_the_second_is_told_so(world: Any) -> None:
    with world.database.context(SystemActor(), world.ours) as ctx:
        assert idempotency.begin(ctx, "createBook", "k5", b"f") is None
        with pytest.raises(IdempotencyInFlight) as told:
            call(world, "k5", "in flight")
        assert told.value.facts == {"retry_after": 1}


def test_after_24_hours_the_key_is_free_again(world: Any) -> None:
    clock = FixedClock(SystemClock().now())
    call(world, "k6", "expires", clock=clock)
    clock.advance(timedelta(hours=23, minutes=59))
    call(world, "k6", "expires", clock=clock)
    assert books(world, "expires") == 1
    clock.advance(timedelta(minutes=2))
    call(world, "k6", "expires", clock=clock, fingerprint=b"new")
    assert books(world, "expires") == 2


def test_purging_removes_the_expired_of_every_organisation_and_nothing_else(world: Any) -> None:
    clock = FixedClock(SystemClock().now() - timedelta(days=30))
    for organisation in (world.ours, world.theirs):
        for number in range(3):
            call(world, f"old{number}", "purge", of=organisation, clock=clock)
    call(world, "fresh", "purge")
    removed = 0
    for _ in range(4):
        with world.database.context(SystemActor(), None, platform=True) as ctx:
            removed += purge_expired(ctx, limit=2)
    assert removed == 6
    with world.database.session(world.ours) as session:
        assert session.get(IdempotencyRecord, (world.ours, "createBook", "fresh")) is not None


def test_a_caller_without_an_organisation_simply_runs(world: Any) -> None:
    with world.database.context(SystemActor(), None) as ctx:
        assert idempotency.begin(ctx, "signUp", "k", b"f") is None
        idempotency.record(ctx, "signUp", "k", b"f", REPLY)


def at_once(count: int, act: Callable[[], Any]) -> Counter[str]:
    """Run `act` in `count` threads that start together; how often each result or error came."""
    results: Counter[str] = Counter()
    barrier = threading.Barrier(count)

    def run() -> None:
        barrier.wait()
        try:
            act()
            results["done"] += 1
        except Exception as failure:
            results[type(failure).__name__] += 1

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("round_", range(3))
def test_twenty_at_once_have_one_effect(world: Any, round_: int) -> None:
    key = str(uuid4())
    results = at_once(20, lambda: call(world, key, key))
    assert books(world, key) == 1
    assert results["done"] >= 1
    assert set(results) <= {"done", "IdempotencyInFlight"}
    assert call(world, key, key) == REPLY
