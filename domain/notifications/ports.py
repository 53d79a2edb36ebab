"""What carries a mail away: a driver takes a finished message and answers by returning or raising."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Protocol


class Refused(Exception):
    """The other side will never take this mail: no such mailbox, content not wanted. The text is for operators."""


class TryLater(Exception):
    """Not now: a server that is away or busy, greylisting, or settings that someone has to put right."""


class Transport(Protocol):
    def deliver(self, message: EmailMessage, *, sender: str, recipient: str) -> None:
        """Hand `message` over. `sender` and `recipient` are bare addresses.

        Delivering the same Message-ID again must be harmless where the protocol allows. Raises Refused and TryLater.
        """
        ...
