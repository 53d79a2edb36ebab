"""E-mail addresses as the wire takes them."""

from __future__ import annotations

from email.headerregistry import Address
from email.utils import parseaddr

import idna

from domain.kernel.errors import Invalid

LONGEST = 254
"""RFC 5321 4.5.3.1.3, without the angle brackets."""


def wire_address(given: str) -> str:
    """`given` with its domain in ASCII (IDNA 2008). The part before the @ may be international (SMTPUTF8).

    Names such as `localhost` and `mail.local` are domains too: whether they can be reached is the mail server's affair.
    Raises Invalid for what is no address; line breaks and control characters never pass.
    """
    from email_validator import EmailNotValidError, validate_email  # late: its grammar takes 15 ms to compile

    local, _, domain = given.strip().rpartition("@")
    try:
        # The library judges the part before the @ alone: it knows no domains of private networks.
        known = validate_email(f"{local}@example.com", check_deliverability=False).local_part
        address = f"{known}@{idna.encode(domain, uts46=True, std3_rules=True).decode()}"
    except (EmailNotValidError, idna.IDNAError):
        raise Invalid("That is not an e-mail address.") from None
    if len(address) > LONGEST:
        raise Invalid("That is not an e-mail address.")
    return address


def sender_address(setting: str) -> Address:
    """The setting `mail_from`: `Name <address>`, or an address. Raises ValueError, which names the setting."""
    name, address = parseaddr(setting)
    try:
        if not setting.isprintable():
            raise ValueError
        return Address(display_name=name, addr_spec=wire_address(address))
    except (Invalid, ValueError):
        raise ValueError("mail_from: has to be `Name <address>` or an address") from None
