"""What holds for every operation that is implemented, by its recipe: it succeeds as declared and is audited, another
organisation finds nothing, who lacks the permission is refused, and an idempotency key replays.

Thalium, whose answers are streams of a chain, has tests of its own for all of this (test_thalium, test_tenancy, ...).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx
import pytest
from recipes import RECIPES, Call, Person, World, send
from recipes.world import OPERATORS

from domain import audit
from domain.kernel.pages import CursorPage
from thalweg.edge.schema import Compiler

SAFE = frozenset({"GET", "HEAD"})


def prepared(world: World, operation: Any) -> tuple[Call, Person | None]:
    """The operation's call, and whose it is."""
    made = RECIPES.get((operation.surface, operation.id))
    assert made is not None, f"{operation.surface} {operation.id} is implemented and has no recipe"
    call = made(world)
    if call.who is None and not call.public:
        needed = operation.entry["extensions"].get("x-permission")
        call.who = world.person(operation.surface, platform_role="superadmin" if needed in OPERATORS else None)
    return call, call.who


def perform(world: World, operation: Any, call: Call, who: Person | None, **headers: str) -> httpx.Response:
    given = {} if who is None or call.public else who.headers()
    return send(world, operation.base_path, operation.entry["method"], operation.entry["path"], call, given | headers)


def trail(world: World, who: Person) -> list[tuple[str, str]]:
    with world.platform(who.organisation_id) as ctx:
        return [(entry.action, entry.outcome) for entry in audit.find(ctx, page=CursorPage(100)).items]


@pytest.fixture(scope="module")
def compilers() -> dict[str, Compiler]:
    return {}


def test_it_succeeds_as_declared_and_leaves_its_audit_entry(
    recipe_operation: Any, world: World, compilers: dict[str, Compiler]
) -> None:
    operation = recipe_operation
    call, who = prepared(world, operation)
    before = [] if who is None else trail(world, who)
    reply = perform(world, operation, call, who)
    expected = [call.status] if call.status else [int(s) for s in operation.entry["statuses"] if s[0] in "23"]
    assert reply.status_code in expected, reply.text[:2000]
    declared = operation.resolved(operation.declared["responses"][str(reply.status_code)])
    content: Mapping[str, Any] = declared.get("content", {})
    media_type = reply.headers.get("content-type", "").partition(";")[0]
    if media_type.endswith("json") and "schema" in content.get(media_type, {}):
        compiler = compilers.setdefault(operation.surface, Compiler(operation.document))
        assert compiler.compile(content[media_type]["schema"], "response").violations(reply.json()) == ()
    if call.check is not None:
        call.check(reply)
    action = operation.entry["extensions"].get("x-audit")
    if who is not None and call.audit:
        added = trail(world, who)[: -len(before) or None]
        told = [outcome for name, outcome in added if name == action]
        assert told == (["success"] if action else []), added


def test_another_organisation_finds_nothing(resource_operation: Any, world: World) -> None:
    operation = resource_operation
    call, who = prepared(world, operation)
    assert who is not None
    assert not call.public
    needed = operation.entry["extensions"].get("x-permission")
    stranger = world.person(operation.surface, platform_role="superadmin" if needed in OPERATORS else None)
    before = trail(world, who)
    reply = perform(world, operation, call, stranger)
    assert reply.status_code == 404, f"{reply.status_code} {reply.text[:500]}"
    assert trail(world, who) == before


def test_who_lacks_the_permission_is_refused(permitted_operation: Any, world: World) -> None:
    operation = permitted_operation
    call, who = prepared(world, operation)
    assert who is not None
    assert not call.public
    lesser = world.person(operation.surface, organisation_id=who.organisation_id, role=operation.refused_role)
    before = trail(world, who)
    reply = perform(world, operation, call, lesser)
    assert reply.status_code == 403, f"{reply.status_code} {reply.text[:500]}"
    assert [entry for entry in trail(world, who)[: -len(before) or None] if entry[1] == "success"] == []


def test_without_a_credential_it_is_a_401(closed_operation: Any, world: World) -> None:
    operation = closed_operation
    call, _ = prepared(world, operation)
    call.cookies, call.headers = {}, {}
    reply = perform(world, operation, call, None)
    assert reply.status_code == 401, f"{reply.status_code} {reply.text[:500]}"


def test_the_same_idempotency_key_replays_and_does_nothing_twice(repeatable_operation: Any, world: World) -> None:
    operation = repeatable_operation
    call, who = prepared(world, operation)
    key = {"Idempotency-Key": str(uuid4())}
    first = perform(world, operation, call, who, **key)
    assert first.status_code < 400, first.text[:500]
    # A job leaves entries of its own while it works, whenever that is: those of the operation itself are compared then.
    extensions = operation.entry["extensions"]
    only = extensions["x-audit"] if "x-job" in extensions and "x-audit" in extensions else None

    def left(who: Person) -> list[tuple[str, str]]:
        return [entry for entry in trail(world, who) if only is None or entry[0] == only]

    before = [] if who is None else left(who)
    again = perform(world, operation, call, who, **key)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    if who is not None:
        assert left(who) == before
