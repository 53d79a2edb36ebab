"""The body of a request: JSON, a form, a file or text, read within its limits and checked against its schema.

`Body.compile(request_body, compiler, max_bytes=..., spool_dir=...)` makes a `BodyReader` once; `await read(headers,
receive)` answers a `Payload`, which the edge closes when the request is over.

- A body needs a Content-Type that the contract declares; without one it is refused (415), even where only JSON could be
  meant: a browser can be made to send a body without a type across origins, not one that says JSON.
- Content-Length is believed when it is too large (413 before a byte is read), bytes are counted in any case.
- A Content-Encoding is refused (415): a small body must not be able to become a large one.
- Text is UTF-8. NUL characters are refused everywhere: PostgreSQL cannot hold them in text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from thalweg.edge import forms, mediatypes, multipart
from thalweg.edge.explain import shown
from thalweg.edge.intake import Intake, Receive, too_large
from thalweg.edge.problem import Problem, Violation
from thalweg.edge.schema import Compiler, Validator
from thalweg.edge.strictjson import JsonError, loads
from thalweg.edge.uploads import Sink, Upload, sweep

__all__ = ["Body", "BodyReader", "Payload", "Upload", "sweep"]

BREACH = "The request breaks the contract."
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


@dataclass(slots=True)
class Payload:
    """A body that was read and found valid."""

    value: Any = None
    """The JSON value; for a form a dict whose files are `Upload`; for a file an `Upload`; for text a str."""
    raw: bytes | None = None
    """The bytes as they came, except for multipart and files, which are not kept."""
    media_type: str | None = None
    absent: bool = False
    """No body was sent (and none was required)."""
    uploads: tuple[Upload, ...] = ()
    seal: bytes = b""
    """What stands for the content where `raw` is None."""

    def digest(self) -> bytes:
        """SHA-256 of the content, for the fingerprint of a request. Multipart boundaries do not count."""
        content = self.seal if self.raw is None else self.raw
        return sha256((self.media_type or "").encode() + b"\0" + content).digest()

    @property
    def spooled(self) -> bool:
        """Whether a file of it lies on disk."""
        return any(upload.path is not None for upload in self.uploads)

    def close(self) -> None:
        """Remove spooled files."""
        for upload in self.uploads:
            upload.close()


_ABSENT = Payload(absent=True)
_NO_OPTIONS: Mapping[str, str] = {}


class _Kind(Protocol):
    """How one declared media type is read."""

    async def __call__(self, intake: Intake, media_type: str, options: Mapping[str, str]) -> Payload: ...


class Body:
    """Where a `BodyReader` comes from."""

    @staticmethod
    def compile(
        request_body: Mapping[str, Any] | None, compiler: Compiler, *, max_bytes: int, spool_dir: str
    ) -> BodyReader:
        """`request_body` is a dereferenced request body object (its schemas may be references); None reads nothing.

        `max_bytes` limits the whole body. Files above 64 KiB are spooled into `spool_dir`. Raises `ContractError`.
        """
        content = (request_body or {}).get("content", {})
        kinds: dict[str, _Kind] = {}
        for declared, described in content.items():
            name = declared.partition(";")[0].strip().lower()
            kinds[name] = _kind(name, described, compiler, spool_dir)
        required = bool((request_body or {}).get("required", False))
        return BodyReader(kinds, required, max_bytes, declares_body=request_body is not None)


class BodyReader:
    """Reads the body of one operation. Immutable, used by many requests at once."""

    __slots__ = ("_declares", "_exact", "_kinds", "_required", "max_bytes")

    def __init__(self, kinds: Mapping[str, _Kind], required: bool, max_bytes: int, *, declares_body: bool) -> None:
        self._kinds = kinds
        self._exact = {name.encode(): (kind, name, _NO_OPTIONS) for name, kind in kinds.items() if "*" not in name}
        self._required = required
        self._declares = declares_body
        self.max_bytes = max_bytes

    async def read(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> Payload:
        """The checked body. `headers` are the raw ones of the scope, `receive` is ASGI's.

        Raises `Problem` (`too_large`, `unsupported_media_type`, `validation`) and `Disconnected`.
        """
        if not self._declares:
            return _ABSENT
        type_, length = self._look(headers)
        if length is not None and length > self.max_bytes:
            raise too_large(self.max_bytes)
        kind = self._choose(type_) if length else None  # a wrong type is refused before the body is waited for
        intake = Intake(receive, self.max_bytes)
        if not await intake.first():
            if self._required:
                raise _breach(Violation(("body",), "is required", "required"))
            return _ABSENT
        reader, media_type, options = kind or self._choose(type_)
        return await reader(intake, media_type, options)

    async def whole(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> bytes:
        """The bytes as they come, within the limit, before anything of them is read: what a signature covers.

        `read` takes them afterwards (`thalweg.edge.intake.again`). Raises `Problem` and `Disconnected` as `read` does.
        """
        _, length = self._look(headers)
        if length is not None and length > self.max_bytes:
            raise too_large(self.max_bytes)
        return await Intake(receive, self.max_bytes).whole()

    def _look(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes | None, int | None]:
        type_: bytes | None = None
        length: int | None = None
        for name, value in headers:
            if name == b"content-type":
                if type_ is not None and type_ != value:
                    raise Problem("unsupported_media_type", "The request has two different Content-Types.")
                type_ = value
            elif name == b"content-length":
                if not value.isdigit() or len(value) > 18:
                    raise Problem("bad_request", "The Content-Length is not a number.")
                length = int(value)
            elif name == b"content-encoding" and value.strip().lower() not in (b"identity", b""):
                raise Problem(
                    "unsupported_media_type",
                    "The body must not have a Content-Encoding.",
                    headers={"Accept-Encoding": "identity"},  # RFC 9110, 12.5.3: says what would be taken
                )
        return type_, length

    def _choose(self, value: bytes | None) -> tuple[_Kind, str, Mapping[str, str]]:
        if value is None:
            raise Problem("unsupported_media_type", f"The body needs a Content-Type: {', '.join(self._kinds)}.")
        exact = self._exact.get(value)
        if exact is not None:
            return exact
        expected = ", ".join(self._kinds)
        parsed = mediatypes.parse(value.decode("latin-1"))
        if parsed is None:
            raise Problem("unsupported_media_type", f"The Content-Type cannot be read. Expected: {expected}.")
        media_type, options = parsed
        kind = mediatypes.find(self._kinds, media_type)
        if kind is None:
            raise Problem("unsupported_media_type", f"{shown(media_type)} is not taken here. Expected: {expected}.")
        if "charset" in options and options["charset"].lower() not in _UTF8 and _is_text(media_type):
            raise Problem("unsupported_media_type", "The body must be UTF-8.")
        return kind, media_type, options


def _is_text(media_type: str) -> bool:
    return (
        mediatypes.is_json(media_type)
        or media_type.startswith("text/")
        or media_type == "application/x-www-form-urlencoded"
    )


def _kind(name: str, described: Mapping[str, Any], compiler: Compiler, spool_dir: str) -> _Kind:
    schema = described.get("schema")
    if name == "multipart/form-data":
        return _Multipart(forms.Form(schema or {}, described.get("encoding", {}), compiler), spool_dir)
    if name == "application/x-www-form-urlencoded":
        return _Urlencoded(forms.Form(schema or {}, described.get("encoding", {}), compiler))
    validator = compiler.compile(schema, "request") if schema else None
    if mediatypes.is_json(name):
        return _Json(validator)
    if name.startswith("text/"):
        return _Text(validator)
    return _File(schema or {}, spool_dir)


def _breach(*violations: Violation) -> Problem:
    return Problem("validation", BREACH, violations=violations)


def _check(validator: Validator | None, value: Any) -> None:
    if validator is not None and not validator.is_valid(value):
        raise _breach(*validator.violations(value, "body"))


class _Json:
    def __init__(self, validator: Validator | None) -> None:
        self._validator = validator

    async def __call__(self, intake: Intake, media_type: str, options: Mapping[str, str]) -> Payload:
        raw = await intake.whole()
        try:
            value = loads(raw)
        except JsonError as error:
            raise _breach(Violation(("body",), str(error), error.rule)) from None
        _check(self._validator, value)
        return Payload(value, raw, media_type)


class _Text:
    def __init__(self, validator: Validator | None) -> None:
        self._validator = validator

    async def __call__(self, intake: Intake, media_type: str, options: Mapping[str, str]) -> Payload:
        raw = await intake.whole()
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise _breach(Violation(("body",), "must be UTF-8", "encoding")) from None
        if "\0" in text:
            raise _breach(Violation(("body",), "must not contain the NUL character", "nul"))
        _check(self._validator, text)
        return Payload(text, raw, media_type)


class _Urlencoded:
    def __init__(self, form: forms.Form) -> None:
        self._form = form

    async def __call__(self, intake: Intake, media_type: str, options: Mapping[str, str]) -> Payload:
        raw = await intake.whole()
        try:
            value = self._form.pairs(raw)
        except multipart.FormError as error:
            raise _breach(Violation(("body",), str(error), error.rule)) from None
        _check(self._form.validator, value)
        return Payload(value, raw, media_type)


class _File:
    """Any other media type: one file."""

    def __init__(self, schema: Mapping[str, Any], spool_dir: str) -> None:
        self._least = schema.get("minLength", 0)
        self._most = schema.get("maxLength")
        self._spool_dir = spool_dir

    async def __call__(self, intake: Intake, media_type: str, options: Mapping[str, str]) -> Payload:
        sink = Sink(self._spool_dir)
        try:
            async for piece in intake.pieces():
                sink.write(piece)
                await sink.relieve()
            if sink.size < self._least:
                raise _breach(Violation(("body",), f"must have at least {self._least} bytes", "minLength"))
            if self._most is not None and sink.size > self._most:
                raise _breach(Violation(("body",), f"must have at most {self._most} bytes", "maxLength"))
            upload = await sink.finish(None, media_type)
        except BaseException:
            sink.abandon()
            raise
        return Payload(upload, None, media_type, uploads=(upload,), seal=bytes.fromhex(upload.sha256))


class _Multipart:
    def __init__(self, form: forms.Form, spool_dir: str) -> None:
        self._form = form
        self._spool_dir = spool_dir

    async def __call__(self, intake: Intake, media_type: str, options: Mapping[str, str]) -> Payload:
        boundary = options.get("boundary")
        if not boundary:
            raise _breach(Violation(("body",), "needs a boundary in its Content-Type", "multipart"))
        reader: multipart.Reader | None = None
        try:
            reader = multipart.Reader(boundary, self._spool_dir, self._form.is_file)
            parts = await reader.read(intake)
            value, broken = self._form.parts(parts)
            plain = {name: forms.stand_in(entry) for name, entry in value.items()}
            noted = {violation.path for violation in broken}
            validator = self._form.validator
            if not validator.is_valid(plain):
                broken.extend(v for v in validator.violations(plain, "body") if v.path not in noted)
            if broken:
                raise _breach(*broken)
        except BaseException as error:
            if reader is not None:
                reader.close()
            if isinstance(error, multipart.FormError):
                raise _breach(Violation(("body",), str(error), error.rule)) from None
            raise
        uploads = tuple(part.upload for part in parts if part.upload is not None)
        return Payload(value, None, media_type, uploads=uploads, seal=_seal(parts))


def _seal(parts: list[multipart.Part]) -> bytes:
    """SHA-256 over what the parts say, free of boundaries, which a client draws anew for every attempt."""
    seal = sha256()
    for part in parts:
        content = part.upload.sha256.encode() if part.upload is not None else sha256(part.data).hexdigest().encode()
        for piece in (part.name, part.filename or "", part.media_type or ""):
            text = piece.encode("utf-8", "surrogatepass")
            seal.update(b"%d:%b" % (len(text), text))
        seal.update(content)
    return seal.digest()
