"""Whether an address that a person has entered may be called: judged as outgoing requests are, before the call."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from domain.kernel import outgoing


def judge(url: str) -> None:
    """Raise `outgoing.Refused` unless every address of the host may be called from here, and a key gets there unread:
    by https, or in a network that the operator has opened (`outgoing_allow`).

    A name may lead elsewhere a moment later: what connects judges again (`guarded_http`).
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise outgoing.Refused
    try:
        found = socket.getaddrinfo(
            parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError):
        raise outgoing.UpstreamFailed from None
    client = outgoing.client()
    for entry in found:
        address = ipaddress.ip_address(str(entry[4][0]).partition("%")[0])
        if not client.may_call(address):
            raise outgoing.Refused
        if parts.scheme == "http" and outgoing.callable_address(address):
            raise outgoing.Refused("Keys are sent by https alone.")
