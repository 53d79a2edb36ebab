"""SMTP: `smtp://user:password@host:587` (STARTTLS where it is offered) and `smtps://` (TLS from the first byte).

One connection a mail: mails are rare, and a connection that is kept goes stale unseen. A password is never sent in the
clear, except to this machine.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from domain.notifications.ports import Refused, TryLater

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
"""For each answer of the server. The job's own limit ends a server that answers byte by byte."""
_PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class Smtp:
    """A mail server. `tls` is from the first byte; otherwise STARTTLS is used where the server offers it."""

    host: str
    port: int
    tls: bool
    user: str = ""
    password: str = field(default="", repr=False)
    context: Callable[[], ssl.SSLContext] = ssl.create_default_context
    connect_seconds: float = CONNECT_SECONDS
    answer_seconds: float = ANSWER_SECONDS

    @classmethod
    def at(cls, url: str) -> Smtp:
        """Raises ValueError, which names the setting and shows nothing of it."""
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS[parts.scheme]
            host = parts.hostname
        except (ValueError, KeyError):
            host = None
        if not host:
            raise ValueError("mail_url: has to be smtp://user:password@host:587 or smtps://...")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(host, port, parts.scheme == "smtps", user, password)

    def deliver(self, message: EmailMessage, *, sender: str, recipient: str) -> None:
        """One mail over one connection. Raises Refused and TryLater."""
        try:
            with self._connected() as server:
                server.send_message(message, from_addr=sender, to_addrs=[recipient])
        except smtplib.SMTPRecipientsRefused as problem:
            raise _judged(*problem.recipients[recipient]) from None
        except smtplib.SMTPDataError as problem:
            raise _judged(problem.smtp_code, problem.smtp_error) from None
        except smtplib.SMTPNotSupportedError:
            raise Refused("the server takes no international addresses (SMTPUTF8)") from None
        except smtplib.SMTPAuthenticationError as problem:
            raise TryLater(f"the server refuses user or password ({problem.smtp_code}): see mail_url") from None
        except smtplib.SMTPResponseException as problem:
            # Greeting, MAIL FROM and the like: nothing to do with this mail, so it waits until someone puts it right.
            raise TryLater(_told(problem.smtp_code, problem.smtp_error)) from None
        except ssl.SSLError as problem:
            reason = getattr(problem, "verify_message", "") or problem.reason or type(problem).__name__
            raise TryLater(f"no secure connection to the mail server: {reason}") from None
        except (smtplib.SMTPException, OSError) as problem:
            late = isinstance(problem, TimeoutError) or "timed out" in str(problem)  # smtplib wraps some of them
            why = "it did not answer in time" if late else type(problem).__name__
            raise TryLater(f"the mail server is away: {why}") from None

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        if self.tls:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, timeout=self.connect_seconds, context=self.context()
            )
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=self.connect_seconds)
        try:
            if server.sock is not None:
                server.sock.settimeout(self.answer_seconds)
            server.ehlo_or_helo_if_needed()
            secure = self.tls
            if not secure and server.has_extn("starttls"):
                server.starttls(context=self.context())
                server.ehlo()
                secure = True
            if self.user:
                if not secure and not _this_machine(self.host):
                    raise TryLater("the server offers no STARTTLS, and a password is not sent in the clear")
                server.login(self.user, self.password)
            yield server
            # Accepted is accepted, however the farewell goes.
            with contextlib.suppress(smtplib.SMTPException, OSError):
                server.quit()
        finally:
            server.close()


def _judged(code: int, said: bytes | str) -> Refused | TryLater:
    """RFC 5321 4.2.1: 5yz is final, anything else is not. 552 in answer to a mailbox that is full is 452 in old servers
    and both in others; the enhanced code 4.x.x (RFC 3463) outweighs them."""
    told = _told(code, said)
    enhanced = re.match(r"\d{3} (\d)\.\d{1,3}\.\d{1,3}\b", told)
    final = enhanced[1] == "5" if enhanced and enhanced[1] in "45" else 500 <= code < 600
    return Refused(told) if final else TryLater(told)


def _told(code: int, said: bytes | str) -> str:
    """What the server said, for operators: one printable line."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return f"{code} {' '.join(''.join(c if c.isprintable() else ' ' for c in text).split())}"[:300]


def _this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
