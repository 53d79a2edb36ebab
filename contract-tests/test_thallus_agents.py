"""Thallus' agents on the running platform: who may use which, that what is denied works nowhere, and what each person
has set for themselves."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest
from recipes import Person, World
from recipes.thallus_agents import group_of
from recipes.thallus_chat import BASE, answered, ended
from sqlalchemy import text

from domain import agents, audit, identity
from domain.identity import groups, members
from domain.kernel.pages import CursorPage

CHAT = {"message": "What time is it?", "mode": "ask"}


def call(world: World, who: Person, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {**who.headers(), **more.pop("headers", {})}
    return httpx.request(method, f"{world.url}{BASE}{path}", headers=headers, timeout=60, **more)


def put(world: World, who: Person, path: str, **body: Any) -> dict[str, Any]:
    reply = call(world, who, "PUT", f"/admin/agents/{path}", json=body)
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = reply.json()
    return told


def listed(world: World, who: Person, path: str = "/agents", **query: Any) -> dict[str, dict[str, Any]]:
    """The agents of a list by name."""
    reply = call(world, who, "GET", path, params={"limit": 100, **query})
    assert reply.status_code == 200, reply.text
    return {each["name"]: each for each in reply.json()["items"]}


def shared(world: World, owner: Person, name: str = "Depot guide", **more: Any) -> str:
    """An agent that somebody has made and shares, by its name for programs."""
    with world.acting(owner) as ctx:
        given = {"instructions": "Answer briefly.", "visibility": "organisation", **more}
        return agents.create_agent(ctx, name=name, **given).key


def platform_as_it_was(world: World, *names: str) -> None:
    """What holds for the whole server goes back after the test."""

    def restore() -> None:
        with world.platform() as ctx:
            ctx.session.execute(
                text(
                    "UPDATE platform_agent_setting SET access = NULL, model_tier = NULL, max_iterations = NULL, "
                    "timeout_seconds = NULL, updated_at = NULL, updated_by = NULL WHERE agent_key = ANY(:names)"
                ),
                {"names": list(names)},
            )

    world.afterwards.append(restore)


def superadmin(world: World, **more: Any) -> Person:
    return world.person("thallus", platform_role="superadmin", **more)


# --- what is denied ------------------------------------------------------------------------------


def test_an_agent_that_a_tier_denies_answers_nobody_below_and_one_that_a_nearer_tier_allows_does(
    running: Any, world: World
) -> None:
    owner, boss = world.person("thallus"), superadmin(world)
    ada = world.person("thallus", organisation_id=owner.organisation_id, role="member")
    finance, sales = (group_of(world, owner, ada.account_id) for _ in range(2))
    platform_as_it_was(world, "assistant")
    paths = {
        "platform": (boss, "platform/agents/assistant"),
        "organization": (owner, f"orgs/{owner.organisation_id}/agents/assistant"),
        "finance": (owner, f"orgs/{owner.organisation_id}/groups/{finance}/agents/assistant"),
        "sales": (owner, f"orgs/{owner.organisation_id}/groups/{sales}/agents/assistant"),
        "user": (owner, f"users/{ada.account_id}/agents/assistant"),
    }
    steps = [
        # tier, what it is set to -> allowed, decided by
        ("organization", "inherit", True, "default"),
        ("platform", "deny", False, "platform"),
        ("organization", "allow", True, "organization"),
        ("organization", "deny", False, "organization"),
        ("finance", "deny", False, "group"),
        ("sales", "allow", True, "group"),
        ("user", "deny", False, "user"),
        ("platform", "allow", False, "user"),
        ("sales", "inherit", False, "user"),
        ("user", "inherit", False, "group"),
        ("user", "allow", True, "user"),
        ("finance", "inherit", True, "user"),
        ("user", "inherit", False, "organization"),
        ("organization", "inherit", True, "platform"),
    ]
    for tier, said, allowed, decider in steps:
        who, path = paths[tier]
        assert put(world, who, path, access=said)["access" if tier != "user" else "user"] == said
        told = listed(world, owner, f"/admin/agents/users/{ada.account_id}/agents")["assistant"]
        assert told["effective"] == {"allowed": allowed, "decided_by": decider}, (tier, said)
        assert ("assistant" in listed(world, ada)) is allowed
        reply = call(world, ada, "POST", "/chat", json=CHAT)
        if allowed:
            assert (reply.status_code, reply.json()["status"]) == (200, "completed"), reply.text
            continue
        asked = [reply, call(world, ada, "POST", "/chat/stream", json=CHAT)]
        asked += [call(world, ada, "GET", f"/agents/assistant/{what}") for what in ("tools", "settings")]
        asked.append(call(world, ada, "PUT", "/agents/assistant/settings", json={}))
        for refused in asked:
            assert (refused.status_code, refused.json()["error"]) == (403, "agent_denied"), refused.text
            assert refused.json()["details"]["decided_by"] == decider
    assert call(world, ada, "GET", "/conversations").json()["total"] == sum(allowed for _, _, allowed, _ in steps)


def test_a_conversation_goes_no_further_once_its_agent_is_denied(running: Any, world: World) -> None:
    owner = world.person("thallus")
    conversation = answered(world, owner)["conversation_id"]
    put(world, owner, f"orgs/{owner.organisation_id}/agents/assistant", access="deny")
    refused = call(world, owner, "POST", "/chat", json={**CHAT, "conversation_id": conversation})
    assert (refused.status_code, refused.json()["error"]) == (403, "agent_denied")
    assert call(world, owner, "GET", f"/conversations/{conversation}/messages").json()["total"] == 2


def test_a_plan_names_and_calls_nobody_who_is_denied_or_switched_off(running: Any, world: World) -> None:
    owner = world.person("thallus")
    put(world, owner, f"orgs/{owner.organisation_id}/agents/researcher", access="deny")
    off = call(world, owner, "PUT", "/agents/writer/settings", json={"enabled": False})
    assert (off.status_code, off.json()["enabled"], off.json()["is_default"]) == (200, False, False)
    question = "Compare the offers of our suppliers. Then recommend one."
    started = call(world, owner, "POST", "/chat/stream", json={"message": question, "mode": "research"}).json()
    assert ended(world, owner, started["task_id"], 120)["mode"] == "research"
    events = call(world, owner, "GET", f"/chat/{started['task_id']}/progress/state").json()["events"]
    worked = {event["agent"] for event in events if event["agent"] is not None}
    planned = {step["agent"] for event in events for step in event.get("steps", ())}
    assert planned == {"assistant"}
    assert "assistant" in worked
    assert {"researcher", "writer"}.isdisjoint(worked | planned)


# --- one's own settings --------------------------------------------------------------------------


def test_own_settings_are_kept_by_the_next_chat_and_go_back_with_an_empty_object(running: Any, world: World) -> None:
    owner = world.person("thallus")
    colleague = world.person("thallus", organisation_id=owner.organisation_id, role="member")
    path = "/agents/assistant/settings"
    before = call(world, owner, "GET", path)
    assert before.json() == {
        "agent_name": "assistant",
        "enabled": True,
        "instructions": None,
        "model_tier": None,
        "disabled_tools": [],
        "confirm_writes": True,
        "is_default": True,
        "updated_at": None,
    }
    unchanged = call(world, owner, "GET", path, headers={"If-None-Match": before.headers["etag"]})
    assert unchanged.status_code == 304
    wanted = {"disabled_tools": ["current_time", "fetch_page"], "confirm_writes": False, "model_tier": "large"}
    saved = call(world, owner, "PUT", path, json=wanted).json()
    assert saved == call(world, owner, "GET", path).json()
    assert saved.items() >= wanted.items()
    assert saved["updated_at"] is not None
    found = {t["name"]: t for t in call(world, owner, "GET", "/agents/assistant/tools").json()["items"]}
    assert [name for name, tool in found.items() if not tool["enabled"]] == ["current_time", "fetch_page"]
    assert not any(tool["requires_confirmation"] for tool in found.values())
    assert list(found) == sorted(found)
    shown = listed(world, owner)["assistant"]
    assert (shown["customized"], shown["model_tier"], shown["tool_count"]) == (True, "large", len(found))
    task = answered(world, owner)
    events = call(world, owner, "GET", f"/chat/{task['task_id']}/progress/state").json()["events"]
    assert "current_time" not in {event.get("tool") for event in events}
    assert call(world, colleague, "GET", path).json() == before.json()
    call(world, owner, "PUT", path, json={"enabled": False})
    for path_of_chat in ("/chat", "/chat/stream"):
        refused = call(world, owner, "POST", path_of_chat, json=CHAT)
        assert (refused.status_code, refused.json()["error"]) == (403, "agent_disabled"), refused.text
    assert listed(world, owner)["assistant"]["enabled"] is False
    assert call(world, owner, "PUT", path, json={}).json() == before.json()
    assert answered(world, owner)["status"] == "completed"


def test_settings_that_make_no_sense_are_refused_and_nothing_is_saved(running: Any, world: World) -> None:
    owner = world.person("thallus")
    path = "/agents/assistant/settings"
    broken: list[tuple[Any, int]] = [
        ({"disabled_tools": ["send_mail"]}, 400),
        ({"disabled_tools": ["calculator", "suspend_user"]}, 400),
        ({"disabled_tools": ["calculator", "calculator"]}, 422),
        ({"disabled_tools": [""]}, 422),
        ({"model_tier": "huge"}, 422),
        ({"instructions": "x" * 4001}, 422),
        ({"instructions": "a\u0000b"}, 422),
        ({"enabled": "yes"}, 422),
        ({"confirm_writes": None}, 422),
        ({"temperature": 1}, 422),
        ([], 422),
    ]
    for body, status in broken:
        reply = call(world, owner, "PUT", path, json=body)
        assert reply.status_code == status, (body, reply.text)
        assert reply.json()["error"] == ("validation_error" if status == 422 else "invalid")
    assert call(world, owner, "GET", path).json()["is_default"]


def test_only_agents_that_one_is_shown_have_tools_and_settings(running: Any, world: World) -> None:
    owner = world.person("thallus")
    colleague = world.person("thallus", organisation_id=owner.organisation_id, role="member")
    stranger = world.person("thallus")
    guide = shared(world, owner)
    diary = shared(world, owner, "Diary", visibility="private")
    assert {guide, diary} <= set(listed(world, owner))
    assert guide in listed(world, colleague)
    for who, names in (
        (colleague, [diary, "planner", "triage", "security_assistant", "nobody"]),
        (stranger, [guide, diary]),
    ):
        assert set(names).isdisjoint(listed(world, who))
        for name in names:
            for method, what, body in (("GET", "tools", None), ("GET", "settings", None), ("PUT", "settings", {})):
                reply = call(world, who, method, f"/agents/{name}/{what}", json=body)
                assert (reply.status_code, reply.json()["error"]) == (404, "not_found"), reply.text
    for name in ("Assistant", "a-b", "9", "x" * 65, "%2e%2e"):
        assert call(world, owner, "GET", f"/agents/{name}/tools").status_code in (404, 422)
    found = listed(world, owner, search="GUIDE depot")
    assert list(found) == [guide]
    assert listed(world, owner, search="%") == listed(world, owner, category="system") == {}
    assert set(listed(world, owner, category="data")) == {"data_analyst"}


# --- administrators ------------------------------------------------------------------------------


def test_each_tier_is_for_those_who_answer_for_it(running: Any, world: World) -> None:
    """Superadmin, administrator, user, read-only; here and in another organisation."""
    owner = world.person("thallus")
    here = {"organisation_id": owner.organisation_id}
    ada = world.person("thallus", role="member", **here)
    group = group_of(world, owner, ada.account_id)
    who = {
        "superadmin here": superadmin(world, role="member", **here),
        "administrator here": world.person("thallus", role="admin", **here),
        "user here": ada,
        "viewer here": world.person("thallus", role="viewer", **here),
        "superadmin elsewhere": superadmin(world),
        "administrator elsewhere": world.person("thallus"),
    }
    org, user = f"orgs/{owner.organisation_id}", f"users/{ada.account_id}"
    platform = [("GET", "platform/agents"), ("PUT", "platform/agents/document_analyst")]
    inside = [
        ("GET", f"{org}/agents"),
        ("PUT", f"{org}/agents/document_analyst"),
        ("GET", f"{org}/groups/{group}/agents"),
        ("PUT", f"{org}/groups/{group}/agents/document_analyst"),
        ("GET", f"{user}/agents"),
        ("PUT", f"{user}/agents/document_analyst"),
    ]
    own = [("GET", "user-overrides/list"), ("GET", "user-overrides/search?q=ada")]
    expected = {
        #                          platform, this organisation, one's own overrides
        "superadmin here": (200, 200, 200),
        "administrator here": (403, 200, 200),
        "user here": (403, 403, 403),
        "viewer here": (403, 403, 403),
        "superadmin elsewhere": (200, 404, 200),
        "administrator elsewhere": (403, 404, 200),
    }
    platform_as_it_was(world, "document_analyst")
    for name, statuses in expected.items():
        for operations, status in zip((platform, inside, own), statuses, strict=True):
            for method, path in operations:
                body = {"access": "allow"} if method == "PUT" else None
                reply = call(world, who[name], method, f"/admin/agents/{path}", json=body)
                assert reply.status_code == status, (name, method, path, reply.text)
                if status == 403:
                    assert reply.json()["error"] == "forbidden"
    elsewhere = who["administrator elsewhere"]
    for path in ("user-overrides/list", "user-overrides/search?q=ada%20lovelace"):
        told = call(world, elsewhere, "GET", f"/admin/agents/{path}").json()
        assert str(ada.account_id) not in str(told)
    assert call(world, elsewhere, "GET", "/admin/agents/user-overrides/list").json()["total"] == 0


def test_a_key_may_what_its_owner_may(running: Any, world: World) -> None:
    owner = world.person("thallus")
    member = world.person("thallus", organisation_id=owner.organisation_id, role="member")
    viewer = world.person("thallus", organisation_id=owner.organisation_id, role="viewer")
    for person, saved, managed in ((owner, 200, 200), (member, 200, 403), (viewer, 403, 403)):
        with world.acting(person) as ctx:
            key = identity.issue_api_key(ctx, "Program", ["full"], "thallus", account_id=person.account_id)[1]
        with httpx.Client(base_url=f"{world.url}{BASE}", headers={"X-API-Key": key}, timeout=30) as client:
            path = f"/admin/agents/users/{member.account_id}/agents"
            told = [
                client.get("/agents"),
                client.put("/agents/assistant/settings", json={"instructions": f"By {person.role}."}),
                client.get(path),
                client.put(f"{path}/writer", json={"access": "allow"}),
            ]
            assert [each.status_code for each in told] == [200, saved, managed, managed], person.role
        own = call(world, person, "GET", "/agents/assistant/settings").json()
        assert own["instructions"] == (f"By {person.role}." if saved == 200 else None)


def test_nothing_is_set_for_what_there_is_not(running: Any, world: World) -> None:
    owner, other = world.person("thallus"), world.person("thallus")
    org, user = f"orgs/{owner.organisation_id}", f"users/{owner.account_id}"
    group, theirs = group_of(world, owner), group_of(world, other)
    guide, diary = shared(world, other), shared(world, owner, "Diary", visibility="private")
    gone = world.person("thallus", organisation_id=owner.organisation_id, role="member")
    with world.acting(owner) as ctx:
        members.remove(ctx, gone.account_id)
    missing = [
        f"{base}/agents/{name}" for base in (org, f"{org}/groups/{group}", user) for name in (guide, diary, "no")
    ]
    missing += [
        f"orgs/{uuid4()}/agents/writer",
        f"orgs/{other.organisation_id}/agents/writer",
        f"{org}/groups/{theirs}/agents/writer",
        f"{org}/groups/{uuid4()}/agents/writer",
        f"orgs/{other.organisation_id}/groups/{group}/agents/writer",
        f"orgs/{other.organisation_id}/groups/{theirs}/agents/writer",
        f"users/{other.account_id}/agents/writer",
        f"users/{gone.account_id}/agents/writer",
        f"users/{uuid4()}/agents/writer",
    ]
    for path in missing:
        reply = call(world, owner, "PUT", f"/admin/agents/{path}", json={"access": "deny"})
        assert (reply.status_code, reply.json()["error"]) == (404, "not_found"), (path, reply.text)
        if path.endswith("/writer"):
            assert call(world, owner, "GET", f"/admin/agents/{path.removesuffix('/writer')}").status_code == 404
    boss = superadmin(world)
    for name in (guide, "no"):
        reply = call(world, boss, "PUT", f"/admin/agents/platform/agents/{name}", json={"access": "deny"})
        assert reply.status_code == 404, reply.text
    assert call(world, owner, "GET", "/admin/agents/user-overrides/list").json()["total"] == 0


@pytest.mark.parametrize(
    ("tier", "broken"),
    [
        ("platform", [{}, {"access": "inherit"}, {"access": None}, {"access": "allow", "max_iterations": 0}]),
        ("platform", [{"access": "allow", "timeout_seconds": 901}, {"access": "allow", "model_tier": None}]),
        ("organisation", [{}, {"access": "maybe"}, {"access": "deny", "reason": "no"}, {"access": "deny", "tier": 1}]),
        ("group", [{}, {"access": "maybe"}, {"access": "deny", "reason": "x" * 501}, {"access": ["deny"]}]),
        ("user", [{}, {"access": "DENY"}, {"access": "deny", "model_tier": "fast"}, {"access": "deny", "reason": 1}]),
    ],
)
def test_a_setting_that_breaks_the_contract_is_refused(
    running: Any, world: World, tier: str, broken: list[dict[str, Any]]
) -> None:
    owner = superadmin(world)
    org = f"orgs/{owner.organisation_id}"
    path = {
        "platform": "platform/agents/writer",
        "organisation": f"{org}/agents/writer",
        "group": f"{org}/groups/{group_of(world, owner)}/agents/writer",
        "user": f"users/{owner.account_id}/agents/writer",
    }[tier]
    for body in broken:
        reply = call(world, owner, "PUT", f"/admin/agents/{path}", json=body)
        assert (reply.status_code, reply.json()["error"]) == (422, "validation_error"), (body, reply.text)
    assert listed(world, owner, f"/admin/agents/users/{owner.account_id}/agents")["writer"]["effective"] == {
        "allowed": True,
        "decided_by": "default",
    }


def test_the_platform_sets_how_agents_run_and_gives_back_what_it_leaves_out(running: Any, world: World) -> None:
    boss, owner = superadmin(world), world.person("thallus")
    platform_as_it_was(world, "writer")
    path = "platform/agents/writer"
    before = listed(world, boss, "/admin/agents/platform/agents")["writer"]
    limits = {"access": "allow", "model_tier": "fast", "max_iterations": 3, "timeout_seconds": 60}
    changed = put(world, boss, path, **limits)
    assert changed.items() >= limits.items()
    assert (changed["updated_by"]["id"], changed["updated_at"] is None) == (str(boss.account_id), False)
    assert changed == listed(world, boss, "/admin/agents/platform/agents")["writer"]
    assert listed(world, owner)["writer"]["model_tier"] == "fast"
    org = f"orgs/{owner.organisation_id}/agents/writer"
    assert put(world, owner, org, access="inherit", model_tier="medium")["model_tier"] == "medium"
    assert listed(world, owner)["writer"]["model_tier"] == "medium"
    assert put(world, owner, org, access="inherit")["model_tier"] is None
    again = put(world, boss, path, access="allow")
    assert [again[name] for name in limits] == [before[name] for name in limits]
    assert listed(world, owner)["writer"]["model_tier"] == before["model_tier"] == "large"


def test_organisations_that_set_an_agent_themselves_are_counted_whoever_sets_it_at_once(
    running: Any, world: World
) -> None:
    boss, owner, other = superadmin(world), world.person("thallus"), world.person("thallus")

    def counted() -> int:
        found = listed(world, boss, "/admin/agents/platform/agents")
        return int(found["document_analyst"]["organization_overrides"])

    def act(who: Person, said: str) -> int:
        path = f"/admin/agents/orgs/{who.organisation_id}/agents/document_analyst"
        return call(world, who, "PUT", path, json={"access": said}).status_code

    before = counted()
    wanted = [(who, said) for who in (owner, other) for said in ("deny", "allow", "deny", "allow")]
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda each: act(*each), wanted)) == {200}
    assert counted() == before + 2
    for who in (owner, other, owner):
        assert act(who, "inherit") == 200
    assert counted() == before


def test_the_exceptions_of_single_users_are_listed_and_found(running: Any, world: World) -> None:
    owner = world.person("thallus", name="Grace Hopper")
    here = {"organisation_id": owner.organisation_id, "role": "member"}
    ada = world.person("thallus", name="Ada Lovelace", **here)
    alan = world.person("thallus", name="Alan 100% Turing", **here)
    group = group_of(world, owner, ada.account_id, name="Finance")
    put(world, owner, f"orgs/{owner.organisation_id}/groups/{group}/agents/writer", access="deny")
    put(world, owner, f"users/{ada.account_id}/agents/writer", access="allow", reason="She writes the report")
    put(world, owner, f"users/{ada.account_id}/agents/researcher", access="deny")
    put(world, owner, f"users/{alan.account_id}/agents/writer", access="deny")
    put(world, owner, f"users/{alan.account_id}/agents/researcher", access="inherit")

    def told(**query: Any) -> list[tuple[str, str, str]]:
        page = call(world, owner, "GET", "/admin/agents/user-overrides/list", params=query).json()
        assert page["total"] == len(page["items"])
        return [(o["user"]["name"], o["agent_name"], o["access"]) for o in page["items"]]

    assert told() == [
        ("Ada Lovelace", "researcher", "deny"),
        ("Ada Lovelace", "writer", "allow"),
        ("Alan 100% Turing", "writer", "deny"),
    ]
    assert told(agent_name="writer", access="deny") == [("Alan 100% Turing", "writer", "deny")]
    assert told(agent_name="nobody") == []
    pages = [
        call(world, owner, "GET", "/admin/agents/user-overrides/list", params={"limit": 1, "offset": n}).json()
        for n in range(4)
    ]
    assert [(len(page["items"]), page["total"]) for page in pages] == [(1, 3)] * 3 + [(0, 3)]
    first = pages[1]["items"][0]
    assert first["without"] == {"allowed": False, "decided_by": "group"}
    assert (first["reason"], first["updated_by"]["id"]) == ("She writes the report", str(owner.account_id))

    def found(words: str, **query: Any) -> dict[str, int]:
        reply = call(world, owner, "GET", "/admin/agents/user-overrides/search", params={"q": words, **query})
        assert reply.status_code == 200, reply.text
        assert all(o["override_count"] == len(o["overrides"]) for o in reply.json()["items"])
        return {o["user"]["name"]: o["override_count"] for o in reply.json()["items"]}

    assert found("LOVE") == {"Ada Lovelace": 2}
    assert found("lovelace", agent_name="writer") == {"Ada Lovelace": 1}
    assert found(owner.email) == {"Grace Hopper": 0}
    assert found("0%") == {"Alan 100% Turing": 1}
    assert found("%%") == found("__") == found("nobody at all") == {}
    assert list(found("person-")) == ["Ada Lovelace", "Alan 100% Turing", "Grace Hopper"]
    for broken in ({}, {"q": "a"}, {"q": "x" * 201}, {"q": "ada", "agent_name": "Not a name"}):
        reply = call(world, owner, "GET", "/admin/agents/user-overrides/search", params=broken)
        assert reply.status_code == 422, broken
    with world.acting(owner) as ctx:
        members.remove(ctx, alan.account_id)
    assert {name for name, _, _ in told()} == {"Ada Lovelace"}
    assert found("turing") == {}


def test_a_users_agents_show_every_group_and_what_each_says(running: Any, world: World) -> None:
    owner = world.person("thallus")
    ada = world.person("thallus", organisation_id=owner.organisation_id, role="member")
    named = {name: group_of(world, owner, ada.account_id, name=name) for name in ("Art", "Finance", "Zoo")}
    org = f"orgs/{owner.organisation_id}"
    put(world, owner, f"{org}/groups/{named['Zoo']}/agents/writer", access="deny")
    path = f"/admin/agents/users/{ada.account_id}/agents"

    def shown() -> tuple[list[tuple[str, str]], dict[str, Any]]:
        told = listed(world, owner, path)["writer"]
        return [(each["group_name"], each["access"]) for each in told["groups"]], told["effective"]

    said = [("Zoo", "deny"), ("Art", "inherit"), ("Finance", "inherit")]
    assert shown() == (said, {"allowed": False, "decided_by": "group"})
    assert "writer" in listed(world, owner, path, allowed="false")
    assert "writer" not in listed(world, owner, path, allowed="true")
    assert listed(world, owner, f"/admin/agents/{org}/agents", access="deny") == {}
    inside = f"/admin/agents/{org}/groups/{named['Zoo']}/agents"
    assert list(listed(world, owner, inside, access="deny")) == ["writer"]
    put(world, owner, f"{org}/groups/{named['Art']}/agents/writer", access="allow", reason="They write")
    assert shown()[1] == {"allowed": True, "decided_by": "group"}
    with world.acting(owner) as ctx:
        groups.remove_member(ctx, named["Art"], ada.account_id)
    assert shown() == ([("Zoo", "deny"), ("Finance", "inherit")], {"allowed": False, "decided_by": "group"})
    assert "writer" not in listed(world, ada)


def test_a_setting_leaves_what_it_was_and_why_in_the_trail(running: Any, world: World) -> None:
    owner = world.person("thallus")
    path = f"users/{owner.account_id}/agents/writer"
    put(world, owner, path, access="deny", reason="Finance only")
    put(world, owner, path, access="inherit")
    with world.platform(owner.organisation_id) as ctx:
        kept = [e for e in audit.find(ctx, page=CursorPage(100)).items if e.action == "agent.user_update"]
        told = [(e.resource_id, e.details["before"], e.details["access"], e.details.get("reason")) for e in kept]
    assert told == [("writer", "deny", "inherit", None), ("writer", "inherit", "deny", "Finance only")]


def test_a_task_that_waits_is_judged_when_it_begins(running: Any, world: World) -> None:
    """What is set holds from the next task on: one that waits in the queue has not begun."""
    owner = world.person("thallus")
    worker = running.processes["worker"].pid
    os.killpg(worker, signal.SIGSTOP)
    try:
        started = call(world, owner, "POST", "/chat/stream", json=CHAT).json()
        put(world, owner, f"orgs/{owner.organisation_id}/agents/assistant", access="deny")
    finally:
        os.killpg(worker, signal.SIGCONT)
    result = ended(world, owner, started["task_id"])
    assert (result["status"], result["response"], result["error"]["code"]) == ("failed", None, "refused")
