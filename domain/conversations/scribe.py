"""What the running turns of a process do together: write their words, and look whether one of them is to stop.

A turn that streams has words to write many times a second. A transaction of its own for each of them would cost a
thousand turns more than the words do: here all that have come since the last round are one transaction, whichever
turns they belong to, and one statement asks for all turns whether they are to stop. What keeps a turn's words its own
is the run that its row names: a run that somebody else has taken over is left out.

A turn is kept while something slow is beside it (`speaking.beside`); else it writes for itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Uuid, any_, insert, literal, select
from sqlalchemy.dialects.postgresql import ARRAY

from domain.conversations.models import Turn, TurnEvent
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid
from domain.kernel.ids import new_id

if TYPE_CHECKING:
    from domain.conversations.journal import Journal

log = logging.getLogger("thalweg.conversations")

GATHER = 0.06
"""Seconds that words wait for more: about sixteen rounds a second at most."""
LOOK = 0.3
"""Seconds between two looks at whether a turn is to stop."""
PATIENCE = 3.0
"""Seconds that words may wait for a database that does not take them; then their turns end, and are run again."""
AGAIN = 0.5
"""Seconds after which words are tried again that could not be written."""
LINGER = 2.0
"""Seconds after which the thread of a process without turns ends."""
TOGETHER = 200
"""Events that are published in one go."""

Wake = Callable[[], None]


class Scribe:
    """One for a process; see `keep`. Thread-safe."""

    def __init__(self) -> None:
        self._kept: dict[Journal, Wake] = {}
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._running = False

    @contextmanager
    def keep(self, journal: Journal, wake: Wake) -> Iterator[None]:
        """Write what `journal` says from now on, soon after it was said. `wake` is called, from another thread, when
        `journal.check()` would raise."""
        with self._lock:
            self._kept[journal] = wake
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="turn-scribe", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                del self._kept[journal]

    def ring(self) -> None:
        """There are words."""
        self._bell.set()

    def _run(self) -> None:
        wrote = looked = busy = time.monotonic()
        pause = GATHER
        while True:
            self._bell.clear()
            now = time.monotonic()
            with self._lock:
                kept = list(self._kept)
                if kept:
                    busy = now
                elif now - busy > LINGER:
                    self._running = False
                    return
            if _talking(kept):
                # More come meanwhile; and a round that took long is followed by as much time for everybody else.
                time.sleep(max(0.0, wrote + pause - now))
                began = time.monotonic()
                done = self._together(self._write, _talking(kept))
                wrote = time.monotonic()
                pause = max(GATHER if done else AGAIN, wrote - began)
            if time.monotonic() - looked >= LOOK:
                self._together(look, kept)
                looked = time.monotonic()
            if not _talking(kept):
                self._bell.wait(max(0.001, looked + LOOK - time.monotonic()))

    def _together(self, act: Callable[[Sequence[Journal]], None], journals: Sequence[Journal]) -> bool:
        """`act` on what lies in one database; a process has one, and its tests several. False: it failed."""
        groups: dict[int, list[Journal]] = {}
        for journal in journals:
            groups.setdefault(id(journal.work.database), []).append(journal)
        done = True
        for group in groups.values():
            try:
                act(group)
            except BaseException as problem:
                self._failed(group, problem)
                done = False
        self._wake(journals)
        return done

    def _failed(self, journals: Sequence[Journal], problem: BaseException) -> None:
        log.warning("words of %d turns wait", len(journals), exc_info=problem)
        now = time.monotonic()
        for journal in journals:
            journal.failing_since = journal.failing_since or now
            if not isinstance(problem, Exception) or now - journal.failing_since > PATIENCE:
                journal.problem = problem

    def _wake(self, journals: Sequence[Journal]) -> None:
        for journal in journals:
            if journal.problem is not None:
                with self._lock:
                    wake = self._kept.get(journal)
                if wake is not None:
                    wake()

    def _write(self, journals: Sequence[Journal]) -> None:
        """One round. A turn whose own transaction is open, or whose row somebody holds, is left to the next one."""
        held = [journal for journal in journals if journal.lock.acquire(blocking=False)]
        try:
            if held:
                _write(held)
        except Invalid as problem:
            if len(held) == 1:
                held[0].problem = problem
            for journal in held if len(held) > 1 else ():  # one of them: the others' words are not to wait for it
                self._write([journal])
        finally:
            for journal in held:
                journal.lock.release()


def _write(journals: Sequence[Journal]) -> None:
    """Write and publish what these have to say. Their locks are held."""
    pieces = {journal: journal.pieces() for journal in journals}
    written: dict[Journal, list[tuple[int, str, Any]]] = {}
    with journals[0].work.platform() as ctx:
        rows: list[dict[str, Any]] = []
        for journal in _locked(ctx, journals):
            written[journal] = journal.numbered(ctx.now(), pieces[journal])
            rows += [
                {
                    "id": new_id(),
                    "organisation_id": journal.organisation_id,
                    "turn_id": journal.turn_id,
                    "number": number,
                    "name": name,
                    "data": data,
                    "created_at": ctx.now(),
                }
                for number, name, data in written[journal]
            ]
        if rows:
            ctx.session.execute(insert(TurnEvent.__table__), rows)  # type: ignore[arg-type]
    for journal, events in written.items():
        journal.wrote(pieces[journal], events)
    waiting = 0
    for journal, events in written.items():
        journal.publish(events, later=True)
        waiting += len(events)
        if waiting >= TOGETHER:
            journal.work.publish_rest()
            waiting = 0
    if waiting:
        journals[0].work.publish_rest()


def _locked(ctx: Ctx, journals: Sequence[Journal]) -> list[Journal]:
    """Those that still run and may write; their rows are locked. Nobody is waited for."""
    rows = ctx.session.execute(
        select(Turn.id, Turn.run_id)
        .where(Turn.id == any_(_ids(journals)), Turn.state == "running", Turn.cancel_requested_at.is_(None))
        .with_for_update(key_share=True, skip_locked=True)
    ).all()
    runs: dict[UUID, UUID | None] = {row.id: row.run_id for row in rows}
    return [journal for journal in journals if runs.get(journal.turn_id) == journal.run_id]


def look(journals: Sequence[Journal]) -> None:
    """See which turns are to stop, or were ended by somebody else; their journals' `check` raises it."""
    with journals[0].work.platform() as ctx:
        rows = ctx.session.execute(
            select(Turn.id, Turn.run_id, Turn.state, Turn.cancel_requested_at).where(Turn.id == any_(_ids(journals)))
        ).all()
    found = {row.id: row for row in rows}
    for journal in journals:
        row = found.get(journal.turn_id)
        running = row is not None and row.run_id == journal.run_id and row.state == "running"
        journal.seen(running=running, cancelled=row is not None and row.cancel_requested_at is not None)


def _talking(journals: Sequence[Journal]) -> list[Journal]:
    """Those that have words to write, and may: one with a problem is about to end."""
    return [journal for journal in journals if journal.talking and journal.problem is None]


def _ids(journals: Sequence[Journal]) -> Any:
    return literal([journal.turn_id for journal in journals], ARRAY(Uuid))


scribe = Scribe()
