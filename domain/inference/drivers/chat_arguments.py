"""Reading a tool's arguments from plain words, without a model: addresses, ids, numbers, platforms, quoted text.

Pure. What cannot be read is named as missing, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+")
_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.I)
_URL = re.compile(r"https?://[^\s<>\"“”]{4,2000}")
_QUOTED = re.compile(r"[“\"‘']([^”\"’']{1,2000})[”\"’']")
_FENCED = re.compile(r"```[\w+-]*[ \t]*\n(.*?)```", re.S)
_CODED = re.compile(r"(?<!`)`([^`\n]{1,2000})`(?!`)")
_NUMBER = re.compile(r"(?<![\w.@-])\d{1,9}(?![\w.@-])")
_PLACE = re.compile(
    r"\b(?:on|in|at|from|of|for|platforms?)\s+(?!the\b|a\b|an\b)([a-z][\w ]{1,40}?)"
    r"(?=$|[.,;:!?]|\s+(?:because|for|with|since|on|in|at|days?)\b)",
    re.I,
)
_APP = re.compile(r"\b(?:app|application)\s+(?:called\s+|named\s+)?([\w.-]+)|\b([\w.-]+)\s+(?:app|application)\b", re.I)
_BECAUSE = re.compile(r"\b(?:because|reason\s*:|since|as)\s+(.{3,1000}?)[.!]?\s*$", re.I | re.S)
_ABOUT = re.compile(r"(?:\babout\b|\bthat says\b|\bfor\b|\bregarding\b|:)\s+(.{3,2000})", re.I | re.S)


def arguments(words: str, schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The arguments that `words` give, and the names of required ones that they do not."""
    given: dict[str, Any] = {}
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
    for name, shape in properties.items():
        value = _read(words, name, shape)
        if value is not None:
            given[name] = value
    return given, [name for name in schema.get("required", ()) if name not in given]


def _read(words: str, name: str, shape: Mapping[str, Any]) -> Any:
    if "enum" in shape:
        return next(
            (v for v in shape["enum"] if v is not None and re.search(rf"\b{re.escape(str(v))}\b", words, re.I)), None
        )
    kind = shape.get("type")
    if kind == "array":
        return _several(words, name, shape)
    if kind == "integer" or kind == "number":
        return _number(words, shape)
    if kind == "boolean":
        return None
    return _text(words, name, shape)


def _several(words: str, name: str, shape: Mapping[str, Any]) -> Any:
    items = shape.get("items", {})
    if items.get("format") == "email" or "email" in name:
        return _EMAIL.findall(words) or None
    one = _read(words, name.rstrip("s"), items)
    return None if one is None else [one]


def _number(words: str, shape: Mapping[str, Any]) -> int | None:
    plain = _UUID.sub(" ", _EMAIL.sub(" ", words))
    for found in _NUMBER.findall(plain):
        value = int(found)
        if shape.get("minimum", value) <= value <= shape.get("maximum", value):
            return value
    return None


def _text(words: str, name: str, shape: Mapping[str, Any]) -> str | None:
    limit = int(shape.get("maxLength", 2000))
    form = shape.get("format")
    if form == "email" or name.endswith("email"):
        return _first(_EMAIL.search(words))
    if form == "uuid":
        return _first(_UUID.search(words))
    if form in ("uri", "url") or name == "url":
        found = _first(_URL.search(words))
        return found and found.rstrip(".,;)")
    if name == "platform":
        places = [p.strip().lower().replace(" ", "_") for p in _PLACE.findall(_EMAIL.sub(" ", words))]
        return next((p for p in reversed(places) if p), None)
    if name == "code":  # whole, or not at all: a part of a program, or a text in it, is another program
        program = _FENCED.search(words) or _CODED.search(words)
        return program[1] if program and program[1].strip() and len(program[1]) <= limit else None
    if name == "app_name":
        found_app = _APP.search(words)
        quoted = _QUOTED.search(words)
        return quoted[1] if quoted else (found_app[1] or found_app[2]) if found_app else None
    if name in ("reason", "note"):
        because = _BECAUSE.search(words)
        return because[1].strip()[:limit] if because else None
    if name in ("title", "description", "text", "content", "query", "question", "subject"):
        quoted = _QUOTED.search(words)
        about = _ABOUT.search(words)
        said = quoted[1] if quoted else about[1] if about else None
        return said.strip().rstrip(".")[:limit] if said else None
    quoted = _QUOTED.search(words)
    return quoted[1][:limit] if quoted else None


def _first(found: re.Match[str] | None) -> str | None:
    return found[0] if found else None
