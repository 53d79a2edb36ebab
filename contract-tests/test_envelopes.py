"""Every operation of every contract answers something that it declares, whoever asks and whatever is sent.

This is what holds for operations that are not available yet as well: their 401, 422 and 501 are part of the contract.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest

from thalweg.contract import project
from thalweg.edge.schema import Compiler

ROOT = Path(__file__).resolve().parent.parent
SURFACES = project.find(ROOT).surfaces
IDENTIFIER = "01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21"


def _resolve(document: Mapping[str, Any], node: Any) -> Any:
    while isinstance(node, dict) and "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def operations(surface: str) -> Iterator[tuple[dict[str, Any], str, str, dict[str, Any]]]:
    """Document, method, path with its parameters filled in, and operation."""
    document = orjson.loads((ROOT / "generated" / surface / "bundle.json").read_bytes())
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if not isinstance(operation, dict) or "operationId" not in operation:
                continue
            filled = path
            for parameter in (*item.get("parameters", ()), *operation.get("parameters", ())):
                described = _resolve(document, parameter)
                if described["in"] == "path":
                    schema = _resolve(document, described["schema"])
                    value = described.get("example", schema.get("example", IDENTIFIER))
                    filled = filled.replace(f"{{{described['name']}}}", quote(str(value), safe=""))
            yield document, method.upper(), filled, operation


@pytest.fixture(scope="module")
def compilers() -> dict[str, Compiler]:
    return {s: Compiler(orjson.loads((ROOT / "generated" / s / "bundle.json").read_bytes())) for s in SURFACES}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="no credential"),
        pytest.param(
            {"headers": {"Authorization": "Bearer wrong", "X-API-Key": "wrong", "Cookie": "bf_session=wrong"}},
            id="wrong credential",
        ),
        pytest.param(
            {"content": b'{"broken', "headers": {"Content-Type": "application/json"}},
            id="broken JSON",
        ),
        pytest.param({"params": {"limit": "none", "surplus": "1"}}, id="broken parameters"),
    ],
)
def test_every_operation_answers_what_it_declares(
    surface: str, given: dict[str, Any], running: Any, compilers: dict[str, Compiler]
) -> None:
    wrong: list[str] = []
    asked = 0
    with httpx.Client(base_url=f"{running.url}{SURFACES[surface]}", timeout=30) as client:
        for document, method, path, operation in operations(surface):
            asked += 1
            reply = client.request(method, path, **given)
            name = f"{operation['operationId']}: {method} {path} -> {reply.status_code}"
            declared = operation["responses"].get(str(reply.status_code))
            if declared is None:
                wrong.append(f"{name} is not declared: {reply.text[:200]}")
                continue
            content = _resolve(document, declared).get("content", {})
            media_type = reply.headers.get("content-type", "").partition(";")[0]
            if not content:
                continue
            if media_type not in content:
                wrong.append(f"{name} answers {media_type or 'nothing'}")
            elif media_type.endswith("json") and "schema" in content[media_type]:
                broken = compilers[surface].compile(content[media_type]["schema"], "response").violations(reply.json())
                wrong += [f"{name} breaks its schema: {broken[0]}"] if broken else []
            if reply.status_code >= 500 and reply.status_code != 501:
                wrong.append(f"{name} is a server error: {reply.text[:200]}")
    assert asked > 0
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("surface", SURFACES)
def test_no_secured_operation_answers_without_a_credential(surface: str, running: Any) -> None:
    open_doors = []
    with httpx.Client(base_url=f"{running.url}{SURFACES[surface]}", timeout=30) as client:
        for document, method, path, operation in operations(surface):
            security = operation.get("security", document.get("security", []))
            if not security or {} in security:
                continue
            signed = {name for name, one in document["components"]["securitySchemes"].items() if one.get("x-signed")}
            if any(set(option) & signed for option in security):
                continue  # the body is read before its signature can be checked: 4xx of other kinds come first
            reply = client.request(method, path)
            if reply.status_code != 401:
                open_doors.append(f"{operation['operationId']}: {method} {path} -> {reply.status_code}")
    assert not open_doors, "\n".join(open_doors)
