"""The published copies, and the step from 3.0 to 3.1."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from thalweg.contract import project as projects
from thalweg.contract.project import Project
from thalweg.contract.publish import as_yaml, publish
from thalweg.contract.sources import parse
from thalweg.contract.upgrade import upgrade, upgrade_schema

Edit = Callable[..., Project]


def test_both_versions_are_valid_and_the_yaml_says_what_the_json_says(shop: Project, tmp_path: Path) -> None:
    files = publish(shop, ["shop"], tmp_path / "out")
    assert [one.file for one in files] == ["shop-3.0.json", "shop-3.0.yaml", "shop-3.1.json", "shop-3.1.yaml"]
    older, newer = (json.loads((tmp_path / "out" / f"shop-{one}.json").read_bytes()) for one in ("3.0", "3.1"))
    OpenAPIV30SpecValidator(older).validate()
    OpenAPIV31SpecValidator(newer).validate()
    assert (older["openapi"], newer["openapi"]) == ("3.0.3", "3.1.0")
    for version, document in (("3.0", older), ("3.1", newer)):
        text = (tmp_path / "out" / f"shop-{version}.yaml").read_text()
        assert parse(text, "a.yaml") == document
        assert yaml.safe_load(text) == document


def test_this_projects_contracts_are_valid_in_both_versions(tmp_path: Path) -> None:
    project = projects.find(Path(__file__))
    written = [name for name in project.surfaces if project.source(name).exists()]
    for one in publish(project, written, tmp_path):
        if one.file.endswith(".json"):
            document = json.loads((tmp_path / one.file).read_bytes())
            (OpenAPIV30SpecValidator if one.openapi == "3.0.3" else OpenAPIV31SpecValidator)(document).validate()


def test_the_index_names_every_file_with_its_hash(shop: Project, tmp_path: Path) -> None:
    publish(shop, ["shop"], tmp_path)
    index = json.loads((tmp_path / "index.json").read_bytes())
    assert index["surfaces"]["shop"]["base_path"] == "/shop"
    for one in index["surfaces"]["shop"]["files"]:
        content = (tmp_path / one["file"]).read_bytes()
        assert (one["sha256"], one["bytes"]) == (sha256(content).hexdigest(), len(content))


def test_publishing_again_writes_the_same_bytes(shop: Project, tmp_path: Path) -> None:
    first = publish(shop, ["shop"], tmp_path)
    stamps = {one.file: (tmp_path / one.file).stat().st_mtime_ns for one in first}
    assert publish(shop, ["shop"], tmp_path) == first
    assert {one.file: (tmp_path / one.file).stat().st_mtime_ns for one in first} == stamps


@pytest.mark.parametrize(
    "text", ["on", "2026-01-01", "1e3", "0o7", "12:30:45", "null", "~", "1_000", "a\nb\n", " x", "#", ""]
)
def test_yaml_text_stays_text_for_readers_of_1_1_and_1_2(text: str) -> None:
    written = as_yaml({"x": text, text: 1}).decode()
    assert parse(written, "a.yaml") == {"x": text, text: 1}
    assert yaml.safe_load(written) == {"x": text, text: 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=8,
)


@given(JSON)
@settings(deadline=None, max_examples=300)
def test_any_json_survives_the_way_through_yaml(value: Any) -> None:
    assert parse(as_yaml({"x": value}).decode(), "a.yaml") == {"x": value}


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": False}, {"type": "string"}),
        ({"nullable": True}, {}),
        ({"type": "integer", "minimum": 1, "exclusiveMinimum": True}, {"type": "integer", "exclusiveMinimum": 1}),
        ({"type": "integer", "minimum": 1, "exclusiveMinimum": False}, {"type": "integer", "minimum": 1}),
        ({"type": "number", "maximum": 2, "exclusiveMaximum": True}, {"type": "number", "exclusiveMaximum": 2}),
        ({"type": "string", "example": "a"}, {"type": "string", "examples": ["a"]}),
        ({"type": "string", "example": None}, {"type": "string", "examples": [None]}),
        ({"type": "string", "format": "binary"}, {"type": "string", "contentMediaType": "application/octet-stream"}),
        ({"type": "string", "format": "byte"}, {"type": "string", "contentEncoding": "base64"}),
        ({"type": "string", "nullable": True, "enum": ["a", None]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"allOf": [{"type": "string", "nullable": True}]}, {"allOf": [{"type": ["string", "null"]}]}),
        ({"type": "array", "items": {"example": 1}}, {"type": "array", "items": {"examples": [1]}}),
        (
            {"type": "object", "properties": {"nullable": {"type": "boolean"}, "example": {"type": "string"}}},
            {"type": "object", "properties": {"nullable": {"type": "boolean"}, "example": {"type": "string"}}},
        ),
        (
            {"type": "object", "default": {"example": 1, "nullable": True}, "additionalProperties": {"nullable": True}},
            {"type": "object", "default": {"example": 1, "nullable": True}, "additionalProperties": {}},
        ),
        ({"additionalProperties": False}, {"additionalProperties": False}),
        ({"not": {"type": "string", "nullable": True}}, {"not": {"type": ["string", "null"]}}),
    ],
)
def test_a_schema_is_said_in_the_words_of_3_1(older: dict[str, Any], newer: dict[str, Any]) -> None:
    before = json.dumps(older)
    assert upgrade_schema(older) == newer
    assert json.dumps(older) == before
    jsonschema_rs.meta.validate(newer)


def test_a_body_of_bytes_has_no_schema_in_3_1(shop: Project) -> None:
    document = {
        "openapi": "3.0.3",
        "info": {"title": "t", "version": "1"},
        "paths": {
            "/a": {
                "get": {
                    "responses": {
                        "200": {
                            "description": "d",
                            "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}},
                        }
                    }
                }
            }
        },
    }
    newer = upgrade(document)
    assert newer["jsonSchemaDialect"] == "https://spec.openapis.org/oas/3.1/dialect/base"
    assert newer["paths"]["/a"]["get"]["responses"]["200"]["content"] == {"application/pdf": {}}
    OpenAPIV31SpecValidator(newer).validate()


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (["Tick"], {"$ref": "#/components/schemas/Tick"}),
        (["Tick", "Tick"], {"$ref": "#/components/schemas/Tick"}),
        (
            ["Tick", "End"],
            {
                "description": "Ticks.",
                "oneOf": [{"$ref": "#/components/schemas/Tick"}, {"$ref": "#/components/schemas/End"}],
            },
        ),
    ],
)
def test_a_published_stream_has_the_type_of_its_events(events: list[str], expected: dict[str, Any]) -> None:
    from thalweg.contract.publish import type_streams

    stream = {"content": {"text/event-stream": {"schema": {"description": "Ticks."}, "example": "data: {}"}}}
    declared = {f"e{number}": {"$ref": f"#/components/schemas/{name}"} for number, name in enumerate(events)}
    operation = {"x-stream": {"events": declared}, "responses": {"200": stream}}
    type_streams({"paths": {"/ticks": {"parameters": [], "get": operation}}})
    assert stream["content"]["text/event-stream"] == {"schema": expected}
