"""Spectral and Redocly beside our own rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thalweg.contract import external, tools
from thalweg.contract import project as projects
from thalweg.contract.cli import app
from thalweg.contract.findings import ContractError, Finding
from thalweg.contract.project import Project

Edit = Callable[..., Project]
ROOT = Path(__file__).parents[2]
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


def test_spectral_and_redocly_find_nothing_in_this_projects_contracts() -> None:
    assert ask(projects.find(ROOT), "thalium", "starter", "thalian") == []


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
