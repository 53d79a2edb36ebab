"""`Set-Cookie` values for `Reply.cookies` and a surface's `cookies(problem, base_path)`.

Reply(body, cookies=[cookie("sid", token, path="/toys", max_age=900)])
Reply(status=204, cookies=[expired("sid", path="/toys")])
"""

from __future__ import annotations

import re
from typing import Literal

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_VALUE = re.compile(r"[\x21\x23-\x2B\x2D-\x3A\x3C-\x5B\x5D-\x7E]*").fullmatch
_ATTRIBUTE = re.compile(r"[\x20-\x3A\x3C-\x7E]*").fullmatch

SameSite = Literal["Strict", "Lax", "None"]


def cookie(
    name: str,
    value: str,
    *,
    path: str = "/",
    max_age: int | None = None,
    same_site: SameSite = "Lax",
    secure: bool = True,
    http_only: bool = True,
    domain: str | None = None,
) -> str:
    """A complete `Set-Cookie` value. `max_age` is seconds; None: until the browser is closed.

    Raises `ValueError` for what RFC 6265 4.1.1 does not allow, `SameSite=None` without `Secure` included.
    """
    if not _NAME(name) or not _VALUE(value):
        raise ValueError(f"cookie {name!r}: the name or the value has characters that a cookie must not have")
    if not path.startswith("/") or not _ATTRIBUTE(path) or not _ATTRIBUTE(domain or ""):
        raise ValueError(f"cookie {name}: the path or the domain cannot be written")
    if same_site == "None" and not secure:
        raise ValueError(f"cookie {name}: SameSite=None needs Secure")
    parts = [f"{name}={value}", f"Path={path}"]
    if domain is not None:
        parts.append(f"Domain={domain}")
    if max_age is not None:
        parts.append(f"Max-Age={max_age}")
    if http_only:
        parts.append("HttpOnly")
    if secure:
        parts.append("Secure")
    parts.append(f"SameSite={same_site}")
    return "; ".join(parts)


def expired(name: str, *, path: str = "/", same_site: SameSite = "Lax", secure: bool = True) -> str:
    """What makes a browser drop the cookie that was set with the same name and path."""
    return cookie(name, "", path=path, max_age=0, same_site=same_site, secure=secure)
