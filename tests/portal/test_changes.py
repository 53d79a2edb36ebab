"""What the portal says of changes and coverage, on releases and reports made for the test."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from domain.kernel import crypto
from thalweg.config import load
from thalweg.contract import project
from thalweg.edge.serve import ApiProcess

PROJECT = project.find(Path(__file__).parent)
HTML = {"Accept": "text/html"}


@pytest.fixture
async def open_portal(
    database_url: str, valkey_url: str, tmp_path: Path
) -> AsyncIterator[Callable[[project.Project], httpx.AsyncClient]]:
    """The pages of a process on another project, without a socket."""
    clients: list[tuple[ApiProcess, httpx.AsyncClient]] = []

    def start(changed: project.Project) -> httpx.AsyncClient:
        environment = {
            "THALWEG_ENVIRONMENT": "test",
            "THALWEG_DATABASE_URL": database_url,
            "THALWEG_REDIS_URL": valkey_url,
            "THALWEG_SECRET_KEYS": f"test:{crypto.KeyRing.new_key()}",
            "THALWEG_SURFACES": "thalium",
        }
        process = ApiProcess(load(environment, root=tmp_path), changed)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app=process), base_url="http://portal")
        clients.append((process, client))
        return client

    yield start
    for process, client in clients:
        await client.aclose()
        process.health.close()
        process.application.close()
        process.pool.close()
        process.page_pool.close()


def released(folder: Path, change: Callable[[dict], None]) -> project.Project:
    bundle = json.loads((PROJECT.generated / "thalium" / "bundle.json").read_bytes())
    change(bundle)
    (folder / "released").mkdir()
    (folder / "released" / "thalium.json").write_text(json.dumps(bundle))
    return dataclasses.replace(PROJECT, released=folder / "released")


async def test_without_a_release_it_says_so(open_portal, tmp_path):
    client = open_portal(dataclasses.replace(PROJECT, released=tmp_path / "nowhere"))
    assert "No release yet" in (await client.get("/changes", headers=HTML)).text


async def test_a_contract_like_its_release_has_not_changed(open_portal, tmp_path):
    client = open_portal(released(tmp_path, lambda bundle: None))
    version = json.loads((PROJECT.generated / "thalium" / "bundle.json").read_bytes())["info"]["version"]
    assert f"Nothing has changed since release {version}" in (await client.get("/changes", headers=HTML)).text


async def test_what_breaks_is_named_as_breaking(open_portal, tmp_path):
    def change(bundle):
        operations = bundle["paths"]["/v1/brain/{brainId}/memory"]["get"]["parameters"]
        operations.append({"name": "colour", "in": "query", "schema": {"type": "string", "maxLength": 9}})

    page = (await open_portal(released(tmp_path, change)).get("/changes", headers=HTML)).text
    assert "1 breaking" in page
    assert '<span class="verdict breaking">breaking</span>' in page
    assert "colour" in page


async def test_coverage_counts_as_the_tool_does_and_follows_a_new_report(open_portal, tmp_path):
    def report(*statuses: int) -> None:
        (tmp_path / "reports" / "fuzz.json").write_text(
            json.dumps([{"surface": "thalium", "operation_id": "invokeBrain", "statuses": statuses}])
        )

    for name in ("openapi", "generated", "handlers", "contract-tests", "pyproject.toml"):
        (tmp_path / name).symlink_to(PROJECT.root / name)
    (tmp_path / "reports").mkdir()
    client = open_portal(project.find(tmp_path))
    page = (await client.get("/coverage", headers=HTML)).text
    assert "3 of 3 operations are implemented" in page
    assert "There is no report of a fuzzing run here yet." in page
    report(200)
    page = (await client.get("/coverage", headers=HTML)).text
    assert "Succeeded" in page
    assert (
        '<tr class="total"><th scope="row">All</th>'
        + "".join(f'<td class="number">{n}</td>' for n in (3, 3, 3, 0, 1, 1))
        in page
    )


async def test_a_page_that_breaks_is_a_page_that_says_so_and_tells_nothing(open_portal, tmp_path):
    (tmp_path / "released").mkdir()
    (tmp_path / "released" / "thalium.json").write_text("not JSON: secret.example/path")
    client = open_portal(dataclasses.replace(PROJECT, released=tmp_path / "released"))
    page = await client.get("/changes", headers=HTML)
    assert page.status_code == 500
    assert "Something went wrong" in page.text
    assert "secret" not in page.text
    assert "X-Correlation-ID" in page.headers
    told = await client.get("/changes")
    assert told.json()["error"] == "Something went wrong"
