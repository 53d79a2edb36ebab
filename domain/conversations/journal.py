"""The journal of a running turn: what it appends to its record, in order, and publishes once it is committed.

Words are gathered for a moment, and while something slow goes on they are written together with other turns' words
(`scribe`); everything else is written at once. A turn that is asked to stop notices here, within a third of a second.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, select

from domain import inference
from domain.conversations import events
from domain.conversations.models import Turn, TurnEvent, TurnStep
from domain.conversations.scribe import GATHER, LOOK, look, scribe
from domain.kernel.context import Ctx, UserActor, Work

log = logging.getLogger("thalweg.conversations")

LONGEST_DELTA = 50_000
"""Characters of one event, however much a model says in one breath."""


def channel(turn_id: UUID) -> str:
    """The stream of a turn's events."""
    return f"turn:{turn_id}"


class _Words(NamedTuple):
    """Words that wait to be written."""

    kind: str
    agent: str | None
    depth: int
    step: str
    words: str


class Cancelled(Exception):
    """Somebody has asked the turn to stop."""


class Ended(Exception):
    """The turn was ended from outside (deleted, expired): there is nothing left to write."""


class Journal:
    """For one run of one turn. Whoever runs it later takes over: this one then raises `Ended`."""

    def __init__(self, work: Work, turn: Turn) -> None:
        self.work = work
        self.turn_id = turn.id
        self.run_id = turn.run_id
        self.conversation_id = turn.conversation_id
        self.behind = False
        """Something could not be published: readers find it in the database, and a job publishes it again."""
        self._actor = None if turn.user_id is None else UserActor(turn.user_id)
        self._permissions = frozenset(str(p) for p in turn.permissions)
        self._surface = turn.surface
        self.organisation_id = turn.organisation_id
        self.lock = threading.RLock()
        """Whoever writes holds it: the turn itself, or the scribe."""
        self.slow: Callable[[], None] = lambda: None
        """To be called before something slow: others may begin meanwhile (`gate`)."""
        self.problem: BaseException | None = None
        """What the scribe has found, for `check`."""
        self.failing_since: float | None = None
        self._number = 0
        self._words: deque[_Words] = deque()
        self._kept = False
        self._written_at = 0.0
        self._looked_at = time.monotonic()
        self._steps: dict[str, dict[str, Any]] = {}
        self._partial: dict[str, str] = {}
        self.asked: tuple[str, str, str] | None = None
        """The model outside that is speaking: its name, the step, and what it was shown."""

    def load(self, ctx: Ctx) -> list[TurnEvent]:
        """Know what earlier runs have written; the events so far."""
        known = list(
            ctx.session.scalars(select(TurnEvent).where(TurnEvent.turn_id == self.turn_id).order_by(TurnEvent.number))
        )
        self._number = known[-1].number if known else 0
        self._steps = {
            row.key: row.output for row in ctx.session.scalars(select(TurnStep).where(TurnStep.turn_id == self.turn_id))
        }
        for event in known:
            if event.name == events.TEXT_DELTA:
                step = event.data["step"]
                self._partial[step] = self._partial.get(step, "") + event.data["delta"]
        return known

    # --- transactions -----------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """A short transaction as the platform, in which events and steps are written. Gathered words go first.

        Raises `Cancelled` before anything is written when the turn is to stop, `Ended` when it is over already.
        """
        with self._writing(stops=True) as writer:
            yield writer

    @contextmanager
    def closing(self) -> Iterator[Writer]:
        """The same for the end of a turn, which is written whether or not it is to stop."""
        with self._writing(stops=False) as writer:
            yield writer

    @contextmanager
    def _writing(self, *, stops: bool) -> Iterator[Writer]:
        with self.lock:
            number = self._number
            try:
                with self.work.transaction() as ctx:
                    state, asked = ctx.session.execute(
                        select(Turn.state, Turn.cancel_requested_at)
                        .where(Turn.id == self.turn_id, Turn.run_id == self.run_id)
                        .with_for_update()
                    ).one_or_none() or (None, None)
                    if state != "running":
                        raise Ended
                    if stops and asked is not None:
                        raise Cancelled
                    writer = Writer(self, ctx)
                    pieces = self.pieces()
                    for _, name, data in self.numbered(ctx.now(), pieces):
                        writer.add(name, data)
                    yield writer
            except BaseException:
                self._number = number  # nothing of it was committed: the words wait for the next transaction
                raise
            for name, output in writer.steps:
                self._steps[name] = output
            self.wrote(pieces, writer.written)
            self.publish(writer.written)  # with the lock: a stream takes no number behind a later one

    def committed(self, writer: Writer) -> None:
        """What a `Writer` has written in a transaction of the caller's is there now."""
        self._steps.update(writer.steps)
        self.publish(writer.written)

    @contextmanager
    def as_person(self) -> Iterator[Ctx]:
        """A short transaction with the asker's own rights: what tools look through."""
        with self.work.transaction() as ctx:
            yield self.person(ctx)

    def person(self, ctx: Ctx) -> Ctx:
        return replace(ctx, actor=self._actor or ctx.actor, permissions=self._permissions, surface=self._surface)

    # --- words ------------------------------------------------------------------------------------

    def say(self, words: str, *, agent: str | None, depth: int, step: str, kind: str = events.TEXT_DELTA) -> None:
        """Add words to the answer. They are out within `GATHER` seconds (longer on a busy machine), the first ones at
        once."""
        if not words:
            return
        self._words.append(_Words(kind, agent, depth, step, words))
        if self._kept:
            scribe.ring()
        elif time.monotonic() - self._written_at >= GATHER:
            self.flush()

    def flush(self) -> None:
        """Write the words that wait. Raises `Cancelled`, `Ended`."""
        if self._words:
            with self.writing():
                pass

    @contextmanager
    def kept(self, wake: Callable[[], None]) -> Iterator[None]:
        """While something slow goes on: words are written by the scribe, and `wake` is called, from another thread,
        when `check` would raise."""
        self.slow()
        self.problem = self.failing_since = None
        self._kept = True
        try:
            with scribe.keep(self, wake):
                yield
        finally:
            self._kept = False

    def check(self) -> None:
        """Raises `Cancelled`, `Ended` or what kept the scribe from writing, once it has found out."""
        if self.problem is not None:
            raise self.problem

    def tick(self) -> None:
        """To be called now and then by what is slow and not beside the journal: looks for a wish to stop."""
        if time.monotonic() - self._looked_at < LOOK:
            return
        look([self])
        self.check()

    # --- for whoever writes: the lock is held -----------------------------------------------------

    @property
    def talking(self) -> bool:
        """Words wait."""
        return bool(self._words)

    def pieces(self) -> list[_Words]:
        """The words that wait, as they were said."""
        return list(self._words)

    def numbered(self, moment: datetime, pieces: Sequence[_Words]) -> list[tuple[int, str, Mapping[str, Any]]]:
        """The next events, of these words: (number, name, data)."""
        found: list[tuple[int, str, Mapping[str, Any]]] = []
        for (kind, agent, depth, step), run in groupby(pieces, key=lambda piece: piece[:4]):
            said = "".join(piece.words for piece in run)
            for at in range(0, len(said), LONGEST_DELTA):
                delta = said[at : at + LONGEST_DELTA]
                data = events.data(moment, agent=agent, depth=depth, delta=delta, step=step)
                found.append((self._number + len(found) + 1, kind, data))
        return found

    def wrote(self, pieces: Sequence[_Words], written: Sequence[tuple[int, str, Mapping[str, Any]]]) -> None:
        """These events are committed, and these words among them."""
        for piece in pieces:
            self._words.popleft()
            if piece.kind == events.TEXT_DELTA:
                self._partial[piece.step] = self._partial.get(piece.step, "") + piece.words
        if written:
            self._number = written[-1][0]
        self.failing_since = None
        self._looked_at = self._written_at = time.monotonic()

    def seen(self, *, running: bool, cancelled: bool) -> None:
        """What the turn's row says."""
        self.failing_since = None
        self._looked_at = time.monotonic()
        if not running:
            self.problem = Ended()
        elif cancelled:
            self.problem = Cancelled()

    # --- what is known already --------------------------------------------------------------------

    def done(self, key: str) -> Mapping[str, Any] | None:
        """What a step came to, in this run or an earlier one."""
        return self._steps.get(key)

    def said(self, step: str) -> str:
        """The words of a step that are out (and committed)."""
        with self.lock:
            return self._partial.get(step, "")

    def taken(self) -> list[tuple[str, int, int]]:
        """What each request to a model took: its name, tokens in, tokens out. Of one that was broken off in the middle
        of its words nobody tells: it is counted here."""
        kept = [each for each in self._steps.values() if "input_tokens" in each]
        found = [(str(each["model"]), int(each["input_tokens"]), int(each["output_tokens"])) for each in kept]
        if self.asked is not None and self.said(self.asked[1]):
            name, step, shown = self.asked
            before, after = inference.count_tokens([shown, self.said(step)])
            found.append((name, before, after))
        return found

    def response(self) -> str:
        """All words so far, as the stream has them."""
        with self.lock:
            waiting = [piece.words for piece in self.pieces() if piece.kind == events.TEXT_DELTA]
            return "".join([*self._partial.values(), *waiting])

    # --- publishing -------------------------------------------------------------------------------

    def republish(self, known: list[TurnEvent]) -> None:
        """Publish what an earlier run may have committed and not published; a number twice is harmless."""
        self.publish([(event.number, event.name, event.data) for event in known])

    def publish(self, written: Sequence[tuple[int, str, Mapping[str, Any]]], *, later: bool = False) -> None:
        """Publish what is committed. `later`: with the work's next `publish_rest`."""
        send = self.work.publish_later if later else self.work.publish
        for number, name, data in written:
            if self.behind:
                return
            try:
                send(channel(self.turn_id), number, name, data)
            except (OSError, RuntimeError) as away:
                self._away(away)
            except Exception as away:  # redis' own errors, which are none of ours to import
                if type(away).__module__.split(".")[0] not in ("redis", "valkey"):
                    raise
                self._away(away)

    def _away(self, problem: Exception) -> None:
        self.behind = True
        log.warning("events not published", exc_info=problem)


class Writer:
    """What one transaction writes."""

    def __init__(self, journal: Journal, ctx: Ctx) -> None:
        self.ctx = ctx
        self.written: list[tuple[int, str, Mapping[str, Any]]] = []
        self.steps: list[tuple[str, dict[str, Any]]] = []
        self._journal = journal

    @property
    def person(self) -> Ctx:
        return self._journal.person(self.ctx)

    def event(self, name: str, *, agent: str | None = None, depth: int = 0, message: str = "", **more: Any) -> None:
        self.add(name, events.data(self.ctx.now(), agent=agent, depth=depth, message=message, **more))

    def add(self, name: str, made: Mapping[str, Any]) -> None:
        journal = self._journal
        journal._number += 1
        self.ctx.session.add(
            TurnEvent(
                turn_id=journal.turn_id, number=journal._number, name=name, data=dict(made), created_at=self.ctx.now()
            )
        )
        self.written.append((journal._number, name, made))

    def step(self, key: str, output: dict[str, Any]) -> None:
        """Note that something is done and need not be done again."""
        self.ctx.session.add(TurnStep(turn_id=self._journal.turn_id, key=key, output=output, created_at=self.ctx.now()))
        self.steps.append((key, output))


def append(ctx: Ctx, turn_id: UUID, name: str, **more: Any) -> None:
    """An event from outside a run: the turn must not be running, and its row be locked."""
    last = ctx.session.scalar(select(func.max(TurnEvent.number)).where(TurnEvent.turn_id == turn_id)) or 0
    now = ctx.now()
    ctx.session.add(
        TurnEvent(turn_id=turn_id, number=last + 1, name=name, data=dict(events.data(now, **more)), created_at=now)
    )
    ctx.session.flush()
