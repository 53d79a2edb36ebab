"""The journal of a running turn: what it appends to its record, in order, and publishes once it is committed.

Words are gathered for a moment and written together; everything else at once. A turn that is asked to stop notices
here, between two writes, within a third of a second.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from domain import inference
from domain.conversations import events
from domain.conversations.models import Turn, TurnEvent, TurnStep
from domain.kernel.context import Ctx, UserActor, Work

log = logging.getLogger("thalweg.conversations")

GATHER = 0.06
"""Seconds that words wait for more: about sixteen writes a second at most."""
GATHER_CHARACTERS = 2000
LONGEST_DELTA = 50_000
"""Characters of one event, however much a model says in one breath."""
LOOK = 0.3
"""Seconds between two looks at whether the turn is to stop."""
SHARE, LONGEST = 10, 0.8
"""A write waits for so many times as long as the last one took, at most so many seconds: where many turns write at once
each writes more seldom, and more."""


def channel(turn_id: UUID) -> str:
    """The stream of a turn's events."""
    return f"turn:{turn_id}"


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
        self._number = 0
        self._words: list[str] = []
        self._kind = events.TEXT_DELTA
        self._whose: tuple[str | None, int, str] = (None, 0, "")
        self._waiting_since: float | None = None
        self._written_at = 0.0
        self._took = 0.0
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
        words, self._words, self._waiting_since = self._words, [], None
        number = self._number
        began = time.monotonic()
        try:
            with self.work.transaction() as ctx:
                state, asked = ctx.session.execute(
                    select(Turn.state, Turn.cancel_requested_at)
                    .where(Turn.id == self.turn_id, Turn.run_id == self.run_id)
                    .with_for_update()
                ).one_or_none() or (None, None)
                if state != "running":
                    raise Ended
                writer = Writer(self, ctx)
                if words:
                    agent, depth, step = self._whose
                    joined = "".join(words)
                    for at in range(0, len(joined), LONGEST_DELTA):
                        delta = joined[at : at + LONGEST_DELTA]
                        writer.event(self._kind, agent=agent, depth=depth, delta=delta, step=step)
                if stops and asked is not None:
                    raise Cancelled
                yield writer
        except BaseException:
            # Nothing of it was committed: the words wait for the next transaction.
            self._number, self._words = number, [*words, *self._words]
            self._waiting_since = time.monotonic() if self._words else None
            raise
        for name, output in writer.steps:
            self._steps[name] = output
        if words and self._kind == events.TEXT_DELTA:
            step = self._whose[2]
            self._partial[step] = self._partial.get(step, "") + "".join(words)
        self._publish(writer.written)
        self._looked_at = self._written_at = time.monotonic()
        self._took = self._written_at - began

    def _every(self, seconds: float) -> float:
        """Seconds between two writes, or looks, that are `seconds` apart where nothing is slow."""
        return max(seconds, min(LONGEST, SHARE * self._took))

    def committed(self, writer: Writer) -> None:
        """What a `Writer` has written in a transaction of the caller's is there now."""
        self._steps.update(writer.steps)
        self._publish(writer.written)

    @contextmanager
    def as_person(self) -> Iterator[Ctx]:
        """A short transaction with the asker's own rights: what tools look through."""
        with self.work.transaction() as ctx:
            yield self.person(ctx)

    def person(self, ctx: Ctx) -> Ctx:
        return replace(ctx, actor=self._actor or ctx.actor, permissions=self._permissions, surface=self._surface)

    # --- words ------------------------------------------------------------------------------------

    def say(self, words: str, *, agent: str | None, depth: int, step: str, kind: str = events.TEXT_DELTA) -> None:
        """Add words to the answer. They are out within `GATHER` seconds (`LONGEST` on a busy machine), the first ones
        at once."""
        if not words:
            return
        if self._words and (self._whose != (agent, depth, step) or self._kind != kind):
            self.flush()
        self._whose, self._kind = (agent, depth, step), kind
        self._words.append(words)
        now = time.monotonic()
        self._waiting_since = self._waiting_since or now
        if now - self._written_at >= self._every(GATHER) or sum(map(len, self._words)) >= GATHER_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        """Write the words that wait. Raises `Cancelled`, `Ended`."""
        if self._words:
            with self.writing():
                pass

    def due(self) -> float:
        """Seconds until there is something to do for `tick`: a hundred turns that looked up more often than that would
        keep a processor busy with looking up."""
        if self._waiting_since is not None:
            at = self._waiting_since + self._every(GATHER)
        else:
            at = self._looked_at + self._every(LOOK)
        return max(0.01, at - time.monotonic())

    def tick(self) -> None:
        """To be called while nothing comes: writes words that have waited long enough, looks for a wish to stop."""
        now = time.monotonic()
        if self._waiting_since is not None and now - self._waiting_since >= self._every(GATHER):
            self.flush()
        elif now - self._looked_at >= self._every(LOOK):
            with self.work.transaction() as ctx:
                row = ctx.session.execute(
                    select(Turn.state, Turn.cancel_requested_at).where(
                        Turn.id == self.turn_id, Turn.run_id == self.run_id
                    )
                ).one_or_none()
            self._looked_at = time.monotonic()
            self._took = self._looked_at - now
            if row is None or row.state != "running":
                raise Ended
            if row.cancel_requested_at is not None:
                raise Cancelled

    # --- what is known already --------------------------------------------------------------------

    def done(self, key: str) -> Mapping[str, Any] | None:
        """What a step came to, in this run or an earlier one."""
        return self._steps.get(key)

    def said(self, step: str) -> str:
        """The words of a step that are out (and committed)."""
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
        return "".join(self._partial.values()) + ("".join(self._words) if self._kind == events.TEXT_DELTA else "")

    # --- publishing -------------------------------------------------------------------------------

    def republish(self, known: list[TurnEvent]) -> None:
        """Publish what an earlier run may have committed and not published; a number twice is harmless."""
        self._publish([(event.number, event.name, event.data) for event in known])

    def _publish(self, written: list[tuple[int, str, Mapping[str, Any]]]) -> None:
        for number, name, data in written:
            if self.behind:
                return
            try:
                self.work.publish(channel(self.turn_id), number, name, data)
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
        journal = self._journal
        journal._number += 1
        now = self.ctx.now()
        made = events.data(now, agent=agent, depth=depth, message=message, **more)
        self.ctx.session.add(
            TurnEvent(turn_id=journal.turn_id, number=journal._number, name=name, data=dict(made), created_at=now)
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
