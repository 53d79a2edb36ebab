"""From what a handler answers to bytes, held against what the contract declares.

A body that breaks its declared schema, or a status that the operation does not declare, is a mismatch: `raise` turns it
into an error (tests), `error` logs, counts and answers 500 (production), `log` only logs and counts.
"""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from functools import partial
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

import orjson

from thalweg.edge.application import File, Outside, Pending, Reply, Stream
from thalweg.edge.guard import RawHeaders
from thalweg.edge.problem import Problem, Violation
from thalweg.edge.schema import Compiler, Validator

COMPRESS_FROM = 2048
"""Bytes of JSON from which gzip pays."""

CHUNK = 256 * 1024

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_VALUE = re.compile(r"[\t\x20-\x7E\x80-\xFF]*").fullmatch


class ResponseMismatch(Exception):
    """What a handler answered is not what the contract declares."""

    code: str | None = None
    """Of the problem that was to be answered; None where a handler answered."""
    surface: str | None = None
    request_id: str | None = None

    def __init__(
        self, operation_id: str, status: int, violations: tuple[Violation, ...] | str, code: str | None = None
    ) -> None:
        self.operation_id, self.status, self.violations, self.code = operation_id, status, violations, code
        super().__init__(f"{operation_id} {status}{f' ({code})' if code else ''}: {violations}")


@dataclass(slots=True)
class Outcome:
    """A reply ready to go, or what it waits for."""

    status: int = 200
    headers: RawHeaders = field(default_factory=list)
    body: bytes = b""
    file: File | None = None
    stream: Stream | None = None
    pending: Pending | None = None
    outside: Outside | None = None


@dataclass(slots=True)
class _Declared:
    media_types: tuple[str, ...]
    validators: dict[str, Validator | None]
    headers: Mapping[str, bool]
    """Lower-case names, and whether they are always sent."""


class ReplyPlan:
    """What one operation may answer."""

    def __init__(self, operation_id: str, method: str, responses: Mapping[str, Any], compiler: Compiler) -> None:
        self.operation_id = operation_id
        self._method = method.upper()
        self._declared = {
            status: compiler.once(response, "response", partial(_declare, response, compiler))
            for status, response in responses.items()
        }
        successes = sorted(int(status) for status in responses if status.startswith("2"))
        self.success = successes[0] if successes else 200
        first = self._declared.get(str(self.success))
        self._json = self._json_type(first)
        self._content_type = (b"content-type", (self._json or "application/json").encode())
        self._validator = first.validators.get(self._json) if first and self._json else None
        self.etag = self._method == "GET" and first is not None and "etag" in first.headers and "304" in self._declared
        self.statuses = frozenset(self._declared)
        self.media_types = first.media_types if first else ()
        """Of the success answer."""

    @staticmethod
    def _json_type(declared: _Declared | None) -> str | None:
        for media_type in declared.media_types if declared else ():
            if media_type == "application/json" or media_type.endswith("+json"):
                return media_type
        return None

    def encode(self, answer: Any, report: Callable[[ResponseMismatch], None]) -> Outcome:
        """The outcome for a handler's answer. `report` hears of a mismatch and may raise it."""
        if type(answer) is dict or type(answer) is list:
            return self._json_outcome(answer, self.success, (), report)
        if answer is None:
            return self._empty(self._empty_status(), (), report)
        if isinstance(answer, Reply):
            status = answer.status or (self.success if answer.body is not None else self._empty_status())
            extra = [header(name, value) for name, value in answer.headers.items()]
            extra += [header("Set-Cookie", cookie) for cookie in answer.cookies]
            if answer.body is None:
                return self._empty(status, extra, report)
            return self._json_outcome(answer.body, status, extra, report)
        if isinstance(answer, Stream):
            for name, value in answer.headers.items():
                header(name, value)  # they go out with its first event, when it is too late to say no
            return Outcome(self.success, stream=answer)
        if isinstance(answer, Pending):
            return Outcome(self.success, pending=answer)
        if isinstance(answer, Outside):
            return Outcome(self.success, outside=answer)
        if isinstance(answer, File):
            declared = self._declared.get(str(self.success))
            if declared is not None and not _accepts(declared.media_types, answer.media_type):
                report(ResponseMismatch(self.operation_id, self.success, f"undeclared media type {answer.media_type}"))
            return Outcome(self.success, file=answer)
        return self._json_outcome(answer, self.success, (), report)

    def check(self, problem: Problem, status: int, body: Any, report: Callable[[ResponseMismatch], None]) -> None:
        """Hold the answer to `problem` against the contract."""
        declared = self._declared.get(str(status)) or self._declared.get("default")
        if declared is None:
            report(ResponseMismatch(self.operation_id, status, "undeclared status", problem.code))
            return
        validator = declared.validators.get(self._json_type(declared) or "")
        if validator is not None and not validator.is_valid(body):
            violations = validator.violations(body, "response")
            report(ResponseMismatch(self.operation_id, status, violations, problem.code))

    def promise(self, status: int, name: str) -> bool | None:
        """Whether an answer always has the header (`name` in lower case); None: the contract has no such header."""
        declared = self._declared.get(str(status)) or self._declared.get("default")
        return None if declared is None else declared.headers.get(name)

    def _empty_status(self) -> int:
        return 204 if "204" in self._declared else self.success

    def _empty(self, status: int, extra: Any, report: Callable[[ResponseMismatch], None]) -> Outcome:
        declared = self._declared.get(str(status))
        if declared is None:
            report(ResponseMismatch(self.operation_id, status, "undeclared status"))
        elif declared.media_types:
            report(ResponseMismatch(self.operation_id, status, "a body is declared and none was answered"))
        return Outcome(status, list(extra))

    def _json_outcome(self, body: Any, status: int, extra: Any, report: Callable[[ResponseMismatch], None]) -> Outcome:
        if status == self.success:
            validator, media_type, content_type = self._validator, self._json, self._content_type
        else:
            declared = self._declared.get(str(status))
            media_type = self._json_type(declared)
            validator = declared.validators.get(media_type) if declared and media_type else None
            content_type = (b"content-type", (media_type or "application/json").encode())
        if media_type is None:
            report(ResponseMismatch(self.operation_id, status, "undeclared status, or no JSON declared for it"))
        try:
            if validator is not None and not validator.is_valid(body):
                report(ResponseMismatch(self.operation_id, status, validator.violations(body, "response")))
            data = orjson.dumps(body)
        except (TypeError, ValueError) as error:
            raise ResponseMismatch(self.operation_id, status, f"not JSON: {error}") from error
        return Outcome(status, [content_type, *extra], data)


def header(name: str, value: str) -> tuple[bytes, bytes]:
    """A header as it goes out. Raises `ValueError` for what would end it and begin another one."""
    if not _NAME(name) or not _VALUE(value):
        raise ValueError(f"header {name!r} has characters that a header must not have")
    return name.lower().encode(), value.encode("latin-1")


def _declare(response: Mapping[str, Any], compiler: Compiler) -> _Declared:
    content = response.get("content", {})
    validators = {
        media_type: compiler.compile(described["schema"], "response") if "schema" in described else None
        for media_type, described in content.items()
        if media_type == "application/json" or media_type.endswith("+json")
    }
    headers = {name.lower(): one.get("required") is True for name, one in response.get("headers", {}).items()}
    return _Declared(tuple(content), validators, headers)


def _accepts(declared: tuple[str, ...], media_type: str) -> bool:
    plain = media_type.split(";")[0].strip()
    return any(d in ("*/*", plain) or (d.endswith("/*") and plain.startswith(d[:-1])) for d in declared)


# --- negotiation ----------------------------------------------------------------------------------


def acceptable(accept: bytes | None, media_types: tuple[str, ...]) -> bool:
    """Whether an `Accept` header admits one of `media_types` (RFC 9110 12.5.1)."""
    if accept is None or accept == b"*/*" or not media_types:
        return True
    refused: set[str] = set()
    admitted: list[str] = []
    for part in accept.decode("latin-1").lower().split(","):
        wanted, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        (refused.add if _zero(quality) else admitted.append)(wanted)
    for media_type in media_types:
        plain = media_type.split(";")[0].lower()
        if plain in refused:
            continue
        family = plain.split("/")[0] + "/*"
        if any(wanted in (plain, family, "*/*") for wanted in admitted):
            return True
    return False


def _zero(quality: str) -> bool:
    try:
        return float(quality) == 0
    except ValueError:
        return False


def conditional(outcome: Outcome, if_none_match: bytes | None) -> Outcome:
    """Put an ETag on a JSON reply, and spare the body when the caller has it already."""
    tag = b'"' + blake2b(outcome.body, digest_size=16).hexdigest().encode() + b'"'
    outcome.headers.append((b"etag", tag))
    if if_none_match is not None and _tag_matches(if_none_match, tag):
        kept = [(name, value) for name, value in outcome.headers if name != b"content-type"]
        return Outcome(304, kept)
    return outcome


def _tag_matches(header: bytes, tag: bytes) -> bool:
    if header.strip() == b"*":
        return True
    return any(part.strip().removeprefix(b"W/") == tag for part in header.split(b","))


def compress(outcome: Outcome, accept_encoding: bytes | None) -> None:
    """gzip a large JSON body for a caller that takes it."""
    if len(outcome.body) < COMPRESS_FROM or accept_encoding is None or not _takes_gzip(accept_encoding):
        return
    outcome.body = gzip.compress(outcome.body, compresslevel=4, mtime=0)
    for at, (name, value) in enumerate(outcome.headers):
        if name == b"etag":  # another representation needs another strong tag (RFC 9110 8.8.3)
            outcome.headers[at] = (name, b"W/" + value)
    outcome.headers += [(b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]


def _takes_gzip(header: bytes) -> bool:
    for part in header.lower().split(b","):
        name, _, parameters = part.strip().partition(b";")
        if name.strip() in (b"gzip", b"*"):
            return not re.search(rb"q=0(\.0*)?$", parameters.strip())
    return False


# --- downloads ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Download:
    """A file on its way: headers, and the pieces to send (reading blocks; call it in a thread)."""

    status: int
    headers: RawHeaders
    pieces: Iterator[bytes]


def download(file: File, headers: Mapping[bytes, bytes], head: bool = False) -> Download:
    """Answer a file, a range of it, or 304. Raises `Problem` 416 for a range outside of it, and whatever its source
    raises at the first piece: that is read here, while another status can still be answered. Blocks."""
    size = _size(file)
    out: RawHeaders = [(b"content-type", file.media_type.encode("latin-1"))]
    out += [header(name, value) for name, value in file.headers.items()]
    if file.name is not None or not file.inline:
        out.append((b"content-disposition", disposition(file.name, inline=file.inline)))
    etag = file.etag.encode("latin-1") if file.etag else None
    if etag is not None:
        out.append((b"etag", etag))
    if file.modified is not None:
        out.append((b"last-modified", formatdate(file.modified, usegmt=True).encode()))
    if _unchanged(file, etag, headers):
        return Download(304, [h for h in out if h[0] not in (b"content-type", b"content-disposition")], iter(()))
    start, end, status = 0, None if size is None else size - 1, 200
    if size is not None:
        out.append((b"accept-ranges", b"bytes"))
        wanted = _range(headers.get(b"range"), size) if _range_applies(file, etag, headers) else None
        if wanted is not None:
            start, end = wanted
            status = 206
            out.append((b"content-range", b"bytes %d-%d/%d" % (start, end, size)))
        assert end is not None
        out.append((b"content-length", b"%d" % (end - start + 1)))
    if head and file.chunks is not None:
        return Download(status, out, iter(()))
    pieces = _Begun(_pieces(file, start, end))
    if head:
        pieces.close()
        return Download(status, out, iter(()))
    return Download(status, out, pieces)


def disposition(name: str | None, *, inline: bool) -> bytes:
    """`Content-Disposition` with an ASCII fallback and the UTF-8 form (RFC 6266)."""
    kind = "inline" if inline else "attachment"
    if name is None:
        return kind.encode()
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", name)
    value = f'{kind}; filename="{plain}"'
    if plain != name:
        value += f"; filename*=UTF-8''{quote(name, safe='')}"
    return value.encode("latin-1")


def _size(file: File) -> int | None:
    if file.data is not None:
        return len(file.data)
    if file.opener is not None:
        return file.size
    return os.stat(file.path).st_size if file.path is not None else None


def _unchanged(file: File, etag: bytes | None, headers: Mapping[bytes, bytes]) -> bool:
    match = headers.get(b"if-none-match")
    if match is not None:
        return etag is not None and _tag_matches(match, etag.removeprefix(b"W/"))
    since = headers.get(b"if-modified-since")
    if since is None or file.modified is None:
        return False
    try:
        return int(file.modified) <= parsedate_to_datetime(since.decode("latin-1")).timestamp()
    except (ValueError, OverflowError):
        return False


def _range_applies(file: File, etag: bytes | None, headers: Mapping[bytes, bytes]) -> bool:
    guard = headers.get(b"if-range")
    if guard is None:
        return True
    if guard.startswith(b'"'):
        return guard == etag
    return file.modified is not None and guard == formatdate(file.modified, usegmt=True).encode()


def _range(header: bytes | None, size: int) -> tuple[int, int] | None:
    """First and last byte of a single range; None for none, several, or one not understood (RFC 9110 14.2)."""
    match = re.fullmatch(rb"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", header or b"")
    if match is None or match.group(0) in (b"bytes=-",) or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, end = max(0, size - int(match[2])), size - 1
        unsatisfiable = int(match[2]) == 0 or size == 0
    else:
        start, end = int(match[1]), min(int(match[2]) if match[2] else size - 1, size - 1)
        if match[2] and int(match[2]) < start:
            return None
        unsatisfiable = start >= size
    if unsatisfiable:
        raise Problem(
            "range_not_satisfiable", f"The content has {size} bytes.", headers={"Content-Range": f"bytes */{size}"}
        )
    return start, end


class _Begun:
    """Pieces of which the first is read already."""

    def __init__(self, pieces: Generator[bytes, None, None]) -> None:
        self._pieces = pieces
        self._first = next(pieces, None)

    def __iter__(self) -> _Begun:
        return self

    def __next__(self) -> bytes:
        if self._first is None:
            return next(self._pieces)
        first, self._first = self._first, None
        return first

    def close(self) -> None:
        self._pieces.close()


def _pieces(file: File, start: int, end: int | None) -> Generator[bytes, None, None]:
    if file.data is not None:
        yield file.data[start : None if end is None else end + 1]
        return
    if file.path is None and file.opener is None:
        yield from file.chunks or ()
        return
    assert end is not None
    with file.opener() if file.opener is not None else open(str(file.path), "rb") as source:
        source.seek(start)
        left = end - start + 1
        while left > 0 and (piece := source.read(min(CHUNK, left))):
            left -= len(piece)
            yield piece
