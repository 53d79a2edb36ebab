"""The pages of the surfaces say what the contracts say: their tables, their calls, the bodies they show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from thalweg.contract import project
from thalweg.contract.manifest import follow, operations
from thalweg.contract.pages import pages
from thalweg.edge.schema import Compiler

ROOT = Path(__file__).resolve().parents[2]
PROJECT = project.find(ROOT)
SURFACES = list(PROJECT.surfaces)


@pytest.mark.parametrize("surface", SURFACES)
def test_every_surface_has_a_page_and_its_tables_are_true(surface: str) -> None:
    (page,) = pages(PROJECT, [ROOT / "docs" / f"{surface}.md"])
    assert not page.stale, "run `./thalweg contract pages`"


def bundle(surface: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((PROJECT.generated / surface / "bundle.json").read_bytes())
    return loaded


def calls(surface: str) -> Iterator[tuple[str, str, Any, str]]:
    """Method, path in the document, JSON body, and command of every call of the surface on its page."""
    text = (ROOT / "docs" / f"{surface}.md").read_text()
    blocks = "\n".join(re.findall(r"^```bash\n(.*?)^```$", text, re.M | re.S)).replace("\\\n", " ")
    variables = dict(re.findall(r"^([A-Z]+)=(http\S+)$", blocks, re.M))
    base = f"http://127.0.0.1:8080{PROJECT.base_path(surface)}/"
    for command in re.findall(r"curl [^\n]*", blocks):
        address = next(one for one in re.findall(r"""(?:(?<=[ "])(?:\$|http)[^\s")]+)""", command))
        for name, value in variables.items():
            address = address.replace(f"${name}", value)
        if not address.startswith(base):
            continue
        body = re.search(r"-d '(\{.*?\})'", command)
        method = re.search(r"-X (\w+)", command)
        sends = body is not None or " -F " in command
        verb = method[1] if method else "POST" if sends else "GET"
        yield verb, address.removeprefix(base[:-1]).partition("?")[0], json.loads(body[1]) if body else None, command


@pytest.mark.parametrize("surface", [one for one in SURFACES if one != "thalium"])
def test_the_calls_that_a_page_shows_are_calls_of_the_contract(surface: str) -> None:
    """Those of Thalium's page are run, in test_docs.py."""
    document, found = bundle(surface), 0
    compiler = Compiler(document)
    known = {
        (method.upper(), re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path))): operation
        for path, method, _, operation in operations(document)
    }
    for method, path, body, command in calls(surface):
        matching = [one for (verb, template), one in known.items() if verb == method and re.fullmatch(template, path)]
        assert matching, command
        found += 1
        if body is not None:
            content = follow(document, matching[0]["requestBody"])[0]["content"]["application/json"]
            schema, _ = follow(document, content["schema"])
            shown = {name: value for name, value in body.items() if value != "…"}  # a secret of the reader's own
            assert body.keys() <= schema["properties"].keys(), command
            assert set(schema.get("required", ())) <= body.keys(), command
            partial = {**schema, "required": sorted(shown)}
            assert compiler.compile(partial, "request").violations(shown) == (), command
    assert found >= 3, "the page shows how to sign in and how to call something"


def test_an_error_that_a_page_shows_is_of_the_surface_s_own_shape() -> None:
    for surface in SURFACES:
        text = (ROOT / "docs" / f"{surface}.md").read_text()
        for block in re.findall(r"^```json\n(.*?)^```$", text.partition("## Errors")[2], re.M | re.S):
            document = bundle(surface)
            shapes = [
                follow(document, media["schema"])[0]
                for _, _, _, operation in operations(document)
                for status, response in operation["responses"].items()
                if status in ("402", "403", "404", "409")
                for media in (follow(document, response)[0].get("content") or {}).values()
            ]
            shown = json.loads(block).keys()
            assert any(shown <= shape["properties"].keys() and set(shape["required"]) <= shown for shape in shapes), (
                surface
            )
