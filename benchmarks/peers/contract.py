"""A contract of 404 operations, made in code: 67 resources of six operations each, a health check and a version.

Every resource has its own schemas (its kinds differ), so nothing is shared that would not be shared in a real document.
"""

from __future__ import annotations

import json
from typing import Any

_NAMES = """
    accounts agents alerts annotations answers approvals archives assets attachments audits automations badges
    batches budgets calendars campaigns channels charges checks comments connectors contacts contracts coupons
    dashboards datasets deals deliveries devices documents domains drafts events exports feeds folders forms
    invoices issues labels leads ledgers members messages notes orders pages payments pipelines policies posts
    products projects quotas recipes refunds regions releases reports reviews roles schedules segments sessions
    sites tasks teams
"""
RESOURCES = tuple(_NAMES.split())
assert len(RESOURCES) == 67
MIDDLE = RESOURCES[33]
"""The resource that is measured: for a router that tries one route after another, half of the table lies before it."""

OPERATIONS = len(RESOURCES) * 6 + 2
ERRORS = ("400", "401", "403", "404", "406", "408", "409", "413", "415", "422", "429", "500", "501", "503")

UUID = {"type": "string", "format": "uuid"}
TIME = {"type": "string", "format": "date-time"}


def document(*, stored: bool = False) -> dict[str, Any]:
    """A fresh bundle, as `contract bundle` writes them; `stored` adds an operation with a database behind it."""
    paths: dict[str, Any] = {
        "/v1/health": {"get": _operation("getHealth", "service", "200", "Word")},
        "/v1/version": {"get": _operation("getVersion", "service", "200", "Word")},
    }
    if stored:
        name = name_of(MIDDLE)
        paths["/v1/stored"] = {"post": _operation("storeItem", "service", "201", name, body=f"{name}Create")}
    schemas: dict[str, Any] = {
        "Error": _object(["error", "message"], error=_text(60), message=_text(500), details={"type": "object"}),
        "Word": _object(["word"], word=_text(40)),
        "Reason": _object(["reason"], reason=_text(500)),
    }
    for resource in RESOURCES:
        _add(resource, paths, schemas)
    made: dict[str, Any] = {
        "openapi": "3.0.3",
        "info": {"title": "A workspace", "version": "1.0.0"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {f"Error{status}": _answer("Error") for status in ERRORS},
            "parameters": {
                "Id": {"name": "id", "in": "path", "required": True, "schema": UUID},
                "Limit": _query("limit", {"type": "integer", "minimum": 1, "maximum": 100, "default": 50}),
                "Offset": _query("offset", {"type": "integer", "minimum": 0, "maximum": 100_000, "default": 0}),
            },
        },
    }
    copied: dict[str, Any] = json.loads(json.dumps(made))
    return copied


def kinds(resource: str) -> tuple[str, ...]:
    return f"{resource}-basic", f"{resource}-extended", "custom"


def name_of(resource: str) -> str:
    return resource.capitalize()


def _add(resource: str, paths: dict[str, Any], schemas: dict[str, Any]) -> None:
    name = name_of(resource)
    kind = {"type": "string", "enum": list(kinds(resource))}
    contact = _object(["name"], name=_text(120, 1), phone={**_text(30), "nullable": True})
    fields = {
        "project_id": UUID,
        "name": _text(120, 1),
        "description": {**_text(2000), "nullable": True},
        "kind": kind,
        "priority": {"type": "integer", "minimum": 1, "maximum": 5},
        "amount_minor": {"type": "integer", "minimum": 0, "maximum": 1_000_000_000},
        "tags": {"type": "array", "maxItems": 10, "items": _text(30, 1)},
        "contact": {"$ref": f"#/components/schemas/{name}Contact"},
    }
    schemas[f"{name}Contact"] = contact
    schemas[f"{name}Create"] = _object(["project_id", "name", "kind", "priority", "amount_minor", "contact"], **fields)
    schemas[f"{name}Update"] = _object([], **fields)
    schemas[name] = _object(["id", *fields, "created_at"], id=UUID, **fields, created_at=TIME)
    item = {"$ref": f"#/components/schemas/{name}"}
    schemas[f"{name}Page"] = _object(
        ["items", "total"],
        items={"type": "array", "maxItems": 100, "items": item},
        total={"type": "integer", "minimum": 0, "maximum": 1_000_000_000},
    )
    one = [{"$ref": "#/components/parameters/Id"}]
    window = [{"$ref": "#/components/parameters/Limit"}, {"$ref": "#/components/parameters/Offset"}]
    shown = [
        _query("expand", {"type": "string", "enum": ["none", "contact"], "default": "none"}),
        _query("revision", {"type": "integer", "minimum": 0, "maximum": 1_000_000}),
    ]
    paths[f"/v1/{resource}"] = {
        "get": _operation(f"list{name}", resource, "200", f"{name}Page", parameters=window),
        "post": _operation(f"create{name}", resource, "201", name, body=f"{name}Create"),
    }
    paths[f"/v1/{resource}/{{id}}"] = {
        "parameters": one,
        "get": _operation(f"get{name}", resource, "200", name, parameters=shown),
        "patch": _operation(f"update{name}", resource, "200", name, body=f"{name}Update"),
        "delete": _operation(f"delete{name}", resource, "204", None),
    }
    paths[f"/v1/{resource}/{{id}}/archive"] = {
        "parameters": one,
        "post": _operation(f"archive{name}", resource, "200", name, body="Reason"),
    }


def _operation(
    operation_id: str, tag: str, success: str, answer: str | None, *, body: str | None = None, **more: Any
) -> dict[str, Any]:
    operation = {"operationId": operation_id, "tags": [tag], "security": [], **more}
    if body is not None:
        schema = {"$ref": f"#/components/schemas/{body}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    operation["responses"] = {
        success: {"description": "Nothing to say."} if answer is None else _answer(answer),
        **{status: {"$ref": f"#/components/responses/Error{status}"} for status in ERRORS},
    }
    return operation


def _answer(schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": "An answer.", "content": content}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    made = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**made, "required": required} if required else made


def _text(most: int, least: int = 0) -> dict[str, Any]:
    return {"type": "string", "minLength": least, "maxLength": most}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}
