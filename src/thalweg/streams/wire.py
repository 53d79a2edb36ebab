"""How an event lies in Valkey: an entry `<number>-0` {e: name, d: JSON}, and a message `<number> <name>\\n<JSON>`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

STREAM = "thalweg:stream:"
TOPIC = "thalweg:events:"

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_JSON = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


@dataclass(frozen=True, slots=True)
class Entry:
    """An event on its way to clients; `data` is JSON on one line, never decoded on the way."""

    number: int
    name: str
    data: bytes


def encode(data: Mapping[str, Any]) -> bytes:
    """JSON on one line. Raises TypeError for what is not JSON."""
    return orjson.dumps(data, option=_JSON)


def check_name(name: str) -> str:
    """Raise ValueError for a name that could break a frame."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"not an event name: {name!r}")
    return name


def parse_message(payload: bytes) -> Entry | None:
    """A pub/sub message; None for what is not ours."""
    head, _, data = payload.partition(b"\n")
    number, _, name = head.partition(b" ")
    return _entry(number, name, data)


def parse_range(reply: Any) -> list[Entry]:
    """The reply of XRANGE, in its order; what is not ours is left out."""
    entries = []
    for identity, fields in reply:
        pairs = dict(zip(fields[::2], fields[1::2], strict=True))
        entry = _entry(identity.partition(b"-")[0], pairs.get(b"e", b""), pairs.get(b"d", b""))
        if entry is not None:
            entries.append(entry)
    return entries


def _entry(number: bytes, name: bytes, data: bytes) -> Entry | None:
    text = name.decode("ascii", "replace")
    if not number.isdigit() or _NAME.fullmatch(text) is None or not data or b"\n" in data or b"\r" in data:
        return None
    return Entry(int(number), text, data)
