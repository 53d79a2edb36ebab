"""The commands, as people and machines run them."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from thalweg.contract import project as projects
from thalweg.contract.cli import app
from thalweg.contract.project import Project
from thalweg.contract.rules import load

MakeProject = Callable[..., Project]
ROOT = Path(__file__).parents[2]


def run(project: Project, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--project", str(project.root)])


def broken(project: Project) -> Project:
    file = project.root / "openapi/shop/components/schemas.yaml"
    file.write_text(file.read_text().replace("minLength: 1, maxLength: 80", "minLength: 1"))
    return project


def test_lint_ends_well_for_a_clean_contract(shop: Project) -> None:
    result = run(shop, "lint")
    assert result.exit_code == 0
    assert "clean" in result.output


def test_lint_fails_with_file_line_rule_and_what_to_do(shop: Project) -> None:
    result = run(broken(shop), "lint")
    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert "openapi/shop/components/schemas.yaml:8 string-bounded" in said
    assert "add maxLength" in said


def test_lint_tells_machines_the_same(shop: Project) -> None:
    (finding,) = json.loads(run(broken(shop), "lint", "--json").stdout)
    assert (finding["rule"], finding["line"], finding["severity"]) == ("string-bounded", 8, "error")


def test_warnings_fail_only_when_strict(make_project: MakeProject) -> None:
    project = make_project({"openapi/common/schemas.yaml": "Unused: {type: boolean}\n"})
    assert run(project, "lint").exit_code == 0
    assert run(project, "lint", "--strict").exit_code == 1


def test_an_unreadable_contract_ends_every_command_with_its_finding(make_project: MakeProject) -> None:
    project = make_project({"openapi/shop/openapi.yaml": "a: 1\na: 2\n"})
    for command in (
        ["generate"],
        ["check"],
        ["diff"],
        ["coverage"],
        ["publish", str(project.root / "out")],
        ["bundle"],
    ):
        result = run(project, *command)
        assert result.exit_code == 1, command
        assert "stands twice" in " ".join(result.output.split()), command


def test_generate_then_check_then_release(shop: Project) -> None:
    assert run(shop, "check").exit_code == 1
    assert run(shop, "generate", "--handlers").exit_code == 0
    assert run(shop, "check").exit_code == 0
    assert json.loads(run(shop, "check", "--json").stdout) == []
    assert run(shop, "diff", "--accept").exit_code == 0
    assert "no change" in run(shop, "diff").output


def test_diff_fails_on_a_breaking_change(shop: Project) -> None:
    assert run(shop, "diff", "--accept").exit_code == 0
    file = shop.root / "openapi/shop/components/schemas.yaml"
    file.write_text(file.read_text().replace("maxLength: 80", "maxLength: 8"))
    result = run(shop, "diff")
    assert result.exit_code == 1
    assert "raise info.version to 2.0.0" in " ".join(result.output.split())
    assert json.loads(run(shop, "diff", "--json").stdout)[0]["allowed"] is False


def test_bundle_writes_one_document(shop: Project, tmp_path: Path) -> None:
    assert json.loads(run(shop, "bundle").stdout)["info"]["title"] == "Shop"
    assert run(shop, "bundle", "--output", str(tmp_path / "out")).exit_code == 0
    assert (tmp_path / "out" / "shop.json").exists()


def test_coverage_and_publish_have_tables_and_json(shop: Project, tmp_path: Path) -> None:
    assert "shop" in run(shop, "coverage", "--tags").output
    assert json.loads(run(shop, "coverage", "--json").stdout)["totals"][0]["declared"] == 2
    assert run(shop, "publish", str(tmp_path / "out")).exit_code == 0
    assert len(json.loads(run(shop, "publish", str(tmp_path / "out"), "--json").stdout)) == 4


def test_an_unknown_surface_is_named(shop: Project) -> None:
    result = run(shop, "lint", "--surface", "shoop")
    assert result.exit_code == 1
    assert "no surface is named shoop" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("table", "part"),
    [
        ("[tool.other]\n", "no pyproject.toml with [tool.thalweg]"),
        ("[tool.thalweg]\n", "[tool.thalweg.surfaces] is empty"),
        ("[tool.thalweg.surfaces]\nShop = '/shop'\n", "not a lower-case Python name"),
        ("[tool.thalweg.surfaces]\nshop = 'shop/'\n", "base path 'shop/'"),
        ("[tool.thalweg\n", "not TOML"),
    ],
)
def test_a_project_that_is_none_is_explained(tmp_path: Path, table: str, part: str) -> None:
    (tmp_path / "pyproject.toml").write_text(table)
    result = CliRunner().invoke(app, ["lint", "--project", str(tmp_path)])
    assert result.exit_code == 1
    assert part in " ".join(result.output.split())


# --- the documentation -------------------------------------------------------------------------------


def test_the_documentation_lists_every_rule_with_its_words() -> None:
    text = (ROOT / "docs" / "contracts.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", text.partition("## The rules of")[2], flags=re.MULTILINE))
    rules = {name: rule.what for name, rule in load().items()}
    assert {name: listed.get(name) for name in rules} == rules


def test_the_documentation_lists_every_legal_extension() -> None:
    text = (ROOT / "docs" / "contracts.md").read_text("utf-8")
    legal = json.loads((ROOT / "openapi" / "extensions.schema.json").read_text("utf-8"))["$defs"]
    documented = set(re.findall(r"^\| `(x-[a-z-]+)` \|", text, flags=re.MULTILINE))
    assert documented == set(legal["operation"]["properties"])


def test_the_documented_null_is_clean_by_the_rules(shop: Project) -> None:
    text = (ROOT / "docs" / "contracts.md").read_text("utf-8")
    found = re.search(r"`Null: (\{.*?\})`", text)
    assert found
    file = shop.root / "openapi/shop/components/schemas.yaml"
    file.write_text(
        file.read_text().replace("    note:", "    next: {oneOf: [{$ref: '#/Problem'}, {$ref: '#/Null'}]}\n    note:")
        + f"Null: {found[1]}\n"
    )
    assert run(shop, "lint").output.count("clean") == 1


# --- size --------------------------------------------------------------------------------------------

SIZES = {"thallus": 157, "beeflow": 131, "starter": 87, "thalian": 26, "thalium": 3}


def thing(number: int) -> str:
    return f"""
Thing{number}:
  type: object
  additionalProperties: false
  required: [id, name, state, rows]
  description: Thing number {number} of the shop.
  properties:
    id: {{type: string, format: uuid, example: 01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21}}
    name: {{type: string, minLength: 1, maxLength: 80, example: hat}}
    state: {{type: string, enum: [open, closed, gone], description: Where it is.}}
    createdAt: {{type: string, format: date-time, example: "2026-01-01T00:00:00Z"}}
    amount: {{type: integer, format: int64, minimum: 0, maximum: 100000000, default: 3}}
    note: {{type: string, maxLength: 2000, nullable: true}}
    owner:
      type: object
      additionalProperties: false
      description: Somebody.
      required: [mail]
      properties:
        mail: {{type: string, format: email, maxLength: 254, example: a@example.org}}
    rows:
      type: array
      maxItems: 100
      items: {{$ref: '#/Row{number}'}}
Row{number}:
  type: object
  additionalProperties: false
  required: [key]
  description: One row of the thing.
  properties:
    key: {{type: string, maxLength: 50, pattern: '^[a-z]+$', example: abc}}
    parent: {{$ref: '#/Row{number}'}}
    tags: {{type: array, maxItems: 10, items: {{type: string, maxLength: 20}}}}
"""


@pytest.mark.slow
def test_five_documents_with_404_operations_take_less_than_half_a_minute(shop: Project, tmp_path: Path) -> None:
    root = tmp_path / "large"
    shop_files = shop.root / "openapi" / "shop"
    entry, paths, schemas, responses = (
        (shop_files / name).read_text()
        for name in ("openapi.yaml", "paths/things.yaml", "components/schemas.yaml", "components/responses.yaml")
    )
    body = "example: {id: 01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21, name: hat, state: open, rows: [{key: a}]}"
    for surface, size in SIZES.items():
        table, items, shapes = "", "", "Problem:" + schemas.partition("Problem:")[2]
        for number in range((size + 1) // 2):
            table += f"  /things{number}/{{thingId}}:\n    $ref: paths/things.yaml#/thing{number}\n"
            item = paths.replace("\nthing:", f"\nthing{number}:").replace("etThing", f"etThing{number}")
            item = item.replace("replaceThing", f"replaceThing{number}").replace("#/Thing}", f"#/Thing{number}}}")
            item = item.replace("example: {name: hat, price: 1200}", body)
            last = size % 2 and number == size // 2
            items += item.partition("  put:")[0] if last else item
            shapes += thing(number)
        entry_lines = entry.replace("  /things/{thingId}:\n    $ref: paths/things.yaml#/thing\n", table)
        for name, text in {
            "openapi.yaml": entry_lines,
            "paths/things.yaml": items,
            "components/schemas.yaml": shapes,
            "components/responses.yaml": responses,
        }.items():
            file = root / "openapi" / surface / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    shutil.copy(ROOT / "openapi/extensions.schema.json", root / "openapi")
    surfaces = "\n".join(f'{name} = "/{name}"' for name in SIZES)
    (root / "pyproject.toml").write_text(
        f"[tool.thalweg]\n[tool.thalweg.surfaces]\n{surfaces}\n[tool.thalweg.limits]\n'shop.read' = {{}}\n"
    )
    project = projects.find(root)
    started = time.perf_counter()
    for command in (["lint"], ["bundle", "--output", str(tmp_path / "out")], ["generate", "--handlers"], ["check"]):
        result = run(project, *command)
        assert result.exit_code == 0, result.output
    assert time.perf_counter() - started < 30
    operations = [json.loads((project.generated / name / "operations.json").read_bytes()) for name in SIZES]
    assert sum(len(one["operations"]) for one in operations) == 404
