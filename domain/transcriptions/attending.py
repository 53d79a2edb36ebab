"""The job that looks after a bot: how it is, then its recording, then it is forgotten at the service."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import timedelta
from typing import IO
from uuid import UUID

from domain import storage
from domain.kernel import outbox, outgoing
from domain.kernel.context import Ctx, Work
from domain.kernel.errors import DomainError, PaymentRequired, TooLarge, Unavailable
from domain.transcriptions import bots, progress, recordings, rules, services
from domain.transcriptions.models import MeetingBot, Transcription
from domain.transcriptions.progress import Event
from domain.transcriptions.services import Gone, Seen, Service, Turn

MISSES = 40
"""Looks in a row without a useful answer (about three hours), after which a bot is given up."""
UNANSWERED = timedelta(seconds=90)
"""After this nobody waits for the answer to a join any more."""
OVERDUE = timedelta(hours=2)
"""Beyond the longest meeting: a bot that is still there then is lost."""
PIECE = 8 << 20
"""Bytes of a recording that are asked for at once."""
WHOLE = 64 << 20
"""Bytes that are taken at once from a server that knows no ranges."""
TURNS = 20_000


@dataclass(frozen=True, slots=True)
class _Bot:
    id: UUID
    transcription_id: UUID
    organisation_id: UUID
    service: str
    service_id: str
    state: str
    recalled: bool


def attend(work: Work, bot_id: UUID) -> None:
    """Look at a bot, and look again later until its recording is here. The job `transcriptions.attend`."""
    with work.transaction() as ctx:
        bot, event = _due(ctx, bot_id)
        if bot is None:
            work.complete(ctx)
    if bot is None:
        if event is not None:
            progress.publish(work, event[0], event[1])
        return
    try:
        service = services.named(bot.service)
        if bot.recalled:
            bots.tell_to_leave(service, bot.service_id, withdraw=False)
        seen = service.look(bot.service_id)
        address = service.recording(bot.service_id) if seen.state == "ended" and seen.joined_at is not None else None
        if address is None:
            _seen(work, bot, seen)
            return
        _fetch(work, bot, service, seen, address)
    except Gone:
        # One that had not joined was withdrawn; any other is lost at the service.
        never = bot.recalled
        _end(work, bot, "recalled" if never else "internal", "ended" if never else "failed")
    except (TooLarge, PaymentRequired) as no_room:
        _end(work, bot, "too_long" if no_room.code == "too_large" else "internal", "ended", no_room.message)
    except DomainError as fault:
        _missed(work, bot, fault)


def _due(ctx: Ctx, bot_id: UUID) -> tuple[_Bot | None, tuple[UUID, Event] | None]:
    """The bot if it is to be looked at now; else whatever that means is done."""
    bot = bots.locked(ctx, bot_id)
    if bot is None or bot.state not in rules.RUNNING:
        return None, None
    if bot.service_id is None:
        if bot.reserved_at > ctx.now() - UNANSWERED:
            _again(ctx, bot, 15.0)
            return None, None
        # The process that asked for it died: it may have been sent all the same.
        outbox.enqueue(ctx, "transcriptions.withdraw", {"service": bot.service, "key": str(bot.id)})
        event = _over(ctx, bot, "recalled" if bot.recalled else "internal", "failed")
        return None, event and (bot.transcription_id, event)
    wait = (bot.join_at - ctx.now()).total_seconds()
    if bot.state == "scheduled" and wait > 0:
        _again(ctx, bot, min(wait + 5.0, 3600.0))
        return None, None
    if ctx.now() > bot.join_at + timedelta(seconds=rules.MEETING_SECONDS + rules.LOBBY_SECONDS) + OVERDUE:
        outbox.enqueue(ctx, "transcriptions.withdraw", {"service": bot.service, "key": str(bot.id)})
        event = _over(ctx, bot, "internal", "failed")
        return None, event and (bot.transcription_id, event)
    held = _Bot(
        bot.id,
        bot.transcription_id,
        ctx.organisation,
        bot.service,
        bot.service_id,
        bot.state,
        bot.recalled,
    )
    return held, None


def _seen(work: Work, held: _Bot, seen: Seen) -> None:
    """Note how the bot is, or that it is over without a recording."""
    event = None
    with work.transaction() as ctx:
        bot = bots.locked(ctx, held.id)
        if bot is not None and bot.state in rules.RUNNING:
            _times(bot, seen)
            done = seen.state in ("ended", "failed")
            if done and bot.joined_at is None:
                code = "recalled" if bot.recalled else seen.failure or "internal"
                event = _over(ctx, bot, code, "ended" if bot.recalled else "failed")
            elif done and (seen.state == "failed" or bot.misses >= MISSES):
                event = _over(ctx, bot, seen.failure or "internal", "failed")
            else:
                # `ended` without a recording: the service is still preparing it.
                bot.misses = bot.misses + 1 if done else 0
                bot.state = "leaving" if done or bot.recalled else seen.state
                row = recordings.locked(ctx, bot.transcription_id)
                if row is not None and bot.joined_at is not None and row.begun_at != bot.joined_at:
                    row.begun_at = bot.joined_at
                    event = progress.tell(row)
                _again(ctx, bot, rules.pause(bot.state, min(bot.misses, 3)))
        work.complete(ctx)
    progress.publish(work, held.transcription_id, event)


def _missed(work: Work, held: _Bot, fault: DomainError) -> None:
    """The service gave no useful answer: look later, each time a little later."""
    event = None
    with work.transaction() as ctx:
        bot = bots.locked(ctx, held.id)
        if bot is not None and bot.state in rules.RUNNING:
            bot.misses += 1
            if bot.misses > MISSES:
                event = _over(ctx, bot, "internal", "failed", "The meeting bot's service could not be reached.")
            else:
                after = float(fault.facts.get("retry_after") or 0) if isinstance(fault, Unavailable) else 0.0
                _again(ctx, bot, max(after, rules.pause(bot.state, bot.misses)))
        work.complete(ctx)
    progress.publish(work, held.transcription_id, event)


def _fetch(work: Work, held: _Bot, service: Service, seen: Seen, address: str) -> None:
    """The recording, into our store; from there it goes the way of every recording."""
    turns = _turns(service, held.service_id)
    with tempfile.TemporaryFile(prefix="thalweg-recording-") as file:
        download(work, address, file)
        file.seek(0)
        staged = storage.stage(held.organisation_id, file, max_bytes=rules.MAX_BYTES)
    if staged.found not in rules.FORMATS:
        _end(work, held, "unreadable", "ended")
        return
    event = None
    with work.transaction() as ctx:
        bot = bots.locked(ctx, held.id)
        row = None if bot is None else recordings.locked(ctx, bot.transcription_id)
        if bot is not None and row is not None and bot.state in rules.RUNNING:
            _times(bot, seen)
            stored = storage.keep(ctx, staged, name=f"{row.title[:200]}.mp3", purpose=recordings.PURPOSE)
            row.blob_id, row.media_type, row.size = stored.id, staged.found, staged.size
            row.state = "pending"
            row.begun_at = bot.joined_at or row.begun_at
            row.turns = [[turn.start, turn.end, turn.speaker] for turn in turns] or None
            bot.state = "ended"
            bot.left_at = bot.left_at or ctx.now()
            recordings.promise(ctx, row)
            _forget(ctx, bot)
            event = progress.tell(row)
        work.complete(ctx)
    progress.publish(work, held.transcription_id, event)


def download(work: Work, address: str, into: IO[bytes]) -> None:
    """A recording piece by piece: a large one is never in memory whole. The address is judged like any other; our key
    does not go there. Raises `TooLarge`, `UpstreamFailed`, `Unavailable`."""
    client, got = outgoing.client(), 0
    while True:
        work.heartbeat()
        answer = client.get(
            address,
            headers={"Range": f"bytes={got}-{got + PIECE - 1}", "Accept-Encoding": "identity"},
            seconds=60.0,
            max_bytes=WHOLE,
        )
        if answer.status == 416 and got:
            return
        if answer.status not in (200, 206) or (answer.status == 200 and got):
            raise outgoing.UpstreamFailed("The recording could not be fetched.")
        into.write(answer.content)
        got += len(answer.content)
        if got > rules.MAX_BYTES:
            raise TooLarge("The recording is larger than 500 MB.", max_bytes=rules.MAX_BYTES)
        if answer.status == 200 or not answer.content:
            return
        total = {name.lower(): value for name, value in answer.headers.items()}.get("content-range", "")
        size = total.rpartition("/")[2]
        if size.isdigit() and got >= int(size):
            return
        if not size.isdigit() and len(answer.content) < PIECE:
            return


def _turns(service: Service, service_id: str) -> list[Turn]:
    """Who spoke when, if the service tells: worth having, and nothing fails for the want of it."""
    try:
        return service.turns(service_id)[:TURNS]
    except DomainError:
        return []


def _end(work: Work, held: _Bot, code: str, state: str, message: str | None = None) -> None:
    event = None
    with work.transaction() as ctx:
        bot = bots.locked(ctx, held.id)
        if bot is not None and bot.state in rules.RUNNING:
            event = _over(ctx, bot, code, state, message)
        work.complete(ctx)
    progress.publish(work, held.transcription_id, event)


def _over(ctx: Ctx, bot: MeetingBot, code: str, state: str, message: str | None = None) -> Event | None:
    """End a locked bot that brings nothing."""
    bot.state = state
    bot.left_at = bot.left_at or (ctx.now() if bot.joined_at is not None else None)
    _forget(ctx, bot)
    row: Transcription | None = recordings.locked(ctx, bot.transcription_id)
    return recordings.fail(ctx, row, code, message) if row is not None and row.state == "recording" else None


def _forget(ctx: Ctx, bot: MeetingBot) -> None:
    if bot.service_id is not None:
        outbox.enqueue(
            ctx, "transcriptions.forget", {"service": bot.service, "service_id": bot.service_id}, max_attempts=10
        )


def _times(bot: MeetingBot, seen: Seen) -> None:
    bot.joined_at = bot.joined_at or seen.joined_at
    bot.left_at = bot.left_at or seen.left_at


def _again(ctx: Ctx, bot: MeetingBot, seconds: float) -> None:
    outbox.enqueue(ctx, "transcriptions.attend", {"bot_id": str(bot.id)}, delay=timedelta(seconds=seconds))


# --- tidying up at the service ---------------------------------------------------------------------------------


def withdraw(service_name: str, key: str) -> None:
    """Have a bot leave that nobody waits for, if it was sent. The job `transcriptions.withdraw`; raises to be run
    again."""
    service = services.named(service_name)
    bot = service.find(key)
    if bot is not None:
        bots.tell_to_leave(service, bot, withdraw=True)


def forget(service_name: str, service_id: str) -> None:
    """Erase what the service keeps. The job `transcriptions.forget`; raises to be run again."""
    try:
        services.named(service_name).forget(service_id)
    except Gone:
        return


def give_up(ctx: Ctx, bot_id: UUID) -> None:
    """`attend` has failed for good."""
    bot = bots.locked(ctx, bot_id)
    if bot is not None and bot.state in rules.RUNNING:
        _over(ctx, bot, "internal", "failed")
