"""multipart/form-data (RFC 7578) as it streams in: python-multipart splits it, parts go to memory or to disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from thalweg.edge import mediatypes
from thalweg.edge.intake import Intake
from thalweg.edge.uploads import Sink, Upload

MAX_PARTS = 200
MAX_FIELD = 1 << 20
"""Bytes of a part that is not a file."""
MAX_HEADERS = 16
MAX_HEADER = 4 * 1024

# it warns at every malformed body: anyone could fill the log
logging.getLogger("python_multipart.multipart").setLevel(logging.ERROR)


class FormError(ValueError):
    """The body is not the form that it says it is. The message is for the caller."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


@dataclass(slots=True)
class Part:
    """One part: `data` of a field, `upload` of a file."""

    name: str
    filename: str | None
    media_type: str | None
    data: bytes = b""
    upload: Upload | None = None


@dataclass(slots=True)
class _Open:
    """The part that is being read."""

    headers: dict[str, str] = field(default_factory=dict)
    part: Part | None = None
    sink: Sink | None = None
    data: list[bytes] = field(default_factory=list)
    size: int = 0


class Reader:
    """Reads one body. `is_file(name, filename)` says which parts become uploads. `close()` removes them again."""

    def __init__(self, boundary: str, spool_dir: str, is_file: Callable[[str, str | None], bool]) -> None:
        self.parts: list[Part] = []
        self._spool_dir = spool_dir
        self._is_file = is_file
        self._open = _Open()
        self._done: list[_Open] = []
        self._name = b""
        self._value = b""
        self._ended = False
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }
        try:
            self._parser = MultipartParser(
                boundary.encode("latin-1"), callbacks, max_header_count=MAX_HEADERS, max_header_size=MAX_HEADER
            )
        except (FormParserError, UnicodeEncodeError):
            raise FormError("multipart", "has an unusable boundary") from None

    async def read(self, intake: Intake) -> list[Part]:
        """All parts, in order. Raises `FormError`."""
        try:
            async for piece in intake.pieces():
                self._parser.write(piece)
                await self._settle()
        except FormParserError as error:
            reason = (
                "has part headers that are too large" if "eader" in str(error) and "xceeded" in str(error) else None
            )
            raise FormError("multipart", reason or "is not valid multipart/form-data") from None
        if not self._ended:
            raise FormError("multipart", "ends before its closing boundary")
        return self.parts

    async def _settle(self) -> None:
        """Disk work that the parser's callbacks left: finished files, and what the open one holds."""
        while self._done:
            done = self._done[0]
            assert done.part is not None
            assert done.sink is not None
            done.part.upload = await done.sink.finish(
                done.part.filename, done.part.media_type or "application/octet-stream"
            )
            self._done.pop(0)
        if self._open.sink is not None:
            await self._open.sink.relieve()

    def close(self) -> None:
        for part in self.parts:
            if part.upload is not None:
                part.upload.close()
        for left in (*self._done, self._open):
            if left.sink is not None:
                left.sink.abandon()

    # --- callbacks of the parser -----------------------------------------------------------------

    def _begin(self) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise FormError("maxProperties", f"must have at most {MAX_PARTS} parts")
        self._open = _Open()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        try:
            value = self._value.decode()
        except UnicodeDecodeError:
            value = self._value.decode("latin-1")
        self._open.headers.setdefault(self._name.decode("latin-1").lower(), value)
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        headers = self._open.headers
        disposition = headers.get("content-disposition", "")
        options = mediatypes.options(disposition)
        name = options.get("name")
        if disposition.partition(";")[0].strip().lower() != "form-data" or not name:
            raise FormError("multipart", "has a part without a field name")
        if headers.get("content-transfer-encoding", "binary").strip().lower() not in ("7bit", "8bit", "binary"):
            raise FormError("multipart", "has a part with a Content-Transfer-Encoding, which RFC 7578 retired")
        media_type = headers.get("content-type")
        part = Part(_form_name(name), _file_name(options), media_type)
        if "\0" in part.name:
            raise FormError("nul", "must not contain the NUL character")
        self._open.part = part
        self.parts.append(part)
        if self._is_file(part.name, part.filename):
            self._open.sink = Sink(self._spool_dir)

    def _data(self, data: bytes, start: int, end: int) -> None:
        here = self._open
        piece = data[start:end]
        if here.sink is not None:
            here.sink.write(piece)
            return
        here.size += len(piece)
        if here.size > MAX_FIELD:
            raise FormError("maxLength", f"has a field of more than {MAX_FIELD} bytes")
        here.data.append(piece)

    def _end(self) -> None:
        here = self._open
        assert here.part is not None
        if here.sink is not None:
            self._done.append(here)
        else:
            here.part.data = b"".join(here.data)
        self._open = _Open()

    def _finish(self) -> None:
        self._ended = True


def _form_name(name: str) -> str:
    """Browsers write these three, and only these, as escapes (HTML, "Multipart form data")."""
    return name.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _file_name(options: dict[str, str]) -> str | None:
    """The client's file name. RFC 7578 wants plain UTF-8; some clients still send RFC 5987's `filename*` alone."""
    plain = options.get("filename")
    if plain is not None:
        return _form_name(plain)
    charset, quote, rest = options.get("filename*", "").partition("'")
    _, second, encoded = rest.partition("'")
    if not quote or not second:
        return None
    try:
        return unquote_to_bytes(encoded).decode("latin-1" if charset.lower() == "iso-8859-1" else "utf-8")
    except UnicodeDecodeError:
        return "file"
