"""What an API process keeps of a bundle: everything that it serves by, and no prose."""

from __future__ import annotations

from typing import Any

from thalweg.contract.lean import without_prose
from thalweg.edge.schema import Compiler
from thalweg.edge.specification import BundledSpecification

NOTED = {"description": "told", "example": "shown"}


def _bundle() -> dict[str, Any]:
    thing = {
        **NOTED,
        "title": "Thing",
        "type": "object",
        "required": ["description", "example"],
        "additionalProperties": {"type": "integer", **NOTED},
        "properties": {
            "description": {"type": "string", **NOTED},
            "example": {"type": "object", "enum": [{"description": "data"}], "default": {"description": "data"}},
            "several": {"type": "array", "items": {"oneOf": [{"type": "string", **NOTED}]}},
        },
    }
    gone = {"description": "Gone.", "headers": {"X-A": {**NOTED, "schema": {"type": "string", **NOTED}}}}
    return {
        "openapi": "3.0.3",
        "info": {"title": "Toys", "version": "1"},
        "tags": [{"name": "toys", "description": "told"}],
        "paths": {
            path: {
                "get": {
                    "operationId": f"get{path[1:]}",
                    "tags": ["toys"],
                    "summary": "told",
                    "description": "told",
                    "x-permission": "toys:read",
                    "parameters": [{"name": "example", "in": "query", **NOTED, "schema": {"type": "string"}}],
                    "responses": {
                        "200": {
                            "description": "Fine.",
                            "content": {"application/json": {"schema": thing, "examples": {"a": {"value": 1}}}},
                        },
                        "410": {"$ref": "#/components/responses/Gone"},
                    },
                }
            }
            for path in ("/a", "/b")
        },
        "components": {"responses": {"Gone": gone}, "schemas": {"Thing": thing}},
    }


def test_prose_goes_and_names_and_data_stay() -> None:
    bundle = without_prose(_bundle())
    operation = bundle["paths"]["/a"]["get"]
    assert "description" not in operation
    assert operation["x-permission"] == "toys:read"
    assert operation["parameters"] == [{"name": "example", "in": "query", "schema": {"type": "string"}}]
    content = operation["responses"]["200"]["content"]["application/json"]
    assert content == {"schema": bundle["components"]["schemas"]["Thing"]}
    schema = content["schema"]
    assert set(schema) == {"type", "required", "additionalProperties", "properties"}
    assert set(schema["properties"]) == {"description", "example", "several"}
    assert schema["properties"]["description"] == {"type": "string"}
    assert schema["properties"]["example"]["enum"] == [{"description": "data"}]
    assert schema["properties"]["example"]["default"] == {"description": "data"}
    assert schema["properties"]["several"]["items"] == {"oneOf": [{"type": "string"}]}
    assert bundle["components"]["responses"]["Gone"] == {"headers": {"X-A": {"schema": {"type": "string"}}}}


def test_the_verdicts_are_the_same_without_prose() -> None:
    reference = {"$ref": "#/components/schemas/Thing"}
    whole = Compiler(_bundle()).compile(reference, "response")
    bare = Compiler(without_prose(_bundle())).compile(reference, "response")
    data = {"description": "data"}
    for value in ({"description": "a", "example": data}, {"description": 1, "example": data}, {"example": data}, {}):
        assert whole.is_valid(value) == bare.is_valid(value), value


def test_a_shared_response_is_one_object_for_all_operations() -> None:
    read = BundledSpecification(_bundle())
    one, other = (read.get_operation(path, "get")["responses"]["410"] for path in ("/a", "/b"))
    assert one is other
    compiler = Compiler(_bundle())
    made = [compiler.once(response, "response", lambda: object()) for response in (one, other)]
    assert made[0] is made[1]
