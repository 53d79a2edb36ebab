"""Parameters: styles, types, defaults, and everything a stranger may put into a path, a query, a header or a cookie."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest

from thalweg.edge.parameters import Parameters
from thalweg.edge.problem import Problem
from thalweg.edge.schema import Compiler, ContractError

ID = "01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21"
NUMBERS = {"type": "array", "items": {"type": "integer"}}
TEXTS = {"type": "array", "items": {"type": "string"}}
POINT = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}, "tags": TEXTS},
}


def query(name: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, **more}


def path(name: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema, **more}


def header(name: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": schema, **more}


def cookie(name: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "cookie", "schema": schema, **more}


def read(
    declared: Sequence[dict[str, Any]],
    text: str | bytes = b"",
    *,
    values: dict[str, str] | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
    **options: Any,
) -> dict[str, Any]:
    plan = Parameters.compile(declared, Compiler({}), **options)
    return plan(values or {}, text.encode() if isinstance(text, str) else text, headers)


def broken(*args: Any, **kwargs: Any) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(Problem) as caught:
        read(*args, **kwargs)
    assert caught.value.code == "validation"
    return [(violation.path, violation.rule) for violation in caught.value.violations]


# --- types -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "a", "a"),
        ({"type": "string"}, "", ""),
        ({"type": "string"}, "null", "null"),
        ({}, "5", "5"),
        ({"type": "integer"}, "5", 5),
        ({"type": "integer"}, "-5", -5),
        ({"type": "integer"}, "-0", 0),
        ({"type": "integer"}, "9223372036854775807", 2**63 - 1),
        ({"type": "number"}, "5", 5),
        ({"type": "number"}, "-2.5e-3", -0.0025),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "false", False),
        ({"type": "string", "format": "uuid"}, ID, UUID(ID)),
        ({"type": "string", "format": "uuid"}, ID.upper(), UUID(ID)),
        ({"type": "string", "format": "date"}, "2024-02-29", date(2024, 2, 29)),
        ({"type": "string", "format": "date-time"}, "2024-02-29T12:00:00Z", datetime(2024, 2, 29, 12, tzinfo=UTC)),
        (
            {"type": "string", "format": "date-time"},
            "2024-02-29t12:00:00.123456789%2B02:00",
            datetime(2024, 2, 29, 10, 0, 0, 123456, UTC),
        ),
        ({"type": "string", "enum": ["asc", "desc"]}, "asc", "asc"),
        ({"type": "integer", "enum": [1, 2]}, "2", 2),
        ({"enum": [1, "a"]}, "1", 1),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, "7", 7),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, "seven", "seven"),
        ({"anyOf": [{"type": "boolean"}, {"type": "string", "format": "uuid"}]}, "true", True),
        ({"anyOf": [{"type": "boolean"}, {"type": "string", "format": "uuid"}]}, ID, UUID(ID)),
        ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, "3", 3),
        ({"type": "integer", "nullable": True}, "null", None),
        ({"type": "integer", "nullable": True}, "", None),
        ({"type": "integer", "nullable": True}, "4", 4),
        ({"type": "string", "format": "uuid", "nullable": True}, "null", None),
    ],
)
def test_a_query_value_has_the_type_of_its_schema(schema: dict[str, Any], text: str, value: Any) -> None:
    found = read([query("a", schema)], f"a={text}")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("schema", "text", "rule"),
    [
        ({"type": "integer"}, "x", "type"),
        ({"type": "integer"}, "", "type"),
        ({"type": "integer"}, "1.0", "type"),
        ({"type": "integer"}, "007", "type"),
        ({"type": "integer"}, "%2B5", "type"),
        ({"type": "integer"}, "1_000", "type"),
        ({"type": "integer"}, "1e3", "type"),
        ({"type": "integer"}, "٣", "type"),
        ({"type": "integer"}, "5%0A", "type"),
        ({"type": "integer"}, "true", "type"),
        ({"type": "integer"}, "9" * 5000, "type"),
        ({"type": "integer"}, "9223372036854775808", "type"),
        ({"type": "integer", "format": "int32"}, "2147483648", "format"),
        ({"type": "integer", "minimum": 1}, "0", "minimum"),
        ({"type": "number"}, "NaN", "type"),
        ({"type": "number"}, "inf", "type"),
        ({"type": "number"}, "1e999", "type"),
        ({"type": "number"}, "9" * 5000, "type"),
        ({"type": "number"}, "1e" + "9" * 5000, "type"),
        ({"type": "boolean"}, "True", "type"),
        ({"type": "boolean"}, "1", "type"),
        ({"type": "string", "format": "uuid"}, ID[:-1], "format"),
        ({"type": "string", "format": "date-time"}, "2024-02-29T12:00:00", "format"),
        ({"type": "string", "format": "date-time"}, "2016-12-31T23:59:60Z", "format"),
        ({"type": "string", "format": "date"}, "2023-02-29", "format"),
        ({"type": "string", "enum": ["asc"]}, "ASC", "enum"),
        ({"type": "string", "maxLength": 3}, "😀😀😀😀", "maxLength"),
        ({"oneOf": [{"type": "integer"}, {"type": "boolean"}]}, "x", "oneOf"),
    ],
)
def test_a_query_value_that_breaks_its_schema_is_a_violation(schema: dict[str, Any], text: str, rule: str) -> None:
    assert broken([query("a", schema)], f"a={text}") == [(("query", "a"), rule)]


@pytest.mark.parametrize(
    ("text", "rule"),
    [(b"%00", "nul"), (b"a%00b", "nul"), (b"\0", "nul"), (b"%ff", "encoding"), (b"%ed%a0%80", "encoding")],
)
def test_text_that_is_no_text_is_one_violation(text: bytes, rule: str) -> None:
    assert broken([query("a", {"type": "string"}, required=True)], b"a=" + text) == [(("query", "a"), rule)]
    assert broken([query("a", TEXTS, explode=False)], b"a=x," + text) == [(("query", "a"), rule)]
    if text[0:1] != b"\0":
        assert broken([path("a", {"type": "string"})], values={"a": text.decode()}) == [(("path", "a"), rule)]
        assert broken([], b"b" + text + b"=1")[0][1] == rule


def test_raw_bytes_that_are_no_utf8_spoil_the_query() -> None:
    assert broken([query("a", {"type": "string"}, required=True)], b"a=\xff") == [(("query",), "encoding")]


def test_form_encoding_is_undone_once() -> None:
    assert read([query("a", {"type": "string"})], "a=1+2%2B3%2520%zz%") == {"a": "1 2+3%20%zz%"}
    assert read([query("a b", {"type": "string"})], "a%20b=1") == {"a_b": "1"}


# --- presence ----------------------------------------------------------------------------------------------


def test_every_violation_is_told_at_once() -> None:
    declared = [
        path("id", {"type": "string", "format": "uuid"}),
        query("limit", {"type": "integer"}, required=True),
        query("page", {"type": "integer"}),
        header("X-Trace", {"type": "string"}, required=True),
        cookie("sid", {"type": "string"}, required=True),
    ]
    assert broken(declared, "page=x&other=1", values={"id": "me"}) == [
        (("path", "id"), "format"),
        (("query", "page"), "type"),
        (("query", "limit"), "required"),
        (("query", "other"), "additionalProperties"),
        (("header", "X-Trace"), "required"),
        (("cookie", "sid"), "required"),
    ]


def test_a_repeated_single_value_is_a_violation() -> None:
    assert broken([query("a", {"type": "integer"})], "a=1&a=1") == [(("query", "a"), "repeated")]
    headers = [(b"x-a", b"1"), (b"x-a", b"1")]
    assert broken([header("X-A", {"type": "integer"})], headers=headers) == [(("header", "X-A"), "repeated")]


def test_unknown_query_parameters_are_refused_unless_known_elsewhere_or_lenient() -> None:
    assert broken([], "a=1&b=2") == [(("query", "a"), "additionalProperties"), (("query", "b"), "additionalProperties")]
    assert read([], "api_key=1", known={"api_key"}) == {}
    assert read([], "a=1", strict=False) == {}


def test_an_absent_optional_parameter_has_its_default_or_no_place() -> None:
    declared = [
        query("limit", {"type": "integer", "default": 50}),
        query("since", {"type": "string", "format": "date", "default": "2024-01-01"}),
        query("tags", {**TEXTS, "default": ["a"]}),
        query("cursor", {"type": "string"}),
    ]
    plan = Parameters.compile(declared, Compiler({}))
    first = plan({}, b"", [])
    assert first == {"limit": 50, "since": date(2024, 1, 1), "tags": ["a"]}
    first["tags"].append("b")
    assert plan({}, b"", [])["tags"] == ["a"]
    assert plan({}, b"limit=7&cursor=x", [])["limit"] == 7


def test_a_default_that_breaks_its_schema_is_an_error_of_the_contract() -> None:
    with pytest.raises(ContractError):
        Parameters.compile([query("limit", {"type": "integer", "default": "x"})], Compiler({}))


def test_names_become_pythons() -> None:
    declared = [query(name, {"type": "string"}) for name in ("agentId", "page-size", "from", "APIKey")]
    assert read(declared, "agentId=1&page-size=2&from=3&APIKey=4") == {
        "agent_id": "1",
        "page_size": "2",
        "from_": "3",
        "api_key": "4",
    }


def test_two_parameters_of_one_python_name_are_an_error_of_the_contract() -> None:
    with pytest.raises(ContractError):
        Parameters.compile([query("a-b", {}), header("A_B", {})], Compiler({}))


def test_an_empty_value_passes_where_it_is_allowed() -> None:
    declared = [
        query("flag", {"type": "integer"}, allowEmptyValue=True),
        query("text", {"type": "string", "minLength": 3}, allowEmptyValue=True),
    ]
    assert read(declared, "flag&text=") == {"flag": None, "text": ""}
    assert broken([query("flag", {"type": "integer"})], "flag") == [(("query", "flag"), "type")]


def test_an_unreasonable_number_of_parameters_is_refused() -> None:
    assert broken([query("a", TEXTS)], b"a=1&" * 1001) == [(("query",), "maxProperties")]


def test_empty_pieces_of_a_query_are_nothing() -> None:
    assert read([query("a", {"type": "string"})], "&&a=1&") == {"a": "1"}


# --- arrays and objects --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "schema", "text", "value"),
    [
        ({}, NUMBERS, "a=1&a=2", [1, 2]),
        ({}, NUMBERS, "a=1", [1]),
        ({}, TEXTS, "a=1,2", ["1,2"]),
        ({}, TEXTS, "a=", [""]),
        ({"explode": False}, NUMBERS, "a=1,2", [1, 2]),
        ({"explode": False}, NUMBERS, "a=1%2C2", [1, 2]),
        ({"explode": False}, TEXTS, "a=x%2Cy,z", ["x,y", "z"]),
        ({"explode": False}, TEXTS, "a=", []),
        ({"explode": False}, {**TEXTS, "minItems": 1}, "a=", [""]),
        ({"style": "spaceDelimited", "explode": False}, NUMBERS, "a=1%202", [1, 2]),
        ({"style": "spaceDelimited", "explode": False}, NUMBERS, "a=1+2", [1, 2]),
        ({"style": "pipeDelimited", "explode": False}, NUMBERS, "a=1|2", [1, 2]),
        ({"style": "pipeDelimited", "explode": False}, NUMBERS, "a=1%7C2", [1, 2]),
        ({}, {"type": "array", "items": {"type": "string", "format": "uuid"}}, f"a={ID}", [UUID(ID)]),
        ({"explode": False}, POINT, "a=x,1,y,2", {"x": 1, "y": 2}),
        ({}, POINT, "x=1&y=2", {"x": 1, "y": 2}),
        ({"style": "deepObject"}, POINT, "a[x]=1&a%5By%5D=2&a[tags]=p&a[tags]=q", {"x": 1, "y": 2, "tags": ["p", "q"]}),
    ],
)
def test_a_query_parameter_is_read_by_its_style(more: dict[str, Any], schema: Any, text: str, value: Any) -> None:
    assert read([query("a", schema, **more)], text) == {"a": value}


@pytest.mark.parametrize(
    ("more", "schema", "text", "value"),
    [
        ({}, NUMBERS, "1,2", [1, 2]),
        ({}, POINT, "x,1,y,2", {"x": 1, "y": 2}),
        ({"explode": True}, POINT, "x=1,y=2", {"x": 1, "y": 2}),
        ({"style": "label"}, {"type": "integer"}, ".5", 5),
        ({"style": "label"}, NUMBERS, ".1,2", [1, 2]),
        ({"style": "label", "explode": True}, NUMBERS, ".1.2", [1, 2]),
        ({"style": "label"}, POINT, ".x,1,y,2", {"x": 1, "y": 2}),
        ({"style": "label", "explode": True}, POINT, ".x=1.y=2", {"x": 1, "y": 2}),
        ({"style": "matrix"}, {"type": "integer"}, ";a=5", 5),
        ({"style": "matrix"}, NUMBERS, ";a=1,2", [1, 2]),
        ({"style": "matrix", "explode": True}, NUMBERS, ";a=1;a=2", [1, 2]),
        ({"style": "matrix"}, POINT, ";a=x,1,y,2", {"x": 1, "y": 2}),
        ({"style": "matrix", "explode": True}, POINT, ";x=1;y=2", {"x": 1, "y": 2}),
    ],
)
def test_a_path_parameter_is_read_by_its_style(more: dict[str, Any], schema: Any, text: str, value: Any) -> None:
    assert read([path("a", schema, **more)], values={"a": text}) == {"a": value}


def test_a_path_value_is_decoded_once_and_keeps_an_encoded_slash() -> None:
    assert read([path("a", {"type": "string"})], values={"a": "x%2Fy%20z%2520+"}) == {"a": "x/y z%20+"}
    assert read([path("a", {"type": "string"})], values={"a": "gr%C3%BCn"}) == {"a": "grün"}
    assert read([path("a", {"type": "string"})], values={"a": "grün".encode().decode("latin-1")}) == {"a": "grün"}
    assert read([path("a", {"type": "string"})], values={"a": "日本"}) == {"a": "日本"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a[z]=1", [(("query", "a", "z"), "additionalProperties")]),
        ("a[x]=q", [(("query", "a", "x"), "type")]),
        ("a[x]=1&a[x]=2", [(("query", "a", "x"), "type")]),
        ("a[x][y]=1", [(("query", "a", "x][y"), "additionalProperties")]),
        ("a=1", [(("query", "a"), "additionalProperties")]),
        ("a[x=1", [(("query", "a[x"), "additionalProperties")]),
    ],
)
def test_a_wrong_deep_object_is_a_violation(text: str, expected: Any) -> None:
    assert broken([query("a", POINT, style="deepObject")], text) == expected


def test_a_required_object_that_is_absent_is_a_violation() -> None:
    for more in ({"style": "deepObject"}, {}):
        assert broken([query("a", POINT, required=True, **more)], "") == [(("query", "a"), "required")]


def test_an_open_exploded_object_takes_what_no_other_parameter_claims() -> None:
    open_ = {"type": "object", "additionalProperties": {"type": "integer"}}
    declared = [query("limit", {"type": "integer"}), query("filter", open_)]
    assert read(declared, "limit=1&b=2&c=3") == {"limit": 1, "filter": {"b": 2, "c": 3}}
    assert broken(declared, "b=x") == [(("query", "filter", "b"), "type")]


def test_an_item_that_breaks_its_schema_is_named_by_its_place() -> None:
    assert broken([query("a", NUMBERS)], "a=1&a=x") == [(("query", "a", 1), "type")]


def test_a_json_parameter_is_json_with_all_its_rules() -> None:
    declared = [{"name": "q", "in": "query", "content": {"application/json": {"schema": POINT}}}]
    assert read(declared, 'q={"x":1}') == {"q": {"x": 1}}
    assert read(declared, "q=%7B%22x%22%3A1%7D") == {"q": {"x": 1}}
    assert broken(declared, 'q={"x":1,"x":2}') == [(("query", "q"), "json")]
    assert broken(declared, "q=" + "[" * 10_000) == [(("query", "q"), "json")]
    assert broken(declared, "q=") == [(("query", "q"), "json")]
    assert broken(declared, 'q={"x":"a"}') == [(("query", "q", "x"), "type")]


def test_a_style_that_does_not_exist_there_is_an_error_of_the_contract() -> None:
    for wrong in (
        path("a", NUMBERS, style="form"),
        query("a", NUMBERS, style="simple"),
        header("a", NUMBERS, style="form"),
        query("a", NUMBERS, style="deepObject"),
    ):
        with pytest.raises(ContractError):
            Parameters.compile([wrong], Compiler({}))


# --- headers and cookies --------------------------------------------------------------------------------------


def test_headers_are_found_whatever_their_case_and_lists_may_be_split() -> None:
    declared = [header("X-Ids", NUMBERS), header("Idempotency-Key", {"type": "string"})]
    headers = [(b"x-ids", b"1, 2"), (b"X-IDS", b"3"), (b"idempotency-key", b" k ")]
    assert read(declared, headers=headers) == {"x_ids": [1, 2, 3], "idempotency_key": "k"}


def test_headers_that_openapi_keeps_for_itself_are_not_parameters() -> None:
    declared = [header(name, {"type": "string"}, required=True) for name in ("Accept", "Content-Type", "Authorization")]
    assert read(declared) == {}


def test_a_header_may_be_utf8_or_latin1() -> None:
    declared = [header("X-A", {"type": "string"})]
    assert read(declared, headers=[(b"x-a", "ü".encode())]) == {"x_a": "ü"}
    assert read(declared, headers=[(b"x-a", b"\xfc")]) == {"x_a": "ü"}


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ([b"sid=5"], 5),
        ([b"a=b; sid=5"], 5),
        ([b"a=b;sid=5;"], 5),
        ([b'sid="5"'], 5),
        ([b"nonsense; ; =; sid = 5"], 5),
        ([b"a=b", b"sid=5"], 5),
        ([b"sid=5; sid=6"], 5),
        ([b"\xff\xfe=1; sid=5"], 5),
    ],
)
def test_cookies_are_read_however_browsers_write_them(headers: list[bytes], value: int) -> None:
    raw = [(b"cookie", text) for text in headers]
    assert read([cookie("sid", {"type": "integer"})], headers=raw) == {"sid": value}


def test_a_cookie_that_breaks_its_schema_is_a_violation_and_an_absent_one_is_not() -> None:
    declared = [cookie("sid", {"type": "integer"})]
    assert broken(declared, headers=[(b"cookie", b"sid=x")]) == [(("cookie", "sid"), "type")]
    assert read(declared) == {}


def test_a_secret_is_not_repeated_in_the_violation() -> None:
    declared = [
        query("token", {"type": "string", "maxLength": 3}),
        query("pin", {"type": "integer", "format": "int32"}),
    ]
    with pytest.raises(Problem) as caught:
        read(declared, "token=abcdef&pin=x")
    assert [violation.value for violation in caught.value.violations] == [None, "x"]
