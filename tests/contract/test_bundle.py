"""Many files become one document."""

# ruff: noqa: E501 - pieces of YAML and JSON, one line each, read better whole

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from openapi_spec_validator import validate

from thalweg.contract.bundle import Bundle, bundle
from thalweg.contract.findings import ContractError
from thalweg.contract.project import Project
from thalweg.contract.sources import Library

Edit = Callable[..., Project]
PATHS = "openapi/shop/paths/things.yaml"


def bundled(project: Project) -> Bundle:
    return bundle("shop", project.source("shop"), Library(project.root))


def as_plain(project: Project) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(bundled(project).json())
    return plain


def refusals(project: Project) -> str:
    with pytest.raises(ContractError) as caught:
        bundled(project)
    return str(caught.value)


def test_every_reference_ends_inside_the_document(shop: Project) -> None:
    text = bundled(shop).json().decode()
    references = set(re.findall(r'"\$ref": "([^"]*)"', text))
    assert references
    assert all(re.fullmatch(r"#/components/\w+/[\w.-]+", one) for one in references)


def test_the_result_is_a_valid_openapi_document(shop: Project) -> None:
    validate(as_plain(shop))


def test_path_items_are_inlined_and_the_same_file_by_two_ways_is_one_component(shop: Project) -> None:
    document = as_plain(shop)
    assert "$ref" not in document["paths"]["/things/{thingId}"]
    # Thing is reached from paths/ and Problem from components/responses.yaml, by different relative paths.
    assert list(document["components"]["schemas"]) == ["Problem", "Thing"]
    assert list(document["components"]["responses"]) == ["Refused"]


def test_equal_sources_give_equal_bytes(shop: Project) -> None:
    assert bundled(shop).json() == bundled(shop).json()


def test_the_order_of_the_source_is_kept(shop: Project) -> None:
    document = as_plain(shop)
    assert list(document)[:3] == ["openapi", "info", "servers"]
    assert list(document["paths"]["/things/{thingId}"]) == ["parameters", "get", "put"]


def test_a_schema_that_contains_itself_stays_a_reference(edit: Edit) -> None:
    project = edit(
        (
            "components/schemas.yaml",
            "    note:",
            "    parts: {type: array, maxItems: 9, items: {$ref: '#/Thing'}}\n    note:",
        )
    )
    thing = as_plain(project)["components"]["schemas"]["Thing"]
    assert thing["properties"]["parts"]["items"] == {"$ref": "#/components/schemas/Thing"}


def test_two_files_that_refer_to_each_other_become_two_components(make_project: Any) -> None:
    project = make_project(
        {
            "openapi/shop/components/a.yaml": "A: {type: object, properties: {b: {$ref: 'b.yaml#/B'}}}",
            "openapi/shop/components/b.yaml": "B: {type: object, properties: {a: {$ref: 'a.yaml#/A'}}}",
            "openapi/shop/openapi.yaml": _root("schemas: {Entry: {$ref: components/a.yaml#/A}}"),
        }
    )
    assert as_plain(project)["components"]["schemas"] == {
        "Entry": {"type": "object", "properties": {"b": {"$ref": "#/components/schemas/B"}}},
        "B": {"type": "object", "properties": {"a": {"$ref": "#/components/schemas/Entry"}}},
    }


def _root(components: str, paths: str = "{}") -> str:
    return f"openapi: 3.0.3\ninfo: {{title: T, version: 1.0.0}}\npaths: {paths}\ncomponents:\n  {components}\n"


def test_the_entry_documents_name_wins_and_a_second_name_becomes_an_alias(make_project: Any) -> None:
    project = make_project(
        {
            "openapi/shop/components/a.yaml": "A: {type: string}",
            "openapi/shop/openapi.yaml": _root(
                "schemas: {One: {$ref: components/a.yaml#/A}, Two: {$ref: components/a.yaml#/A}}"
            ),
        }
    )
    assert as_plain(project)["components"]["schemas"] == {
        "One": {"type": "string"},
        "Two": {"$ref": "#/components/schemas/One"},
    }


def test_a_chain_of_references_ends_at_its_definition(make_project: Any) -> None:
    project = make_project(
        {
            "openapi/shop/components/a.yaml": "A: {$ref: 'b.yaml#/B'}",
            "openapi/shop/components/b.yaml": "B: {$ref: 'c.yaml'}",
            "openapi/shop/components/c.yaml": "type: string",
            "openapi/shop/openapi.yaml": _root(
                "responses: {Ok: {description: d, content: {text/plain: {schema: {$ref: components/a.yaml#/A}}}}}"
            ),
        }
    )
    assert as_plain(project)["components"]["schemas"] == {"c": {"type": "string"}}


def test_a_fragment_deep_in_a_file_gets_a_name_of_its_path(make_project: Any) -> None:
    project = make_project(
        {
            "openapi/shop/components/a.yaml": "A: {type: object, properties: {deep/er: {type: string}}}",
            "openapi/shop/openapi.yaml": _root(
                "schemas: {E: {type: object, properties: {x: {$ref: 'components/a.yaml#/A/properties/deep~1er'}}}}"
            ),
        }
    )
    with pytest.raises(ContractError, match="is no component name"):
        bundled(project)


def test_components_of_a_nested_components_section_keep_their_name(make_project: Any) -> None:
    project = make_project(
        {
            "openapi/shop/components/a.yaml": "components: {schemas: {A: {type: string}}}",
            "openapi/shop/openapi.yaml": _root(
                "schemas: {E: {type: object, properties: {x: {$ref: 'components/a.yaml#/components/schemas/A'}}}}"
            ),
        }
    )
    assert list(as_plain(project)["components"]["schemas"]) == ["A", "E"]


def test_one_name_for_two_different_definitions_is_an_error_that_shows_both_places(edit: Edit) -> None:
    project = edit(("components/responses.yaml", "schemas.yaml#/Problem", "more.yaml#/Thing"))
    (project.root / "openapi/shop/components/more.yaml").write_text("\nThing: {type: string}\n")
    said = refusals(project)
    assert "components/more.yaml:2" in said
    assert "schemas 'Thing' is also defined at openapi/shop/components/schemas.yaml:2" in said


def test_one_name_for_two_equal_definitions_is_one_component(edit: Edit) -> None:
    project = edit(("components/responses.yaml", "schemas.yaml#/Problem", "more.yaml#/Problem"))
    text = (project.root / "openapi/shop/components/schemas.yaml").read_text()
    (project.root / "openapi/shop/components/more.yaml").write_text("Problem:" + text.partition("Problem:")[2])
    assert list(as_plain(project)["components"]["schemas"]) == ["Problem", "Thing"]


@pytest.mark.parametrize(
    ("reference", "part"),
    [
        ("../components/none.yaml#/A", "openapi/shop/components/none.yaml does not exist"),
        ("../components/schemas.yaml#/None", "nothing stands there"),
        ("#/components/schemas/Thing", "write the path of the file"),
        ("https://example.org/a.yaml#/A", "is remote"),
        ("../components/schemas.yaml#Thing", "no JSON pointer"),
    ],
)
def test_a_reference_that_leads_nowhere_is_an_error_at_its_line(edit: Edit, reference: str, part: str) -> None:
    said = refusals(edit(("paths/things.yaml", "../components/schemas.yaml#/Thing", f'"{reference}"')))
    assert part in said
    assert f"{PATHS}:23 " in said


def test_every_broken_reference_is_reported_at_once(edit: Edit) -> None:
    project = edit(
        ("paths/things.yaml", "../components/schemas.yaml#/Thing", "gone.yaml#/A"),
        ("components/responses.yaml", "schemas.yaml#/Problem", "gone.yaml#/B"),
    )
    with pytest.raises(ContractError) as caught:
        bundled(project)
    assert len(caught.value.findings) == 2


def test_keys_beside_a_reference_are_refused(edit: Edit) -> None:
    project = edit(
        ("components/responses.yaml", "{$ref: schemas.yaml#/Problem}", "{$ref: schemas.yaml#/Problem, nullable: true}")
    )
    assert "keys beside $ref are ignored by OpenAPI 3.0: nullable" in refusals(project)


def test_references_in_a_circle_are_refused(make_project: Any) -> None:
    project = make_project(
        {
            "openapi/shop/components/a.yaml": "A: {$ref: '#/B'}\nB: {$ref: '#/A'}",
            "openapi/shop/openapi.yaml": _root("schemas: {E: {$ref: components/a.yaml#/A}}"),
        }
    )
    assert "refers to itself" in refusals(project)


def test_references_in_examples_defaults_and_property_names_are_data(edit: Edit) -> None:
    project = edit(
        ("paths/things.yaml", "example: {name: hat, price: 1200}", "example: {$ref: nowhere.yaml}"),
        ("components/schemas.yaml", "    name: {", "    $ref: {type: string, maxLength: 9}\n    name: {"),
    )
    document = as_plain(project)
    media = document["paths"]["/things/{thingId}"]["get"]["responses"]["200"]["content"]["application/json"]
    assert media["example"] == {"$ref": "nowhere.yaml"}
    assert document["components"]["schemas"]["Thing"]["properties"]["$ref"] == {"type": "string", "maxLength": 9}


def test_discriminator_mappings_and_stream_events_are_references_too(edit: Edit) -> None:
    project = edit(
        (
            "paths/things.yaml",
            "    x-limit: shop.read",
            "    x-limit: shop.read\n    x-stream: {terminal: [end], events: {end: {$ref: ../components/events.yaml#/End}}}",
        ),
    )
    (project.root / "openapi/shop/components/events.yaml").write_text(
        "End:\n  oneOf: [{$ref: 'schemas.yaml#/Thing'}]\n"
        "  discriminator: {propertyName: name, mapping: {hat: 'schemas.yaml#/Thing', coat: Thing}}\n"
    )
    document = as_plain(project)
    stream = document["paths"]["/things/{thingId}"]["get"]["x-stream"]
    assert stream["events"]["end"] == {"$ref": "#/components/schemas/End"}
    mapping = document["components"]["schemas"]["End"]["discriminator"]["mapping"]
    assert mapping == {"hat": "#/components/schemas/Thing", "coat": "#/components/schemas/Thing"}


def test_a_broken_file_is_reported_with_its_line(edit: Edit) -> None:
    project = edit(("components/schemas.yaml", "Problem:", "Thing:"))
    assert "openapi/shop/components/schemas.yaml:11 yaml: key 'Thing' stands twice" in refusals(project)
