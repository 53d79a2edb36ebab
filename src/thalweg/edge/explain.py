"""Turns what jsonschema-rs finds into violations that a caller can act on: where, which rule, in plain words.

Nothing of the contract's inner naming leaks, and no value that may be secret is repeated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from thalweg.edge.formats import describe
from thalweg.edge.problem import Violation

_SECRET_NAME = re.compile(r"passw|secret|token|api_?key|authorization|credential|private_?key|otp", re.IGNORECASE)
_SHOWN = 100
_LISTED = 12
_A = {
    "string": "a string",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}

Path = tuple[str | int, ...]


def explain(
    errors: Iterator[Any], document: Mapping[str, Any], where: Path, secret: Callable[[Path], bool]
) -> Iterator[Violation]:
    """Violations behind jsonschema-rs errors of `document`. `secret(path)` says whether a value must not be shown."""
    for error in errors:
        yield from _one(error, document, where, secret)


def _one(error: Any, document: Mapping[str, Any], where: Path, secret: Callable[[Path], bool]) -> Iterator[Violation]:
    path: Path = tuple(error.instance_path)
    rule, piece = _origin(document, error.schema_path)
    kind = error.kind
    if rule == "discriminator":
        yield from _chosen(error, piece, document, where, secret)
        return
    if rule in ("anyOf", "oneOf") and hasattr(kind, "context"):
        closest = _closest(kind.context) if kind.name != "oneOf" or type(kind).__name__.endswith("NotValid") else None
        if closest is not None:
            yield from explain(iter(closest), document, where, secret)
            return
    if rule == "required":
        missing = getattr(kind, "property", None)
        yield Violation((*where, *path, *([missing] if missing is not None else [])), "is required", rule)
    elif rule == "additionalProperties" and hasattr(kind, "unexpected"):
        for name in kind.unexpected:
            yield Violation((*where, *path, name[:_SHOWN]), "is not a known field", rule)
    else:
        hide = secret(path)
        yield Violation((*where, *path), _message(rule, kind, piece), rule, None if hide else shown(error.instance))


def _origin(document: Mapping[str, Any], schema_path: Sequence[str | int]) -> tuple[str, Mapping[str, Any]]:
    """The contract's keyword behind the place in the document, and the schema that it stands in."""
    node: Any = document
    piece: Mapping[str, Any] = {}
    names = False  # `node` maps names, it is not a schema
    rule = str(schema_path[-1]) if schema_path else ""
    for token in schema_path:
        if isinstance(node, Mapping) and not names:
            piece = node
            because = node.get("x-because", {}).get(token)
            # inside a discriminated alternative the alternative's own rules count
            if because is not None and (because != "discriminator" or token is schema_path[-1]):
                return because, node
        if isinstance(node, Mapping):
            if token not in node:
                break
            names = not names and token in ("properties", "definitions")
            node = node[token]
        elif isinstance(node, list) and isinstance(token, int) and token < len(node):
            node = node[token]
            names = False
        else:
            break
    return rule, piece


def _chosen(
    error: Any, piece: Mapping[str, Any], document: Mapping[str, Any], where: Path, secret: Callable[[Path], bool]
) -> Iterator[Violation]:
    path: Path = tuple(error.instance_path)
    name, cases, value = piece["x-property"], piece["x-cases"], error.instance
    if not isinstance(value, dict):
        yield Violation((*where, *path), "must be an object", "type", None if secret(path) else shown(value))
        return
    if name not in value:
        yield Violation((*where, *path, name), "is required", "discriminator")
        return
    for index, values in enumerate(cases):
        if value[name] in values:
            found = list(explain(iter(error.kind.context[index]), document, where, secret))
            yield from found
            return
    known = [value for values in cases for value in values]
    yield Violation((*where, *path, name), f"must be {_one_of(known)}", "discriminator", shown(value[name]))


def _closest(context: Sequence[Sequence[Any]]) -> Sequence[Any] | None:
    """The one alternative that the value was plainly meant for: all others fail at its very type or an enum of it."""
    if len(context) == 1:
        return context[0]
    depth = min((len(error.instance_path) for errors in context for error in errors), default=0)
    meant = [
        errors
        for errors in context
        if errors and not any(e.kind.name == "type" and len(e.instance_path) <= depth for e in errors)
    ]
    if len(meant) > 1:  # objects that a field with fixed values tells apart
        named = [each for each in meant if not any(e.kind.name in ("enum", "const") and _below(e, depth) for e in each)]
        meant = named if len(named) == 1 else meant
    return meant[0] if len(meant) == 1 else None


def _below(error: Any, depth: int) -> bool:
    return len(error.instance_path) == depth + 1


def _message(rule: str, kind: Any, piece: Mapping[str, Any]) -> str:
    if rule == "format":
        return describe(piece["x-format"])
    phrase = _PHRASES.get(rule)
    return "is not valid" if phrase is None else phrase(kind, piece)


def _types(kind: Any, piece: Mapping[str, Any]) -> str:
    names = piece.get("type", [])
    listed = [names] if isinstance(names, str) else list(names)
    return "must be " + " or ".join(_A.get(name, name) for name in listed)


def _one_of(values: Sequence[Any]) -> str:
    listed = ", ".join(
        "null" if v is None else str(v).lower() if isinstance(v, bool) else str(v) for v in values[:_LISTED]
    )
    more = ", ..." if len(values) > _LISTED else ""
    return listed if len(values) == 1 else f"one of: {listed}{more}"


def _plural(number: Any, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


_PHRASES: Mapping[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "type": _types,
    "enum": lambda k, p: f"must be {_one_of(p.get('enum', []))}",
    "minLength": lambda k, p: "must have at least " + _plural(p.get("minLength"), "character", "characters"),
    "maxLength": lambda k, p: "must have at most " + _plural(p.get("maxLength"), "character", "characters"),
    "pattern": lambda k, p: "does not have the expected form",
    "minItems": lambda k, p: "must have at least " + _plural(p.get("minItems"), "item", "items"),
    "maxItems": lambda k, p: "must have at most " + _plural(p.get("maxItems"), "item", "items"),
    "uniqueItems": lambda k, p: "must not have equal items",
    "minProperties": lambda k, p: "must have at least " + _plural(p.get("minProperties"), "field", "fields"),
    "maxProperties": lambda k, p: "must have at most " + _plural(p.get("maxProperties"), "field", "fields"),
    "minimum": lambda k, p: f"must be at least {p.get('minimum')}",
    "maximum": lambda k, p: f"must be at most {p.get('maximum')}",
    "exclusiveMinimum": lambda k, p: f"must be greater than {p.get('minimum')}",
    "exclusiveMaximum": lambda k, p: f"must be less than {p.get('maximum')}",
    "multipleOf": lambda k, p: f"must be a multiple of {p.get('multipleOf')}",
    "readOnly": lambda k, p: "is set by the server and cannot be sent",
    "writeOnly": lambda k, p: "is never sent back",
    "oneOf": lambda k, p: "must match exactly one of the allowed shapes",
    "anyOf": lambda k, p: "matches none of the allowed shapes",
    "not": lambda k, p: "is not allowed",
}


def shown(value: Any) -> Any:
    """A scalar as it is, long text cut; nothing of a container, whose fields may hold anything."""
    if isinstance(value, str):
        return value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if abs(value) < 2**64 else None
    return value if value is None or isinstance(value, bool) else None


def secret_name(path: Path) -> bool:
    return any(isinstance(step, str) and _SECRET_NAME.search(step) for step in path)
