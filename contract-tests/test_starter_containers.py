"""Starter's containers on the running platform: made, filled, bound, expired; who may, and what is refused."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from recipes import Person, World
from recipes.starter_containers import AGENT, container
from recipes.starter_vector_stores import stored
from sqlalchemy import select, update

from domain import containers
from domain.containers.models import Container, ContainerBinding


def ask(world: World, who: Person, method: str, path: str = "", **more: Any) -> httpx.Response:
    headers = who.headers() | more.pop("headers", {})
    url = f"{world.url}/starter/api/v1/containers{path}"
    return httpx.request(method, url, headers=headers, timeout=30, **more)


def bind(world: World, who: Person, container_id: str, agent: str = AGENT) -> httpx.Response:
    return ask(world, who, "POST", f"/agents/{agent}/container", json={"container_id": container_id})


def bindings(world: World, who: Person) -> dict[str, str]:
    with world.platform(who.organisation_id) as ctx:
        return {each.agent_key: str(each.container_id) for each in ctx.session.scalars(select(ContainerBinding))}


def becomes(world: World, who: Person, container_id: str, status: str) -> dict[str, Any]:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        told: dict[str, Any] = ask(world, who, "GET", f"/{container_id}").json()
        if told["status"] == status:
            return told
        time.sleep(0.1)
    raise AssertionError(f"the container never became {status}: {told}")


def test_a_container_is_made_read_and_deleted(running: Any, world: World) -> None:
    who = world.person("starter")
    made = ask(world, who, "POST", json={"name": "box", "memory_limit": None, "metadata": None}).json()
    assert (made["status"], made["memory_limit"], made["metadata"]) == ("running", "1g", {})
    assert made["expires_after"] == {"anchor": "last_active_at", "minutes": 20}
    assert (made["tenant_id"], made["owner_user_id"]) == (str(who.organisation_id), str(who.account_id))
    assert ask(world, who, "GET", f"/{made['id']}").json() == made
    assert ask(world, who, "DELETE", f"/{made['id']}").status_code == 204
    for method in ("GET", "DELETE"):
        assert ask(world, who, method, f"/{made['id']}").status_code == 404
    assert ask(world, who, "GET").json() == {"items": [], "total": 0}
    with world.platform(who.organisation_id) as ctx:
        kept = ctx.session.get(Container, UUID(made["id"]))
        assert kept is not None
        assert kept.state == "deleted", "the record stays"


def test_files_are_put_in_by_a_job(running: Any, world: World) -> None:
    who = world.person("starter")
    made = ask(world, who, "POST", json={"name": "box", "file_ids": [stored(world, who)]})
    assert (made.status_code, made.json()["status"]) == (201, "creating")
    becomes(world, who, made.json()["id"], "running")


def test_files_that_do_not_fit_end_in_an_error_that_holds_no_name(running: Any, world: World) -> None:
    who = world.person("starter")
    file_id = stored(world, who)
    made = ask(world, who, "POST", json={"name": "box", "file_ids": [file_id]}).json()
    deleted = httpx.delete(f"{world.url}/starter/api/v1/storage/objects/{file_id}", headers=who.headers(), timeout=20)
    assert deleted.status_code in (200, 204)
    end = time.monotonic() + 20
    while (told := ask(world, who, "GET", f"/{made['id']}").json())["status"] == "creating":
        assert time.monotonic() < end
        time.sleep(0.1)
    if told["status"] == "error":  # the job came after the deletion
        assert bind(world, who, made["id"]).status_code == 409
        assert ask(world, who, "POST", json={"name": "box"}).status_code == 201


@pytest.mark.parametrize(
    ("role", "reads", "changes"),
    [("owner", 200, 204), ("admin", 200, 204), ("member", 200, 403), ("viewer", 200, 403)],
)
def test_everybody_reads_and_owners_and_administrators_change(
    running: Any, world: World, role: str, reads: int, changes: int
) -> None:
    owner = world.person("starter")
    one = container(world, owner)
    who = owner if role == "owner" else world.person("starter", organisation_id=owner.organisation_id, role=role)
    assert ask(world, who, "GET").status_code == reads
    assert ask(world, who, "GET", f"/{one}").status_code == reads
    assert bind(world, who, one).status_code == changes
    assert ask(world, who, "DELETE", f"/agents/{AGENT}/container").status_code == changes
    assert ask(world, who, "DELETE", f"/{one}").status_code == changes
    made = ask(world, who, "POST", json={"name": "another"})
    assert made.status_code == (201 if changes == 204 else 403)


def test_a_stranger_finds_nothing(running: Any, world: World) -> None:
    who, stranger = world.person("starter"), world.person("starter")
    one = container(world, who)
    assert ask(world, stranger, "GET", f"/{one}").status_code == 404
    assert ask(world, stranger, "DELETE", f"/{one}").status_code == 404
    assert bind(world, stranger, one).status_code == 404
    assert ask(world, stranger, "GET").json()["total"] == 0
    theirs = stored(world, who)
    assert ask(world, stranger, "POST", json={"name": "box", "file_ids": [theirs]}).status_code == 404
    assert ask(world, who, "GET", f"/{one}").json()["status"] == "running"


def test_an_agent_has_one_container_at_a_time(running: Any, world: World) -> None:
    who = world.person("starter")
    first, second = container(world, who), container(world, who)
    assert bind(world, who, first).status_code == 204
    assert bind(world, who, second).status_code == 204
    assert bind(world, who, second, "data_analyst").status_code == 204
    assert bindings(world, who) == {AGENT: second, "data_analyst": second}
    assert ask(world, who, "GET", f"/{first}").json()["status"] == "running", "the container before is kept"
    for _ in range(2):
        assert ask(world, who, "DELETE", f"/agents/{AGENT}/container").status_code == 204
    assert bindings(world, who) == {"data_analyst": second}
    assert ask(world, who, "DELETE", f"/{second}").status_code == 204
    assert bindings(world, who) == {}


def test_an_agent_that_starter_does_not_have_is_none(running: Any, world: World) -> None:
    who = world.person("starter")
    one = container(world, who)
    for key in ("no_such_agent", "policy_desk", "assistant"):
        assert bind(world, who, one, key).status_code == 404, key
        assert ask(world, who, "DELETE", f"/agents/{key}/container").status_code == 404, key
    assert bind(world, who, one, "Not-A-Key").status_code == 422
    assert bindings(world, who) == {}


def test_one_that_rested_too_long_says_so(running: Any, world: World) -> None:
    who = world.person("starter")
    body = {"name": "box", "expires_after": {"anchor": "last_active_at", "minutes": 1}}
    one = ask(world, who, "POST", json=body).json()["id"]
    assert bind(world, who, one).status_code == 204
    with world.platform() as ctx:
        past = ctx.now() - timedelta(minutes=1)
        ctx.session.execute(update(Container).where(Container.id == UUID(one)).values(expires_at=past))
        containers.expire(ctx)
    assert ask(world, who, "GET", f"/{one}").json()["status"] == "expired"
    gone = bind(world, who, one)
    assert (gone.status_code, gone.json()["details"]["code"]) == (409, "container_gone")
    assert ask(world, who, "POST", json={"name": "box"}).status_code == 201, "its name is free"
    assert ask(world, who, "DELETE", f"/{one}").status_code == 204


def test_the_same_key_makes_one_container(running: Any, world: World) -> None:
    who = world.person("starter")
    key = {"Idempotency-Key": str(uuid4())}
    first = ask(world, who, "POST", json={"name": "box"}, headers=key)
    again = ask(world, who, "POST", json={"name": "box"}, headers=key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert ask(world, who, "POST", json={"name": "other"}, headers=key).status_code == 422
    assert ask(world, who, "GET").json()["total"] == 1


def test_what_is_refused_and_how(running: Any, world: World) -> None:
    who = world.person("starter")
    one = container(world, who, name="One")
    taken = ask(world, who, "POST", json={"name": "  one "})
    assert (taken.status_code, taken.json()["details"]["code"]) == (409, "name_taken")
    for tier in ("2g", "512m", "999g", "0g"):
        refused = ask(world, who, "POST", json={"name": "box", "memory_limit": tier})
        assert (refused.status_code, refused.json()["details"]["code"]) == (403, "memory_tier"), tier
    broken: list[dict[str, Any]] = [
        {},
        {"name": ""},
        {"name": "x" * 129},
        {"name": "box", "memory_limit": "much"},
        {"name": "box", "expires_after": {"anchor": "created_at", "minutes": 5}},
        {"name": "box", "expires_after": {"anchor": "last_active_at", "minutes": 0}},
        {"name": "box", "file_ids": ["../etc/passwd"]},
        {"name": "box", "file_ids": ["a", "a"]},
        {"name": "box", "driver": "local"},
    ]
    for body in broken:
        assert ask(world, who, "POST", json=body).status_code == 422, body
    assert ask(world, who, "POST", json={"name": "box", "file_ids": ["file-9aB3xK"]}).status_code == 404
    for number in range(9):
        container(world, who, name=f"more-{number}")
    full = ask(world, who, "POST", json={"name": "eleventh"})
    assert (full.status_code, full.json()["details"]["limit"]) == (403, "10")
    assert (len(ask(world, who, "GET", params={"limit": 3}).json()["items"])) == 3
    assert ask(world, who, "GET", params={"limit": 3, "offset": 9}).json()["total"] == 10
    assert ask(world, who, "DELETE", f"/{one}").status_code == 204
    assert ask(world, who, "POST", json={"name": "eleventh"}).status_code == 201
