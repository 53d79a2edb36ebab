"""The whole chain from the sources of this project's contracts to what is committed: it agrees, and it is quick."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from thalweg.contract import project as projects

ROOT = Path(__file__).parents[2]
SECONDS = 60
"""Of one processor, for lint, bundle, generate and check of all surfaces: half a minute on two. It takes about 10; time
on the clock would measure what else the machine does."""


@pytest.mark.timeout(300)
def test_lint_bundle_generate_and_check_of_all_contracts_agree_within_half_a_minute_on_two_processors(
    tmp_path: Path,
) -> None:
    project = projects.find(ROOT)
    for folder in (project.contracts, project.generated, project.handlers_folder):
        shutil.copytree(folder, tmp_path / folder.relative_to(ROOT), ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    before = {file: file.read_bytes() for file in (tmp_path / "generated").rglob("*.*") if file.is_file()}
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    for command in (["lint"], ["bundle", "--output", str(tmp_path / "bundles")], ["check"], ["generate"]):
        done = subprocess.run(
            [sys.executable, "-m", "thalweg", "contract", *command, "--project", str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command[0]}: {done.stdout[-3000:]}{done.stderr[-2000:]}"
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert {file: file.read_bytes() for file in before} == before, "equal sources give equal bytes"
    spent = end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime
    assert spent < SECONDS
