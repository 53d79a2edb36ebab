"""The schema compiler against openapi-core's own validators: the same verdict on thousands of schemas and values.

What the generator leaves out, because the two differ there on purpose, is listed below the property tests, one named
test each: ours follows the specification, theirs does not (or, for some formats, hardly looks).

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
    [
        *(
            "a",
            "b",
            "example",
            "nullable",
            "properties",
            "$ref",
            "enum",
            "type",
            "required",
            "default",
            "items",
            "id",
            "",
        ),
        *("allOf", "x-because", "definitions", "not", "format", "discriminator", "readOnly", "additionalProperties"),
    ]
)
COMPONENTS = ["Root", "One", "Two"]
TEXTS = st.sampled_from(
    [
        *("", "a", "ab", "abc", "A1", "12", "007", "😀", "e\u0301", "a b", "a\nb", "x" * 20, "null", "true"),
        *("01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21", "01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b2"),
        *("01931c3e7a107c2e9b1f5a9d3e0c4b21", "2024-02-29", "2023-02-29", "2024-2-9", "2024-02-29T12:00:00"),
        *("2024-02-29T12:00:00Z", "2024-02-29T12:00:00+02:00", "2024-02-30T12:00:00Z", "2024-02-29T12:00:00.5Z"),
        *("2024-02-29T24:00:00Z", "127.0.0.1", "256.0.0.1", "::1", "::g", "aGk=", "aGk", "a@b.example", "nope"),
    ]
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
    kind = draw(
        st.sampled_from([None, "string", "number", "integer", "boolean", "array", "object", "object", "object"])
    )
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
    mapped = {target.rsplit("/", 1)[-1] for target in discriminator.get("mapping", {}).values()}  # see DIVERGENCES
    names = [sent for sent in ("One", "Two", "one", "zwei", "Other", 7, True) if sent not in mapped]
    for _ in range(8):
        value = near(draw, bundle, draw(st.sampled_from(list(variants.values()))), 3)
        if isinstance(value, dict):
            value[name] = draw(st.sampled_from(names))
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


# --- where the two differ ----------------------------------------------------------------------------

CAT = {"type": "object", "required": ["kind"], "properties": {"kind": {"type": "string"}}}
BY_KIND = {"propertyName": "kind"}
ONE = {"$ref": "#/components/schemas/One"}
READ_ONLY = {"type": "string", "readOnly": True}

DIVERGENCES: dict[str, tuple[dict[str, Any], Any, bool]] = {
    # name: components, value, our verdict (theirs is the opposite, or an exception)
    "siblings_of_a_reference_are_ignored": (
        # OAS 3.0.3, Reference Object: "any properties added SHALL be ignored"
        {"Root": {"allOf": [{**ONE, "maxLength": 1}]}, "One": {"type": "string"}},
        "abc",
        True,
    ),
    "a_price_is_a_multiple_of_a_cent": ({"Root": {"multipleOf": 0.01}}, 19.99, True),  # they divide binary fractions
    "a_discriminator_selects_among_the_listed_schemas_only": (
        {"Root": {"oneOf": [ONE], "discriminator": BY_KIND}, "One": CAT, "Two": CAT},
        {"kind": "Two"},
        False,
    ),
    "a_discriminator_may_map_to_the_bare_name_of_a_schema": (
        {"Root": {"oneOf": [ONE], "discriminator": {**BY_KIND, "mapping": {"cat": "One"}}}, "One": CAT},
        {"kind": "cat"},
        True,
    ),
    "a_mapped_schema_goes_by_its_mapped_name_alone": (
        # stricter than OAS 3.0.3, on purpose: what a component is called is not for clients to send
        {
            "Root": {"oneOf": [ONE], "discriminator": {**BY_KIND, "mapping": {"cat": "#/components/schemas/One"}}},
            "One": CAT,
        },
        {"kind": "One"},
        False,
    ),
    "a_discriminating_value_that_is_no_text_is_a_violation_and_no_crash": (
        {"Root": {"oneOf": [ONE], "discriminator": BY_KIND}, "One": {"type": "object"}},
        {"kind": ["One"]},
        False,
    ),
    "an_empty_text_can_discriminate": (
        {
            "Root": {"oneOf": [ONE], "discriminator": {**BY_KIND, "mapping": {"": "#/components/schemas/One"}}},
            "One": CAT,
        },
        {"kind": ""},
        True,
    ),
    "a_discriminator_beside_allof_leaves_the_verdict_alone": (
        {"Root": {"allOf": [ONE], "discriminator": BY_KIND}, "One": CAT},
        {"kind": "Other"},
        True,
    ),
    "readonly_means_something_on_properties_only": (
        # OAS 3.0.3, Schema Object: "Relevant only for Schema "properties" definitions"
        {"Root": {"type": "array", "items": READ_ONLY}},
        ["x"],
        True,
    ),
    "a_required_readonly_property_behind_a_reference_is_not_asked_for": (
        {"Root": {"type": "object", "required": ["a"], "properties": {"a": ONE}}, "One": READ_ONLY},
        {},
        True,
    ),
    "a_required_readonly_property_of_another_allof_member_is_not_asked_for": (
        {"Root": {"allOf": [ONE, {"properties": {"a": READ_ONLY}}]}, "One": {"required": ["a"]}},
        {},
        True,
    ),
    "a_required_readonly_property_is_not_asked_for_by_an_alternative": (
        {"Root": {"properties": {"a": READ_ONLY}, "anyOf": [{"required": ["a"]}]}},
        {},
        True,
    ),
    # ECMA-262 patterns: they run Python's `re`
    "digits_of_a_pattern_are_ascii": ({"Root": {"pattern": "^\\d$"}}, "٣", False),
    "word_characters_of_a_pattern_are_ascii": ({"Root": {"pattern": "^\\w$"}}, "é", False),
    "a_word_boundary_is_ascii": ({"Root": {"pattern": "\\bé"}}, "é", False),
    "a_dollar_is_the_very_end": ({"Root": {"pattern": "^a$"}}, "a\n", False),
    "a_dot_stops_at_every_line_end": ({"Root": {"pattern": "^.$"}}, "\u2028", False),
    "a_code_point_escape_is_understood": ({"Root": {"pattern": "^\\u{7a}$"}}, "z", True),
    # formats: they look for an "@", and do not look at the others at all
    "an_email_address_is_more_than_an_at_sign": ({"Root": {"format": "email"}}, "a b@c", False),
    "a_uri_is_checked": ({"Root": {"format": "uri"}}, "nope", False),
    "a_hostname_is_checked": ({"Root": {"format": "hostname"}}, "-a-", False),
    "a_uuid_is_ascii": ({"Root": {"format": "uuid"}}, "٠1931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21", False),
    "base64_that_is_not_ascii_is_a_violation_and_no_crash": ({"Root": {"format": "byte"}}, "é", False),
    "an_instant_before_the_calendar_is_refused": (
        {"Root": {"format": "date-time"}},
        "0001-01-01T00:00:00+01:00",
        False,
    ),
    "an_instant_after_the_calendar_is_refused": ({"Root": {"format": "date-time"}}, "9999-12-31T23:59:59-01:00", False),
}


@pytest.mark.parametrize("name", DIVERGENCES)
def test_ours_follows_the_specification_where(name: str) -> None:
    components, value, expected = DIVERGENCES[name]
    bundle = bundle_of(**components)
    assert Compiler(bundle).compile(ROOT, "request").is_valid(value) is expected
    try:
        _, (theirs,) = verdicts(bundle, [value], "request")
    except Exception:
        return  # they crash
    assert theirs is not expected, "openapi-core agrees by now: move this case into the generator"


# --- the real contracts --------------------------------------------------------------------------------

GENERATED = Path(__file__).resolve().parents[2] / "generated"
BUNDLES = sorted(GENERATED.glob("*/bundle.json"))
HARDLY_CHECKED = {"uri", "uri-reference", "hostname", "email", "duration"}
"""Formats that openapi-core does not check, or only for an "@"."""


def common_ground(node: Any, *, names: bool = False) -> Any:
    """The bundle without the formats that only we check."""
    if isinstance(node, list):
        return [common_ground(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: common_ground(value, names=not names and key in ("properties", "schemas"))
        for key, value in node.items()
        if names or key != "format" or value not in HARDLY_CHECKED
    }


def declared(bundle: dict[str, Any]) -> list[tuple[str, dict[str, Any], list[Any]]]:
    """Direction, schema and examples of every body and component of a bundle."""
    found = [
        (direction, {"$ref": f"#/components/schemas/{name}"}, [schema["example"]] if "example" in schema else [])
        for name, schema in bundle["components"]["schemas"].items()
        for direction in ("request", "response")
    ]
    for item in bundle["paths"].values():
        for operation in (entry for entry in item.values() if isinstance(entry, dict) and "responses" in entry):
            sides = [("request", operation.get("requestBody", {}))]
            sides += [("response", response) for response in operation["responses"].values()]
            for direction, side in sides:
                side = follow(bundle, side)
                for media in side.get("content", {}).values():
                    examples = [e["value"] for e in (follow(bundle, e) for e in media.get("examples", {}).values())]
                    examples += [media["example"]] if "example" in media else []
                    if "schema" in media and not isinstance(media["schema"], str):
                        found.append((direction, media["schema"], examples))
    return found


def follow(bundle: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = bundle
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


WRONG = [None, True, 0, -1, 3.5, 10**12, "", "x", "x" * 5000, "2024-02-30", [], {}, [None], {"unknown": 1}]


def mutations(value: Any) -> list[Any]:
    """The value with one thing wrong, for every place in it and every kind of wrong."""
    out: list[Any] = list(WRONG)
    if isinstance(value, dict):
        out.append({**value, "unknown-field": 1})
        for key in value:
            out.append({k: v for k, v in value.items() if k != key})
            out += [{**value, key: changed} for changed in mutations(value[key])]
    elif isinstance(value, list):
        out += [value * 2, value * 200]
        out += [[changed] for item in value[:1] for changed in mutations(item)]
    return out


def test_there_is_a_real_contract_to_compare() -> None:
    assert BUNDLES


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.parent.name)
def test_ours_and_openapi_core_agree_on_a_real_contract(path: Path) -> None:
    bundle = common_ground(json.loads(path.read_text()))
    compiler = Compiler(bundle)
    resolver = Registry().with_resource("urn:bundle", DRAFT4.create_resource(bundle)).resolver("urn:bundle")
    pairs = 0
    for direction, schema, examples in declared(bundle):
        kind = OAS30WriteValidator if direction == "request" else OAS30ReadValidator
        theirs = kind(schema, _resolver=resolver, format_checker=kind.FORMAT_CHECKER)
        ours = compiler.compile(schema, direction)  # type: ignore[arg-type]
        for example in examples:
            for value in [example, *mutations(example)][:400]:
                try:
                    verdict = theirs.is_valid(value)
                except TypeError:  # openapi-core looks a discriminator's value up without asking whether it is text
                    verdict = False
                assert ours.is_valid(value) == verdict, f"{direction} {schema}\n{value!r}"
                pairs += 1
    assert pairs > 100


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.parent.name)
def test_every_example_of_a_real_contract_is_valid(path: Path) -> None:
    bundle = json.loads(path.read_text())
    compiler = Compiler(bundle)
    for direction, schema, examples in declared(bundle):
        for example in examples:
            if direction == "request" or "$ref" not in schema:
                assert compiler.compile(schema, direction).violations(example) == ()  # type: ignore[arg-type]
