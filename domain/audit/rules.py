"""Pure rules of the audit chain: what is hashed, and what never gets into `details`."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any
from uuid import UUID

import orjson

# --- the chain -----------------------------------------------------------------------------------------


def genesis(organisation_id: UUID) -> bytes:
    """The `prev_hash` of a chain's first entry."""
    return hashlib.sha256(b"thalweg:audit:" + organisation_id.bytes).digest()


def content(fields: Mapping[str, Any]) -> bytes:
    """Canonical JSON (RFC 8785 for these types: sorted keys, no spaces, UTF-8) of an entry's fields that are not None.

    Absent fields are left out, so a column added later does not change the hash of older entries.
    """
    return orjson.dumps(
        {name: _stable(value) for name, value in fields.items() if value is not None}, option=orjson.OPT_SORT_KEYS
    )


def link(previous: bytes, sequence: int, body: bytes) -> bytes:
    """`row_hash` = SHA-256(`prev_hash` + sequence as 8 bytes, big-endian + `content`)."""
    return hashlib.sha256(previous + sequence.to_bytes(8, "big") + body).digest()


def _stable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, UUID):
        return str(value)
    return value


# --- details -------------------------------------------------------------------------------------------

REDACTED = "[redacted]"
DEPTH = 6
ITEMS = 100
STRING = 2_000
BYTES = 16_384
"""A details object whose JSON is larger is replaced by a note of its size."""

_SECRET_WORD = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|pwd|secrets?|tokens?|jwt|bearer|authorization|cookies?|credentials?|otp|pin|cvc|"
    r"cvv|(?:api|access|private|signing|encryption|secret)_?keys?|apikeys?|nonce|salt|session_?id|signature)(?:_|$)"
)
_HARMLESS_END = re.compile(r"_(?:count|counts|id|ids|type|name|prefix|limit|usage|used|total|expires|expires_at|at)$")
_TOKENS = re.compile(
    r"\b(?:thm|thal|bfk)_[0-9A-Za-z]{16,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"  # JSON web token
    r"|\b(?:sk|pk|rk|whsec)[-_][\w-]{16,}|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\bxox[abprs]-[\w-]{10,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{30,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|(?i:\b(?:bearer|basic)\s+)[\w.~+/=-]{12,}"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # user:password in a URL
    r"|\$argon2\w*\$\S+"
)
_HEX_OR_BASE = re.compile(r"(?=[^\s]*\d)(?=[^\s]*[A-Za-z])[A-Za-z0-9+/_=-]{40,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def looks_secret(key: str) -> bool:
    """Whether a key's name says that its value is a credential: `apiKey`, `client_secret`; not `token_count`."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+", "_", key).lower()
    if name == "session_id":
        return True
    return bool(_SECRET_WORD.search(name)) and not _HARMLESS_END.search(name)


def clean_text(text: str, limit: int = STRING) -> str:
    """`text` without token shapes, NUL and lone surrogates, cut at `limit` characters."""
    text = text[: limit * 2].replace("\x00", "").encode("utf-8", "replace").decode()
    text = _TOKENS.sub(REDACTED, text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean(details: Mapping[str, Any] | None) -> dict[str, Any]:
    """`details` as it may be kept: JSON values, bounded, secrets replaced by `[redacted]`."""
    if not details:
        return {}
    cleaned: dict[str, Any] = _mapping(details, 0)
    size = len(orjson.dumps(cleaned))
    return cleaned if size <= BYTES else {"omitted": "details too large", "bytes": size}


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for number, (key, item) in enumerate(value.items()):
        if number >= ITEMS:
            kept["…"] = f"{len(value) - ITEMS} more"
            break
        name = clean_text(str(key), 200)
        secret = looks_secret(name) and not isinstance(item, bool | int | float | None)
        kept[name] = REDACTED if secret else _value(item, depth + 1)
    return kept


def _value(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _value(value.value, depth)
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, int):
        return value if abs(value) < 2**53 else clean_text(str(value)) if abs(value) < 10**300 else "[number]"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if depth > DEPTH:
        return "[deeper]"
    if is_dataclass(value) and not isinstance(value, type):
        return _mapping(asdict(value), depth)
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        kept = [_value(item, depth + 1) for item in list(items)[:ITEMS]]
        return kept if len(items) <= ITEMS else [*kept, f"{len(items) - ITEMS} more"]
    return clean_text(str(value))  # a `Secret` masks itself
