"""Form bodies as the object that their schema describes: urlencoded pairs and multipart parts alike.

OAS 3.0.3, "Media Type Object", encoding: a property that is an object travels as JSON, an array as repeated fields, a
`format: binary` string as a file, everything else as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thalweg.edge import coercion, mediatypes
from thalweg.edge.dialect import Schema, resolve
from thalweg.edge.explain import shown
from thalweg.edge.multipart import FormError, Part
from thalweg.edge.problem import Violation
from thalweg.edge.schema import Compiler
from thalweg.edge.strictjson import JsonError, loads
from thalweg.edge.uploads import Upload
from thalweg.edge.wiretext import TextError, query_text

MAX_PAIRS = 1_000
_DELIMITERS = {"form": ",", "spaceDelimited": " ", "pipeDelimited": "|"}


@dataclass(slots=True)
class _Field:
    """How one property is read."""

    array: bool
    file: bool
    json: bool
    read: Callable[[str], Any]
    """One item of an array, or the one value."""
    delimiter: str | None
    """Set for an array in a single urlencoded field."""
    media_types: tuple[str, ...]
    """What a part may say it is; empty: anything."""
    sizes: tuple[int, int | None]
    """Least and most bytes of a file."""


class Form:
    """The fields of one form body, compiled."""

    def __init__(self, schema: Schema, encoding: Mapping[str, Any], compiler: Compiler) -> None:
        shape = coercion.shape_of(compiler.bundle, schema)
        self._compiler = compiler
        self._fields = {
            name: self._field(definition, encoding.get(name, {})) for name, definition in shape.properties.items()
        }
        other = shape.others if isinstance(shape.others, Mapping) else {}
        self._other = self._field(other, {})
        self.validator = compiler.compile(_unmeasured(compiler, schema), "request")

    def _field(self, schema: Schema, encoding: Mapping[str, Any]) -> _Field:
        compiler = self._compiler
        shape = coercion.shape_of(compiler.bundle, schema)
        array = "array" in shape.kinds
        item = (shape.items or {}) if array else schema
        inner = coercion.shape_of(compiler.bundle, item) if array else shape
        content = encoding.get("contentType", "")
        media_types = tuple(kind.strip() for kind in content.split(",") if kind.strip())
        file = inner.formats == {"binary"}
        sized = _followed(compiler, item)
        explode = encoding.get("explode", encoding.get("style", "form") == "form")
        return _Field(
            array=array,
            file=file,
            json=not file
            and ("object" in inner.kinds or "array" in inner.kinds or any(map(mediatypes.is_json, media_types))),
            read=coercion.scalar(compiler, item),
            delimiter=None if explode else _DELIMITERS.get(encoding.get("style", "form")),
            media_types=media_types if file else (),
            sizes=(sized.get("minLength", 0), sized.get("maxLength")),
        )

    def is_file(self, name: str, filename: str | None) -> bool:
        """Whether a part is to be received as a file."""
        field = self._fields.get(name)
        return field.file if field is not None else filename is not None

    def pairs(self, raw: bytes) -> dict[str, Any]:
        """The object in application/x-www-form-urlencoded text, still to be checked. Raises `FormError`."""
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise FormError("encoding", "must be UTF-8") from None
        pieces = text.split("&", MAX_PAIRS)
        if len(pieces) > MAX_PAIRS:
            raise FormError("maxProperties", f"must have at most {MAX_PAIRS} fields")
        found: dict[str, list[str]] = {}
        for piece in pieces:
            if piece:
                name, _, value = piece.partition("=")
                try:
                    found.setdefault(query_text(name), []).append(query_text(value))
                except TextError as error:
                    raise FormError(error.rule, error.message) from None
        return {name: self._value(self._fields.get(name, self._other), texts) for name, texts in found.items()}

    def _value(self, field: _Field, texts: list[str]) -> Any:
        if field.array and field.delimiter is not None and len(texts) == 1:
            texts = texts[0].split(field.delimiter) if texts[0] else []
        values = [self._one(field, text) for text in texts]
        return _collected(field, values)

    @staticmethod
    def _one(field: _Field, text: str) -> Any:
        if not field.json:
            return field.read(text)
        try:
            return loads(text.encode())
        except (JsonError, UnicodeEncodeError):
            return text  # the schema says what was expected

    def parts(self, parts: Sequence[Part]) -> tuple[dict[str, Any], list[Violation]]:
        """The object in multipart parts, its files as `Upload`, and what the schema cannot see (types and sizes)."""
        found: dict[str, list[Any]] = {}
        broken: list[Violation] = []
        for part in parts:
            field = self._fields.get(part.name, self._other)
            if part.upload is not None:
                broken.extend(_file_violations(part, field))
                value: Any = part.upload
            else:
                value = self._text_part(part, field, broken)
            found.setdefault(part.name, []).append(value)
        for name, values in found.items():
            known = self._fields.get(name)
            if len(values) > 1 and known is not None and not known.array:
                broken.append(_repeated(name, known, len(values)))
        return {name: _collected(self._fields.get(name, self._other), values) for name, values in found.items()}, broken

    def _text_part(self, part: Part, field: _Field, broken: list[Violation]) -> Any:
        parsed = mediatypes.parse(part.media_type) if part.media_type else None
        kind, options = parsed or ("text/plain", {})
        charset = options.get("charset", "utf-8").lower()
        try:
            if charset not in ("utf-8", "us-ascii", "utf8", "ascii"):
                raise TextError("encoding", "must be UTF-8")
            if field.json or (mediatypes.is_json(kind) and field.read is not coercion.as_text):
                return loads(part.data)
            text = part.data.decode()
            if "\0" in text:
                raise TextError("nul", "must not contain the NUL character")
            return field.read(text)
        except (TextError, JsonError) as error:
            broken.append(Violation(("body", shown(part.name)), str(error), error.rule))
        except UnicodeDecodeError:
            broken.append(Violation(("body", shown(part.name)), "must be UTF-8", "encoding"))
        return None


def _repeated(name: str, field: _Field, times: int) -> Violation:
    """Of a field that has one value. The schema would say that a list is no text, and nobody sent a list."""
    expected = "must be one file" if field.file else "must be sent once"
    return Violation(("body", name), f"{expected}, and {times} parts have this name", "type")


def _collected(field: _Field, values: list[Any]) -> Any:
    if field.array:
        if len(values) == 1 and isinstance(values[0], list):
            return values[0]  # the whole array came as one JSON text
        return values
    return values[0] if len(values) == 1 else values


def _file_violations(part: Part, field: _Field) -> list[Violation]:
    upload = part.upload
    assert upload is not None
    where = ("body", shown(part.name))
    broken = []
    claimed = upload.media_type.partition(";")[0].strip().lower()
    if field.media_types and not any(mediatypes.covers(pattern, claimed) for pattern in field.media_types):
        broken.append(Violation(where, f"must be {' or '.join(field.media_types)}", "contentType", shown(claimed)))
    least, most = field.sizes
    if upload.size < least:
        broken.append(Violation(where, f"must have at least {least} bytes", "minLength"))
    if most is not None and upload.size > most:
        broken.append(Violation(where, f"must have at most {most} bytes", "maxLength"))
    return broken


def stand_in(value: Any) -> Any:
    """The JSON value that a schema can be asked about: a file becomes an empty text."""
    if isinstance(value, Upload):
        return ""
    if isinstance(value, list):
        return [stand_in(item) for item in value]
    return value


def uploads_in(value: Any) -> list[Upload]:
    if isinstance(value, Upload):
        return [value]
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [upload for entry in entries for upload in uploads_in(entry)]


def _followed(compiler: Compiler, schema: Schema) -> Schema:
    while isinstance(pointer := schema.get("$ref"), str):
        schema = resolve(compiler.bundle, pointer)
    return schema


def _unmeasured(compiler: Compiler, schema: Schema) -> Schema:
    """The form's schema without what it says of the text of its files: they are measured in bytes, as they come."""
    schema = _followed(compiler, schema)
    copy = dict(schema)
    if "properties" in schema:
        copy["properties"] = {name: _unsized(compiler, p) for name, p in schema["properties"].items()}
    if "allOf" in schema:
        copy["allOf"] = [_unmeasured(compiler, member) for member in schema["allOf"]]
    return copy


def _unsized(compiler: Compiler, schema: Schema) -> Schema:
    followed = _followed(compiler, schema)
    if followed.get("format") == "binary":
        return {key: value for key, value in followed.items() if key not in ("minLength", "maxLength", "pattern")}
    if "items" in followed and _followed(compiler, followed["items"]).get("format") == "binary":
        return {**followed, "items": _unsized(compiler, followed["items"])}
    return schema
