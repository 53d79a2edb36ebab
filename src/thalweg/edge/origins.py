"""Whose page sent a request: what keeps other sites from using a browser's cookies (CSRF).

A cookie is sent by the browser whoever wrote the page. So a cookie that is a credential counts on a method that changes
something only when the request comes from a page of this server, or of an origin that may call with credentials (CORS).
A request that carries none of the three headers that browsers put there comes from a program, which has no cookies but
its own (docs/decisions/0007-cookies-and-other-sites.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from thalweg.edge.application import Facts

_PORTS = {"http": 80, "https": 443}


class Origins:
    """The origins whose pages may use cookies, besides the one that the request was sent to."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """`allowed` are origins (`https://app.example.com`); `*` stands for none of them here."""
        self._allowed = {origin for text in allowed if (origin := normal(text)) is not None}

    def trust(self, facts: Facts, scheme: str) -> bool:
        """Whether a request that was sent to `scheme`://Host may use its cookies to change something."""
        headers = facts.headers
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site")
        if site is not None and site.strip().lower() in ("same-origin", "none"):  # none: typed, or from a bookmark
            return True
        if origin is not None:
            return self._known(origin, scheme, headers)
        if site is not None:  # another site's page, and it does not say which
            return False
        referer = headers.get("referer")
        return referer is None or self._known(referer, scheme, headers)

    def _known(self, address: str, scheme: str, headers: Mapping[str, str]) -> bool:
        came_from = normal(address)
        if came_from is None:  # `null`, two of them, or nonsense
            return False
        return came_from in self._allowed or came_from == normal(f"{scheme}://{headers.get('host', '')}")


def normal(address: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin or a URL; None for what is neither."""
    try:
        parts = urlsplit(address.strip())
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or port is None or " " in parts.netloc or "," in parts.netloc:
        return None
    return parts.scheme, parts.hostname.lower(), port
