"""Only so many turns of a process begin at the same time."""

from __future__ import annotations

import threading
import time

import pytest

from domain.conversations import gate


def _enter(inside: list[int], go_on: threading.Event, number: int) -> None:
    with gate.through():
        inside.append(number)
        go_on.wait(20)


def _until(inside: list[int], count: int) -> None:
    end = time.monotonic() + 20
    while len(inside) < count:
        assert time.monotonic() < end, f"{len(inside)} of {count} came in"
        time.sleep(0.01)


def test_more_than_have_a_place_wait_until_one_is_free() -> None:
    inside: list[int] = []
    go_on = threading.Event()
    threads = [
        threading.Thread(target=_enter, args=(inside, go_on, number), daemon=True) for number in range(gate.AT_ONCE + 3)
    ]
    for thread in threads:
        thread.start()
    _until(inside, gate.AT_ONCE)
    time.sleep(0.2)
    assert len(inside) == gate.AT_ONCE
    go_on.set()
    _until(inside, gate.AT_ONCE + 3)
    for thread in threads:
        thread.join(20)


def test_a_place_is_given_up_once_however_it_is_left() -> None:
    def fails() -> None:
        with gate.through():
            raise KeyError

    for _ in range(3 * gate.AT_ONCE):  # each would be missing in the end
        with pytest.raises(KeyError):
            fails()
        with gate.through() as leave:
            leave()
            leave()
    places = [gate.through() for _ in range(gate.AT_ONCE)]
    for place in places:
        place.__enter__()
    assert not gate._places.acquire(blocking=False)  # and no more than there were
    for place in places:
        place.__exit__(None, None, None)
