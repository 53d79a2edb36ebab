"""Breaking changes, and where the comparing library is set right."""

# ruff: noqa: E501 - pieces of YAML and JSON, one line each, read better whole

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from specshift import diff_specs

from thalweg.contract import diff as diffs
from thalweg.contract.project import Project

Document = dict[str, Any]

BASE: Document = {
    "openapi": "3.0.3",
    "info": {"title": "Shop", "version": "1.0.0"},
    "security": [{"key": []}, {"token": []}],
    "paths": {
        "/things/{id}": {
            "parameters": [{"$ref": "#/components/parameters/Id"}],
            "post": {
                "operationId": "makeThing",
                "x-permission": "things:write",
                "x-idempotency": True,
                "x-max-bytes": 1000,
                "parameters": [
                    {"name": "q", "in": "query", "schema": {"type": "string", "maxLength": 9}},
                    {"name": "n", "in": "query", "schema": {"type": "integer", "minimum": 1}},
                ],
                "requestBody": {"$ref": "#/components/requestBodies/Thing"},
                "x-stream": {"terminal": ["end"], "events": {"end": {"$ref": "#/components/schemas/Event"}}},
                "responses": {
                    "200": {"$ref": "#/components/responses/Thing"},
                    "404": {"description": "Not there."},
                },
            },
        }
    },
    "components": {
        "parameters": {
            "Id": {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 36}}
        },
        "requestBodies": {"Thing": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/In"}}}}},
        "responses": {
            "Thing": {
                "description": "The thing.",
                "headers": {"ETag": {"required": True, "schema": {"type": "string"}}},
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Out"}}},
            }
        },
        "schemas": {
            "In": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "maxLength": 80},
                    "note": {"type": "string", "nullable": True},
                    "sort": {"type": "string", "enum": ["a", "b"]},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/In"}},
                },
            },
            "Out": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "note"],
                "properties": {
                    "name": {"type": "string", "maxLength": 80},
                    "note": {"type": "string", "nullable": True},
                    "sort": {"type": "string", "enum": ["a", "b"]},
                },
            },
            "Event": {"type": "object", "required": ["why"], "properties": {"why": {"type": "string"}}},
        },
    },
}

Change = Callable[[Document], Any]


def operation(document: Document) -> Any:
    return document["paths"]["/things/{id}"]["post"]


def schema(document: Document, name: str) -> Any:
    return document["components"]["schemas"][name]


def field(document: Document, name: str, prop: str) -> Any:
    return schema(document, name)["properties"][prop]


def changed(change: Change) -> Document:
    after = copy.deepcopy(BASE)
    change(after)
    return after


def verdicts(change: Change) -> list[str]:
    return [one.verdict for one in diffs.compare(BASE, changed(change))]


BREAKING: dict[str, Change] = {
    "a path is gone": lambda d: d["paths"].clear(),
    "a method is gone": lambda d: d["paths"]["/things/{id}"].pop("post"),
    "a success is gone": lambda d: operation(d)["responses"].pop("200"),
    "an answered property is gone": lambda d: schema(d, "Out")["properties"].pop("name"),
    "an answered property is optional now": lambda d: schema(d, "Out").update(required=["name"]),
    "an answered property changes its type": lambda d: field(d, "Out", "name").update(type="integer"),
    "a new field is required": lambda d: (
        schema(d, "In")["properties"].update(new={"type": "string"}), schema(d, "In")["required"].append("new")),
    "a field is required now": lambda d: schema(d, "In")["required"].append("note"),
    "a closed request takes a field no more": lambda d: schema(d, "In")["properties"].pop("note"),
    "a query parameter is gone, and undeclared ones are refused": lambda d: operation(d)["parameters"].pop(),
    "a query parameter is required now": lambda d: operation(d)["parameters"][0].update(required=True),
    "a path item's parameter is bounded more": lambda d: d["components"]["parameters"]["Id"]["schema"].update(maxLength=9),
    "a request's bound is tighter": lambda d: field(d, "In", "name").update(maxLength=40),
    "a request's bound is new": lambda d: field(d, "In", "note").update(maxLength=40),
    "a parameter's bound is new": lambda d: operation(d)["parameters"][1]["schema"].update(maximum=40),
    "a request's format is new": lambda d: field(d, "In", "note").update(format="email"),
    "a request's enum is new": lambda d: field(d, "In", "name").update(enum=["a"]),
    "a request's enum loses a value": lambda d: field(d, "In", "sort").update(enum=["a"]),
    "a request's pattern is new": lambda d: field(d, "In", "name").update(pattern="^a$"),
    "a request takes null no more": lambda d: field(d, "In", "note").pop("nullable"),
    "an answer may be null now": lambda d: field(d, "Out", "name").update(nullable=True),
    "a bound deep in a recursive schema is new": lambda d: field(d, "In", "parts").update(maxItems=3),
    "a media type is gone": lambda d: d["components"]["responses"]["Thing"].update(
        content={"text/plain": {"schema": {"type": "string"}}}),
    "a promised header is gone": lambda d: d["components"]["responses"]["Thing"].pop("headers"),
    "a stream event is gone": lambda d: operation(d)["x-stream"].update(events={}),
    "a stream event loses a property": lambda d: schema(d, "Event")["properties"].clear(),
    "another permission is needed": lambda d: operation(d).update({"x-permission": "admin"}),
    "a plan is needed": lambda d: operation(d).update({"x-plan": "gold"}),
    "a credential opens it no more": lambda d: d.update(security=[{"key": []}]),
    "two credentials are needed together": lambda d: operation(d).update(security=[{"key": [], "token": []}]),
    "idempotency keys are kept no more": lambda d: operation(d).pop("x-idempotency"),
    "smaller bodies only": lambda d: operation(d).update({"x-max-bytes": 10}),
    "the request body is required now": lambda d: d["components"]["requestBodies"]["Thing"].update(required=True),
}  # fmt: skip

HARMLESS: dict[str, Change] = {
    "a new path": lambda d: d["paths"].update({"/new": {"get": {"operationId": "x", "responses": {}}}}),
    "a new optional field": lambda d: schema(d, "In")["properties"].update(new={"type": "string"}),
    "a new answered property": lambda d: schema(d, "Out")["properties"].update(new={"type": "string"}),
    "a new optional parameter": lambda d: operation(d)["parameters"].append(
        {"name": "z", "in": "query", "schema": {"type": "string"}}),
    "a request's bound is wider": lambda d: field(d, "In", "name").update(maxLength=800),
    "an answer's bound is tighter": lambda d: field(d, "Out", "name").update(maxLength=8),
    "an answer's enum loses a value": lambda d: field(d, "Out", "sort").update(enum=["a"]),
    "an answer is never null any more": lambda d: field(d, "Out", "note").pop("nullable"),
    "a request takes null now": lambda d: field(d, "In", "name").update(nullable=True),
    "another credential opens it too": lambda d: operation(d).update(security=[{"key": []}, {"token": []}, {"more": []}]),
    "the same security, said on the operation": lambda d: operation(d).update(security=[{"key": []}, {"token": []}]),
    "it is public now": lambda d: operation(d).update(security=[]),
    "a new error": lambda d: operation(d)["responses"].update({"409": {"description": "Conflict."}}),
    "nothing": lambda d: None,
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKING)
def test_it_breaks_when(name: str) -> None:
    assert "breaking" in verdicts(BREAKING[name])


@pytest.mark.parametrize("name", HARMLESS)
def test_it_does_not_break_when(name: str) -> None:
    assert "breaking" not in verdicts(HARMLESS[name])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("enum", lambda d: field(d, "Out", "sort").update(enum=["a", "b", "c"])),
        ("bound", lambda d: field(d, "Out", "name").update(maxLength=800)),
        ("operationId", lambda d: operation(d).update(operationId="other")),
        ("rate limited", lambda d: operation(d).update({"x-limit": "shop.read"})),
    ],
)
def test_what_may_surprise_a_client_is_a_warning(name: str, change: Change) -> None:
    assert set(verdicts(change)) == {"warning"}


def theirs(side: str, before: Document, after: Document) -> set[str]:
    """specshift's own verdict on one inline schema."""

    def document(one: Document) -> Document:
        content = {"content": {"application/json": {"schema": {"type": "object", "properties": {"x": one}}}}}
        both = {"requestBody": content, "responses": {"200": {"description": "d"}}}
        answer = {"responses": {"200": content}}
        return {
            "openapi": "3.0.3",
            "info": {"title": "t", "version": "1"},
            "paths": {"/a": {"post": both if side == "request" else answer}},
        }

    return {change.severity.value for change in diff_specs(document(before), document(after)).changes}


def test_specshift_judges_null_in_the_wrong_direction() -> None:
    """The reason of four corrections. When this fails, specshift was mended: remove them."""
    null, plain = {"type": "string", "nullable": True}, {"type": "string"}
    assert theirs("request", null, plain) == {"info"}
    assert theirs("response", null, plain) == {"breaking"}
    assert theirs("response", plain, null) == {"info"}


def test_specshift_does_not_tell_requests_from_responses_in_bounds_and_enums() -> None:
    wide, narrow = {"type": "string", "maxLength": 9}, {"type": "string", "maxLength": 3}
    assert theirs("response", wide, narrow) == {"breaking"}
    many, few = {"type": "string", "enum": ["a", "b"]}, {"type": "string", "enum": ["a"]}
    assert theirs("response", many, few) == {"breaking"}
    assert theirs("response", few, many) == {"info"}


def test_specshift_overlooks_bounds_that_are_new() -> None:
    assert theirs("request", {"type": "string"}, {"type": "string", "maxLength": 3}) == set()


# --- the command's view ------------------------------------------------------------------------------


def release(project: Project) -> None:
    assert diffs.accept(project, ["shop"]) == ["openapi/released/shop.json"]


SCHEMAS = "openapi/shop/components/schemas.yaml"


def edited(project: Project, name: str, old: str, new: str) -> None:
    file = project.root / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_nothing_released_allows_everything(shop: Project) -> None:
    (one,) = diffs.diff(shop, ["shop"])
    assert (one.released, one.allowed, one.changes) == (None, True, [])


def test_the_released_contract_has_no_changes(shop: Project) -> None:
    release(shop)
    (one,) = diffs.diff(shop, ["shop"])
    assert (one.changes, one.allowed) == ([], True)
    assert diffs.accept(shop, ["shop"]) == []


def test_a_breaking_change_needs_a_new_major_version(shop: Project) -> None:
    release(shop)
    edited(shop, SCHEMAS, "maxLength: 80", "maxLength: 8")
    (one,) = diffs.diff(shop, ["shop"])
    assert one.breaking
    assert not one.allowed
    edited(shop, "openapi/shop/openapi.yaml", "version: 1.0.0", "version: 1.1.0")
    assert not diffs.diff(shop, ["shop"])[0].allowed
    edited(shop, "openapi/shop/openapi.yaml", "version: 1.1.0", "version: 2.0.0")
    (one,) = diffs.diff(shop, ["shop"])
    assert one.breaking
    assert one.allowed
    assert json.loads(json.dumps(one.as_json()))["allowed"] is True
