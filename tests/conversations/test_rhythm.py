"""How often a turn writes and looks: by how long that takes."""

from __future__ import annotations

import time

from domain.conversations import journal
from domain.conversations.journal import Journal


def test_a_turn_waits_longer_where_writing_takes_longer_and_never_for_too_long() -> None:
    told = Journal.__new__(Journal)
    told._waiting_since, told._looked_at = None, time.monotonic()
    waits = []
    for took in (0.0, 0.005, 0.05, 60.0):
        told._took = took
        waits.append((told._every(journal.GATHER), told._every(journal.LOOK)))
    assert waits == [(0.06, 0.3), (0.06, 0.3), (0.5, 0.5), (journal.LONGEST, journal.LONGEST)]


def test_nobody_is_woken_before_there_is_something_to_do() -> None:
    told = Journal.__new__(Journal)
    told._took, told._waiting_since, told._looked_at = 0.0, None, time.monotonic()
    assert 0.2 < told.due() <= journal.LOOK
    told._waiting_since = time.monotonic()
    assert 0.01 <= told.due() <= journal.GATHER
    told._waiting_since = time.monotonic() - 5
    assert told.due() == 0.01
