"""Signed addresses of the platform's own, for stores that have none: one act, one object, a short while.

A token is `<act><organisation><object><expiry>` and its HMAC, in base64url. It is checked without a look at the
database; what the row says is asked as well, so that a deleted object's addresses are worth nothing at once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from domain.kernel import crypto
from domain.kernel.errors import Forbidden

PATH = "/files/"
"""Where the platform serves them, below its base URL."""

UPLOAD, DOWNLOAD = "upload", "download"

_ACTS = {UPLOAD: 1, DOWNLOAD: 2}
_PACKED = struct.Struct(">B16s16sQ")
_LENGTH = _PACKED.size + 32


@dataclass(frozen=True, slots=True)
class Claim:
    """What a good token stands for."""

    act: str
    organisation_id: UUID
    object_id: UUID


def sign(act: str, organisation_id: UUID, object_id: UUID, expires_at: datetime) -> str:
    body = _PACKED.pack(_ACTS[act], organisation_id.bytes, object_id.bytes, int(expires_at.timestamp()))
    return base64.urlsafe_b64encode(body + _signature(_keys(crypto.ring())[0], body)).rstrip(b"=").decode()


def read(token: str, act: str, now: datetime) -> Claim:
    """Raises `Forbidden` for a token that is none, is for another act, or has expired."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Forbidden("This address is not valid.") from None
    body, signature = raw[: _PACKED.size], raw[_PACKED.size :]
    if len(raw) != _LENGTH or not any(crypto.same(signature, _signature(k, body)) for k in _keys(crypto.ring())):
        raise Forbidden("This address is not valid.")
    number, organisation, object_, expires = _PACKED.unpack(body)
    if number != _ACTS[act]:
        raise Forbidden(f"This address is not for an {act}." if act == UPLOAD else f"This address is not for a {act}.")
    if now.timestamp() >= expires:
        raise Forbidden("This address has expired.")
    return Claim(act, UUID(bytes=organisation), UUID(bytes=object_))


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.new(key, body, hashlib.sha256).digest()


@lru_cache(maxsize=4)
def _keys(ring: crypto.KeyRing) -> list[bytes]:
    return ring.derived("storage.link")
