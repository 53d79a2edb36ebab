"""Who is asking: a browser or a program, and whether it may see the metrics."""

from __future__ import annotations

import ipaddress
from hmac import compare_digest
from typing import Any

from flask import Response, make_response, request
from werkzeug.exceptions import NotFound

__all__ = ["local", "metrics", "wants_page"]

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


def wants_page() -> bool:
    """Whether the caller names HTML, and likes it better than JSON. `curl` and monitors do not."""
    accepted = request.accept_mimetypes
    named = any(media_type in ("text/html", "application/xhtml+xml") for media_type, _ in accepted)
    return named and accepted["text/html"] >= accepted["application/json"]


def metrics(settings: Any) -> Response | None:
    """A refusal, or None: metrics may be shown.

    With `metrics_basic_auth` to whoever knows it; without, to programs on this machine alone. What a proxy hands on is
    not from this machine, whatever address the connection has. Raises NotFound when metrics are switched off.
    """
    if not settings.metrics:
        raise NotFound
    if settings.metrics_basic_auth is None:
        if local():
            return None
        return make_response({"error": "Forbidden", "message": "Set THALWEG_METRICS_BASIC_AUTH to ask from afar."}, 403)
    wanted = settings.metrics_basic_auth.reveal().encode()
    given = request.authorization
    if given is not None and given.type == "basic":
        told = f"{given.username or ''}:{given.password or ''}".encode("utf-8", "surrogateescape")
        if compare_digest(told, wanted):
            return None
    response = make_response({"error": "Unauthorized", "message": "Name and password, please."}, 401)
    response.headers["WWW-Authenticate"] = 'Basic realm="metrics", charset="UTF-8"'
    return response


def local() -> bool:
    """Whether a program on this machine asks, and not a proxy for somebody else."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:  # no address at all: a socket in the file system
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
