"""Support: tickets made of mails, or opened by agents, with answers that a model suggests. See docs/support.md.

`submit` a mail, `open_ticket` (an agent's), `list_tickets`; for jobs `suggesting`. An organisation's tickets are there
for all its people; a suggested answer is shown to those who may see what it draws on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.kernel.lazily import offers

if TYPE_CHECKING:
    from domain.support import suggesting
    from domain.support.erasure import erase_person
    from domain.support.models import Ticket, TicketMessage
    from domain.support.rules import PRIORITIES, STATUSES
    from domain.support.tickets import Mail, Shown, Taken, list_tickets, open_ticket, submit
else:
    __getattr__ = offers(__name__, __file__)

__all__ = [
    "PRIORITIES",
    "STATUSES",
    "Mail",
    "Shown",
    "Taken",
    "Ticket",
    "TicketMessage",
    "erase_person",
    "list_tickets",
    "open_ticket",
    "submit",
    "suggesting",
]
