"""Text out of what came over the wire: percent-encoding, form encoding, header bytes."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes


class TextError(ValueError):
    """Text that is no text: bad UTF-8 or a NUL. Carries the rule and the words for it."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message


def path_text(text: str) -> str:
    """A path value without its percent-encoding. Raises `TextError`."""
    try:
        raw = text.encode("latin-1")
    except UnicodeEncodeError:  # the server kept no raw path: this is already text
        raw = text.encode("utf-8", "surrogatepass")
    return _utf8(unquote_to_bytes(raw))


def query_text(text: str) -> str:
    """A query name or value without its form encoding. Raises `TextError`."""
    if "%" not in text and "+" not in text:
        return text if "\0" not in text else _utf8(b"\0")
    return _utf8(unquote_to_bytes(text.replace("+", " ")))


def _utf8(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise TextError("encoding", "must be UTF-8") from None
    if "\0" in text:
        raise TextError("nul", "must not contain the NUL character")
    return text


def header_text(value: bytes) -> str:
    """A header value: UTF-8 where it is that, else the Latin-1 that RFC 9110 grew up with."""
    try:
        return value.decode().strip(" \t")
    except UnicodeDecodeError:
        return value.decode("latin-1").strip(" \t")
