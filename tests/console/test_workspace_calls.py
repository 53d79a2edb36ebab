"""The scripts of the workspace against the contract: they name no operation that there is not, and write no markup."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from domain.knowledge.documents import TAKEN
from handlers.console import workspace
from thalweg.contract import project

SCRIPTS = Path(workspace.__file__).parent / "static" / "console"
OWN = sorted(SCRIPTS.glob("*.js"))
BUNDLE = json.loads((project.find().generated / workspace.SURFACE / "bundle.json").read_bytes())
OPERATIONS = {
    operation["operationId"]: operation
    for item in BUNDLE["paths"].values()
    for method, operation in item.items()
    if method != "parameters"
}


def imported(script: Path, seen: set[Path]) -> set[Path]:
    """The modules that a page loads."""
    if script not in seen:
        seen.add(script)
        for found in re.findall(r'from "\./([\w./]+)"', script.read_text()):
            assert (SCRIPTS / found).is_file(), f"{script.name} imports {found}"
            imported(SCRIPTS / found, seen)
    return seen


def called(script: Path) -> set[str]:
    """The operations that a module names."""
    text = script.read_text()
    names = re.findall(r'\b(?:call|open|address)\("(\w+)"', text) + re.findall(r"facts\.calls\.(\w+)", text)
    return set(names)


@pytest.mark.parametrize("page", workspace.OPERATIONS)
def test_a_page_is_told_of_exactly_the_operations_that_its_scripts_call(page):
    modules = [each for each in imported(SCRIPTS / f"{page}.js", set()) if each.parent == SCRIPTS]
    assert set().union(*map(called, modules)) == set(workspace.OPERATIONS[page])
    assert len(workspace.OPERATIONS[page]) == len(set(workspace.OPERATIONS[page]))


@pytest.mark.parametrize("name", sorted({name for names in workspace.OPERATIONS.values() for name in names}))
def test_every_operation_is_published_and_works(name):
    assert "501" not in OPERATIONS[name]["responses"]


@pytest.mark.parametrize("script", OWN, ids=lambda path: path.name)
def test_no_script_writes_markup_runs_text_or_keeps_a_token(script):
    text = re.sub(r"//.*|/\*.*?\*/", "", script.read_text())
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"):
        assert sink not in text, sink
    assert not re.search(r"https?://(?!\w*\$)[\w.]+", text), "no address of another host"
    assert not re.search(r"(?:sessionStorage|localStorage|kept\.set)\([^)]*(?:access|token)", text)


@pytest.mark.parametrize("script", OWN, ids=lambda path: path.name)
def test_a_script_fits_into_a_head(script):
    assert len(script.read_text().splitlines()) <= 400


def test_the_browser_offers_what_the_contract_takes():
    described = BUNDLE["components"]["schemas"]["DocumentUpload"]["properties"]["file"]["description"]
    taken = re.findall("[A-Z]{2,4}", described.partition(", 50 MB")[0])
    assert [kind.lower() for kind in taken] == [*workspace.FILE_TYPES]
    assert TAKEN["collection"] == set(workspace.FILE_TYPES)
    assert 'byId("files").accept' in (SCRIPTS / "documents.js").read_text(), "one list for all"
    modes = re.findall(
        r'<option value="(\w+)">', (SCRIPTS.parents[1] / "templates" / "console" / "chat.html").read_text()
    )
    assert sorted(modes) == sorted(BUNDLE["components"]["schemas"]["ChatRequest"]["properties"]["mode"]["enum"])


def test_every_event_of_a_task_is_known_to_the_page():
    shown = set(BUNDLE["components"]["schemas"]["ChatEvent"]["discriminator"]["mapping"])
    work, thread = (SCRIPTS / "work.js").read_text(), (SCRIPTS / "thread.js").read_text()
    in_words = set(re.findall(r"^  (\w+)\(event\)", work, re.MULTILINE)) | set(
        re.findall(r'update_type !== "(\w+)"', thread)
    )
    assert shown - {"complete", "error"} <= in_words
