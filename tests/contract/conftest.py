"""Small projects made of text, and one of the size that five real surfaces have."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from thalweg.contract import project as projects
from thalweg.contract.project import Project

ROOT = Path(__file__).parents[2]

PYPROJECT = """
[tool.thalweg]
contracts = "openapi"
generated = "generated"
handlers = "handlers"
inventory = "inventory.tsv"
released = "openapi/released"
[tool.thalweg.surfaces]
{surfaces}
[tool.thalweg.limits]
"shop.read" = {{ rate = "60/minute", per = "key" }}
"""

SHOP = """
openapi: 3.0.3
info:
  title: Shop
  version: 1.0.0
  description: A small shop that sells things to people who want to try out a toolchain.
  contact: {name: Shop, url: "https://shop.example"}
  license: {name: Apache-2.0, url: "https://www.apache.org/licenses/LICENSE-2.0"}
servers:
  - {url: /shop, description: This server}
tags:
  - {name: things, description: What the shop sells.}
security:
  - key: []
paths:
  /things/{thingId}:
    $ref: paths/things.yaml#/thing
components:
  securitySchemes:
    key: {type: apiKey, in: header, name: X-Key, description: A key that the shop hands out.}
"""

THINGS = """
thing:
  parameters:
    - name: thingId
      in: path
      required: true
      description: The thing's id.
      schema: {type: string, format: uuid}
      example: 01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21
  get:
    operationId: getThing
    tags: [things]
    summary: Look at a thing
    description: Answers one thing, with everything that the shop knows of it.
    x-permission: things:read
    x-limit: shop.read
    x-resource: {type: thing, id: thingId}
    responses:
      "200":
        description: The thing.
        content:
          application/json:
            schema: {$ref: ../components/schemas.yaml#/Thing}
            example: {name: hat, price: 1200}
      "400": {$ref: ../components/responses.yaml#/Refused}
      "401": {$ref: ../components/responses.yaml#/Refused}
      "403": {$ref: ../components/responses.yaml#/Refused}
      "404": {$ref: ../components/responses.yaml#/Refused}
      "429": {$ref: ../components/responses.yaml#/Refused}
      "503": {$ref: ../components/responses.yaml#/Refused}
  put:
    operationId: replaceThing
    tags: [things]
    summary: Replace a thing
    description: Writes the thing anew and answers what the shop made of it.
    x-permission: things:write
    x-audit: thing.replace
    x-resource: {type: thing, id: thingId}
    requestBody:
      required: true
      description: The thing as it shall be.
      content:
        application/json:
          schema: {$ref: ../components/schemas.yaml#/Thing}
          example: {name: hat, price: 1200}
    responses:
      "200":
        description: The thing.
        content:
          application/json:
            schema: {$ref: ../components/schemas.yaml#/Thing}
      "400": {$ref: ../components/responses.yaml#/Refused}
      "401": {$ref: ../components/responses.yaml#/Refused}
      "403": {$ref: ../components/responses.yaml#/Refused}
      "404": {$ref: ../components/responses.yaml#/Refused}
      "413": {$ref: ../components/responses.yaml#/Refused}
      "415": {$ref: ../components/responses.yaml#/Refused}
      "503": {$ref: ../components/responses.yaml#/Refused}
"""

SCHEMAS = """
Thing:
  type: object
  additionalProperties: false
  required: [name, price]
  description: What the shop sells.
  properties:
    name: {type: string, minLength: 1, maxLength: 80}
    price: {type: integer, minimum: 0, maximum: 1000000, description: In cents.}
    note: {type: string, maxLength: 200, nullable: true}
Problem:
  type: object
  additionalProperties: false
  required: [error]
  description: What went wrong.
  properties:
    error: {type: string, maxLength: 500}
"""

RESPONSES = """
Refused:
  description: The request was refused.
  headers:
    Retry-After:
      description: Whole seconds to wait.
      required: true
      schema: {type: integer, minimum: 0, maximum: 3600}
      example: 5
  content:
    application/json:
      schema: {$ref: schemas.yaml#/Problem}
      example: {error: no such thing}
"""

FILES = {
    "openapi/shop/openapi.yaml": SHOP,
    "openapi/shop/paths/things.yaml": THINGS,
    "openapi/shop/components/schemas.yaml": SCHEMAS,
    "openapi/shop/components/responses.yaml": RESPONSES,
}

MakeProject = Callable[..., Project]


@pytest.fixture
def make_project(tmp_path: Path) -> MakeProject:
    """`make_project({path: text}, surfaces=("shop",))`: a project of these files. None removes a file."""

    def make(changed: Mapping[str, str | None] | None = None, surfaces: tuple[str, ...] = ("shop",)) -> Project:
        files: dict[str, str | None] = {**FILES, **(changed or {})}
        table = "\n".join(f'{name} = "/{name}"' for name in surfaces)
        files.setdefault("pyproject.toml", PYPROJECT.format(surfaces=table))
        for name, text in files.items():
            file = tmp_path / name
            if text is None:
                file.unlink(missing_ok=True)
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text), "utf-8")
        shutil.copy(ROOT / "openapi" / "extensions.schema.json", tmp_path / "openapi")
        return projects.find(tmp_path)

    return make


@pytest.fixture
def shop(make_project: MakeProject) -> Project:
    """The small shop, clean by every rule."""
    return make_project()


@pytest.fixture
def edit(make_project: MakeProject) -> Callable[..., Project]:
    """`edit((path, old, new), ...)`: the shop with pieces of its text replaced; each piece must be there once."""

    def change(*edits: tuple[str, str, str]) -> Project:
        files = dict(FILES)
        for name, old, new in edits:
            path = f"openapi/shop/{name}"
            assert files[path].count(old) >= 1, f"{old!r} is not in {path}"
            files[path] = files[path].replace(old, new, 1)
        return make_project(files)

    return change
