"""The parameters of an operation: path, query, header and cookie, read by style, checked by schema, typed for Python.

`Parameters.compile(declared, compiler)` makes a plan once; calling it with the raw parts of a request answers the
values under their Python names (`thalweg.naming.snake_case`), or raises one `Problem("validation")` with every
violation.

Given are the path values as they stood in the path (still percent-encoded), the query string as bytes and the raw
headers. UUIDs, dates and instants come out as Python objects, everything else as JSON values; an optional parameter
that is absent takes its schema's default or is left out. An undeclared query parameter is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from thalweg.edge import coercion
from thalweg.edge.dialect import ContractError, Schema
from thalweg.edge.explain import shown
from thalweg.edge.problem import Problem, Violation
from thalweg.edge.schema import Compiler, Validator
from thalweg.edge.strictjson import loads
from thalweg.edge.styles import Read, reader
from thalweg.edge.wiretext import TextError, header_text, path_text, query_text
from thalweg.naming import snake_case

BREACH = "The request breaks the contract."
MAX_PAIRS = 1_000
_SPOILT: Any = object()
"""In place of a text that could not be read: the violation is noted, nothing more is to be said of it."""
_IGNORED_HEADERS = frozenset({"accept", "content-type", "authorization"})  # OAS 3.0.3, "Parameter Object"


@dataclass(slots=True)
class _Parameter:
    name: str
    python: str
    where: str
    required: bool
    read: Read
    validator: Validator | None
    finish: Callable[[Any], Any] | None
    many: bool
    """Whether several occurrences are read as one value."""
    raw: bool
    """Whether `read` wants the text before percent-decoding."""
    empty: bool
    text: bool

    def value(self, texts: str | list[str], broken: list[Violation]) -> Any:
        """The typed value of what was sent; on a violation something useless, and the violation in `broken`."""
        if type(texts) is list and not self.many:
            broken.append(Violation((self.where, self.name), "must be given once", "repeated"))
            return None
        if self.empty and texts == "":
            return "" if self.text else None
        try:
            value = self.read(texts)
        except TextError as error:
            broken.append(Violation((self.where, self.name), error.message, error.rule))
            return None
        if self.validator is not None and not self.validator.is_valid(value):
            broken.extend(self.validator.violations(value, (self.where, self.name)))
            return None
        return value if self.finish is None else self.finish(value)


def _parameter(declared: Mapping[str, Any], compiler: Compiler) -> tuple[_Parameter, coercion.Shape, str | None] | None:
    """A declared parameter, with its schema's shape and how it is spread over the query; None for an ignored header."""
    name, where = declared["name"], declared["in"]
    if where == "header" and name.lower() in _IGNORED_HEADERS:
        return None
    schema, read, many, raw, spread = _serialisation(declared, compiler)
    shape = coercion.shape_of(compiler.bundle, schema)
    plain = read is coercion.as_text and not _constrained(schema)
    parameter = _Parameter(
        name=name,
        python=snake_case(name),
        where=where,
        required=bool(declared.get("required", False)),
        read=read,
        validator=None if plain else compiler.compile(schema, "request"),
        finish=coercion.finisher(compiler.bundle, schema),
        many=many,
        raw=raw,
        empty=bool(declared.get("allowEmptyValue", False)) and where == "query",
        text="string" in shape.kinds,
    )
    return parameter, shape, spread


class Parameters:
    """Compiled parameters. Immutable after `compile`, safe in threads."""

    __slots__ = (
        "_cookies",
        "_copied",
        "_deep",
        "_defaults",
        "_headers",
        "_known",
        "_path",
        "_query",
        "_rest",
        "_strict",
    )

    def __init__(self) -> None:
        self._path: list[_Parameter] = []
        self._query: dict[str, _Parameter] = {}
        self._deep: dict[str, _Parameter] = {}
        self._rest: list[tuple[frozenset[str], bool, _Parameter]] = []
        self._headers: dict[bytes, _Parameter] = {}
        self._cookies: dict[str, _Parameter] = {}
        self._defaults: dict[str, Any] = {}
        self._copied: dict[str, Any] = {}
        self._known: frozenset[str] = frozenset()
        self._strict = True

    @classmethod
    def compile(
        cls,
        parameters: Sequence[Mapping[str, Any]],
        compiler: Compiler,
        *,
        strict: bool = True,
        known: Collection[str] = (),
    ) -> Parameters:
        """`parameters` are dereferenced parameter objects (their schemas may be references).

        `strict` refuses undeclared query parameters, `known` names those that something else reads (a key in the query,
        say). Raises `ContractError`.
        """
        made = cls()
        made._strict = strict
        made._known = frozenset(known)
        names = [snake_case(declared["name"]) for declared in parameters]
        if clash := {name for name in names if names.count(name) > 1}:
            raise ContractError(f"Parameters share the Python name {', '.join(sorted(clash))}.")
        for declared in parameters:
            parameter = compiler.once(declared, "parameter", partial(_parameter, declared, compiler))
            if parameter is not None:
                made._add(*parameter)
        return made

    def _add(self, parameter: _Parameter, shape: coercion.Shape, spread: str | None) -> None:
        name, where = parameter.name, parameter.where
        if where == "path":
            self._path.append(parameter)
        elif where == "query":
            if spread == "deepObject":
                self._deep[name] = parameter
            elif spread == "form":
                self._rest.append((frozenset(shape.properties), bool(shape.others), parameter))
            else:
                self._query[name] = parameter
        elif where == "header":
            self._headers[name.lower().encode("ascii")] = parameter
        elif where == "cookie":
            self._cookies[name] = parameter
        else:
            raise ContractError(f"Parameter {name} is in {where!r}.")
        if shape.has_default and where != "path":
            self._default(parameter, shape.default)

    def _default(self, parameter: _Parameter, default: Any) -> None:
        if parameter.validator is not None and not parameter.validator.is_valid(default):
            raise ContractError(f"The default of parameter {parameter.name} does not satisfy its schema.")
        if parameter.finish is not None:
            default = parameter.finish(default)
        (self._copied if isinstance(default, list | dict) else self._defaults)[parameter.python] = default

    # --- a request ------------------------------------------------------------------------------------

    def __call__(
        self, path_values: Mapping[str, str], query_string: bytes, headers: Iterable[tuple[bytes, bytes]]
    ) -> dict[str, Any]:
        """The values by Python name. Raises `Problem("validation")`."""
        values = self._defaults.copy()
        if self._copied:
            values.update(deepcopy(self._copied))
        broken: list[Violation] = []
        for parameter in self._path:
            values[parameter.python] = self._from_path(parameter, path_values.get(parameter.name, ""), broken)
        if query_string or self._query or self._rest or self._deep:
            self._read_query(query_string, values, broken)
        if self._headers:
            self._read_headers(headers, values, broken)
        if self._cookies:
            self._read_cookies(headers, values, broken)
        if broken:
            _refuse(broken)
        return values

    def _from_path(self, parameter: _Parameter, text: str, broken: list[Violation]) -> Any:
        if not parameter.raw and ("%" in text or not text.isascii()):
            try:
                text = path_text(text)
            except TextError as error:
                broken.append(Violation(("path", parameter.name), error.message, error.rule))
                return None
        return parameter.value(text, broken)

    def _read_query(self, query_string: bytes, values: dict[str, Any], broken: list[Violation]) -> None:
        found: dict[str, Any] = {}
        known = self._query
        if query_string and not self._split(query_string, found, broken):
            return
        for name, texts in found.items():
            parameter = known.get(name)
            if parameter is not None and texts is not _SPOILT:
                values[parameter.python] = parameter.value(texts, broken)
        for name, parameter in known.items():
            if parameter.required and name not in found:
                broken.append(Violation(("query", name), "is required", "required"))
        if len(found) > len(known) or self._deep or self._rest or not found.keys() <= known.keys():
            self._read_others({name: texts for name, texts in found.items() if name not in known}, values, broken)

    def _split(self, query_string: bytes, found: dict[str, Any], broken: list[Violation]) -> bool:
        """Name to text, or to a list of texts where the name came more than once. False: there is no reading it."""
        try:
            query = query_string.decode()
        except UnicodeDecodeError:
            broken.append(Violation(("query",), "must be UTF-8", "encoding"))
            return False
        pieces = query.split("&", MAX_PAIRS)
        if len(pieces) > MAX_PAIRS:
            broken.append(Violation(("query",), f"must have at most {MAX_PAIRS} parameters", "maxProperties"))
            return False
        simple = "%" not in query and "+" not in query and "\0" not in query
        for piece in pieces:
            if not piece:
                continue
            name, _, text = piece.partition("=")
            if not simple:
                try:
                    name = query_text(name)
                    parameter = self._query.get(name)
                    if parameter is None or not parameter.raw:
                        text = query_text(text)
                except TextError as error:
                    broken.append(Violation(("query", shown(name)), error.message, error.rule))
                    found[name] = _SPOILT
                    continue
            before = found.get(name)
            if before is None:
                found[name] = text
            elif before is _SPOILT:
                continue
            elif type(before) is list:
                before.append(text)
            else:
                found[name] = [before, text]
        return True

    def _read_others(self, others: dict[str, Any], values: dict[str, Any], broken: list[Violation]) -> None:
        for name, parameter in self._deep.items():
            start = name + "["
            keys = [key for key in others if key.startswith(start) and key.endswith("]") and others[key] is not _SPOILT]
            fields = {key[len(start) : -1]: _listed(others.pop(key)) for key in keys}
            self._spread(parameter, fields, values, broken)
        for names, open_, parameter in self._rest:
            keys = [key for key in others if (key in names or open_) and others[key] is not _SPOILT]
            fields = {key: _listed(others.pop(key)) for key in keys}
            self._spread(parameter, fields, values, broken)
        if self._strict:
            unknown = (name for name, texts in others.items() if name not in self._known and texts is not _SPOILT)
            broken.extend(
                Violation(("query", shown(name)), "is not a known parameter", "additionalProperties")
                for name in unknown
            )

    def _spread(
        self, parameter: _Parameter, fields: dict[str, list[str]], values: dict[str, Any], broken: list[Violation]
    ) -> None:
        if fields:
            values[parameter.python] = parameter.value(fields, broken)  # type: ignore[arg-type]
        elif parameter.required:
            broken.append(Violation((parameter.where, parameter.name), "is required", "required"))

    def _read_headers(
        self, headers: Iterable[tuple[bytes, bytes]], values: dict[str, Any], broken: list[Violation]
    ) -> None:
        found: dict[bytes, Any] = {}
        known = self._headers
        for name, value in headers:
            if name not in known and (name := name.lower()) not in known:
                continue
            text = header_text(value)
            before = found.get(name)
            found[name] = text if before is None else [*_listed(before), text]
        for name, parameter in known.items():
            if name in found:
                values[parameter.python] = parameter.value(found[name], broken)
            elif parameter.required:
                broken.append(Violation(("header", parameter.name), "is required", "required"))

    def _read_cookies(
        self, headers: Iterable[tuple[bytes, bytes]], values: dict[str, Any], broken: list[Violation]
    ) -> None:
        found = cookies(headers)
        for name, parameter in self._cookies.items():
            if name in found:
                values[parameter.python] = parameter.value(found[name], broken)
            elif parameter.required:
                broken.append(Violation(("cookie", name), "is required", "required"))


# --- the wire --------------------------------------------------------------------------------------


def cookies(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Cookies by name. Where a name comes twice the first counts: it has the more specific path (RFC 6265, 5.4)."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name.lower() != b"cookie":
            continue
        for piece in header_text(value).split(";"):
            key, equals, text = piece.partition("=")
            if equals:
                text = text.strip(" \t")
                if len(text) > 1 and text[0] == text[-1] == '"':
                    text = text[1:-1]
                found.setdefault(key.strip(" \t"), text)
    return found


def _listed(texts: Any) -> list[str]:
    return texts if type(texts) is list else [texts]


def _refuse(broken: list[Violation]) -> NoReturn:
    raise Problem("validation", BREACH, violations=tuple(broken[:100]))


# --- compiling -------------------------------------------------------------------------------------


def _serialisation(declared: Mapping[str, Any], compiler: Compiler) -> tuple[Schema, Read, bool, bool, str | None]:
    """Schema, reader, whether repetitions are one value, whether it is read undecoded, how an object is spread."""
    name, where = declared["name"], declared["in"]
    if content := declared.get("content"):
        (media_type, described), *more = content.items()
        if more or not media_type.partition(";")[0].strip().endswith("json"):
            raise ContractError(f"Parameter {name}: exactly one JSON media type can be its content.")
        return described.get("schema", {}), _json, False, False, None
    schema: Schema = declared.get("schema", {})
    style = declared.get("style", "simple" if where in ("path", "header") else "form")
    explode = bool(declared.get("explode", style == "form"))
    return schema, *reader(name, where, style, explode, schema, compiler)


def _json(text: Any) -> Any:
    try:
        return loads(text.encode())
    except (ValueError, UnicodeEncodeError) as error:
        raise TextError("json", f"must be JSON: {error}") from None


def _constrained(schema: Schema) -> bool:
    return bool(schema.keys() - {"type", "description", "title", "example", "default", "deprecated", "nullable"})
