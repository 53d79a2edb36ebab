"""Turns of conversations on the wire: what surfaces that show them have in common. It knows no surface.

A surface brings what it makes of the engine's events (`domain.conversations.events`): a table for `rendering`, or a
function of its own. `stream` then tails a turn, `waited` answers when it is over, `mark` and `resumed` find the place
at which a client stopped listening.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from domain import agents, conversations
from domain.identity import memberships
from domain.kernel.errors import Invalid
from thalweg.edge.application import Event, Pending, Stream

if TYPE_CHECKING:
    from domain.conversations import Turn
    from domain.kernel.context import Ctx

Data = Mapping[str, Any]
Render = Callable[[Event], Iterable[Event]]
"""What goes out for an event of the engine. It runs on the event loop and must not wait."""
Shown = Mapping[str, tuple[str, Callable[[Data], Data]]]
"""The engine's name of an event to the surface's name and what its data become. What is absent is not shown."""

WATCHED = timedelta(hours=24)
"""How long after a turn's end a stream can be gone on with, where a surface does not say otherwise: as long as an
idempotency key holds."""
MOST = 2**31 - 1
"""Above every number of an event."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a client stopped listening: the `id` of an event on the wire, `<turn_id>:<number>`."""

    turn_id: UUID
    number: int


def mark(last_event_id: str | None) -> Mark | None:
    """From `Last-Event-ID`. Raises `Invalid` for what was never an id of ours: going on from nowhere would ask twice,
    or lose events silently."""
    if last_event_id is None:
        return None
    turn_id, _, number = last_event_id.rpartition(":")
    try:
        return Mark(UUID(turn_id), int(number))
    except ValueError:
        raise Invalid("Last-Event-ID is not the id of an event of this stream.", field="Last-Event-ID") from None


def resumed(ctx: Ctx, at: Mark, *, within: timedelta = WATCHED) -> Turn:
    """The caller's turn that `at` stands in.

    Raises `NotFound`, `Gone` (`within` is over since its end), `Invalid` for an event that it has not had.
    """
    turn = conversations.shown(ctx, at.turn_id, within=within)
    must_have(ctx, at.turn_id, at.number, "Last-Event-ID")
    return turn


def must_have(ctx: Ctx, turn_id: UUID, number: int, field: str) -> None:
    """Raises `Invalid` unless the turn has had an event `number`; 0 is the beginning."""
    if not 0 <= number <= MOST or number > conversations.last_number(ctx, turn_id):
        raise Invalid(f"{field} is not the id of an event of this stream.", field=field)


def stream(
    turn_id: UUID,
    render: Render,
    *,
    after: int = 0,
    named: bool = True,
    headers: Mapping[str, str] | None = None,
    replay: Mapping[str, Any] | None = None,
    beat: Callable[[int], Event] | None = None,
) -> Stream:
    """The events of a turn behind `after`, to its end. Named ones have `<turn_id>:<number>` as their id.

    `replay` is what `handlers.app` builds the stream from again for an idempotency key: `{"kind": ..., ...}`. `beat` is
    the event that goes out in silence. Whether the caller may see the turn has been asked before.
    """

    def history(ctx: Ctx, number: int) -> Sequence[Event]:
        return [Event(e.number, e.name, e.data) for e in conversations.events_after(ctx, turn_id, number)]

    return Stream(
        channel=conversations.channel(turn_id),
        terminal=conversations.TERMINAL,
        history=history,
        prefix=str(turn_id) if named else "",
        after=after,
        headers=headers or {},
        replay=replay,
        named=named,
        render=render,
        beat=beat,
    )


def waited(
    turn_id: UUID,
    then: Callable[[Ctx], Any],
    timed_out: Callable[[Ctx], Any],
    *,
    seconds: float,
    replay: Mapping[str, Any] | None = None,
) -> Pending:
    """What `then` answers when the turn is over (see `conversations.result`), or `timed_out` after `seconds`."""
    return Pending(
        channel=conversations.channel(turn_id),
        terminal=conversations.TERMINAL,
        ready=lambda ctx: conversations.ended(ctx, turn_id),
        then=then,
        timed_out=timed_out,
        seconds=seconds,
        replay=replay,
    )


def rendering(shown: Shown) -> Render:
    """What a table makes of an event: one event under the surface's name, or none."""

    def render(event: Event) -> Iterable[Event]:
        known = shown.get(event.name)
        if known is not None:
            name, shape = known
            yield Event(event.number, name, shape(event.data))

    return render


def same(*names: str) -> Callable[[Data], dict[str, Any]]:
    """These fields as the engine has them."""
    return lambda data: {name: data[name] for name in names}


def preferences(ctx: Ctx) -> dict[str, Any]:
    """What a turn takes from its asker's account (`options` of `conversations.start`): where they are, what they speak,
    and whether anything may be remembered. Nothing for a caller who is no person."""
    if agents.caller(ctx) is None:
        return {}
    account = memberships.caller(ctx)
    chosen: dict[str, Any] = {"timezone": account.timezone, "language": account.language}
    return chosen if account.preferences.get("memory_enabled", True) else {**chosen, "memory": False}


def took(turn: Turn) -> int:
    """Milliseconds from its beginning to its end."""
    assert turn.ended_at is not None
    # Two machines may have written the two times.
    return max(0, int((turn.ended_at - (turn.started_at or turn.created_at)).total_seconds() * 1000))
