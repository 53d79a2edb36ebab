"""JSON as the edge takes it: RFC 8259 without its loose ends."""

from __future__ import annotations

import re
from typing import Any

import jiter
import orjson


class JsonError(ValueError):
    """The text is not JSON, or JSON that means different things to different readers. The message is for the caller."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def loads(raw: bytes) -> Any:
    """The value of a JSON text. Raises `JsonError`.

    Refused beyond a syntax error: duplicate keys (RFC 8259 leaves them open, and every layer would pick its own),
    NaN and infinities, numbers too large for a double, lone surrogates, NUL in a string (PostgreSQL cannot hold it), a
    byte order mark, and nesting deeper than 200. Integers beyond 64 bits become doubles, as they do in a browser.
    """
    try:
        value = orjson.loads(raw)
        # orjson keeps the last of two equal keys and takes 1,024 levels; jiter refuses both, in about the same time
        if b"{" in raw or b"[" in raw:
            jiter.from_json(raw, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="none")
    except ValueError as error:
        raise _explained(raw, str(error)) from None
    except RecursionError:
        raise JsonError("depth", "is nested too deeply") from None
    if b"\\u0000" in raw and _has_nul(value):
        raise JsonError("nul", "must not contain the NUL character")
    return value


def _explained(raw: bytes, reason: str) -> JsonError:
    if "uplicate key" in reason:
        match = re.search(r'key "(.{0,80})', reason, re.DOTALL)
        name = match[1].rpartition('"')[0] if match else ""
        return JsonError(
            "duplicate", f"has the key {name!r} twice in one object" if name else "has a key twice in one object"
        )
    if "recursion limit" in reason or "depth limit" in reason:
        return JsonError("depth", "is nested too deeply")
    if "infinity" in reason or "out of range" in reason:
        return JsonError("number", "has a number that is too large")
    if "surrogate" in reason and "UTF-8" not in reason:
        return JsonError("encoding", "has half of a surrogate pair in a string")
    if raw.startswith(b"\xef\xbb\xbf"):
        return JsonError("encoding", "must not begin with a byte order mark")
    try:
        raw.decode()
    except UnicodeDecodeError:
        return JsonError("encoding", "must be UTF-8")
    place = re.search(r"line (\d+) column (\d+)", reason)
    return JsonError("json", "is not valid JSON" + (f" (line {place[1]}, column {place[2]})" if place else ""))


def _has_nul(value: Any) -> bool:
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            if "\0" in node:
                return True
        elif isinstance(node, dict):
            waiting.extend(node.keys())
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return False
