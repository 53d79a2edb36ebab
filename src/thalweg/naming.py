"""One rule for names: what a contract calls a thing, and what Python calls it."""

from __future__ import annotations

import keyword
import re

_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OTHER = re.compile(r"[^0-9A-Za-z]+")


def snake_case(name: str) -> str:
    """`createAPIKey` -> `create_api_key`, `meeting-notes` -> `meeting_notes`; keywords get a trailing underscore."""
    words = _OTHER.sub("_", _BOUNDARY.sub("_", name)).strip("_").lower()
    if keyword.iskeyword(words) or not words or words[0].isdigit():
        return f"{words}_" if words and not words[0].isdigit() else f"_{words}"
    return words
