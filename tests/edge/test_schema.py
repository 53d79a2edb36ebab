"""Compiled schemas: what they accept, how they explain, and what they cost.

The verdicts are compared with openapi-core's in `test_differential`."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest

from thalweg.edge.problem import Violation
from thalweg.edge.schema import Compiler, ContractError, Direction, Validator

UUID = "01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21"
ACCOUNT = {
    "type": "object",
    "required": ["id", "email", "password"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "format": "uuid", "readOnly": True},
        "email": {"type": "string", "format": "email"},
        "password": {"type": "string", "format": "password", "minLength": 8, "writeOnly": True},
        "pin": {"type": "string", "format": "password", "maxLength": 4},
        "nickname": {"type": "string", "nullable": True, "maxLength": 10},
    },
}
CAT = {"type": "object", "required": ["kind", "lives"], "properties": {"kind": {}, "lives": {"type": "integer"}}}
DOG = {"type": "object", "required": ["kind", "bark"], "properties": {"kind": {}, "bark": {"type": "boolean"}}}
TREE = {
    "type": "object",
    "properties": {
        "value": {"type": "integer"},
        "kids": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
    },
}
PET = {
    "oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}],
    "discriminator": {"propertyName": "kind", "mapping": {"cat": "Cat", "dog": "#/components/schemas/Dog"}},
}
BUNDLE = {"components": {"schemas": {"Account": ACCOUNT, "Cat": CAT, "Dog": DOG, "Pet": PET, "Tree": TREE}}}


def named(name: str, direction: Direction = "request") -> Validator:
    return Compiler(BUNDLE).compile({"$ref": f"#/components/schemas/{name}"}, direction)


def inline(schema: dict[str, Any], direction: Direction = "request") -> Validator:
    return Compiler({}).compile(schema, direction)


def told(validator: Validator, value: Any) -> list[tuple[tuple[str | int, ...], str, str]]:
    return [(v.path[1:], v.rule, v.message) for v in validator.violations(value)]


# --- directions ----------------------------------------------------------------------------------------------


def test_a_request_must_not_set_what_is_read_only_and_need_not_bring_it() -> None:
    validator = named("Account")
    good = {"email": "a@b.example", "password": "12345678"}
    assert validator.is_valid(good)
    assert told(validator, {**good, "id": UUID}) == [(("id",), "readOnly", "is set by the server and cannot be sent")]


def test_a_response_must_not_show_what_is_write_only_and_must_bring_what_is_read_only() -> None:
    validator = named("Account", "response")
    assert validator.is_valid({"id": UUID, "email": "a@b.example"})
    assert told(validator, {"email": "a@b.example"}) == [(("id",), "required", "is required")]
    shown = {"id": UUID, "email": "a@b.example", "password": "12345678"}
    assert told(validator, shown) == [(("password",), "writeOnly", "is never sent back")]


def test_a_property_named_like_a_keyword_is_a_property() -> None:
    names = ["example", "nullable", "properties", "$ref", "enum", "required", "type", "x-because", "definitions", "id"]
    validator = inline({"type": "object", "properties": {name: {"type": "integer"} for name in names}})
    for name in names:
        assert validator.is_valid({name: 1})
        assert told(validator, {name: "x"}) == [((name,), "type", "must be a whole number")]


def test_data_that_looks_like_a_schema_is_data() -> None:
    validator = inline({"enum": [{"$ref": "#/nowhere"}, {"nullable": True}, {"id": "http://x.example/"}]})
    assert validator.is_valid({"$ref": "#/nowhere"})
    assert validator.is_valid({"nullable": True})
    assert not validator.is_valid(None)


@pytest.mark.parametrize(
    ("schema", "valid"),
    [
        ({"type": "string", "nullable": True}, True),
        ({"type": "string", "format": "date-time", "nullable": True}, True),
        ({"type": "string", "format": "date", "nullable": True}, True),
        ({"type": "integer", "format": "int32", "nullable": True, "minimum": 3}, True),
        ({"type": "string", "nullable": True, "enum": ["a", None]}, True),
        ({"type": "string", "nullable": True, "enum": ["a"]}, False),
        ({"type": "object", "nullable": True, "allOf": [{"type": "object"}]}, False),
        ({"nullable": True, "allOf": [{"type": "object"}]}, False),
        ({"type": "object", "nullable": True, "allOf": [{"type": "object", "nullable": True}]}, True),
        ({"anyOf": [{"type": "object"}, {"type": "string", "nullable": True, "enum": [None]}]}, True),
        ({"type": "string"}, False),
        ({}, True),
    ],
)
def test_null_is_admitted_by_the_type_that_says_so_and_lifts_nothing_else(schema: Any, valid: bool) -> None:
    assert inline(schema).is_valid(None) is valid


# --- values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        # OAS 3.0.3, Data Types: an integer is "a JSON number without a fraction or exponent part"
        ({"type": "integer"}, [0, -1, 10**30], [1.0, True, "1", 1e30]),
        ({"type": "number"}, [1, 1.5, 10**30], [True, "1", float("nan"), float("inf")]),
        ({"type": "integer", "format": "int32"}, [2**31 - 1, -(2**31)], [2**31, -(2**31) - 1]),
        ({"type": "integer", "format": "int64"}, [2**63 - 1, -(2**63)], [2**63, 10**4000]),
        ({"minimum": 5, "exclusiveMinimum": True}, [6, 5.1, "x"], [5, 4]),
        ({"maximum": 5, "exclusiveMaximum": True}, [4], [5]),
        ({"multipleOf": 0.01}, [19.99, 4.35, 0.07, 1.1], [0.001, 19.995]),
        ({"multipleOf": 0.1}, [0.3, 0.7, 1.1], [0.35]),
        ({"maxLength": 2}, ["😀😀", "e\u0301"], ["😀😀😀"]),
        ({"uniqueItems": True}, [[1, True], [0, False], [[1], [True]]], [[1, 1.0], [{"a": 1}, {"a": 1}]]),
        ({"enum": [1, "a", [1]]}, [1, "a", [1]], [True, "1", [True]]),
        ({"enum": []}, [], [None, 1]),
        ({"anyOf": []}, [], [1]),
        ({"required": []}, [{}], []),
        ({"not": {"type": "integer"}}, ["x"], [1]),
        ({"format": "uuid"}, [UUID, UUID.upper(), 3], [UUID[:-1], "{" + UUID + "}", UUID.replace("-", "")]),
        ({"format": "date"}, ["2024-02-29"], ["2023-02-29", "2024-2-9", "0000-01-01", "2024-02-29T00:00:00Z"]),
        (
            {"format": "date-time"},
            [
                "2024-02-29T12:00:00Z",
                "2024-02-29t12:00:00.123456789z",
                "9999-12-31T23:59:59Z",
                "2024-01-01T00:00:00-05:30",
            ],
            [
                "2024-02-29T12:00:00",
                "2024-02-29",
                "2024-02-29T24:00:00Z",
                "2016-12-31T23:59:60Z",
                "0000-01-01T00:00:00Z",
            ],
        ),
        ({"format": "byte"}, ["", "aGk=", "aGkh"], ["aGk", "aGk=\n", "é", "a==="]),
        (
            {"format": "email"},
            ["a@b.example", "a+b@c.example"],
            ["@", "a b@c", "A <a@b.example>", "a@b@c", "a\n@b.example"],
        ),
        ({"format": "uri"}, ["https://a.example/x?y#z", "urn:x:y"], ["a", "/a", "http://a b", "http://[::1"]),
        ({"format": "uri-reference"}, ["/a/b", "https://a.example"], ["\\", "a b"]),
        ({"format": "hostname"}, ["a.example"], ["-a", "a_b", "a" * 64]),
        ({"format": "ipv4"}, ["127.0.0.1"], ["01.2.3.4", "1.2.3", "::1"]),
        ({"format": "ipv6"}, ["::1"], ["fe80::1%eth0", "127.0.0.1"]),
        ({"format": "duration"}, ["P1DT2H"], ["1 day"]),
        ({"format": "password"}, ["anything"], []),
        ({"format": "no-such-format"}, ["anything"], []),
        ({"pattern": "^[\\w-]+$"}, ["a-b_1"], ["é", "a b", "a\n"]),
        ({"pattern": "^[\\w.-]+(?<!-)$"}, ["a-b"], ["é", "a-"]),
        ({"pattern": "^(?!x)\\S+$"}, ["ax"], ["xa", "a\ufeff"]),
        ({"pattern": "^\\uD83D\\uDE00$"}, ["😀"], ["x"]),
        ({"pattern": "^[^]$"}, ["\n"], ["ab"]),
    ],
)
def test_a_keyword_holds(schema: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    validator = inline(schema)
    assert [value for value in good if not validator.is_valid(value)] == []
    assert [value for value in bad if validator.is_valid(value)] == []
    assert all(validator.violations(value) for value in bad)


def test_a_pattern_that_invites_backtracking_ends_soon() -> None:
    validator = inline({"pattern": "^(?=(a+)+$)(a+)+b$"})
    started = time.perf_counter()
    assert not validator.is_valid("a" * 50_000)
    assert time.perf_counter() - started < 0.5


def test_recursion_goes_as_deep_as_a_body_may() -> None:
    value: dict[str, Any] = {"value": "x"}
    for _ in range(190):
        value = {"kids": [value]}
    (violation,) = named("Tree").violations(value)
    assert len(violation.path) == 1 + 2 * 190 + 1


def test_what_is_no_json_value_is_an_error_and_has_an_explanation() -> None:
    validator = inline({"type": "string"})
    for value in ("\ud800", b"x", {1: 2}):
        with pytest.raises(ValueError):
            validator.is_valid(value)
        assert validator.violations(value) == (Violation(("body",), "does not have the expected form", "schema"),)


# --- explanations ------------------------------------------------------------------------------------------------


def test_every_violation_has_its_place_and_its_words() -> None:
    schema = {
        "type": "object",
        "required": ["name"],
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string"},
            "code": {"type": "string", "minLength": 3},
            "many": {"type": "array", "maxItems": 1, "items": {"type": "integer", "minimum": 1}},
            "mode": {"type": "string", "enum": ["fast", "full"]},
            "when": {"type": "string", "format": "date-time"},
            "size": {"type": "number", "maximum": 1, "exclusiveMaximum": True},
            "null": {"type": "string", "nullable": True},
        },
    }
    value = {"code": "a", "many": [0, 1], "mode": "slow", "when": "now", "size": 1, "null": 5, "else": 1}
    assert sorted(told(inline(schema), value)) == [
        (("code",), "minLength", "must have at least 3 characters"),
        (("else",), "additionalProperties", "is not a known field"),
        (("many",), "maxItems", "must have at most 1 item"),
        (("many", 0), "minimum", "must be at least 1"),
        (("mode",), "enum", "must be one of: fast, full"),
        (("name",), "required", "is required"),
        (("null",), "type", "must be a string or null"),
        (("size",), "exclusiveMaximum", "must be less than 1"),
        (("when",), "format", "must be a date and time with a UTC offset (RFC 3339), e.g. 2030-01-31T12:00:00Z"),
    ]


def test_a_format_beside_a_pattern_is_told_apart_from_it() -> None:
    validator = inline({"type": "string", "format": "uuid", "pattern": "^0"})
    assert [rule for _, rule, _ in told(validator, "x")] == ["pattern", "format"]
    assert [rule for _, rule, _ in told(validator, "1" + UUID[1:])] == ["pattern"]


def test_a_discriminated_value_is_explained_by_the_schema_it_chose() -> None:
    validator = named("Pet")
    assert validator.is_valid({"kind": "cat", "lives": 9})
    assert told(validator, {"kind": "cat", "lives": "9"}) == [(("lives",), "type", "must be a whole number")]
    assert told(validator, {"kind": "dog"}) == [(("bark",), "required", "is required")]
    assert told(validator, {"kind": "cow"}) == [(("kind",), "discriminator", "must be one of: cat, dog")]
    assert told(validator, {}) == [(("kind",), "discriminator", "is required")]
    assert told(validator, [1]) == [((), "type", "must be an object")]


def test_of_alternatives_the_one_of_the_values_own_type_is_explained() -> None:
    validator = inline({"anyOf": [{"type": "string"}, CAT]})
    assert told(validator, {"kind": 1, "lives": "x"}) == [(("lives",), "type", "must be a whole number")]
    assert told(validator, 5) == [((), "anyOf", "matches none of the allowed shapes")]


def test_of_alternatives_that_fixed_values_of_a_field_tell_apart_the_meant_one_is_explained() -> None:
    plain = {
        "type": "object",
        "required": ["type", "value"],
        "properties": {"type": {"type": "string", "enum": ["eq", "ne"]}, "value": {"type": "integer"}},
    }
    joined = {
        "type": "object",
        "required": ["type", "parts"],
        "properties": {
            "type": {"type": "string", "enum": ["and", "or"]},
            "parts": {"type": "array", "minItems": 1, "items": {"type": "integer"}},
        },
    }
    validator = inline({"oneOf": [plain, joined]})
    assert told(validator, {"type": "eq"}) == [(("value",), "required", "is required")]
    assert told(validator, {"type": "and", "parts": []}) == [(("parts",), "minItems", "must have at least 1 item")]
    assert told(validator, {"type": "or", "parts": ["a"]}) == [(("parts", 0), "type", "must be a whole number")]
    assert told(validator, {"type": "like"}) == [((), "oneOf", "must match exactly one of the allowed shapes")]


def test_a_value_of_more_than_one_alternative_is_explained() -> None:
    validator = inline({"oneOf": [{"type": "integer"}, {"minimum": 3}]})
    assert told(validator, 5) == [((), "oneOf", "must match exactly one of the allowed shapes")]


def test_a_secret_is_never_repeated() -> None:
    value = {"email": "no", "password": "short", "pin": "123456"}
    values = {v.path[-1]: v.value for v in named("Account").violations(value)}
    assert values == {"email": "no", "password": None, "pin": None}
    by_name = inline({"type": "object", "properties": {"api_key": {"type": "string", "maxLength": 1}}})
    assert by_name.violations({"api_key": "sk-123"})[0].value is None


def test_a_long_value_is_cut_and_a_container_is_left_out() -> None:
    schema = inline({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}})
    cut, left_out = schema.violations({"a": "x" * 5000, "b": {"secret": 1}})
    assert len(cut.value) == 101
    assert left_out.value is None


def test_violations_are_limited_and_paths_begin_where_they_are_told_to() -> None:
    validator = inline({"type": "array", "items": {"type": "string"}})
    assert len(validator.violations([1] * 100)) == 20
    assert len(validator.violations([1] * 100, limit=3)) == 3
    assert validator.violations([1], ("query", "a"))[0].path == ("query", "a", 0)
    assert validator.violations(["x"]) == ()


def test_what_is_wrong_deep_inside_something_huge_still_has_an_answer() -> None:
    validator = inline({"type": "array", "items": {"type": "string"}})
    assert told(validator, ["x"] * 100_000 + [1]) == [((), "schema", "does not have the expected form")]


# --- compiling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/components/schemas/Nobody"},
        {"$ref": "other.yaml#/X"},
        {"properties": {"a": {"$ref": "#/components/schemas/Nobody"}}},
        {"type": ["string", "null"]},
        {"type": "text"},
        {"exclusiveMinimum": 5},
        {"properties": {"a": True}},
        {"oneOf": [{"$ref": "#/components/schemas/Cat"}], "discriminator": {}},
        {"$ref": {"type": "string"}},
    ],
)
def test_a_schema_that_is_wrong_is_found_when_it_is_compiled(schema: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        Compiler(BUNDLE).compile(schema, "request")


@pytest.mark.parametrize("pattern", ["(", "[", "a{2,1}", "(?P<x>a)", "a**"])
def test_a_pattern_that_is_wrong_is_found_when_the_validator_is_warmed(pattern: str) -> None:
    with pytest.raises(ContractError):
        inline({"pattern": pattern}).warm()


@pytest.mark.parametrize(
    "schemas",
    [
        {"A": {"$ref": "#/components/schemas/A"}},
        {"A": {"allOf": [{"$ref": "#/components/schemas/B"}]}, "B": {"anyOf": [{"$ref": "#/components/schemas/A"}]}},
        {"A": {"not": {"$ref": "#/components/schemas/A"}}},
        {"A": {"properties": {"x": {"$ref": "#/components/schemas/B"}}}, "B": {"$ref": "#/components/schemas/B"}},
    ],
)
def test_a_schema_that_never_ends_is_found_when_it_is_compiled(schemas: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        Compiler({"components": {"schemas": schemas}}).compile({"$ref": "#/components/schemas/A"}, "request")


def test_equal_schemas_share_a_validator_and_directions_do_where_nothing_differs() -> None:
    compiler = Compiler(BUNDLE)
    tree = {"$ref": "#/components/schemas/Tree"}
    assert compiler.compile(tree, "request") is compiler.compile(tree, "response")
    assert compiler.compile({"type": "string"}, "request") is compiler.compile({"type": "string"}, "request")
    account = {"$ref": "#/components/schemas/Account"}
    assert compiler.compile(account, "request") is not compiler.compile(account, "response")


def test_validators_are_built_once_however_many_threads_ask_first() -> None:
    validator = named("Tree")
    start = threading.Barrier(8)
    answers: list[bool] = []

    def ask() -> None:
        start.wait()
        answers.append(validator.is_valid({"kids": [{"value": 1}]}))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 8


def test_the_schemas_of_four_hundred_operations_compile_at_once() -> None:
    draw = random.Random(1)
    kinds = [{"type": "string", "format": "uuid"}, {"type": "integer", "format": "int32"}, {"type": "boolean"}]
    schemas: dict[str, Any] = {}
    for number in range(350):
        properties: dict[str, Any] = {f"f{i}": draw.choice(kinds) for i in range(12)}
        if number:
            properties["other"] = {"$ref": f"#/components/schemas/S{draw.randrange(max(0, number - 50), number)}"}
        schemas[f"S{number}"] = {"type": "object", "additionalProperties": False, "properties": properties}
    compiler = Compiler({"components": {"schemas": schemas}})
    started = time.perf_counter()
    for number in range(404):
        for direction in ("request", "response"):
            compiler.compile({"$ref": f"#/components/schemas/S{number % 350}"}, direction)  # type: ignore[arg-type]
    assert time.perf_counter() - started < 1.0  # 0.1 s on an idle core
    assert len(compiler.validators()) == 350


def test_a_late_compiler_converts_with_the_first_value_and_judges_as_an_early_one() -> None:
    early, late = Compiler(BUNDLE), Compiler(BUNDLE, late=True)

    for name in BUNDLE["components"]["schemas"]:
        for direction in ("request", "response"):
            reference = {"$ref": f"#/components/schemas/{name}"}
            one, other = early.compile(reference, direction), late.compile(reference, direction)  # type: ignore[arg-type]
            assert late.compile(reference, direction) is other  # type: ignore[arg-type]
            for value in (None, {}, [], "text", 7, {"id": 7, "name": 7}):
                assert one.is_valid(value) == other.is_valid(value)
                assert one.violations(value) == other.violations(value)


def test_what_a_late_compiler_finds_wrong_is_a_contract_error_of_the_first_use() -> None:
    validator = Compiler(BUNDLE, late=True).compile({"type": "string", "pattern": "["}, "request")
    with pytest.raises(ContractError):
        validator.is_valid("text")
