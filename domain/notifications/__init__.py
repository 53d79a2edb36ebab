"""Notifications: mail that is worth receiving, as text and HTML.

`send_mail` promises a mail in the caller's transaction; a job delivers it, over SMTP or into the development mailbox.
What mails there are, and which facts each takes: `catalogue.TEMPLATES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.kernel.lazily import offers

if TYPE_CHECKING:
    from domain.notifications.catalogue import LANGUAGES, TEMPLATES
    from domain.notifications.delivery import bind, configure, deliver, give_up
    from domain.notifications.mails import forget, get_mail, list_mails, purge, send_mail
    from domain.notifications.models import Mail
    from domain.notifications.ports import Refused, TryLater
else:
    __getattr__ = offers(__name__, __file__)

__all__ = [
    "LANGUAGES",
    "TEMPLATES",
    "Mail",
    "Refused",
    "TryLater",
    "bind",
    "configure",
    "deliver",
    "forget",
    "get_mail",
    "give_up",
    "list_mails",
    "purge",
    "send_mail",
]
