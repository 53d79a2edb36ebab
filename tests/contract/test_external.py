"""Spectral and Redocly beside our own rules. That they find nothing in this project's contracts is shown in
contract-tests/test_external.py."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thalweg.contract import external, tools
from thalweg.contract.cli import app
from thalweg.contract.findings import ContractError, Finding
from thalweg.contract.project import Project

Edit = Callable[..., Project]
SETTINGS = Path(__file__).parents[2] / "openapi" / "redocly.yaml"
pytestmark = pytest.mark.timeout(300)  # npm fetches both tools once


def ask(project: Project, *surfaces: str) -> list[Finding]:
    if why := tools.missing("node"):
        pytest.skip(f"{why}; Spectral and Redocly are optional")
    try:
        return external.lint(project, surfaces)
    except ContractError as error:
        if error.findings[0].message.startswith("npm cannot get"):
            pytest.skip(f"no npm registry can be reached: {error.findings[0].message[:200]}")
        raise


LICENSE = '  license: {name: Apache-2.0, url: "https://www.apache.org/licenses/LICENSE-2.0"}\n'


def test_what_they_find_stands_at_the_line_of_the_source(edit: Edit) -> None:
    found = {one.rule: one for one in ask(edit(("openapi.yaml", LICENSE, "")), "shop")}
    licence = found["redocly/info-license"]
    assert (licence.place.file, licence.severity) == ("openapi/shop/openapi.yaml", "warning")
    assert licence.pointer == "/info"


def test_spectral_speaks_up_too(edit: Edit) -> None:
    found = ask(
        edit(
            (
                "paths/things.yaml",
                "    description: Answers one thing, with everything that the shop knows of it.\n",
                "",
            )
        ),
        "shop",
    )
    (missing,) = (one for one in found if one.rule == "spectral/operation-description")
    assert missing.place.file == "openapi/shop/paths/things.yaml"


def test_the_settings_beside_the_contracts_count(edit: Edit) -> None:
    project = edit(("openapi.yaml", LICENSE, ""))
    (project.contracts / "redocly.yaml").write_text("extends: [recommended]\nrules: {info-license: off}\n")
    assert "redocly/info-license" not in {one.rule for one in ask(project, "shop")}


ANSWER = """      "200":
        description: The thing.
        content:
          application/json:
            schema: {$ref: ../components/schemas.yaml#/Thing}
            example: {name: hat, price: 1200}
"""


@pytest.mark.parametrize(("status", "found"), [("302", False), ("404", True)])
def test_a_redirect_is_a_way_to_succeed_and_an_error_is_not(status: str, found: bool, edit: Edit) -> None:
    """What this project's settings say in the place of Redocly's `operation-2xx-response`."""
    away = (
        "        description: On to the shop.\n        headers: {Location: {schema: {type: string, maxLength: 99}}}\n"
    )
    again = '      "404": {$ref: ../components/responses.yaml#/Refused}\n      "429"'
    edits = [("paths/things.yaml", ANSWER, f'      "{status}":\n{away}')]
    project = edit(*edits, *([("paths/things.yaml", again, '      "429"')] if found else []))
    shutil.copy(SETTINGS, project.contracts)
    rules = {one.rule for one in ask(project, "shop")}
    assert ("redocly/rule/operation-succeeds-or-redirects" in rules) is found


def test_a_component_that_only_the_events_of_a_stream_use_is_used(edit: Edit) -> None:
    streamed = """    x-stream: {terminal: [end], events: {end: {$ref: ../components/schemas.yaml#/End}}}
    responses:
      "200":
        description: The end.
        content:
          text/event-stream:
            schema: {type: string, maxLength: 1000, description: Frames.}
"""
    end = "\nEnd:\n  type: object\n  description: The end.\n  additionalProperties: false\nProblem:\n"
    project = edit(
        ("paths/things.yaml", f"    responses:\n{ANSWER}", streamed), ("components/schemas.yaml", "\nProblem:\n", end)
    )
    assert "redocly/no-unused-components" not in {one.rule for one in ask(project, "shop")}


def test_a_tool_that_says_nothing_readable_is_an_error(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    broken = subprocess.CompletedProcess(["npx"], 2, "Segmentation fault", "")
    monkeypatch.setattr(tools, "missing", lambda tool: None)
    monkeypatch.setattr(tools, "npx", lambda *_, **__: broken)
    with pytest.raises(ContractError, match=r"Spectral failed \(2\): Segmentation fault"):
        external.lint(shop, ["shop"])


def test_without_node_the_command_says_what_to_install(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    result = CliRunner().invoke(app, ["lint", "--external", "--project", str(shop.root)])
    assert result.exit_code == 1
    assert "install Node.js" in " ".join(result.output.split())
