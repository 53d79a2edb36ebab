"""Schemas of a contract as compiled validators.

`Compiler(bundle).compile(schema, direction)` answers a `Validator`: `is_valid` runs in a microsecond or so,
`violations` explains. A schema is converted when it is compiled, so a wrong contract is found there, and becomes a Rust
validator at its first use. A `late` compiler converts at the first use too: one process meets few of an application's
schemas, and the tests compile all of them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from itertools import islice
from typing import Any, TypeVar

import jsonschema_rs
import orjson

from thalweg.edge.dialect import ContractError, Dialect, Direction, Schema, resolve
from thalweg.edge.explain import Path, explain, secret_name
from thalweg.edge.formats import CALLBACKS, EMAIL_OPTIONS, PATTERN_OPTIONS
from thalweg.edge.problem import Violation

__all__ = ["Compiler", "ContractError", "Direction", "Validator"]

# jsonschema-rs collects every error before it hands out the first: half a million of them take seconds.
_EXPLAINED_NODES = 5_000
_KEPT_ITEMS = 50
_KEPT_NAMES = 500

T = TypeVar("T")


class Validator:
    """One schema in one direction. Shared between all places that use an equal schema; safe in threads."""

    __slots__ = ("_compiler", "_direction", "_document", "_lock", "_rust", "_schema", "is_valid")

    is_valid: Callable[[Any], bool]
    """Whether a JSON value (dict, list, str, int, float, bool, None) satisfies the schema.

    Raises `ValueError` for what is no JSON value: another type, a key that is no string, a lone surrogate.
    """

    def __init__(
        self, compiler: Compiler, schema: Schema, direction: Direction, document: dict[str, Any] | None
    ) -> None:
        self._compiler = compiler
        self._schema = schema
        self._direction = direction
        self._document = document
        self._lock = threading.Lock()
        self._rust: Any = None
        self.is_valid = self._first

    def warm(self) -> None:
        """Build the Rust validator now. Raises `ContractError` when the schema cannot be built (a bad pattern, say)."""
        with self._lock:
            if self._rust is None:
                self._document, self._rust = self._compiler.build(self._schema, self._direction, self._document)
                self.is_valid = self._rust.is_valid

    def _first(self, value: Any) -> bool:
        self.warm()
        return bool(self._rust.is_valid(value))

    def violations(self, value: Any, where: str | Path = "body", limit: int = 20) -> tuple[Violation, ...]:
        """Why `value` is not valid, at most `limit` reasons; empty when it is valid. `where` begins every path."""
        self.warm()
        prefix: Path = (where,) if isinstance(where, str) else where
        try:
            if self._rust.is_valid(value):
                return ()
            found = self._explained(value, prefix, limit)
        except ValueError:  # not a JSON value at all
            found = []
        return tuple(found) or (Violation(prefix, "does not have the expected form", "schema"),)

    def _explained(self, value: Any, prefix: Path, limit: int) -> list[Violation]:
        assert self._document is not None, "it is warm"
        if not _small(value, _EXPLAINED_NODES):
            value = _head(value, frozenset(_names(self._document)))
        assert self._document is not None, "warm"
        errors: Iterator[Any] = self._rust.iter_errors(value)
        found = explain(
            errors, self._document, prefix, lambda path: secret_name(prefix + path) or self._is_secret(path)
        )
        return list(islice(_distinct(found), limit))

    def _is_secret(self, path: Path) -> bool:
        return any(schema.get("writeOnly") is True or schema.get("format") == "password" for schema in self._at(path))

    def _at(self, path: Path) -> list[Schema]:
        """Every schema of the contract that speaks of the value at `path`."""
        here = self._spread([self._schema])
        for step in path:
            below = []
            for schema in here:
                if isinstance(step, int):
                    below.append(schema.get("items"))
                else:
                    below.append(schema.get("properties", {}).get(step, schema.get("additionalProperties")))
            here = self._spread([schema for schema in below if isinstance(schema, Mapping)])
        return here

    def _spread(self, schemas: list[Schema]) -> list[Schema]:
        seen: dict[int, Schema] = {}
        while schemas:
            schema = schemas.pop()
            while isinstance(pointer := schema.get("$ref"), str):
                schema = resolve(self._compiler.bundle, pointer)
            if id(schema) not in seen:
                seen[id(schema)] = schema
                schemas.extend(member for keyword in ("allOf", "anyOf", "oneOf") for member in schema.get(keyword, ()))
        return list(seen.values())


class Compiler:
    """Compiles the schemas of one bundle. Equal schemas share one validator, and a schema without readOnly or writeOnly
    shares it between both directions.

    With `late` the conversion waits for the first use, and what is wrong in a schema is raised there.
    """

    def __init__(self, bundle: Mapping[str, Any], *, late: bool = False) -> None:
        self.bundle = bundle
        self._late = late
        self._dialects = {"request": Dialect(bundle, "request"), "response": Dialect(bundle, "response")}
        self._validators: dict[bytes | tuple[int, str], Validator] = {}
        self._built: dict[bytes, tuple[dict[str, Any], Any]] = {}
        self._references: dict[tuple[str, str], Validator] = {}
        self._made: dict[tuple[int, str], tuple[Schema, Any]] = {}
        self._lock = threading.Lock()

    def compile(self, schema: Schema, direction: Direction) -> Validator:
        """The validator of a schema object, or of `{"$ref": "#/..."}`. Raises `ContractError`."""
        with self._lock:
            pointer = schema.get("$ref")
            known = self._references.get((pointer, direction)) if isinstance(pointer, str) else None
            if known is not None:
                return known
            # A validator holds its schema, so the identity of a known one stays its own.
            document = None if self._late else self._dialects[direction].document(schema)
            key = (id(schema), direction) if document is None else _fingerprint(document)
            validator = self._validators.setdefault(key, Validator(self, schema, direction, document))
            if isinstance(pointer, str):
                self._references[(pointer, direction)] = validator
            return validator

    def build(
        self, schema: Schema, direction: Direction, document: dict[str, Any] | None
    ) -> tuple[dict[str, Any], Any]:
        """A schema as a Draft 4 document (converted now, unless given) and as a Rust validator; equal ones share both.

        Raises `ContractError`.
        """
        with self._lock:
            document = document or self._dialects[direction].document(schema)
            fingerprint = _fingerprint(document)
            if fingerprint not in self._built:
                self._built[fingerprint] = (document, _rust(document))
            return self._built[fingerprint]

    def once(self, node: Schema, kind: str, make: Callable[[], T]) -> T:
        """What `make` makes of a part of the document: once for all operations that refer to it.

        The part is known by its identity, and held for that.
        """
        key = (id(node), kind)
        kept = self._made.get(key)
        if kept is None:
            kept = self._made[key] = (node, make())
        made: T = kept[1]
        return made

    def validators(self) -> tuple[Validator, ...]:
        """All that were compiled so far, each once: for warming up and for checks of a contract."""
        return tuple(self._validators.values())


def _rust(document: dict[str, Any]) -> Any:
    try:
        return jsonschema_rs.Draft4Validator(
            document,
            validate_formats=True,
            formats=CALLBACKS,
            email_options=EMAIL_OPTIONS,
            pattern_options=PATTERN_OPTIONS,
            offline=True,
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        reason = getattr(error, "message", None) or str(error)
        raise ContractError(f"A schema cannot be compiled: {reason}") from error


def _fingerprint(document: Mapping[str, Any]) -> bytes:
    try:
        content = orjson.dumps(document)
    except TypeError:  # a bound may need more than 64 bits
        content = json.dumps(document).encode()
    return sha256(content).digest()


def _distinct(found: Iterator[Violation]) -> Iterator[Violation]:
    seen: set[tuple[Path, str]] = set()
    for violation in found:
        key = (violation.path, violation.message)
        if key not in seen:
            seen.add(key)
            yield violation


def _small(value: Any, budget: int) -> bool:
    """Whether the value has fewer than `budget` nodes; stops counting there."""
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            budget -= len(node)
            if budget > 0:
                waiting.extend(node.values())
        elif isinstance(node, list):
            budget -= len(node)
            if budget > 0:
                waiting.extend(node)
        if budget <= 0:
            return False
    return True


def _head(value: Any, names: frozenset[str]) -> Any:
    """The value with every long list cut, and of every large object the names that the schema does not know: what is
    wrong there is wrong in the whole."""
    if isinstance(value, list):
        return [_head(item, names) for item in value[:_KEPT_ITEMS]]
    if isinstance(value, dict):
        strange = islice((name for name in value if name not in names), _KEPT_NAMES)
        kept = value.keys() if len(value) <= _KEPT_NAMES else [*(names & value.keys()), *strange]
        return {name: _head(value[name], names) for name in kept}
    return value


def _names(document: Any) -> Iterator[str]:
    """Every name that a schema document speaks of (and its keywords, which do no harm)."""
    if isinstance(document, Mapping):
        for key, part in document.items():
            yield key
            if key == "required" and isinstance(part, list):
                yield from part
            yield from _names(part)
    elif isinstance(document, list):
        for part in document:
            yield from _names(part)
