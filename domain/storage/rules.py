"""Pure rules of storage: states, keys, names for display, which media types are taken and which agree."""

from __future__ import annotations

import re
import unicodedata
from uuid import UUID

PENDING = "pending"
READY = "ready"
DELETED = "deleted"

NAME_LENGTH = 256
OBJECT = "object"
"""Purpose of what is uploaded for itself and not as part of something else."""

INCOMING = "incoming/"
"""Keys of bytes that a client sends to the store itself: they get their real key once they have been judged."""

UNKNOWN = "application/octet-stream"
SCRIPT = "text/x-script"
"""Text that a system would run: it begins with `#!`."""

_OPENXML = "application/vnd.openxmlformats-officedocument."
UPLOADABLE = frozenset(
    {
        "application/pdf",
        "application/rtf",
        "application/msword",
        "application/vnd.ms-excel",
        "application/vnd.ms-powerpoint",
        _OPENXML + "wordprocessingml.document",
        _OPENXML + "spreadsheetml.sheet",
        _OPENXML + "presentationml.presentation",
        "application/vnd.oasis.opendocument.text",
        "application/vnd.oasis.opendocument.spreadsheet",
        "application/vnd.oasis.opendocument.presentation",
        "application/epub+zip",
        "application/json",
        "application/xml",
        "application/x-ndjson",
        "application/yaml",
        "application/zip",
        "application/gzip",
        "text/plain",
        "text/csv",
        "text/tab-separated-values",
        "text/markdown",
        "text/html",
        "text/xml",
        "text/yaml",
        "message/rfc822",
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "image/tiff",
        "image/bmp",
        "image/heic",
        "audio/mpeg",
        "audio/wav",
        "audio/ogg",
        "audio/flac",
        "audio/mp4",
        "audio/webm",
        "video/mp4",
        "video/webm",
        "video/quicktime",
    }
)
"""What may be uploaded for itself. No programs, no scripts, no SVG: a browser would run them."""

_ALIASES = {
    "application/csv": "text/csv",
    "application/markdown": "text/markdown",
    "application/x-gzip": "application/gzip",
    "application/x-pdf": "application/pdf",
    "application/x-yaml": "application/yaml",
    "application/x-zip-compressed": "application/zip",
    "audio/m4a": "audio/mp4",
    "audio/mp3": "audio/mpeg",
    "audio/wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-wav": "audio/wav",
    "image/heif": "image/heic",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-ms-bmp": "image/bmp",
    "text/rtf": "application/rtf",
    "text/x-markdown": "text/markdown",
    "text/x-yaml": "application/yaml",
    "text/xml": "application/xml",
    "text/yaml": "application/yaml",
}

_BY_EXTENSION = {
    "csv": "text/csv",
    "eml": "message/rfc822",
    "htm": "text/html",
    "html": "text/html",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "log": "text/plain",
    "markdown": "text/markdown",
    "md": "text/markdown",
    "ndjson": "application/x-ndjson",
    "tsv": "text/tab-separated-values",
    "txt": "text/plain",
    "xml": "application/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
}
"""Kinds of text, which bytes alone cannot tell apart."""

_TEXTUAL = frozenset(_BY_EXTENSION.values())
_SAME_CONTAINER = (
    frozenset({"audio/webm", "video/webm"}),
    frozenset({"audio/ogg", "video/ogg"}),
    frozenset({"audio/mp4", "video/mp4", "video/quicktime"}),
    frozenset({"application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"}),
)
"""Types that the bytes looked at do not tell apart for certain."""


def key_of(organisation_id: UUID, blob_id: UUID) -> str:
    """`<organisation>/<shard>/<blob>`. The shard is the random end of the id: its beginning is the time."""
    return f"{organisation_id}/{blob_id.hex[-2:]}/{blob_id}"


def shown_key(organisation_id: UUID, object_id: UUID) -> str:
    """The key as clients see it: the same from the announcement on, wherever the bytes are."""
    return f"{organisation_id}/{object_id}"


# control characters, and the marks that turn the direction of text around and so can fake an extension
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def display_name(name: str | None) -> str:
    """The last step of whatever path the caller gave, without what cannot be seen, at most 256 characters."""
    last = re.split(r"[/\\]", name or "")[-1]
    plain = _UNSEEN.sub("", unicodedata.normalize("NFC", last)).strip()
    if plain in ("", ".", ".."):
        return "file"
    if len(plain) <= NAME_LENGTH:
        return plain
    stem, dot, extension = plain.rpartition(".")
    if not stem or len(extension) > 20:
        return plain[:NAME_LENGTH]
    return stem[: NAME_LENGTH - len(extension) - 1] + dot + extension


def canonical(media_type: str | None) -> str | None:
    """Lower case, without parameters, one word for one thing. None for none, or for what is no media type."""
    plain = (media_type or "").split(";")[0].strip().lower()
    if not re.fullmatch(r"[a-z0-9!#$&^_.+-]{1,63}/[a-z0-9!#$&^_.+-]{1,63}", plain):
        return None
    return _ALIASES.get(plain, plain)


def judged(found: str | None, name: str, claimed: str | None) -> str:
    """The media type of bytes that were found to be `found` (None: nothing known). Among kinds of text the name, then
    the claim decides; nothing else of them is believed."""
    if found is None:
        return UNKNOWN
    if found != "text/plain":
        return found
    by_name = _BY_EXTENSION.get(name.rpartition(".")[2].lower())
    said = canonical(claimed)
    return by_name or (said if said in _TEXTUAL else "text/plain")


def agree(media_type: str, claimed: str | None) -> bool:
    """Whether bytes of `media_type` may pass for what the caller claims. No claim, or the empty one, always agrees."""
    said = canonical(claimed)
    if said is None or said in (UNKNOWN, media_type):
        return True
    if media_type in _TEXTUAL and (said in _TEXTUAL or said.startswith("text/")):
        return True
    if media_type == SCRIPT:
        return said.startswith(("text/x-", "application/x-")) and said not in UPLOADABLE
    return any(media_type in group and said in group for group in _SAME_CONTAINER)
