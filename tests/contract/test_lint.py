"""Every rule refuses what it is for, at the right place, and nothing else."""

# ruff: noqa: E501 - pieces of YAML, one line each, read better whole

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from thalweg.contract.findings import Finding
from thalweg.contract.lint import lint
from thalweg.contract.project import Project
from thalweg.contract.rules import load

Edit = Callable[..., Project]
ROOT = "openapi.yaml"
PATHS = "paths/things.yaml"
SCHEMAS = "components/schemas.yaml"
RESPONSES = "components/responses.yaml"

PRICE = "    price: {"
NAME = "name: {type: string, minLength: 1, maxLength: 80}"
GET = "    operationId: getThing"
ID = "      schema: {type: string, format: uuid}"
EXAMPLE = "example: {name: hat, price: 1200}"
NEW = "    note: {"
SUMMARY = "    summary: Look at a thing\n"
DESCRIPTION = "    description: Answers one thing, with everything that the shop knows of it.\n"


def prop(schema: str) -> tuple[str, str, str]:
    """A further property of Thing."""
    return (SCHEMAS, NEW, f"    extra: {schema}\n{NEW}")


def parameter(text: str) -> tuple[str, str, str]:
    """A further parameter of getThing."""
    return (PATHS, GET, f"    parameters:\n      - {text}\n{GET}")


def key(text: str) -> tuple[str, str, str]:
    """A further key of getThing."""
    return (PATHS, GET, f"    {text}\n{GET}")


SCHEMAS_PROBLEM = """Problem:
  type: object
  additionalProperties: false
  required: [error]
  description: What went wrong.
  properties:
    error: {type: string, maxLength: 500}
"""
PAGE_LIMIT = (
    "{name: limit, in: query, description: How many., example: 5, schema: {type: integer, minimum: 1, maximum: 9}}"
)
UNAVAILABLE = '      "503": {$ref: ../components/responses.yaml#/Refused}\n'
INLINE = """      "503":
        description: Something is away.
        content: {application/json: {schema: {$ref: ../components/schemas.yaml#/Problem}}}
"""
AWAY = """Away:
  description: Something is away.
  content: {application/json: {schema: {$ref: schemas.yaml#/Problem}}}
Refused:"""
LIMITED = UNAVAILABLE.replace("503", "429")
STREAM = "x-stream: {terminal: [end], events: {end: {$ref: ../components/schemas.yaml#/Thing}}}"

BROKEN: list[tuple[str, list[tuple[str, str, str]]]] = [
    ("openapi-structure", [(PATHS, SUMMARY, "    summary: [a list]\n")]),
    ("openapi-structure", [(PATHS, "      in: path\n", "      in: nowhere\n")]),
    ("openapi-structure", [key("surprise: 1")]),
    ("openapi-version", [(ROOT, "openapi: 3.0.3", "openapi: 3.0.1")]),
    ("info-complete", [(ROOT, "  version: 1.0.0", "  version: '1'")]),
    ("info-complete", [(ROOT, "  description: A small shop that", "  description: Shop #")]),
    ("info-complete", [(ROOT, '{name: Shop, url: "https://shop.example"}', "{name: Shop}")]),
    ("info-complete", [(ROOT, ', url: "https://www.apache.org/licenses/LICENSE-2.0"', "")]),
    ("servers-described", [(ROOT, ", description: This server", "")]),
    ("servers-described", [(ROOT, "servers:\n  - {url: /shop, description: This server}\n", "")]),
    ("tags-described", [(ROOT, "description: What the shop sells.", "description: Short")]),
    ("tags-described", [(ROOT, "tags:\n", "tags:\n  - {name: empty, description: Nothing has this tag.}\n")]),
    ("tags-described", [(ROOT, "name: things", "name: Things"), (PATHS, "[things]", "[Things]")]),
    ("tags-described", [(ROOT, "name: things", "name: wire"), (PATHS, "[things]", "[wire]")]),
    ("tags-described", [(ROOT, "tags:\n", "tags:\n  - {name: things, description: Things once more.}\n")]),
    ("components-used", [(SCHEMAS, "Problem:", "Unused: {type: boolean, description: Not used.}\nProblem:")]),
    ("components-used", [(ROOT, "components:\n", "components:\n  schemas: {Alone: {type: boolean, description: Alone.}}\n")]),
    ("component-name", [(SCHEMAS, "Problem:", "problem:"), (RESPONSES, "#/Problem", "#/problem")]),
    ("security-declared", [(ROOT, "  - key: []", "  - other: []")]),
    ("security-declared", [(ROOT, "  - key: []", "  - key: [read]")]),
    ("security-declared", [(ROOT, "description: A key that the shop hands out.", "description: Key")]),
    ("security-decided", [(ROOT, "security:\n  - key: []\n", "")]),
    ("operation-id", [(PATHS, "getThing", "GetThing")]),
    ("operation-id", [(PATHS, GET + "\n", "")]),
    ("operation-id", [(PATHS, "replaceThing", "getThing")]),
    ("operation-id", [(PATHS, "getThing", "import")]),
    ("operation-tag", [(PATHS, "    tags: [things]\n", "")]),
    ("operation-tag", [(PATHS, "tags: [things]", "tags: [things, things]")]),
    ("operation-tag", [(PATHS, "tags: [things]", "tags: [other]")]),
    ("operation-text", [(PATHS, SUMMARY, "    summary: Get\n")]),
    ("operation-text", [(PATHS, SUMMARY, "    summary: Look at a thing.\n")]),
    ("operation-text", [(PATHS, DESCRIPTION, "")]),
    ("operation-text", [(PATHS, DESCRIPTION, "    description: Look at a thing and then.\n"),
                        (PATHS, SUMMARY, "    summary: Look at a thing and then\n")]),
    ("path-form", [(ROOT, "  /things/{thingId}:", "  /things/{thingId}/:")]),
    ("path-form", [(ROOT, "  /things/{thingId}:", "  /things//{thingId}:")]),
    ("path-form", [(ROOT, "  /things/{thingId}:", "  /things/x{thingId}:")]),
    ("path-ambiguous", [(ROOT, "paths:\n", "paths:\n  /things/{other}: {$ref: paths/things.yaml#/thing}\n")]),
    ("path-ambiguous", [(ROOT, "  /things/{thingId}:", "  /{a}/new: {}\n  /things/{thingId}:")]),
    ("path-variables", [(ROOT, "/things/{thingId}", "/things/{id}")]),
    ("path-variables", [(ROOT, "/things/{thingId}", "/things")]),
    ("path-variables", [(ROOT, "/things/{thingId}", "/things/{thingId}/{thingId}")]),
    ("request-body", [(PATHS, "      required: true\n      description: The thing as", "      description: The thing as")]),
    ("request-body", [(PATHS, "      description: The thing as it shall be.\n", "")]),
    ("request-body", [key("requestBody: {required: true, description: A body., content: {text/plain: {schema: {type: string, maxLength: 9}}}}")]),
    *[
        ("errors-declared", [(PATHS, f'      "{status}": {{$ref: ../components/responses.yaml#/Refused}}\n', "")])
        for status in ("400", "401", "403", "404", "429", "503", "413", "415")
    ],
    ("errors-declared", [key("x-plan: gold"), (PATHS, '      "403": {$ref: ../components/responses.yaml#/Refused}\n', "")]),
    ("errors-declared", [(PATHS, "    x-audit: thing.replace", "    x-audit: thing.replace\n    x-idempotency: true")]),
    ("errors-declared", [(PATHS, "    x-permission: things:write", "    security: []\n    x-limit: shop.read"),
                         (PATHS, f'"415": {{$ref: ../components/responses.yaml#/Refused}}\n{UNAVAILABLE}',
                          f'"415": {{$ref: ../components/responses.yaml#/Refused}}\n{LIMITED}')]),
    ("parameter-described", [(PATHS, "      description: The thing's id.\n", "")]),
    ("parameter-example", [(PATHS, "      example: 01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21\n", "")]),
    ("parameter-schema", [parameter("{name: q, in: query, description: Words., example: a, schema: {maxLength: 3}}")]),
    ("parameter-schema", [parameter("{name: q, in: query, description: Words., example: a}")]),
    ("parameter-required", [(PATHS, "      in: path\n      required: true\n", "      in: path\n      required: false\n")]),
    ("parameter-name", [parameter("{name: thing-id, in: query, description: Again., schema: {type: boolean}}")]),
    ("parameter-name", [parameter("{name: page, in: query, description: Which page., schema: {type: boolean}}")]),
    ("parameter-name", [parameter("{name: X_Key, in: header, description: Some key., schema: {type: boolean}}")]),
    ("parameter-name", [parameter("{name: Accept, in: header, description: Ignored., schema: {type: boolean}}")]),
    ("parameter-style", [parameter("{name: q, in: query, style: spaceDelimited, description: Words., schema: {type: boolean}}")]),
    ("parameter-style", [parameter("{name: q, in: query, allowReserved: true, description: Words., schema: {type: boolean}}")]),
    ("responses-named", [(PATHS, '      "429":', '      default: {$ref: ../components/responses.yaml#/Refused}\n      "429":')]),
    ("responses-named", [(PATHS, '      "429":', '      4XX: {$ref: ../components/responses.yaml#/Refused}\n      "429":')]),
    ("responses-named", [(PATHS, '      "200":', '      "402":')]),
    ("response-body", [(PATHS, '      "200":', '      "204":')]),
    ("response-body", [(PATHS, '      "200":', '      "302":')]),
    ("response-body", [(PATHS, '      "429": {$ref: ../components/responses.yaml#/Refused}', '      "429": {description: Too many.}')]),
    ("response-body", [(RESPONSES, "      schema: {$ref: schemas.yaml#/Problem}\n", "")]),
    ("response-described", [(RESPONSES, "description: The request was refused.", "description: No")]),
    ("waiting-told", [(RESPONSES, "    Retry-After:", "    X-Retry:")]),
    ("waiting-told", [(RESPONSES, "      required: true\n", "")]),
    ("waiting-told", [(RESPONSES, "schema: {type: integer, minimum: 0, maximum: 3600}", "schema: {type: string, maxLength: 40}"),
                      (RESPONSES, "      example: 5\n", "      example: Wed\n")]),
    ("waiting-told", [(PATHS, UNAVAILABLE, '      "503": {$ref: ../components/responses.yaml#/Away}\n'),
                      (RESPONSES, "Refused:", AWAY)]),
    ("waiting-told", [(PATHS, UNAVAILABLE, INLINE)]),
    ("media-type", [(RESPONSES, "application/json", "application/*")]),
    ("media-type", [(RESPONSES, "application/json", "Application/JSON")]),
    ("media-type", [(PATHS, "          application/json:\n", "          application/problem+json: {schema: {$ref: ../components/schemas.yaml#/Thing}}\n          application/json:\n")]),
    ("stream-declared", [key(STREAM)]),
    ("stream-declared", [(PATHS, "          application/json:\n", "          text/event-stream: {schema: {type: string, maxLength: 9}}\n          application/json:\n")]),
    ("stream-declared", [key(STREAM.replace("[end]", "[over]"))]),
    ("links-lead", [(PATHS, "        description: The thing.\n", "        description: The thing.\n        links: {x: {operationId: nothing}}\n")]),
    ("links-lead", [(PATHS, "        description: The thing.\n", "        description: The thing.\n        links: {x: {operationId: getThing, parameters: {id: 1}}}\n")]),
    ("schema-described", [(SCHEMAS, "  description: What the shop sells.\n", "")]),
    ("schema-typed", [prop("{maxLength: 3}")]),
    ("schema-typed", [prop("{description: Any}")]),
    ("object-closed", [(SCHEMAS, "  additionalProperties: false\n", "")]),
    ("object-closed", [prop("{type: object, maxProperties: 3, additionalProperties: true}")]),
    ("required-known", [(SCHEMAS, "required: [name, price]", "required: [name, price, colour]")]),
    ("required-known", [(SCHEMAS, "required: [name, price]", "required: [name, name, price]")]),
    ("property-python-name", [(SCHEMAS, NEW, "    some_name: {type: boolean}\n    someName: {type: boolean}\n" + NEW)]),
    ("nullable-typed", [prop("{nullable: true, allOf: [{$ref: '#/Problem'}]}")]),
    ("nullable-typed", [prop("{type: object, nullable: true, allOf: [{$ref: '#/Problem'}]}")]),
    ("nullable-typed", [prop("{type: string, nullable: true, enum: [a]}")]),
    ("nullable-typed", [prop("{type: object, nullable: true, oneOf: [{$ref: '#/Problem'}]}")]),
    ("enum-sound", [prop("{type: string, enum: []}")]),
    ("enum-sound", [prop("{type: string, enum: [a, 1]}")]),
    ("enum-sound", [prop("{type: string, enum: [a, a]}")]),
    ("enum-sound", [prop("{enum: [a]}")]),
    ("enum-sound", [prop("{type: integer, enum: [true]}")]),
    ("format-known", [prop("{type: string, maxLength: 5, format: phone}")]),
    ("format-known", [prop("{type: integer, minimum: 0, maximum: 1, format: uuid}")]),
    ("pattern-sound", [prop("{type: string, maxLength: 5, pattern: '^(a$'}")]),
    ("pattern-sound", [prop("{type: string, maxLength: 5, pattern: 'a'}")]),
    ("composition-possible", [prop("{allOf: [{$ref: '#/Problem'}, {$ref: '#/Thing'}]}")]),
    ("discriminator-sound", [prop("{oneOf: [{$ref: '#/Problem'}, {$ref: '#/Thing'}], discriminator: {propertyName: name}}")]),
    ("discriminator-sound", [prop("{oneOf: [{$ref: '#/Thing'}], discriminator: {propertyName: name}}")]),
    ("discriminator-sound", [prop("{oneOf: [{type: boolean}], discriminator: {propertyName: name}}")]),
    ("read-write", [prop("{type: boolean, readOnly: true, writeOnly: true}")]),
    ("string-bounded", [prop("{type: string}")]),
    ("string-bounded", [prop("{type: string, format: email}")]),
    ("array-bounded", [prop("{type: array, items: {type: boolean}}")]),
    ("array-bounded", [prop("{type: array, maxItems: 3}")]),
    ("number-bounded", [prop("{type: integer, minimum: 0}")]),
    ("number-bounded", [prop("{type: number, format: double, maximum: 0}")]),
    ("map-bounded", [prop("{type: object, description: Names to flags., additionalProperties: {type: boolean}}")]),
    ("bounds-ordered", [prop("{type: integer, minimum: 5, maximum: 3}")]),
    ("bounds-ordered", [prop("{type: string, minLength: -1, maxLength: 3}")]),
    ("example-valid", [(PATHS, EXAMPLE, "example: {name: hat}")]),
    ("example-valid", [(PATHS, EXAMPLE, "examples: {a: {value: {name: hat, price: '1'}}}")]),
    ("example-valid", [(PATHS, "example: 01931c3e", "example: x01931c3e")]),
    ("example-valid", [prop("{type: string, maxLength: 2, example: abc}")]),
    ("example-valid", [prop("{type: string, format: date-time, example: '2026-13-01T00:00:00Z'}")]),
    ("example-valid", [prop("{type: integer, minimum: 0, exclusiveMinimum: true, maximum: 5, example: 0}")]),
    ("example-valid", [prop("{type: string, maxLength: 5, example: null}")]),
    ("example-valid", [(RESPONSES, "example: {error: no such thing}", "example: {error: 5}")]),
    ("default-valid", [prop("{type: integer, minimum: 0, maximum: 5, default: 6}")]),
    ("default-valid", [(SCHEMAS, NAME, "name: {type: string, minLength: 1, maxLength: 80, default: hat}")]),
    ("example-single", [(PATHS, EXAMPLE, EXAMPLE + "\n            examples: {a: {value: {name: a, price: 1}}}")]),
    ("example-single", [(PATHS, EXAMPLE, "examples: {a: {externalValue: elsewhere}}")]),
    ("extension-legal", [key("x-surprise: 1")]),
    ("extension-legal", [key("x-pagination: pages")]),
    ("extension-legal", [key("x-max-bytes: 0")]),
    ("extension-legal", [key("x-audit: Thing Read")]),
    ("extension-legal", [key("x-stream: {events: {}, terminal: []}")]),
    ("extension-legal", [(ROOT, "info:\n", "info:\n  x-logo: a.png\n")]),
    ("extension-legal", [prop("{type: boolean, x-secret: true}")]),
    ("extension-legal", [(PATHS, "  get:\n", "  x-internal: true\n  get:\n")]),
    ("limit-known", [(PATHS, "x-limit: shop.read", "x-limit: shop.write")]),
    ("limit-known", [(PATHS, "x-limit: shop.read", "x-limit: [shop.read, shop.write]")]),
    ("pagination-parameters", [key("x-pagination: cursor")]),
    ("pagination-parameters", [key("x-pagination: offset"), parameter(PAGE_LIMIT)]),
    ("idempotency-header", [key("x-idempotency: true")]),
    ("idempotency-header", [parameter("{name: Idempotency-Key, in: header, description: A key., schema: {type: boolean}}")]),
    ("permission-secured", [key("security: []")]),
    ("resource-known", [(PATHS, "id: thingId}", "id: id}")]),
    ("job-status", [key("x-job: {name: things.make, status: getJob}")]),
    ("sunset-deprecated", [key("x-sunset: 2027-01-31")]),
]  # fmt: skip


def found(project: Project) -> list[Finding]:
    return lint(project, list(project.surfaces))


def test_the_small_shop_is_clean(shop: Project) -> None:
    assert [str(one) for one in found(shop)] == []


@pytest.mark.parametrize(("rule", "edits"), BROKEN, ids=[f"{rule}-{index}" for index, (rule, _) in enumerate(BROKEN)])
def test_a_broken_rule_is_found(edit: Edit, rule: str, edits: list[tuple[str, str, str]]) -> None:
    findings = found(edit(*edits))
    assert rule in {one.rule for one in findings}, [str(one) for one in findings]
    broken = next(one for one in findings if one.rule == rule)
    assert broken.fix
    assert broken.place.file.startswith("openapi/shop/")


def test_every_rule_has_a_case() -> None:
    assert set(load()) == {rule for rule, _ in BROKEN}


GOOD: dict[str, list[tuple[str, str, str]]] = {
    "a body of bytes may have an example": [
        (RESPONSES, "application/json:\n      schema: {$ref: schemas.yaml#/Problem}\n      example: {error: no such thing}",
         "application/pdf:\n      schema: {type: string, format: binary}\n      example: '%PDF-1.7'"),
        (SCHEMAS, SCHEMAS_PROBLEM, ""),
    ],
    "a nullable reference is a oneOf with the value null": [
        prop("{oneOf: [{$ref: '#/Problem'}, {$ref: '#/Nothing'}]}"),
        (SCHEMAS, "Problem:", "Nothing: {type: string, nullable: true, enum: [null], description: The value null.}\nProblem:"),
    ],
    "a nullable enum lists null": [prop("{type: string, nullable: true, enum: [a, null], example: null}")],
    "a reference may be described through allOf": [prop("{allOf: [{$ref: '#/Problem'}], description: What broke.}")],
    "an open object says why": [
        prop("{type: object, maxProperties: 9, additionalProperties: true, description: Settings; each plugin names its own.}")
    ],
    "anything at all says why": [prop("{description: Whatever the partner stored here.}")],
    "a fixed format bounds a string": [prop("{type: string, format: date-time, example: '2026-01-01T00:00:00Z'}")],
    "a property may be named like a keyword": [
        (SCHEMAS, NEW, "    nullable: {type: boolean}\n    example: {type: boolean}\n    x-odd: {type: boolean}\n" + NEW)
    ],
    "a header that the edge keeps is a parameter": [
        (PATHS, "    operationId: replaceThing", "    parameters:\n      - {name: Idempotency-Key, in: header, description: A key., "
         "example: a, schema: {type: string, maxLength: 9}}\n    operationId: replaceThing"),
        (PATHS, "    x-audit: thing.replace", "    x-audit: thing.replace\n    x-idempotency: true"),
        (PATHS, '      "413":', '      "409": {$ref: ../components/responses.yaml#/Refused}\n'
         '      "422": {$ref: ../components/responses.yaml#/Refused}\n      "413":'),
    ],
    "who reads in public needs nobody to say who it is": [
        (PATHS, "    x-permission: things:read", "    security: []"), (PATHS, UNAVAILABLE, "")
    ],
    "who lets anybody in can do without knowing a caller": [
        key("security: [{key: []}, {}]"), (PATHS, UNAVAILABLE, "")
    ],
    "a 503 need not always know how long": [
        (PATHS, UNAVAILABLE, INLINE.replace("        content", "        headers: {Retry-After: {description: Seconds., "
         "schema: {type: integer, minimum: 0, maximum: 60}, example: 5}}\n        content"))
    ],
    "a literal beats a variable": [
        (ROOT, "  /things/{thingId}:", "  /things/new: {}\n  /things/{thingId}:")
    ],
    "two paths that differ in a literal do not meet": [
        (ROOT, "  /things/{thingId}:", "  /{a}/new/x: {}\n  /things/{b}/y: {}\n  /things/{thingId}:"),
    ],
    "a stream has its media type and events": [
        key(STREAM + "\n    x-timeout: 30"),
        (PATHS, "          application/json:\n            schema: {$ref: ../components/schemas.yaml#/Thing}\n            " + EXAMPLE,
         "          text/event-stream: {schema: {type: string, maxLength: 9}}"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_what_is_allowed_is_not_found(edit: Edit, name: str) -> None:
    project = edit(*GOOD[name])
    noise = {"path-variables", "operation-text"}  # empty path items in two of the cases
    assert [str(one) for one in found(project) if one.rule not in noise] == []


def test_a_finding_names_file_line_and_pointer(edit: Edit) -> None:
    (finding,) = found(edit((SCHEMAS, NAME, "name: {type: string}")))
    assert str(finding.place) == "openapi/shop/components/schemas.yaml:8"
    assert finding.pointer == "/components/schemas/Thing/properties/name"
    assert finding.surface == "shop"
    assert finding.as_json()["line"] == 8


def test_a_file_that_nothing_refers_to_is_found(shop: Project) -> None:
    (shop.root / "openapi/shop/paths/old.yaml").write_text("a: 1\n")
    (finding,) = found(shop)
    assert (finding.rule, str(finding.place)) == ("components-used", "openapi/shop/paths/old.yaml:1")


def test_an_unused_common_definition_is_a_warning_and_only_when_all_surfaces_are_linted(
    make_project: Callable[..., Project],
) -> None:
    project = make_project(
        {"openapi/common/schemas.yaml": "Unused: {type: boolean}\n", "openapi/second/openapi.yaml": "openapi: 3.0.3\n"},
        surfaces=("shop", "second"),
    )
    assert lint(project, ["shop"]) == []
    warned = [one for one in lint(project, ["shop", "second"]) if one.severity == "warning"]
    assert [one.place.file for one in warned] == ["openapi/common/schemas.yaml"]


def test_a_surface_that_cannot_be_read_does_not_hide_the_others(make_project: Callable[..., Project]) -> None:
    project = make_project({"openapi/second/openapi.yaml": "a: [\n"}, surfaces=("second", "shop"))
    findings = lint(project, ["second", "shop"])
    assert [(one.rule, one.surface) for one in findings] == [("yaml", "second")]


def exceptions(project: Project, text: str) -> list[Finding]:
    project.exceptions.write_text(text)
    return found(project)


POINTER = "/components/schemas/Thing/properties/name"


def test_a_named_exception_silences_its_one_place(edit: Edit) -> None:
    project = edit((SCHEMAS, NAME, "name: {type: string}"))
    entry = (
        f"- {{rule: string-bounded, surface: shop, pointer: {POINTER}, why: The seed bounds it nowhere; streamed.}}\n"
    )
    assert exceptions(project, entry) == []
    assert exceptions(project, entry.replace("/name", "/note"))[0].rule in ("string-bounded", "exception-needed")


def test_an_exception_that_nothing_needs_is_found(shop: Project) -> None:
    entry = (
        f"- {{rule: string-bounded, surface: shop, pointer: {POINTER}, why: The seed bounds it nowhere; streamed.}}\n"
    )
    assert [one.rule for one in exceptions(shop, entry)] == ["exception-needed"]


@pytest.mark.parametrize(
    "entry",
    [
        "- {rule: string-bounded, surface: shop, pointer: /a}",
        "- {rule: string-bounded, surface: shop, pointer: /a, why: because}",
        "- {rule: no-such-rule, surface: shop, pointer: /a, why: A reason of some twenty characters.}",
        "- just text",
    ],
)
def test_an_exception_without_a_reason_is_refused(shop: Project, entry: str) -> None:
    from thalweg.contract.findings import ContractError

    with pytest.raises(ContractError):
        exceptions(shop, entry)


def test_the_rules_do_not_stumble_over_nonsense(edit: Edit) -> None:
    nonsense: list[Any] = [
        (PATHS, "    responses:\n", "    responses: 5\n    x-was:\n"),
        (PATHS, "  put:\n    operationId", "  patch: nothing\n  put:\n    operationId"),
        (SCHEMAS, "  properties:\n", "  properties: [a]\n  x-was:\n"),
        (SCHEMAS, "required: [name, price]", "required: name"),
        (ROOT, "tags:\n  -", "tags: 3\nx-was:\n  -"),
        (ROOT, "security:\n", "security: key\nx-was:\n"),
        (PATHS, "  parameters:\n", "  parameters: {}\n  x-was:\n"),
        (ROOT, "info:\n", "info: 3\nx-was:\n"),
        (PATHS, "x-resource: {type: thing, id: thingId}", "x-resource: 3"),
        (PATHS, "x-limit: shop.read", "x-limit: {a: 1}"),
        (PATHS, "    tags: [things]", "    tags: {a: 1}"),
    ]
    for one in nonsense:
        assert found(edit(one)), one


def test_a_contract_that_is_not_declared_yet_is_a_warning_and_can_be_linted_by_name(
    make_project: Callable[..., Project],
) -> None:
    project = make_project()
    shutil.copytree(project.contracts / "shop", project.contracts / "next")
    (project.contracts / "next" / "paths" / "old.yaml").write_text("a: 1\n")
    assert [(one.rule, one.place.file, one.severity) for one in found(project)] == [
        ("surface-declared", "openapi/next/openapi.yaml", "warning")
    ]
    assert project.chosen(["next"]) == ["next"]
    assert [one.place.file for one in lint(project, ["next"]) if one.rule == "components-used"] == [
        "openapi/next/paths/old.yaml"
    ]
