"""The schema compiler against openapi-core's own validators: the same verdict on thousands of schemas and values.

What the generator leaves out, because the two differ there on purpose, is listed below the property test, one named test
each: ours follows the specification, theirs does not (or, for three formats, hardly looks).

`THALWEG_DIFFERENTIAL_EXAMPLES` sets how many schemas are drawn (about a dozen values each); the default suits CI.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS30ReadValidator, OAS30WriteValidator
from referencing import Registry
from referencing.jsonschema import DRAFT4

from thalweg.edge.schema import Compiler

EXAMPLES = int(os.environ.get("THALWEG_DIFFERENTIAL_EXAMPLES", "500"))
ROOT = {"$ref": "#/components/schemas/Root"}


def verdicts(bundle: dict[str, Any], values: list[Any], direction: str) -> tuple[list[bool], list[bool]]:
    """Ours and openapi-core's on each value, for the component `Root`."""
    ours = Compiler(bundle).compile(ROOT, direction)  # type: ignore[arg-type]
    kind = OAS30WriteValidator if direction == "request" else OAS30ReadValidator
    resolver = Registry().with_resource("urn:bundle", DRAFT4.create_resource(bundle)).resolver("urn:bundle")
    theirs = kind(ROOT, _resolver=resolver, format_checker=kind.FORMAT_CHECKER)
    return [ours.is_valid(value) for value in values], [theirs.is_valid(value) for value in values]


def bundle_of(**schemas: Any) -> dict[str, Any]:
    return {"openapi": "3.0.3", "components": {"schemas": schemas}}


# --- what is generated -------------------------------------------------------------------------------

# names that are keywords wherever a converter forgets where it is
NAMES = st.sampled_from(
    ["a", "b", "example", "nullable", "properties", "$ref", "enum", "type", "required", "default", "items", "allOf", "id"]
    + ["x-because", "definitions", "not", "format", "discriminator", "readOnly", "additionalProperties", "pattern", ""]
)
COMPONENTS = ["Root", "One", "Two"]
TEXTS = st.sampled_from(
    ["", "a", "ab", "abc", "A1", "12", "007", "😀", "e\u0301", "a b", "a\nb", "x" * 20, "null", "true"]
    + ["01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21", "01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b2", "01931c3e7a107c2e9b1f5a9d3e0c4b21"]
    + ["2024-02-29", "2023-02-29", "2024-2-9", "2024-02-29T12:00:00Z", "2024-02-29T12:00:00+02:00"]
    + ["2024-02-29T12:00:00", "2024-02-30T12:00:00Z", "2024-02-29T12:00:00.5Z", "2024-02-29T24:00:00Z"]
    + ["127.0.0.1", "256.0.0.1", "::1", "::g", "aGk=", "aGk", "a@b.example", "nope"]
)
NUMBERS = st.one_of(
    st.integers(-5, 12),
    st.sampled_from([0.5, 1.0, 1.5, -0.0, 2**31, 2**31 - 1, -(2**31), 2**63, 2**63 - 1, -(2**63), 10**30, 1e15, 12.0]),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)
FORMATS = st.sampled_from(["uuid", "date", "date-time", "ipv4", "ipv6", "password", "binary", "x-unknown"])
PATTERNS = st.sampled_from(["^[a-z]+$", "^a", "b$", "^\\d{2,3}$", "^(?!a).*$", "[A-Z0-9]", "^.{1,3}$", "^\\S+$", "\\w"])


@st.composite
def schemas(draw: st.DrawFn, depth: int = 3, refer: bool = False) -> dict[str, Any]:
    if refer and draw(st.integers(0, 5)) == 0:
        return {"$ref": f"#/components/schemas/{draw(st.sampled_from(COMPONENTS[1:]))}"}
    out: dict[str, Any] = {}
    kind = draw(st.sampled_from([None, "string", "number", "integer", "boolean", "array", "object", "object", "object"]))
    if kind is not None:
        out["type"] = kind
    if draw(st.integers(0, 3)) == 0:
        out["nullable"] = draw(st.booleans())
    if kind in ("string", None):
        _some(draw, out, minLength=st.integers(0, 4), maxLength=st.integers(0, 4), pattern=PATTERNS, format=FORMATS)
    if kind in ("number", "integer", None):
        _some(
            draw,
            out,
            minimum=NUMBERS,
            maximum=NUMBERS,
            exclusiveMinimum=st.booleans(),
            exclusiveMaximum=st.booleans(),
            multipleOf=st.sampled_from([1, 2, 3, 0.5, 0.25]),
        )
        if kind is not None:
            _some(draw, out, format=st.sampled_from(["int32", "int64", "float", "double"]))
    if kind in ("array", None) and depth:
        _some(draw, out, items=schemas(depth - 1, True), minItems=st.integers(0, 2), maxItems=st.integers(0, 3))
        _some(draw, out, uniqueItems=st.booleans())
        if kind == "array":
            out.setdefault("items", {})
    if kind in ("object", None) and depth:
        _some(
            draw,
            out,
            properties=st.dictionaries(NAMES, members(depth - 1), max_size=4),
            required=st.lists(NAMES, max_size=2, unique=True),
            additionalProperties=st.one_of(st.booleans(), schemas(depth - 1, True)),
            minProperties=st.integers(0, 2),
            maxProperties=st.integers(0, 3),
        )
    if draw(st.integers(0, 4)) == 0:
        out["enum"] = draw(st.lists(JSON, min_size=1, max_size=4))
    if depth and draw(st.integers(0, 3)) == 0:
        keyword = draw(st.sampled_from(["allOf", "anyOf", "oneOf", "not"]))
        inner = schemas(depth - 1, True)
        out[keyword] = draw(inner) if keyword == "not" else draw(st.lists(inner, min_size=1, max_size=3))
    _some(draw, out, example=JSON, default=JSON, description=TEXTS)
    return out


@st.composite
def members(draw: st.DrawFn, depth: int) -> dict[str, Any]:
    """A property, which may belong to one direction."""
    schema = draw(schemas(depth, True))
    flag = draw(st.sampled_from([None, None, None, "readOnly", "writeOnly"]))
    return {**schema, flag: True} if flag and "$ref" not in schema else schema


def _some(draw: st.DrawFn, out: dict[str, Any], **choices: st.SearchStrategy[Any]) -> None:
    for keyword, strategy in choices.items():
        if draw(st.integers(0, 2)) == 0:
            out[keyword] = draw(strategy)


def near(draw: st.DrawFn, bundle: dict[str, Any], schema: dict[str, Any], depth: int) -> Any:
    """A value that goes along with the schema as far as is easy to see, and off it now and then."""
    if depth == 0 or draw(st.integers(0, 9)) == 0:
        return draw(SCALARS)
    if "$ref" in schema:
        return near(draw, bundle, bundle["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]], depth - 1)
    if "enum" in schema and draw(st.booleans()):
        return draw(st.sampled_from(schema["enum"]))
    for keyword in ("allOf", "anyOf", "oneOf"):
        if schema.get(keyword) and draw(st.booleans()):
            return near(draw, bundle, draw(st.sampled_from(schema[keyword])), depth)
    kind = schema.get("type") or draw(st.sampled_from(["string", "integer", "array", "object"]))
    if kind == "object":
        properties = schema.get("properties", {})
        names = {name for name in properties if draw(st.integers(0, 3))} | set(schema.get("required", ()))
        if draw(st.integers(0, 4)) == 0:
            names.add(draw(NAMES))
        return {name: near(draw, bundle, properties.get(name, {}), depth - 1) for name in sorted(names)}
    if kind == "array":
        return [near(draw, bundle, schema.get("items", {}), depth - 1) for _ in range(draw(st.integers(0, 3)))]
    return draw({"string": TEXTS, "integer": st.integers(-5, 12), "number": NUMBERS, "boolean": st.booleans()}[kind])


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], list[Any]]:
    # Root may refer to One and Two; they to nothing: recursion has a test of its own
    bundle = bundle_of(Root=draw(schemas(3)), One=draw(schemas(0)), Two=draw(schemas(0)))
    values = [near(draw, bundle, bundle["components"]["schemas"]["Root"], 4) for _ in range(8)]
    return bundle, values + draw(st.lists(JSON, min_size=2, max_size=4))


SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="THALWEG_DIFFERENTIAL_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def agree(bundle: dict[str, Any], values: list[Any]) -> None:
    for direction in ("request", "response"):
        ours, theirs = verdicts(bundle, values, direction)
        for value, mine, other in zip(values, ours, theirs, strict=True):
            assert mine == other, f"{direction} ours={mine} theirs={other}\n{json.dumps(bundle)}\n{value!r}"


@SETTINGS
@given(cases())
def test_ours_and_openapi_core_agree_on_generated_schemas(case: tuple[dict[str, Any], list[Any]]) -> None:
    agree(*case)


@st.composite
def discriminated(draw: st.DrawFn) -> tuple[dict[str, Any], list[Any]]:
    name = draw(NAMES)
    variants = {key: draw(schemas(1)) for key in ("One", "Two")}
    for variant in variants.values():
        variant.update(type="object", required=[name])
        variant.setdefault("properties", {})[name] = {"type": "string"}
        for keyword in ("enum", "allOf", "anyOf", "oneOf", "not"):  # they might lead back to their own schema
            variant.pop(keyword, None)
    discriminator: dict[str, Any] = {"propertyName": name}
    mapping = draw(st.sampled_from([None, {"one": "#/components/schemas/One"}, {"one": "One", "zwei": "Two"}, {}]))
    if mapping is not None:
        # openapi-core takes references only: a bare name is named below
        discriminator["mapping"] = {key: t if "/" in t else f"#/components/schemas/{t}" for key, t in mapping.items()}
    keyword = draw(st.sampled_from(["oneOf", "anyOf"]))
    root = {keyword: [{"$ref": f"#/components/schemas/{key}"} for key in variants], "discriminator": discriminator}
    _some(draw, root, minProperties=st.integers(0, 2), type=st.just("object"), nullable=st.booleans())
    bundle = bundle_of(Root=root, **variants)
    values: list[Any] = [None, 5, {}]
    for _ in range(8):
        value = near(draw, bundle, draw(st.sampled_from(list(variants.values()))), 3)
        if isinstance(value, dict):
            value[name] = draw(st.sampled_from(["One", "Two", "one", "zwei", "Other", 7, True]))
        values.append(value)
    return bundle, values


@SETTINGS
@given(discriminated())
def test_ours_and_openapi_core_agree_on_discriminators(case: tuple[dict[str, Any], list[Any]]) -> None:
    agree(*case)


@st.composite
def recursive(draw: st.DrawFn) -> tuple[dict[str, Any], list[Any]]:
    root = draw(schemas(1))
    again = {"$ref": "#/components/schemas/Root"}
    root.update(type="object", properties={**root.get("properties", {}), draw(NAMES): again})
    root["properties"][draw(NAMES)] = {"type": "array", "items": again}
    root.pop("enum", None)
    bundle = bundle_of(Root=root, One={"type": "string"}, Two={"type": "integer"})
    return bundle, [near(draw, bundle, root, 6) for _ in range(8)]


@SETTINGS
@given(recursive())
def test_ours_and_openapi_core_agree_on_schemas_that_contain_themselves(
    case: tuple[dict[str, Any], list[Any]],
) -> None:
    agree(*case)
