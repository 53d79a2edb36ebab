"""Services that send bots into meetings: what this context asks of them, and the one that the settings name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from urllib.parse import urlsplit

from domain.kernel.errors import DomainError, Unavailable

ADDRESSES = {"attendee": "https://app.attendee.dev", "recall": "https://us-east-1.recall.ai"}


@dataclass(frozen=True, slots=True)
class Order:
    """A bot to be sent. `key`: the same for each attempt to send the same bot."""

    key: str
    meeting_url: str
    bot_name: str
    join_at: datetime | None
    """None: at once."""
    announcement: str | None
    lobby_seconds: int
    meeting_seconds: int


@dataclass(frozen=True, slots=True)
class Seen:
    """How a bot is, in this context's words. `failure`: a code of `TranscriptionFailure`, for one that `failed` or
    `ended` without having heard anything."""

    state: str
    joined_at: datetime | None = None
    left_at: datetime | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """Who spoke, in seconds from the start of the recording."""

    start: float
    end: float
    speaker: str


class Gone(DomainError):
    """The service does not know the bot (any more)."""

    code = "not_found"
    default = "The meeting bot's service does not know this bot."


class Declined(DomainError):
    """The service understood, and will not do it: a repeat would end the same way."""

    code = "unprocessable"
    default = "The meeting bot's service did not take this meeting."


class Service(Protocol):
    """A driver. Every method calls the service over HTTP and is used outside of transactions. Raises `Unavailable`
    (fact `retry_after`), `outgoing.UpstreamFailed` for answers that are none, `Gone`, `Declined`."""

    @property
    def name(self) -> str: ...
    @property
    def platforms(self) -> frozenset[str]:
        """The meetings that its bots can join."""
        ...

    def send(self, order: Order) -> str:
        """Send a bot; what the service calls it."""
        ...

    def find(self, key: str) -> str | None:
        """The bot of an order, where one was sent."""
        ...

    def look(self, bot: str) -> Seen: ...

    def leave(self, bot: str) -> None:
        """Have it leave. Harmless for one that has left."""
        ...

    def withdraw(self, bot: str) -> None:
        """Take back one that has not joined yet."""
        ...

    def recording(self, bot: str) -> str | None:
        """The address of the recording's sound, good for a while; None when there is none yet."""
        ...

    def turns(self, bot: str) -> list[Turn]:
        """Who spoke when; empty where the service does not know."""
        ...

    def forget(self, bot: str) -> None:
        """Erase what the service keeps of the meeting. Harmless to repeat."""
        ...


_bound: Service | None = None


def bind(service: Service | None) -> None:
    """Use `service` in this process from now on; None: there is none."""
    global _bound
    _bound = service


def configure(name: str | None, url: str | None, key: str | None) -> None:
    """Bind the service that the settings name. Raises `ValueError` that names the setting that is wrong."""
    if name is None:
        bind(None)
        return
    if not key:
        raise ValueError(f"meeting_bot_key: needed for the meeting bot `{name}`")
    base = (url or ADDRESSES[name]).rstrip("/")
    if urlsplit(base).query or urlsplit(base).fragment:
        raise ValueError("meeting_bot_url: an address without query and fragment")
    from domain.transcriptions.drivers.attendee import Attendee
    from domain.transcriptions.drivers.recall import Recall

    bind(Attendee(base, key) if name == "attendee" else Recall(base, key))


def current() -> Service:
    """Raises `Unavailable` that names the setting."""
    if _bound is None:
        raise Unavailable(
            "No service for meeting bots is set up on this server (settings `meeting_bot` and `meeting_bot_key`).",
            reason="not_configured",
        )
    return _bound


def named(name: str) -> Service:
    """The service that a bot runs at. Raises `Unavailable` when the settings name another one by now."""
    service = current()
    if service.name != name:
        raise Unavailable(
            f"This bot runs at {name}, and the server is set up for {service.name} (setting `meeting_bot`).",
            reason="not_configured",
        )
    return service
