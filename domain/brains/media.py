"""Images and recordings as they come in: base64, with or without a `data:` prefix. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

from domain.kernel.errors import Invalid

_PREFIX = re.compile(r"data:([a-z]+/[a-z0-9.+-]+)?(?:;[a-z-]+=[^;,]*)*;base64,", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Medium:
    media_type: str
    data: bytes = field(repr=False)


def decoded(kind: str, content: str) -> Medium:
    """The bytes, and what they really are by their first ones. Raises `Invalid`: a wrong encoding or a wrong kind."""
    body = content
    if content[:5].lower() == "data:":
        prefix = _PREFIX.match(content[:200])
        if prefix is None:
            raise Invalid("input.content: the data: prefix must name base64.")
        body = content[prefix.end() :]
    try:
        data = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise Invalid(f"input.content: an input of type {kind} is base64.") from wrong
    found = _media_type(data)
    if found is None or not found.startswith(f"{kind}/"):
        wanted = "PNG, JPEG, WebP or GIF" if kind == "image" else "WAV, MP3, FLAC or OGG"
        raise Invalid(f"input.content: not an {kind} this server knows ({wanted}).")
    return Medium(found, data)


def _media_type(data: bytes) -> str | None:
    head = data[:16]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12])
    if head.startswith(b"fLaC"):
        return "audio/flac"
    if head.startswith(b"OggS"):
        return "audio/ogg"
    if head.startswith(b"ID3") or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 in (0xE2, 0xE4, 0xE6)):
        return "audio/mpeg"
    return None
