"""Where the contract commands find the project, and what the portal counts without its sources."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from thalweg.contract.coverage import coverage
from thalweg.contract.findings import ContractError
from thalweg.contract.project import find

ROOT = Path(__file__).resolve().parents[2]


def test_the_root_in_the_environment_is_the_project_from_anywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THALWEG_ROOT", str(ROOT))
    assert find().root == ROOT
    with pytest.raises(ContractError):
        find(tmp_path)


def test_without_a_root_the_working_directory_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("THALWEG_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ContractError):
        find()
    monkeypatch.chdir(ROOT / "openapi")
    assert find().root == ROOT


def test_coverage_of_what_is_generated_is_coverage_of_the_sources() -> None:
    project = find(ROOT)
    assert os.path.samefile(project.root, ROOT)
    sources = coverage(project, ["thalium", "thalian"])
    generated = coverage(project, ["thalium", "thalian"], generated=True)
    assert generated.as_json() == sources.as_json()
    assert sum(row.declared for row in generated.rows) > 20
