"""Bots that are sent to meetings: join, recall, and the job that looks after one until its recording is here.

The service is called outside of transactions. What is to happen stands in the database first, so a process that dies
between two steps leaves nothing behind that nobody looks after.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from domain import audit
from domain.kernel import outbox
from domain.kernel.context import Ctx
from domain.kernel.errors import Conflict, DomainError, NotFound, Unavailable, Unprocessable
from domain.kernel.ids import new_id
from domain.kernel.outgoing import UpstreamFailed
from domain.transcriptions import recordings, rules, services
from domain.transcriptions.models import MeetingBot
from domain.transcriptions.recordings import Wishes
from domain.transcriptions.services import Gone, Order, Service

ANNOUNCEMENT = "Hello. I record this meeting to write down what is said, and make notes of it."
ANY = "organisation:manage"
"""Whoever has it may recall the bots of others."""
FIRST_LOOK = timedelta(seconds=20)
SOON = timedelta(seconds=60)
"""A meeting that begins within this is joined at once."""


@dataclass(frozen=True, slots=True)
class Sending:
    """A bot that is reserved and has to be asked for."""

    bot_id: UUID
    service: Service
    order: Order

    def ask(self) -> str | DomainError:
        """Ask the service, without a transaction; what it calls the bot, or why there is none."""
        try:
            return self.service.send(self.order)
        except Gone:
            return UpstreamFailed("The meeting bot's service did not answer as its protocol says.")
        except DomainError as refused:
            return refused


def send(
    ctx: Ctx, *, meeting_url: str, wishes: Wishes, bot_name: str, announce: bool, join_at: datetime | None
) -> Sending:
    """Reserve a bot. The caller has `ask()` called and hands what came to `sent`.

    Raises `Unavailable` (no service or no speech model is set up), `Unprocessable`, `Conflict` (the caller has one in
    the meeting), `NotFound` or `Forbidden` for the knowledge base.
    """
    service = services.current()
    recordings.hears()
    meeting = rules.meeting(meeting_url)
    if meeting is None:
        raise Unprocessable("meetingUrl: this is no meeting of a known service.", reason="unknown_meeting")
    if meeting.platform not in service.platforms:
        raise Unprocessable(
            f"meetingUrl: this server's bots ({service.name}) do not join {rules.NAMES[meeting.platform]}.",
            reason="platform_not_supported",
        )
    now = ctx.now()
    if join_at is not None and join_at > now + timedelta(days=rules.AHEAD_DAYS):
        raise Unprocessable(f"joinAt: {rules.AHEAD_DAYS} days ahead at most.", reason="too_far_ahead")
    later = None if join_at is None or join_at <= now + SOON else join_at
    recordings.must_take(ctx, wishes.knowledge_base_id)
    bot = _lost(ctx, meeting.key)
    if bot is None:
        bot = _reserve(ctx, service, meeting, wishes, meeting_url, bot_name, announce, later)
    bot.reserved_at = now
    outbox.enqueue(ctx, "transcriptions.attend", {"bot_id": str(bot.id)}, delay=FIRST_LOOK)
    order = Order(
        str(bot.id),
        meeting_url,
        bot_name,
        later,
        ANNOUNCEMENT if announce else None,
        rules.LOBBY_SECONDS,
        rules.MEETING_SECONDS,
    )
    return Sending(bot.id, service, order)


def sent(ctx: Ctx, sending: Sending, news: str | DomainError) -> MeetingBot:
    """What the service said to an order. Raises what `ask` met, having undone the reservation."""
    bot = locked(ctx, sending.bot_id)
    if bot is None or bot.state not in rules.RUNNING:  # it took so long that the job has given it up
        if isinstance(news, str):
            outbox.enqueue(ctx, "transcriptions.withdraw", {"service": sending.service.name, "key": sending.order.key})
        raise Unavailable("The meeting bot's service took too long.", retry_after=30).keeping()
    if isinstance(news, DomainError):
        bot.state = "failed"
        row = recordings.locked(ctx, bot.transcription_id)
        if isinstance(news, UpstreamFailed):  # it may have sent one all the same
            outbox.enqueue(
                ctx,
                "transcriptions.withdraw",
                {"service": bot.service, "key": str(bot.id)},
                delay=timedelta(seconds=30),
            )
        if row is not None:  # takes the bot along
            ctx.session.delete(row)
        raise news.keeping()
    bot.service_id = news
    ctx.session.flush()
    audit.record(
        ctx,
        "meet_bot.join",
        resource_type="meet_bot",
        resource_id=bot.id,
        details={"platform": bot.platform, "service": bot.service, "announce": bot.announce},
    )
    return bot


def _lost(ctx: Ctx, key: str) -> MeetingBot | None:
    """The caller's reservation whose answer never came; it may be asked for again. Raises `Conflict`."""
    bot = ctx.session.scalar(
        select(MeetingBot)
        .where(
            MeetingBot.user_id == recordings.owner(ctx),
            MeetingBot.meeting_key == key,
            MeetingBot.state.in_(rules.RUNNING),
        )
        .with_for_update()
    )
    if bot is None:
        return None
    if bot.service_id is None and bot.reserved_at < ctx.now() - timedelta(seconds=rules.UNANSWERED_SECONDS):
        return bot
    raise Conflict("A bot of yours is in this meeting, or on its way.", reason="bot_in_meeting", bot_id=str(bot.id))


def _reserve(
    ctx: Ctx,
    service: Service,
    meeting: rules.Meeting,
    wishes: Wishes,
    meeting_url: str,
    bot_name: str,
    announce: bool,
    later: datetime | None,
) -> MeetingBot:
    now = ctx.now()
    title = rules.title_of(meeting_url, meeting.platform)
    row = recordings.begin(ctx, wishes, source="meet_bot", state="recording", title=title)
    row.begun_at = later or now
    ctx.session.flush()
    values = {
        "id": new_id(),
        "organisation_id": ctx.organisation,
        "user_id": row.user_id,
        "transcription_id": row.id,
        "meeting_url": meeting_url,
        "meeting_key": meeting.key,
        "platform": meeting.platform,
        "bot_name": bot_name,
        "announce": announce,
        "join_at": later or now,
        "state": "joining" if later is None else "scheduled",
        "service": service.name,
        "reserved_at": now,
        "created_at": now,
        "updated_at": now,
    }
    bot = ctx.session.scalars(insert(MeetingBot).on_conflict_do_nothing().returning(MeetingBot), [values]).one_or_none()
    if bot is None:  # another request of the caller's was faster
        raise Conflict("A bot of yours is in this meeting, or on its way.", reason="bot_in_meeting")
    return bot


# --- recalled --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Leaving:
    """A bot that is recalled, as the database has it; the service is still to be told."""

    bot_id: UUID
    service: Service
    service_id: str | None
    withdraw: bool

    def ask(self) -> None:
        """Tell the service, without a transaction. What it does not hear now, the job tells it again."""
        if self.service_id is None:
            return
        try:
            tell_to_leave(self.service, self.service_id, withdraw=self.withdraw)
        except DomainError:
            return


def recall(ctx: Ctx, bot_id: UUID) -> Leaving:
    """Recall a bot: from the commit on it will leave. The caller has `ask()` called.

    Raises `NotFound`, `Conflict` when it has left, `Unavailable` when its service is not set up.
    """
    bot = _recallable(ctx, bot_id)
    service = services.named(bot.service)
    if bot.state not in rules.RUNNING:
        raise Conflict("The bot has left already.", reason="bot_has_left")
    waits = bot.state == "scheduled"
    leaving = Leaving(bot.id, service, bot.service_id, waits)
    bot.recalled, bot.state = True, "leaving"
    # The job that waits for a later meeting would look too late.
    outbox.enqueue(ctx, "transcriptions.attend", {"bot_id": str(bot.id)}, delay=timedelta(seconds=2))
    audit.record(
        ctx, "meet_bot.leave", resource_type="meet_bot", resource_id=bot.id, details={"platform": bot.platform}
    )
    ctx.session.flush()
    return leaving


def get(ctx: Ctx, bot_id: UUID) -> MeetingBot:
    """One that the caller has sent, or may recall. Raises `NotFound`."""
    return _recallable(ctx, bot_id)


def _recallable(ctx: Ctx, bot_id: UUID) -> MeetingBot:
    bot = locked(ctx, bot_id)
    mine = bot is not None and bot.user_id == getattr(ctx.actor, "user_id", None)
    if bot is None or not (mine or ANY in ctx.permissions or "admin" in ctx.permissions):
        raise NotFound("There is no such bot.")
    return bot


def tell_to_leave(service: Service, service_id: str, *, withdraw: bool) -> None:
    try:
        if withdraw:
            service.withdraw(service_id)
        else:
            service.leave(service_id)
    except Gone:
        return


def locked(ctx: Ctx, bot_id: UUID) -> MeetingBot | None:
    return ctx.session.scalar(
        select(MeetingBot).where(MeetingBot.id == bot_id).with_for_update().execution_options(populate_existing=True)
    )
