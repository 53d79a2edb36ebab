"""Breaking changes, and where the comparing library is set right."""

# ruff: noqa: E501 - pieces of YAML and JSON, one line each, read better whole

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from specshift import diff_specs

from thalweg.contract import diff as diffs
from thalweg.contract import project as projects
from thalweg.contract.coverage import coverage
from thalweg.contract.project import Project

ROOT = Path(__file__).parents[2]

Document = dict[str, Any]

BASE: Document = {
    "openapi": "3.0.3",
    "info": {"title": "Shop", "version": "1.0.0"},
    "servers": [{"url": "/shop"}],
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
                    {"name": "l", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                ],
                "requestBody": {"$ref": "#/components/requestBodies/Thing"},
                "x-stream": {
                    "terminal": ["end", "stop"],
                    "events": {
                        "end": {"$ref": "#/components/schemas/Event"},
                        "stop": {"$ref": "#/components/schemas/Event"},
                    },
                },
                "responses": {
                    "200": {"$ref": "#/components/responses/Thing"},
                    "404": {"description": "Not there."},
                },
            },
        }
    },
    "components": {
        "securitySchemes": {
            "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
            "token": {"type": "http", "scheme": "bearer"},
        },
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
                    "count": {"type": "integer", "minimum": 0},
                    "pet": {
                        "oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}],
                        "discriminator": {"propertyName": "kind"},
                    },
                    "home": {"oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Null"}]},
                    "guest": {"allOf": [{"$ref": "#/components/schemas/Dog"}]},
                    "labels": {
                        "type": "object",
                        "maxProperties": 9,
                        "additionalProperties": {"type": "string", "maxLength": 9},
                    },
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
                    "share": {"type": "number", "minimum": 0},
                    "pet": {
                        "oneOf": [{"$ref": "#/components/schemas/Dog"}, {"$ref": "#/components/schemas/Bird"}],
                        "discriminator": {"propertyName": "kind"},
                    },
                    "home": {"oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Null"}]},
                    "guest": {"allOf": [{"$ref": "#/components/schemas/Dog"}]},
                    "labels": {
                        "type": "object",
                        "maxProperties": 9,
                        "additionalProperties": {"type": "string", "maxLength": 9},
                    },
                },
            },
            "Cat": {
                "type": "object",
                "additionalProperties": False,
                "required": ["kind"],
                "properties": {
                    "kind": {"type": "string", "enum": ["cat"]},
                    "lives": {"type": "integer"},
                    "mother": {"oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Null"}]},
                },
            },
            "Dog": {
                "type": "object",
                "additionalProperties": False,
                "required": ["kind"],
                "properties": {"kind": {"type": "string", "enum": ["dog"]}, "bark": {"type": "string"}},
            },
            "Bird": {
                "type": "object",
                "additionalProperties": False,
                "required": ["kind"],
                "properties": {"kind": {"type": "string", "enum": ["bird"]}, "song": {"type": "string"}},
            },
            "Null": {"type": "string", "nullable": True, "enum": [None]},
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


def refs(instead_of: Document, *names: str) -> list[Document]:
    """References to components, for a union in place of what stands in `instead_of`."""
    instead_of.clear()
    return [{"$ref": f"#/components/schemas/{name}"} for name in names]


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
    "a query parameter is gone, and undeclared ones are refused": lambda d: operation(d)["parameters"].pop(1),
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
    "a member of a request's union is gone": lambda d: field(d, "In", "pet")["oneOf"].pop(),
    "a member of a request's union needs more": lambda d: schema(d, "Dog").update(required=["kind", "bark"]),
    "a member of a union takes a field no more": lambda d: schema(d, "Cat")["properties"].pop("lives"),
    "a member of an answer's union loses a property": lambda d: schema(d, "Bird")["properties"].pop("song"),
    "a request's object may be null no more": lambda d: field(d, "In", "home")["oneOf"].pop(),
    "an answer's object may be null now": lambda d: field(d, "Out", "guest").update(
        {"oneOf": [*field(d, "Out", "guest").pop("allOf"), {"$ref": "#/components/schemas/Null"}]}),
    "the values of a request's map change their type": lambda d: field(d, "In", "labels")["additionalProperties"].update(type="integer"),
    "the values of a request's map are bounded more": lambda d: field(d, "In", "labels")["additionalProperties"].update(maxLength=3),
    "the values of an answer's map change their type": lambda d: field(d, "Out", "labels")["additionalProperties"].update(type="integer"),
    "a bound of a request excludes its own value": lambda d: field(d, "In", "count").update(exclusiveMinimum=True),
    "a request's list takes no value twice": lambda d: field(d, "In", "parts").update(uniqueItems=True),
    "a list is written in another way": lambda d: operation(d)["parameters"][2].update(explode=False),
    "a header is not promised any more": lambda d: d["components"]["responses"]["Thing"]["headers"]["ETag"].update(required=False),
    "a header changes its type": lambda d: d["components"]["responses"]["Thing"]["headers"]["ETag"].update(schema={"type": "integer"}),
    "an event does not end the stream any more": lambda d: operation(d)["x-stream"].update(terminal=["end"]),
    "events carry no names any more": lambda d: operation(d)["x-stream"].update(named=False),
    "a key is sent in another header": lambda d: d["components"]["securitySchemes"]["key"].update(name="X-Other"),
    "the address is another": lambda d: d.update(servers=[{"url": "/store"}]),
    "a request's object becomes a union that it is not a member of": lambda d: field(d, "In", "guest").update(
        {"oneOf": refs(field(d, "In", "guest"), "Cat", "Bird")}),
    "a request's object becomes a union of less than it was": lambda d: (
        field(d, "In", "guest").update({"oneOf": refs(field(d, "In", "guest"), "Dog", "Cat")}),
        schema(d, "Dog").update(required=["kind", "bark"])),
    "a request's text becomes a union that takes shorter text only": lambda d: field(d, "In", "name").update(
        {"oneOf": [{"type": field(d, "In", "name").pop("type"), "maxLength": 8}, {"type": "integer"}], "maxLength": 80}),
    "a request's union becomes one of its members": lambda d: schema(d, "In")["properties"].update(
        pet={"$ref": "#/components/schemas/Cat"}),
    "an answer's object becomes a union that it is a member of": lambda d: field(d, "Out", "guest").update(
        {"oneOf": refs(field(d, "Out", "guest"), "Dog", "Cat")}),
    "a union that a request's object became takes null no more": lambda d: field(d, "In", "home").update(
        {"oneOf": refs(field(d, "In", "home"), "Cat", "Dog")}),
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
    "another member of a request's union": lambda d: field(d, "In", "pet")["oneOf"].append(
        {"$ref": "#/components/schemas/Bird"}),
    "a member of an answer's union comes no more": lambda d: field(d, "Out", "pet")["oneOf"].pop(),
    "the members of a union stand in another order": lambda d: field(d, "In", "pet")["oneOf"].reverse(),
    "a request's object may be null now": lambda d: field(d, "In", "guest").update(
        {"oneOf": [*field(d, "In", "guest").pop("allOf"), {"$ref": "#/components/schemas/Null"}]}),
    "an answer's object is never null any more": lambda d: schema(d, "Out")["properties"].update(home={"$ref": "#/components/schemas/Cat"}),
    "a reference without its wrapper": lambda d: schema(d, "In")["properties"].update(guest={"$ref": "#/components/schemas/Dog"}),
    "a request's integer may be a fraction now": lambda d: field(d, "In", "count").update(type="number"),
    "an answered number is always whole now": lambda d: field(d, "Out", "share").update(type="integer"),
    "a request's object becomes a union that it is a member of": lambda d: field(d, "In", "guest").update(
        {"oneOf": refs(field(d, "In", "guest"), "Cat", "Dog")}),
    "a request's items become a union that they are members of": lambda d: field(d, "In", "parts").update(
        items={"anyOf": refs({}, "Dog", "In")}),
    "a request's object that may be null becomes a union": lambda d: field(d, "In", "home").update(
        {"oneOf": refs(field(d, "In", "home"), "Dog", "Cat", "Null")}),
    "a request's component becomes a union of what it was, under another name, and more": lambda d: (
        d["components"]["schemas"].update(Puppy=schema(d, "Dog"), Dog={"oneOf": refs({}, "Puppy", "Bird")}),
        field(d, "Out", "pet")["oneOf"].pop(0),
        schema(d, "Out")["properties"].update(guest={"$ref": "#/components/schemas/Puppy"})),
    "a request's text becomes a union with a number": lambda d: schema(d, "In")["properties"].update(
        name={"oneOf": [{"type": "integer"}, {"type": "string", "maxLength": 80}]}),
    "an answer's union becomes one of its members": lambda d: schema(d, "Out")["properties"].update(
        pet={"$ref": "#/components/schemas/Bird"}),
    "the order of servers": lambda d: d["servers"].insert(0, {"url": "/elsewhere"}),
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
        ("variant", lambda d: field(d, "Out", "pet")["oneOf"].append({"$ref": "#/components/schemas/Cat"})),
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


def test_specshift_does_not_look_into_unions_and_maps() -> None:
    """The reason of `comparable`. When this fails, specshift was mended: show it unions and maps as they are."""

    def member(name: str) -> Document:
        return {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]}

    for side in ("request", "response"):
        assert theirs(side, {"oneOf": [member("a"), member("b")]}, {"oneOf": [member("c"), member("d")]}) == set()
        values: list[Document] = [{"type": "string"}, {"type": "integer"}]
        before, after = ({"type": "object", "additionalProperties": one} for one in values)
        assert theirs(side, before, after) == set()


def test_specshift_takes_a_reference_in_all_of_for_another_schema() -> None:
    closed = {"type": "object", "additionalProperties": False, "properties": {"a": {"type": "string"}}}
    assert theirs("request", {"allOf": [closed]}, closed) == {"breaking"}


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


@pytest.mark.parametrize(
    ("released", "present", "allowed"),
    [
        ("0.4.2", "0.4.3", False),
        ("0.4.2", "0.5.0", True),
        ("0.4.2", "1.0.0", True),
        ("1.4.2", "1.5.0", False),
        ("1.4.2", "2.0.0", True),
        ("9.0.0", "10.0.0", True),
        ("2.0.0", "1.9.0", False),
    ],
)
def test_a_breaking_change_is_announced_by_the_major_version_and_before_one_by_the_minor(
    released: str, present: str, allowed: bool
) -> None:
    gone = [diffs.Change("breaking", "GET /things", "gone")]
    assert diffs.Comparison("shop", released, present, gone).allowed is allowed
    assert diffs.Comparison("shop", released, present, []).allowed


def test_the_command_says_which_version_would_do(shop: Project) -> None:
    from typer.testing import CliRunner

    from thalweg.contract.cli import app

    release(shop)
    edited(shop, SCHEMAS, "maxLength: 80", "maxLength: 8")
    told = CliRunner().invoke(app, ["diff", "--accept", "--project", str(shop.root)])
    assert told.exit_code == 1
    assert "raise info.version to 2.0.0" in told.stdout
    assert diffs.diff(shop, ["shop"])[0].breaking, "what breaks is not taken as released"


@pytest.mark.parametrize("surface", list(projects.find(ROOT).surfaces))
def test_this_projects_contracts_keep_what_was_released(surface: str) -> None:
    (one,) = diffs.diff(projects.find(ROOT), [surface])
    assert one.released is not None, "run `thalweg contract diff --accept` (CONTRIBUTING.md)"
    assert one.allowed, f"raise info.version to {one.needed}, or take back: {one.breaking[:5]}"


@pytest.mark.parametrize("surface", list(projects.find(ROOT).surfaces))
def test_a_surface_that_is_not_whole_is_of_a_version_before_one(surface: str) -> None:
    """1.0.0 says that every operation does what it declares."""
    project = projects.find(ROOT)
    (counted,) = coverage(project, [surface]).totals()
    version = json.loads((project.generated / surface / "bundle.json").read_bytes())["info"]["version"]
    assert counted.not_implemented == 0 or version.startswith("0.")


@pytest.mark.parametrize("surface", list(projects.find(ROOT).surfaces))
def test_a_property_that_goes_or_turns_into_something_else_is_seen_wherever_it_stands(surface: str) -> None:
    """On the real contracts, in their unions, maps, events and recursions: another dozen at each change of a contract."""
    file = projects.find(ROOT).generated / surface / "bundle.json"
    before = json.loads(file.read_bytes())
    components = before["components"]["schemas"]
    places = [(name, prop) for name, one in components.items() for prop in one.get("properties") or {}]
    chance = random.Random(file.read_bytes())
    for name, prop in chance.sample(places, 8):
        after = copy.deepcopy(before)
        found = after["components"]["schemas"][name]
        del found["properties"][prop]
        found["required"] = [one for one in found.get("required", ()) if one != prop]
        assert any(one.verdict == "breaking" for one in diffs.compare(before, after)), f"{name}.{prop} is gone"
    plain = [(name, prop) for name, prop in places if components[name]["properties"][prop].get("type") == "string"]
    for name, prop in chance.sample(plain, 4):
        after = copy.deepcopy(before)
        after["components"]["schemas"][name]["properties"][prop] = {"type": "boolean"}
        assert any(one.verdict == "breaking" for one in diffs.compare(before, after)), f"{name}.{prop} is a boolean"
