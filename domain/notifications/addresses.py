"""E-mail addresses as the wire takes them."""

from __future__ import annotations

import re
from email.headerregistry import Address
from email.utils import parseaddr

import idna

from domain.kernel.errors import Invalid

_PLAIN = re.compile(r"[a-z0-9_-]{1,32}(?:\.[a-z0-9_-]{1,31})?").fullmatch
"""What most people have before the @, and nobody has to look up in a grammar."""
LONGEST = 254
"""RFC 5321 4.5.3.1.3, without the angle brackets."""


def wire_address(given: str) -> str:
    """`given` with its domain in ASCII (IDNA 2008). The part before the @ may be international (SMTPUTF8).

    Names such as `localhost` and `mail.local` are domains too: whether they can be reached is the mail server's affair.
    Raises Invalid for what is no address; line breaks and control characters never pass.
    """
    local, _, domain = given.strip().rpartition("@")
    try:
        known = local if _PLAIN(local) else _judged(local)
        address = f"{known}@{idna.encode(domain, uts46=True, std3_rules=True).decode()}"
    except (ValueError, idna.IDNAError):
        raise Invalid("That is not an e-mail address.") from None
    if len(address) > LONGEST:
        raise Invalid("That is not an e-mail address.")
    return address


def _judged(local: str) -> str:
    """The part before the @ as the library writes it. Raises ValueError. It is judged alone, because the library knows
    no domains of private networks."""
    from email_validator import validate_email  # late: its grammar takes 15 ms to compile

    return validate_email(f"{local}@example.com", check_deliverability=False).local_part


def sender_address(setting: str) -> Address:
    """The setting `mail_from`: `Name <address>`, or an address. Raises ValueError, which names the setting."""
    name, address = parseaddr(setting)
    try:
        if not setting.isprintable():
            raise ValueError
        return Address(display_name=name, addr_spec=wire_address(address))
    except (Invalid, ValueError):
        raise ValueError("mail_from: has to be `Name <address>` or an address") from None
