"""One client's place in one stream: every event exactly once, in order, whatever becomes of Valkey meanwhile.

A tail is a small state machine. Live messages are handed on while they follow the last number; anything else (a gap, a
full buffer, a lost connection) makes it read the stream again from its own number, and what the stream does not have it
asks of `history`. It owns no task and no connection.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from thalweg.streams.wire import Entry, check_name, encode, parse_range

if TYPE_CHECKING:
    from thalweg.streams.hub import Hub

log = logging.getLogger(__name__)

RunBlocking = Callable[..., Awaitable[Any]]
"""`await run_blocking(function, *arguments)`: run it in the thread pool."""


class StoredEvent(Protocol):
    """What `history` answers (see `thalweg.edge.application.Event`)."""

    @property
    def number(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def data(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class TailOptions:
    """Seconds and sizes; the defaults are for production."""

    buffer: int = 64
    """Events that wait for a slow client before it goes back to reading."""
    buffer_bytes: int = 256 * 1024
    page: int = 32
    """Events read from the stream store at once."""
    settle: float = 0.2
    """How long a new stream with no event at all waits for one before the database is asked."""
    idle: tuple[float, float] = (15.0, 60.0)
    """A silent stream asks the database after the first, then less and less often: a message can be lost."""
    away: tuple[float, float] = (0.25, 5.0)
    """How often the database is asked while Valkey is away, first and at most."""
    gap: tuple[float, float] = (0.05, 0.5)
    """How often a missing number is looked for."""
    patience: float = 5.0
    """After this a number that neither Valkey nor the database has is passed over, with a warning."""


LIVE, BEHIND, READING, FETCHING = range(4)

_HISTORY_AT_ONCE = 512


class Tail:
    """Made by `Hub.follow`. Await `next` until it has nothing more to say; then `close`."""

    __slots__ = (
        "_armed",
        "_bytes",
        "_gap_since",
        "_history",
        "_hub",
        "_interval",
        "_past",
        "_past_cut",
        "_poll_at",
        "_probe",
        "_read_at",
        "_ready",
        "_run_blocking",
        "_seen",
        "_sleeper",
        "_state",
        "_terminal",
        "channel",
        "ended",
        "last",
        "stopped",
    )

    def __init__(
        self,
        hub: Hub,
        channel: str,
        after: int,
        terminal: frozenset[str],
        history: Callable[[int], Sequence[StoredEvent]],
        run_blocking: RunBlocking,
    ) -> None:
        now = hub.now()
        self.channel = channel
        self.last = after
        """Number of the last event handed to `next`, or waiting for it."""
        self.ended = False
        """The terminal event has been handed on (or was already behind `after`)."""
        self.stopped = False
        self._hub = hub
        self._terminal = terminal
        self._history = history
        self._run_blocking = run_blocking
        self._ready: list[Entry] = []
        self._bytes = 0
        self._seen = after
        self._state = BEHIND
        # A client may come back with the number of the terminal event: the event at `after` itself is looked at too.
        self._probe = after > 0
        self._past: list[Entry] = []
        self._past_cut = False
        self._gap_since = 0.0
        self._interval = 0.0
        self._read_at = 0.0
        self._poll_at = now + hub.options.settle if hub.up else now
        self._armed = 0.0
        self._sleeper: asyncio.Future[None] | None = None

    # --- the client's side --------------------------------------------------------------------------

    async def next(self, until: float) -> list[Entry]:
        """The next events as soon as there is one. Empty when `until` (loop time) has come, or on `ended`/`stopped`."""
        hub = self._hub
        while True:
            if self._ready:
                ready, self._ready = self._ready, []
                self._bytes = 0
                return ready
            if self.ended or self.stopped:
                return []
            now = hub.now()
            if now >= until:
                return []
            wake_at = until
            if self._state == BEHIND and hub.up and now >= self._read_at:
                self._read()
                continue
            if self._state in (LIVE, BEHIND):
                if now >= self._poll_at:
                    self._fetch()
                    continue
                wake_at = min(wake_at, self._poll_at)
                if self._state == BEHIND and hub.up:
                    wake_at = min(wake_at, self._read_at)
            await self._sleep(wake_at)

    def stop(self) -> None:
        """Make `next` return at once, and from now on."""
        self.stopped = True
        self.wake()

    def close(self) -> None:
        self.stopped = True
        self._hub.detach(self.channel, self)

    def wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    def _alarm(self) -> None:
        self._armed = 0.0
        self.wake()

    async def _sleep(self, until: float) -> None:
        if self._armed == 0.0 or until < self._armed:
            self._armed = until
            self._hub.wheel.at(until, self._alarm)
        self._sleeper = self._hub.loop.create_future()
        try:
            await self._sleeper
        finally:
            self._sleeper = None

    # --- the hub's side -----------------------------------------------------------------------------

    def deliver(self, entry: Entry) -> None:
        """A live message."""
        number = entry.number
        if number <= self.last or self.ended:
            return
        options = self._hub.options
        if (
            self._state == LIVE
            and number == self.last + 1
            and len(self._ready) < options.buffer
            and self._bytes < options.buffer_bytes
        ):
            self._accept(entry)
            self._quiet(self._hub.now())
        else:
            self._seen = max(self._seen, number)
            if self._state == LIVE:
                self._state = BEHIND
        self.wake()

    def link_changed(self, up: bool) -> None:
        """The connection came (everything may have happened meanwhile) or went (only the database is left)."""
        if self._state in (LIVE, BEHIND, READING):
            self._state = BEHIND
        self._read_at = 0.0
        if not up:
            self._interval = 0.0
            self._poll_at = self._hub.now() + self._backoff(self._hub.options.away)
        self.wake()

    # --- reading the stream store -------------------------------------------------------------------

    def _read(self) -> None:
        self._state = READING
        start = f"{self.last}-0" if self._probe else f"({self.last}-0"
        self._hub.read(self.channel, start, self._was_read)

    def _was_read(self, reply: Any) -> None:
        if self._state != READING:
            return
        if isinstance(reply, Exception):
            self._state = BEHIND
            self._read_at = self._hub.now() + self._backoff(self._hub.options.away)
        else:
            entries = parse_range(reply)
            self._place(entries, full=len(reply) >= self._hub.options.page)
        self.wake()

    def _place(self, entries: list[Entry], *, full: bool) -> None:
        """Take from the stream's page and the database's events together what comes next; decide what to do then."""
        now = self._hub.now()
        if self._probe and entries and entries[0].number == self.last:
            self._probe = False
            self._quiet(now)
            if entries[0].name in self._terminal:
                self.ended = True
                return
        past, self._past = self._past, []
        # What is committed past a number says that the number itself will never come; a page says so of nothing.
        horizon = past[-1].number if past else 0
        together = {entry.number: entry for entry in (*entries, *past) if entry.number > self.last}
        limit = entries[-1].number if full and entries else None
        before, gap = self.last, False
        for number in sorted(together):
            if limit is not None and number > limit:
                self._past = [entry for entry in past if entry.number > limit]
                break
            if number != self.last + 1 and number > horizon and not self._out_of_patience(number, now):
                gap = True
                break
            self._accept(together[number])
            if self.ended:
                return
            self._quiet(now)
        # A message that is in no store: looked for like a gap, and forgotten when patience ends.
        lost = self._seen > self.last == before and not full
        if lost and not gap and self._out_of_patience(self._seen + 1, now):
            self._seen, self._gap_since, lost = self.last, 0.0, False
        if gap or lost:
            self._state = BEHIND
            self._await_missing(now)
            return
        self._state = BEHIND if full or self._seen > self.last or not self._hub.up else LIVE
        self._read_at = 0.0
        if self._past_cut or (self._probe and not entries and self._interval == 0.0):
            self._past_cut = False
            self._poll_at = now

    def _await_missing(self, now: float) -> None:
        """The database is asked first, then the stream again, in turns."""
        if self._gap_since == 0.0:
            self._gap_since = now
            self._interval = 0.0
            self._poll_at = now
        self._read_at = self._poll_at if self._poll_at > now else now + self._hub.options.gap[0]

    def _out_of_patience(self, number: int, now: float) -> bool:
        if self._gap_since == 0.0 or now - self._gap_since < self._hub.options.patience:
            return False
        log.warning("events %d to %d of %s are nowhere: passed over", self.last + 1, number - 1, self.channel)
        self._hub.passed_over += number - 1 - self.last
        return True

    # --- asking the database ------------------------------------------------------------------------

    def _fetch(self) -> None:
        self._state = FETCHING
        task = self._hub.loop.create_task(self._ask(max(self.last - 1, 0) if self._probe else self.last))
        task.add_done_callback(self._was_fetched)

    async def _ask(self, after: int) -> list[Entry]:
        async with self._hub.history_slots:
            if self.stopped:
                return []
            stored = await self._run_blocking(self._history, after)
        numbered = sorted(stored, key=lambda event: int(event.number))[:_HISTORY_AT_ONCE]
        return [Entry(event.number, check_name(event.name), encode(event.data)) for event in numbered]

    def _was_fetched(self, task: asyncio.Task[list[Entry]]) -> None:
        if task.cancelled() or self.ended:
            return
        now = self._hub.now()
        found: list[Entry] = []
        if (failure := task.exception()) is not None:
            log.warning("the history of %s could not be read: %s", self.channel, type(failure).__name__)
        else:
            found = task.result()
            if self._probe:
                self._probe = False
                if any(entry.number == self.last and entry.name in self._terminal for entry in found):
                    self.ended = True
        self._past = [entry for entry in found if entry.number > self.last]
        self._past_cut = len(found) >= _HISTORY_AT_ONCE
        options = self._hub.options
        if self._gap_since:
            pace = options.gap
        else:
            pace = options.idle if self._hub.up else options.away
        self._poll_at = now + self._backoff(pace)
        self._state = BEHIND
        self._read_at = 0.0 if self._past or not self._gap_since else self._poll_at
        if self._past and not self._hub.up:
            self._place([], full=False)
        self.wake()

    # --- small steps --------------------------------------------------------------------------------

    def _accept(self, entry: Entry) -> None:
        self._ready.append(entry)
        self._bytes += len(entry.data)
        self.last = entry.number
        self._probe = False
        if entry.name in self._terminal:
            self.ended = True

    def _quiet(self, now: float) -> None:
        """Something came: what was doubtful is settled, the next look at the database is far."""
        self._gap_since = 0.0
        self._interval = 0.0
        options = self._hub.options
        self._poll_at = now + (options.idle if self._hub.up else options.away)[0]

    def _backoff(self, pace: tuple[float, float]) -> float:
        """Seconds until the next try, longer each time; spread, so that clients do not come in step."""
        self._interval = min(max(self._interval * 2, pace[0]), pace[1])
        return self._interval * random.uniform(0.75, 1.25)  # noqa: S311
