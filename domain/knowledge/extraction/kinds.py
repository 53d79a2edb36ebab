"""Which kinds of file can be read, by their bytes; the name only tells kinds of text apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from domain import storage
from domain.kernel.errors import DomainError

_OPENXML = "application/vnd.openxmlformats-officedocument."


class NotTaken(DomainError):
    """The bytes are of a kind that is not read here, or not what the name says."""

    code = "unsupported_media_type"
    default = "Files of this kind cannot be read."


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    media_type: str
    extensions: tuple[str, ...]
    sniffed: tuple[str, ...]
    """What the bytes of such a file look like."""


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("pdf", "application/pdf", ("pdf",), ("application/pdf",)),
        Kind(
            "docx",
            _OPENXML + "wordprocessingml.document",
            ("docx",),
            (
                _OPENXML + "wordprocessingml.document",
                "application/vnd.ms-word.macroenabled.12",
                "application/x-ole-storage",
            ),
        ),
        Kind("doc", "application/msword", ("doc",), ("application/msword", "application/x-ole-storage")),
        Kind(
            "xlsx",
            _OPENXML + "spreadsheetml.sheet",
            ("xlsx",),
            (
                _OPENXML + "spreadsheetml.sheet",
                "application/vnd.ms-excel.sheet.macroenabled.12",
                "application/x-ole-storage",
            ),
        ),
        Kind("xls", "application/vnd.ms-excel", ("xls",), ("application/vnd.ms-excel", "application/x-ole-storage")),
        Kind(
            "pptx",
            _OPENXML + "presentationml.presentation",
            ("pptx",),
            (
                _OPENXML + "presentationml.presentation",
                "application/vnd.ms-powerpoint.presentation.macroenabled.12",
                "application/x-ole-storage",
            ),
        ),
        Kind("odt", "application/vnd.oasis.opendocument.text", ("odt",), ("application/vnd.oasis.opendocument.text",)),
        Kind(
            "ods",
            "application/vnd.oasis.opendocument.spreadsheet",
            ("ods",),
            ("application/vnd.oasis.opendocument.spreadsheet",),
        ),
        Kind("epub", "application/epub+zip", ("epub",), ("application/epub+zip",)),
        Kind("rtf", "application/rtf", ("rtf",), ("application/rtf",)),
        Kind("html", "text/html", ("html", "htm", "xhtml"), ("text/html", "text/plain", "application/xml")),
        Kind("md", "text/markdown", ("md", "markdown"), ("text/plain", "text/html")),
        Kind("csv", "text/csv", ("csv", "tsv"), ("text/plain",)),
        Kind("json", "application/json", ("json", "jsonl", "ndjson"), ("text/plain",)),
        Kind("eml", "message/rfc822", ("eml",), ("text/plain",)),
        Kind("txt", "text/plain", ("txt", "text", "log"), ("text/plain", "text/html", "application/xml")),
    )
}
_BY_EXTENSION = {extension: kind for kind in KINDS.values() for extension in kind.extensions}
_BY_BYTES = {
    kind.sniffed[0]: kind
    for kind in KINDS.values()
    if kind.sniffed[0] not in ("text/plain", "application/x-ole-storage")
}


def extension_of(filename: str) -> str:
    return filename.rpartition(".")[2].lower() if "." in filename else ""


def judged(source: BinaryIO, size: int, filename: str, allowed: frozenset[str] | None = None) -> Kind:
    """The kind of the seekable `source`, which must be what its name says and among `allowed` (names; None: all).

    Raises `NotTaken`. An encrypted or macro-laden office file passes: reading it says what is wrong with it.
    """
    sniffed = storage.sniff(source, size)
    return agreed(sniffed, size, filename, allowed)


def agreed(sniffed: str | None, size: int, filename: str, allowed: frozenset[str] | None = None) -> Kind:
    """`judged` for bytes that were sniffed before."""
    extension = extension_of(filename)
    kind = _BY_EXTENSION.get(extension)
    names = ", ".join(sorted(allowed or KINDS))
    if kind is None or (allowed is not None and kind.name not in allowed):
        raise NotTaken(f"Files of the kind {extension or 'without an extension'!s} are not taken, only: {names}.")
    if size == 0:
        return kind  # an empty file is of any kind; reading it says that it is empty
    if sniffed not in kind.sniffed and not (sniffed or "").startswith("text/") & kind.sniffed[0].startswith("text/"):
        raise NotTaken(f"The file is named .{extension}, and its bytes are not what that says.", found=sniffed)
    return kind


def guessed(sniffed: str | None, filename: str) -> Kind | None:
    """The kind of a file whose name need not say it; None: it cannot be read."""
    named = _BY_EXTENSION.get(extension_of(filename))
    if named is not None and sniffed in named.sniffed:
        return named
    if sniffed is not None and sniffed in _BY_BYTES:
        return _BY_BYTES[sniffed]
    if sniffed is not None and sniffed.startswith(("text/", "application/json", "application/xml")):
        return named if named is not None and named.sniffed[0].startswith("text/") else KINDS["txt"]
    return None
