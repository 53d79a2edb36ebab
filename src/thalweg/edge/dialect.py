"""OpenAPI 3.0.3 schemas in the words of JSON Schema Draft 4, one direction at a time.

The two are close relatives (3.0.3 stands on Wright Draft 00) and differ in `nullable`, `readOnly`/`writeOnly`,
`discriminator` and the formats. A keyword is only a keyword where a schema stands: what is under `properties` are
names, what is under `enum` is data.

`Dialect(bundle, direction).document(schema)` is a self-contained Draft 4 document. Where a converted keyword is not the
one that the contract wrote, `x-because` beside it maps it to the contract's, for the explanation of an error.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from thalweg.edge.formats import fragment
from thalweg.edge.patterns import ecma_pattern

Direction = Literal["request", "response"]
Schema = Mapping[str, Any]


class ContractError(ValueError):
    """The contract itself is wrong: found when it is compiled, never while a request is served."""


_TYPES = {"string", "number", "integer", "boolean", "array", "object"}
_PLAIN = ("multipleOf", "maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties")
_COMBINED = ("allOf", "anyOf", "oneOf")
_NOTHING: dict[str, Any] = {"not": {}}
_MAPPINGS = (dict, Mapping)  # in this order: to ask an abstract class costs ten times as much
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")


class Dialect:
    """Converts the schemas of one bundle for one direction; converted components are kept and shared."""

    def __init__(self, bundle: Mapping[str, Any], direction: Direction) -> None:
        self.bundle = bundle
        self.direction = direction
        # OAS 3.0.3, "Schema Object": readOnly SHOULD NOT be sent in a request, writeOnly not in a response, and
        # `required` takes effect in the other direction only.
        self.flag = "readOnly" if direction == "request" else "writeOnly"
        self._definitions: dict[str, dict[str, Any]] = {}
        self._references: dict[str, set[str]] = {}
        self._hidden: dict[int, tuple[Schema, frozenset[str]]] = {}
        self._sound: set[str] = set()

    def document(self, schema: Schema) -> dict[str, Any]:
        """The schema and every component it reaches. Raises `ContractError`."""
        seen: set[str] = set()
        root = self._convert(schema, frozenset(), seen)
        waiting = list(seen)
        while waiting:
            pointer = waiting.pop()
            for other in self._define(pointer) - seen:
                seen.add(other)
                waiting.append(other)
        document: dict[str, Any] = dict(root) if "$ref" not in root else {"allOf": [root]}
        if seen:
            document["definitions"] = {_key(pointer): self._definitions[pointer] for pointer in sorted(seen)}
        return document

    def _define(self, pointer: str) -> set[str]:
        if pointer not in self._definitions:
            references: set[str] = set()
            self._refuse_endless(pointer, ())
            self._definitions[pointer] = self._convert(resolve(self.bundle, pointer), frozenset(), references)
            self._references[pointer] = references
        return self._references[pointer]

    # --- one schema --------------------------------------------------------------------------------

    def _convert(self, schema: Schema, hidden: frozenset[str], references: set[str]) -> dict[str, Any]:
        if not isinstance(schema, _MAPPINGS):
            raise ContractError(f"A schema must be an object, not {type(schema).__name__}.")
        if "$ref" in schema:
            return self._reference(schema, hidden, references)
        hidden |= self.hidden(schema)
        out: dict[str, Any] = {}
        extra: list[dict[str, Any]] = []
        _type_and_enum(schema, out, extra)
        _numbers(schema, out)
        for keyword in _PLAIN:
            if keyword in schema:
                out[keyword] = schema[keyword]
        if schema.get("uniqueItems") is True:
            out["uniqueItems"] = True
        if isinstance(pattern := schema.get("pattern"), str):
            out["pattern"] = ecma_pattern(pattern)
        if isinstance(name := schema.get("format"), str) and (check := fragment(name, schema.get("type"))) is not None:
            extra.append({**_because("format", check), "x-format": name})
        self._object(schema, out, hidden, references)
        if "items" in schema:
            out["items"] = self._convert(schema["items"], frozenset(), references)
        if "not" in schema:
            out["not"] = self._convert(schema["not"], frozenset(), references)
        self._combinations(schema, out, extra, hidden, references)
        _attach(out, extra)
        return out

    def _reference(self, schema: Schema, hidden: frozenset[str], references: set[str]) -> dict[str, Any]:
        pointer = schema["$ref"]
        if not isinstance(pointer, str):
            raise ContractError(f"$ref must be a string, not {type(pointer).__name__}.")
        target = resolve(self.bundle, pointer)
        if hidden and hidden & self._required(target, (pointer,)):
            # the surrounding schema hides a property that this component asks for: a copy without the demand
            self._refuse_endless(pointer, ())
            return self._convert(target, hidden, references)
        references.add(pointer)
        return {"$ref": f"#/definitions/{_key(pointer)}"}  # siblings are ignored: OAS 3.0.3, "Reference Object"

    def _object(self, schema: Schema, out: dict[str, Any], hidden: frozenset[str], references: set[str]) -> None:
        if required := [name for name in dict.fromkeys(schema.get("required", ())) if name not in hidden]:
            out["required"] = required
        if "properties" in schema:
            out["properties"] = {
                name: _because(self.flag, _NOTHING)
                if self._flagged(definition, ())
                else self._convert(definition, frozenset(), references)
                for name, definition in schema["properties"].items()
            }
        others = schema.get("additionalProperties", True)
        if isinstance(others, Mapping):
            out["additionalProperties"] = self._convert(others, frozenset(), references)
        elif others is False:
            out["additionalProperties"] = False

    def _combinations(
        self,
        schema: Schema,
        out: dict[str, Any],
        extra: list[dict[str, Any]],
        hidden: frozenset[str],
        references: set[str],
    ) -> None:
        for keyword in _COMBINED:
            if keyword not in schema:
                continue
            if keyword != "allOf" and (cases := self._cases(schema, keyword)):
                extra.append(self._discriminated(schema["discriminator"], cases, hidden, references))
                continue
            members = [self._convert(member, hidden, references) for member in schema[keyword]]
            if members:
                out[keyword] = members
            elif keyword != "allOf":
                extra.append(_because(keyword, _NOTHING))

    # --- discriminator -----------------------------------------------------------------------------

    def _cases(self, schema: Schema, keyword: str) -> list[tuple[list[str], Schema]]:
        """Each referenced member with the property values that select it. Inline members are not considered.

        A member that the mapping names goes by that name alone: what a component happens to be called is not for
        clients to send.
        """
        discriminator = schema.get("discriminator")
        if not isinstance(discriminator, Mapping):
            return []
        if not isinstance(discriminator.get("propertyName"), str):
            raise ContractError("A discriminator needs a propertyName.")
        mapping = {value: _mapped(target) for value, target in (discriminator.get("mapping") or {}).items()}
        cases = []
        for member in schema[keyword]:
            pointer = member.get("$ref")
            if not isinstance(pointer, str):
                continue
            values = [value for value, target in mapping.items() if target == pointer]
            name = pointer.rsplit("/", 1)[-1]
            if not values and name not in mapping:
                values = [name]
            cases.append((values, member))
        return cases

    def _discriminated(
        self,
        discriminator: Schema,
        cases: list[tuple[list[str], Schema]],
        hidden: frozenset[str],
        references: set[str],
    ) -> dict[str, Any]:
        """The value of the property chooses the one schema to satisfy, where plain `oneOf` would count matches."""
        name = discriminator["propertyName"]
        return {
            "x-because": {"anyOf": "discriminator"},
            "x-property": name,
            "x-cases": [values for values, _ in cases],
            "anyOf": [
                {
                    "type": "object",
                    "required": [name],
                    "properties": {name: {"enum": values} if values else dict(_NOTHING)},
                    "allOf": [self._convert(member, hidden, references)],
                }
                for values, member in cases
            ],
        }

    # --- readOnly and writeOnly ----------------------------------------------------------------------

    def hidden(self, schema: Schema) -> frozenset[str]:
        """Names of the properties that must not travel in this direction, the schema's own and those of its `allOf`."""
        return self._hidden_names(schema, ())

    def _hidden_names(self, schema: Schema, path: tuple[str, ...]) -> frozenset[str]:
        if (known := self._hidden.get(id(schema))) is not None:
            return known[1]
        names = {name for name, definition in schema.get("properties", {}).items() if self._flagged(definition, ())}
        for member in schema.get("allOf", ()):
            followed, here = self._follow(member, path)
            if followed is not None:
                names |= self._hidden_names(followed, here)
        answer = frozenset(names)
        if not path:
            self._hidden[id(schema)] = (schema, answer)  # the schema is held so that its id stays its own
        return answer

    def _flagged(self, schema: Schema, path: tuple[str, ...]) -> bool:
        followed, here = self._follow(schema, path)
        if followed is None:
            return False
        return followed.get(self.flag) is True or any(self._flagged(m, here) for m in followed.get("allOf", ()))

    def _required(self, schema: Schema, path: tuple[str, ...]) -> frozenset[str]:
        followed, here = self._follow(schema, path)
        if followed is None:
            return frozenset()
        names = set(followed.get("required", ()))
        for keyword in _COMBINED:
            for member in followed.get(keyword, ()):
                names |= self._required(member, here)
        return frozenset(names)

    def _follow(self, schema: Schema, path: tuple[str, ...]) -> tuple[Schema | None, tuple[str, ...]]:
        while isinstance(schema, _MAPPINGS) and isinstance(pointer := schema.get("$ref"), str):
            if pointer in path:
                return None, path
            path = (*path, pointer)
            schema = resolve(self.bundle, pointer)
        if not isinstance(schema, _MAPPINGS):
            raise ContractError(f"A schema must be an object, not {type(schema).__name__}.")
        return schema, path

    # --- soundness -----------------------------------------------------------------------------------

    def _refuse_endless(self, pointer: str, path: tuple[str, ...]) -> None:
        """A schema that contains itself without going deeper into the value would never finish."""
        if pointer in path:
            raise ContractError(f"{pointer} contains itself without a property or an item in between.")
        if pointer in self._sound:
            return
        for other in _same_value(resolve(self.bundle, pointer)):
            self._refuse_endless(other, (*path, pointer))
        self._sound.add(pointer)


def resolve(bundle: Mapping[str, Any], pointer: str) -> Schema:
    """The schema behind a local reference (`#/components/schemas/X`). Raises `ContractError`."""
    if not pointer.startswith("#/"):
        raise ContractError(f"{pointer} is not a reference into the bundle.")
    node: Any = bundle
    for token in pointer[2:].split("/"):
        if "%" in token or "~" in token:
            token = _ESCAPED.sub(lambda m: chr(int(m[1], 16)), token).replace("~1", "/").replace("~0", "~")
        if isinstance(node, _MAPPINGS) and token in node:
            node = node[token]
        elif isinstance(node, list) and token.isdigit() and int(token) < len(node):
            node = node[int(token)]
        else:
            raise ContractError(f"{pointer} leads nowhere.")
    if not isinstance(node, _MAPPINGS):
        raise ContractError(f"{pointer} is not a schema.")
    return node


def _same_value(schema: Schema) -> Iterator[str]:
    if isinstance(pointer := schema.get("$ref"), str):
        yield pointer
        return
    for keyword in _COMBINED:
        for member in schema.get(keyword, ()):
            yield from _same_value(member)
    if isinstance(schema.get("not"), Mapping):
        yield from _same_value(schema["not"])


def _key(pointer: str) -> str:
    name = pointer.removeprefix("#/components/schemas/")
    if re.fullmatch(r"[A-Za-z0-9._-]+", name):
        return name
    return "at:" + hashlib.sha256(pointer.encode()).hexdigest()[:16]


def _mapped(target: str) -> str:
    """A discriminator maps to a reference or to the bare name of a component."""
    return target if "/" in target or "#" in target else f"#/components/schemas/{target}"


def _type_and_enum(schema: Schema, out: dict[str, Any], extra: list[dict[str, Any]]) -> None:
    if (type_ := schema.get("type")) is not None:
        if not isinstance(type_, str) or type_ not in _TYPES:
            raise ContractError(f"{type_!r} is not a type of OpenAPI 3.0.")
        # OAS 3.0.3: nullable adds null to the *type of the same schema*; it lifts no enum and no allOf beside it
        out["type"] = [type_, "null"] if schema.get("nullable") is True else type_
    if isinstance(values := schema.get("enum"), list):
        distinct: list[Any] = []
        for value in values:
            if not any(_same(value, other) for other in distinct):
                distinct.append(value)
        if distinct:
            out["enum"] = distinct
        else:
            extra.append(_because("enum", _NOTHING))


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _numbers(schema: Schema, out: dict[str, Any]) -> None:
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        strict = schema.get(exclusive, False)
        if not isinstance(strict, bool):
            raise ContractError(f"{exclusive} is a boolean beside {bound} in OpenAPI 3.0.")
        if bound in schema:
            out[bound] = schema[bound]
            if strict:
                out[exclusive] = True


def _because(rule: str, piece: Schema) -> dict[str, Any]:
    return {"x-because": dict.fromkeys(piece, rule), **piece}


def _attach(out: dict[str, Any], extra: list[dict[str, Any]]) -> None:
    """Put further conditions beside the schema's own: in place where no keyword clashes (faster), else in `allOf`."""
    for piece in extra:
        if "allOf" not in out and not (out.keys() & piece.keys()):
            out.update(piece)
        else:
            out.setdefault("allOf", []).append(piece)
