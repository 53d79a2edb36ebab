"""Media types: reading a Content-Type, and finding the declared one that it falls under."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

V = TypeVar("V")

_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_OPTION = re.compile(r';[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^;]*))')


def parse(value: str) -> tuple[str, dict[str, str]] | None:
    """Type in lower case, and parameters (names in lower case); None for what is no media type."""
    name, _, _ = value.partition(";")
    name = name.strip(" \t").lower()
    if _TYPE(name) is None:
        return None
    return name, options(value)


def options(value: str) -> dict[str, str]:
    """The `;name=value` parameters of a header; of a repeated one the first."""
    found: dict[str, str] = {}
    for match in _OPTION.finditer(value, max(value.find(";"), 0)):
        quoted, bare = match[2], match[3]
        text = bare.strip(" \t") if quoted is None else re.sub(r'\\(["\\])', r"\1", quoted)
        found.setdefault(match[1].lower(), text)
    return found


def find(declared: Mapping[str, V], media_type: str) -> V | None:
    """What is declared for a type: itself, `application/*+json`, `type/*`, `*/*`, in that order."""
    if (exact := declared.get(media_type)) is not None:
        return exact
    main, _, sub = media_type.partition("/")
    suffix = sub.rpartition("+")[2] if "+" in sub else None
    for pattern in (f"{main}/*+{suffix}" if suffix else None, f"{main}/*", "*/*"):
        if pattern is not None and (found := declared.get(pattern)) is not None:
            return found
    return None


def is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")


def covers(pattern: str, media_type: str) -> bool:
    """Whether `image/*` (or an exact type) takes in the media type."""
    pattern = pattern.partition(";")[0].strip().lower()
    return pattern in (media_type, "*/*", media_type.partition("/")[0] + "/*")
