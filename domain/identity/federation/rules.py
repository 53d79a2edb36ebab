"""Pure rules of signing in through others: where a browser may be sent, and whose address counts."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import timedelta
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

FLOW_LIFE = timedelta(minutes=10)
PICKUP_LIFE = timedelta(seconds=60)
SKEW = timedelta(seconds=60)
"""How far another server's clock may be off."""

_OWN_PATH = re.compile(r"/(?:[^/\\\x00-\x20\x7f][^\\\x00-\x20\x7f]*)?")
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def own_path(path: str | None, otherwise: str = "/") -> str:
    """`path` when it is one of this very server, else `otherwise`.

    A browser reads `//host` and `/\\host` as another server's address, and drops tabs and line feeds before it looks.
    """
    return path if path is not None and len(path) <= 512 and _OWN_PATH.fullmatch(path) else otherwise


def with_query(url: str, **values: str) -> str:
    """`url` with `values` added to its query."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode(values, quote_via=quote))))
    return urlunsplit(parts._replace(query=query))


def challenge(verifier: str) -> str:
    """The S256 code challenge of a PKCE verifier (RFC 7636 4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def address_of(text: object) -> str | None:
    """An e-mail address in the form in which accounts are looked up, or None for what is no plain ASCII address.

    Folding case beyond ASCII would let a look-alike (`ı` for `i`, `K` for `k`) reach another person's account.
    """
    if not isinstance(text, str) or not text.isascii() or len(text) > 254:
        return None
    lower = text.strip().lower()
    return lower if _EMAIL.fullmatch(lower) else None


def name_of(*candidates: object) -> str | None:
    """The first of the candidates that makes a name that can be shown: 1 to 200 characters, no control characters."""
    for candidate in candidates:
        if isinstance(candidate, str):
            clean = _CONTROL.sub(" ", candidate).strip()[:200].strip()
            if clean and clean.isprintable():
                return clean
    return None
