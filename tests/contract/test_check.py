"""Generated files and handler functions are what the contract says, and scaffolding makes them so."""

# ruff: noqa: E501 - pieces of YAML and JSON, one line each, read better whole

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest

from thalweg.contract import handlers
from thalweg.contract.check import check
from thalweg.contract.findings import Finding
from thalweg.contract.generate import generate
from thalweg.contract.project import Project
from thalweg.contract.scaffold import scaffold

Edit = Callable[..., Project]

GOOD = '''"""Things."""

from generated.shop import requests, responses


def get_thing(ctx, thing_id) -> responses.Thing:
    return _answer(thing_id)


def replace_thing(ctx, thing_id, body: requests.Thing) -> responses.Thing:
    return _answer(body)


def _answer(value):
    return value
'''


def ready(project: Project, things: str = GOOD) -> Project:
    for made in generate(project, list(project.surfaces)):
        made.write(project.generated / made.surface)
    folder = project.handlers_folder / "shop"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "things.py").write_text(things)
    return project


def checked(project: Project) -> list[Finding]:
    return check(project, list(project.surfaces))


def test_what_agrees_is_not_reported(shop: Project) -> None:
    ready(shop)
    folder = shop.handlers_folder / "shop"
    for free in ("wire.py", "errors.py", "_shared.py", "__init__.py"):
        (folder / free).write_text("def public(): ...\n")
    assert [str(one) for one in checked(shop)] == []


@pytest.mark.parametrize(
    "name", ["__init__.py", "bundle.json", "edge.json", "requests.py", "responses.py", "operations.json"]
)
def test_a_generated_file_that_was_edited_is_drift(shop: Project, name: str) -> None:
    file = ready(shop).generated / "shop" / name
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:-1], b"# edited\n"]))
    (finding,) = checked(shop)
    assert finding.rule == "drift"
    assert finding.fix == "run `thalweg contract generate`"
    assert str(finding.place) == f"generated/shop/{name}:{len(lines)}"


def test_a_missing_generated_file_is_drift(shop: Project) -> None:
    (ready(shop).generated / "shop" / "requests.py").unlink()
    assert [one.message for one in checked(shop)] == ["generated/shop/requests.py is missing"]


def test_a_file_and_a_folder_that_nothing_generates_are_drift(shop: Project) -> None:
    ready(shop)
    (shop.generated / "shop" / "extra.py").write_text("")
    (shop.generated / "shops").mkdir()
    (shop.generated / "shops" / "bundle.json").write_text("{}")
    assert [one.message for one in checked(shop)] == [
        "nothing generates generated/shop/extra.py",
        "generated/shops belongs to no surface (renamed to shop?)",
    ]


def test_a_changed_contract_is_drift_until_it_is_generated(edit: Edit) -> None:
    project = ready(edit())
    source = project.contracts / "shop" / "components" / "schemas.yaml"
    source.write_text(source.read_text().replace("maxLength: 80", "maxLength: 81"))
    assert {one.rule for one in checked(project)} == {"drift"}
    ready(project)
    assert checked(project) == []


@pytest.mark.parametrize(
    ("old", "new", "rule", "part"),
    [
        ("def get_thing(", "def _get_thing(", "handler-missing", "GET /things/{thingId} has no function get_thing"),
        ("def _answer", "def answer", "handler-extra", "answer belongs to no operation"),
        ("ctx, thing_id) -> r", "ctx) -> r", "handler-arguments", "'thing_id' is declared and not taken"),
        ("ctx, thing_id) -> r", "ctx, thing_id, q) -> r", "handler-arguments", "'q' is nothing that"),
        ("ctx, thing_id) -> r", "ctx, thing_id, **more) -> r", "handler-arguments", "'more' is nothing that"),
        ("ctx, thing_id) -> r", "thing_id, ctx) -> r", "handler-arguments", "first argument is not ctx"),
        (", body: requests.Thing", "", "handler-arguments", "'body' is declared and not taken"),
        ("def get_thing", "async def get_thing", "handler-arguments", "handlers are synchronous"),
        ("requests.Thing", "requests.Other", "handler-models", "the contract says requests.Thing"),
        ("-> responses.Thing:\n    return _answer(b", "-> responses.Other:\n    return _answer(b", "handler-models",
         "the contract says responses.Thing"),
        ("return value", "return (", "handler-syntax", "was never closed"),
    ],
)  # fmt: skip
def test_a_handler_that_differs_from_its_operation_is_found(
    shop: Project, old: str, new: str, rule: str, part: str
) -> None:
    assert old in GOOD
    ready(shop, GOOD.replace(old, new, 1))
    findings = checked(shop)
    assert any(one.rule == rule and part in f"{one.message} {one.fix}" for one in findings), findings
    assert all(one.place.file == "handlers/shop/things.py" for one in findings)


def test_a_module_that_is_no_tag_is_found(shop: Project) -> None:
    ready(shop)
    (shop.handlers_folder / "shop" / "other.py").write_text("def public(): ...\n")
    (shop.handlers_folder / "shop" / "empty.py").write_text("")
    assert {one.message for one in checked(shop)} == {
        "public belongs to no operation of tag other",
        "no tag is named empty",
    }


PAGED = (
    "paths/things.yaml",
    "    operationId: getThing",
    "    x-pagination: cursor\n    parameters:\n"
    "      - {name: limit, in: query, schema: {type: integer}}\n      - {name: cursor, in: query, schema: {type: string}}\n"
    "      - {name: colourName, in: query, schema: {type: string}}\n"
    "      - {name: X-Trace, in: header, schema: {type: string}}\n    operationId: getThing",
)


def test_a_paged_handler_takes_page_and_filters_and_headers_if_it_wants(edit: Edit) -> None:
    project = ready(edit(PAGED), GOOD.replace("ctx, thing_id) ->", "ctx, thing_id, page, colour_name=None) ->", 1))
    assert checked(project) == []
    ready(project, GOOD.replace("ctx, thing_id) ->", "ctx, thing_id, page, colour_name, x_trace) ->", 1))
    assert checked(project) == []
    ready(project, GOOD.replace("ctx, thing_id) ->", "ctx, thing_id, limit, cursor) ->", 1))
    assert len(checked(project)) == 4


# --- scaffolding -------------------------------------------------------------------------------------


def scaffolded(project: Project) -> tuple[dict[str, list[str]], str]:
    (made,) = generate(project, ["shop"])
    made.write(project.generated / "shop")
    written = scaffold(project, made.manifest)
    return written, (project.handlers_folder / "shop" / "things.py").read_text()


def test_scaffolded_functions_agree_and_answer_501(edit: Edit) -> None:
    project = edit(PAGED)
    written, text = scaffolded(project)
    assert written == {"handlers/shop/things.py": ["get_thing", "replace_thing"]}
    assert checked(project) == []
    modules, _ = handlers.read(project, "shop")
    assert all(one.not_implemented for one in modules["things"].values())
    assert "from thalweg.edge.problem import not_implemented" in text
    assert "thing_id: UUID" in text
    assert "colour_name: str | None = None" in text
    assert "body: requests.Thing" in text


def test_scaffolding_again_changes_nothing(shop: Project) -> None:
    _, text = scaffolded(shop)
    assert scaffolded(shop) == ({}, text)


def test_scaffolding_leaves_existing_functions_as_they_are(shop: Project) -> None:
    before = GOOD.replace("def get_thing(", "def _get_thing(")
    ready(shop, before)
    written, text = scaffolded(shop)
    assert written == {"handlers/shop/things.py": ["get_thing"]}
    for node in ast.parse(before).body:
        if isinstance(node, ast.FunctionDef):
            assert ast.get_source_segment(before, node) in text  # type: ignore[operator]
    assert checked(shop) == []


def test_scaffolding_does_not_touch_a_module_that_cannot_be_parsed(shop: Project) -> None:
    ready(shop, "def broken(:\n")
    written, text = scaffolded(shop)
    assert (written, text) == ({}, "def broken(:\n")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise not_implemented()", True),
        ('"""Says so."""\n    raise not_implemented()', True),
        ("raise problem.not_implemented()", True),
        ("raise not_implemented() from None", True),
        ("return 1", False),
        ("x = 1\n    raise not_implemented()", False),
        ("raise ValueError", False),
        ("raise", False),
    ],
)
def test_a_function_answers_501_when_it_only_refuses(shop: Project, body: str, expected: bool) -> None:
    ready(shop, f"def get_thing(ctx):\n    {body}\n")
    modules, _ = handlers.read(shop, "shop")
    assert modules["things"]["get_thing"].not_implemented is expected
