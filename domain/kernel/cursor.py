"""Keyset cursors: opaque, signed, and valid only for the listing that made them.

A verb with a `CursorPage` calls `listed()`; the rest is below it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID

import orjson
from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from domain.kernel import crypto
from domain.kernel.errors import Invalid
from domain.kernel.pages import CursorPage, Page

T = TypeVar("T")

Value = str | int | float | bool | UUID | datetime | None

_SIGNATURE = 16
LIMIT = 2048
"""Characters of a cursor at most."""


def listed(
    session: Session,
    statement: Select[T],
    *keys: InstrumentedAttribute[Any],
    page: CursorPage,
    listing: str,
    descending: bool = False,
) -> Page[T]:
    """A page of `statement` (of one entity), in the order of `keys`, which together must be unique and not null.

    `listing` names the listing and whatever filters must not change between pages. Raises `Invalid` ("malformed
    cursor").
    """
    if page.cursor is not None:
        after = decode(listing, page.cursor)
        if len(after) != len(keys):
            raise _malformed()
        position, values = tuple_(*keys), tuple_(*after)
        statement = statement.where(position < values if descending else position > values)
    order = [key.desc() if descending else key.asc() for key in keys]
    rows: Sequence[T] = session.scalars(statement.order_by(None).order_by(*order).limit(page.limit + 1)).all()
    if len(rows) <= page.limit:
        return Page(rows)
    last = rows[page.limit - 1]
    return Page(rows[: page.limit], next_cursor=encode(listing, [getattr(last, key.key) for key in keys]))


def encode(listing: str, values: Sequence[Value]) -> str:
    """An opaque cursor that `decode()` with the same `listing` gives back."""
    body = orjson.dumps([_plain(value) for value in values])
    return base64.urlsafe_b64encode(_signature(_keys()[0], listing, body) + body).rstrip(b"=").decode()


def decode(listing: str, cursor: str) -> list[Value]:
    """The values of a cursor. Raises `Invalid` when it is not one, was changed, or is another listing's."""
    if len(cursor) > LIMIT or not cursor.isascii():
        raise _malformed()
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _malformed() from None
    signature, body = raw[:_SIGNATURE], raw[_SIGNATURE:]
    if not any(hmac.compare_digest(signature, _signature(key, listing, body)) for key in _keys()):
        raise _malformed()
    return [_rich(value) for value in orjson.loads(body)]


def _malformed() -> Invalid:
    return Invalid("malformed cursor")


def _signature(key: bytes, listing: str, body: bytes) -> bytes:
    message = len(listing).to_bytes(4, "big") + listing.encode("utf-8", "surrogatepass") + body
    return hmac.new(key, message, hashlib.sha256).digest()[:_SIGNATURE]


def _keys() -> Sequence[bytes]:
    return _derived(crypto.ring())


@lru_cache(maxsize=4)
def _derived(ring: crypto.KeyRing) -> Sequence[bytes]:
    return ring.derived("cursor")


def _plain(value: Value) -> Any:
    if isinstance(value, datetime):
        return {"t": value.isoformat()}
    if isinstance(value, UUID):
        return {"u": str(value)}
    return value


def _rich(value: Any) -> Value:
    if isinstance(value, dict):
        if "t" in value:
            return datetime.fromisoformat(value["t"])
        return UUID(value["u"])
    plain: Value = value
    return plain
