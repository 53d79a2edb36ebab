"""Bee Flow's agents, skills and Marketplace on the running platform: who sees, changes, publishes and copies what; what
tiers and rules refuse; and an agent that answers from its knowledge base."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from recipes import Person, World
from recipes.beeflow_agents import DRAFT, SHELF, agent, group_with, installed, named, offered, published
from recipes.beeflow_chat import said
from recipes.beeflow_knowledge import base

from domain import agents, identity
from domain.agents import access

NOBODY = str(UUID(int=7))
LEAVE = b"# Leave\n\nEvery employee of the Lyon depot has thirty-one days of paid leave in a calendar year.\n"
QUESTION = "How many days of paid leave does an employee have?"


def ask(world: World, who: Person | None, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {} if who is None else who.headers()
    return httpx.request(
        method, f"{world.url}/beeflow/api{path}", headers=headers | more.pop("headers", {}), timeout=60, **more
    )


def told(reply: httpx.Response) -> tuple[int, str]:
    """Status and stable word of a refusal, whose body is the surface's envelope."""
    body = reply.json()
    assert set(body) == {"error", "message", "details", "requestId"}, body
    assert body["requestId"] == reply.headers["x-correlation-id"]
    return reply.status_code, body["error"]


def colleague(world: World, who: Person, role: str = "member") -> Person:
    return world.person("beeflow", organisation_id=who.organisation_id, role=role)


def ids(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [each["id"] for each in reply.json()["items"]]


# --- a life ----------------------------------------------------------------------------------------------------


def test_an_agent_is_made_changed_published_copied_and_deleted(running: Any, world: World) -> None:
    who, other = world.person("beeflow"), world.person("beeflow")
    name = named("Contract desk")
    made = ask(world, who, "POST", "/agents", json={"name": name, **DRAFT})
    assert made.status_code == 201, made.text
    first = made.json()
    assert (first["visibility"], first["tools"], first["guardrails"]) == (
        "private",
        [],
        {"dlpMode": None, "dlpFailureMode": None, "privacyShield": None},
    )
    path = f"/agents/{first['id']}"
    read = ask(world, who, "GET", path)
    assert read.json() == first
    assert ask(world, who, "GET", path, headers={"If-None-Match": read.headers["etag"]}).status_code == 304
    changed = ask(world, who, "PATCH", path, json={"starterPrompts": ["One?"], "temperature": 0.2}).json()
    assert (changed["starterPrompts"], changed["temperature"], changed["name"]) == (["One?"], 0.2, name)
    assert changed["updatedAt"] > first["updatedAt"]
    assert ask(world, who, "GET", path, headers={"If-None-Match": read.headers["etag"]}).status_code == 200
    assert ask(world, other, "GET", path).status_code == 404

    for version in (1, 2):
        stands = ask(world, who, "POST", f"{path}/publish", json=SHELF).json()["publication"]
        assert stands["version"] == version
    public = ask(world, other, "GET", path).json()
    assert (public["instructions"], public["canEdit"], public["knowledgeBaseIds"]) == (None, False, [])
    assert public["owner"]["id"] == str(who.organisation_id)
    assert ask(world, other, "GET", f"{path}/tools").status_code == 404
    copy = ask(world, other, "POST", f"{path}/duplicate")
    assert copy.status_code == 201, copy.text
    mine = copy.json()
    assert (mine["name"], mine["copiedFrom"], mine["instructions"]) == (f"{name} (copy)", first["id"], None)
    assert ask(world, other, "GET", f"/agents/{mine['id']}/tools").json()["tools"] == []
    [shown] = ask(world, None, "GET", "/marketplace/agents", params={"q": name}).json()["items"]
    assert (shown["version"], shown["copies"], shown["publisher"]["verified"]) == (2, 1, False)
    assert "instructions" not in shown

    assert ask(world, who, "DELETE", path).status_code == 204
    for method, rest in (("GET", ""), ("DELETE", ""), ("GET", "/tools"), ("POST", "/duplicate")):
        assert told(ask(world, who, method, path + rest)) == (404, "not_found"), (method, rest)
    assert ids(ask(world, None, "GET", "/marketplace/agents", params={"q": name})) == []
    assert ask(world, other, "GET", f"/agents/{mine['id']}").status_code == 200


def test_changes_at_the_same_time_are_all_kept(running: Any, world: World) -> None:
    who = world.person("beeflow")
    made = agent(world, who)
    changes: list[dict[str, Any]] = [
        {"name": "Changed"},
        {"welcomeMessage": "Hello"},
        {"temperature": 1.5},
        {"tools": ["calculator"]},
        {"maxOutputTokens": 7},
    ]
    with ThreadPoolExecutor(5) as pool:
        replies = list(pool.map(lambda each: ask(world, who, "PATCH", f"/agents/{made}", json=each), changes))
    assert [reply.status_code for reply in replies] == [200] * 5
    now = ask(world, who, "GET", f"/agents/{made}").json()
    for each in changes:
        assert {name: now[name] for name in each} == each
    with world.acting(who) as ctx:
        assert [each.number for each in agents.list_versions(ctx, UUID(made))] == [6, 5, 4, 3, 2, 1]


# --- who may ------------------------------------------------------------------------------------------------------


def test_visibility_decides_who_sees_and_ownership_who_changes(running: Any, world: World) -> None:
    """Rows: how an agent is shared. Columns: who looks. Cells: whether they read it and whether they change it."""
    admin = world.person("beeflow")
    owner, fellow, other = colleague(world, admin), colleague(world, admin), colleague(world, admin)
    viewer, stranger = colleague(world, admin, "viewer"), world.person("beeflow")
    group = group_with(world, admin, owner, fellow)
    people = {"owner": owner, "fellow": fellow, "other": other, "viewer": viewer, "admin": admin, "stranger": stranger}
    shared: dict[str, dict[str, Any]] = {
        "private": {},
        "group": {"visibility": "group", "groupIds": [group]},
        "organisation": {"visibility": "organisation"},
    }
    table = {
        "private": {"owner": (200, 200), "admin": (200, 200)},
        "group": {"owner": (200, 200), "fellow": (200, 403), "admin": (200, 200)},
        "organisation": {
            "owner": (200, 200),
            "fellow": (200, 403),
            "other": (200, 403),
            "viewer": (200, 403),
            "admin": (200, 200),
        },
        "marketplace": {
            "owner": (200, 200),
            "fellow": (200, 404),
            "other": (200, 404),
            "viewer": (200, 403),
            "admin": (200, 200),
            "stranger": (200, 404),
        },
    }
    for how, cells in table.items():
        made = agent(world, owner, **shared.get(how, {}))
        if how == "marketplace":
            assert ask(world, owner, "POST", f"/agents/{made}/publish", json=SHELF).status_code == 200
        for name, person in people.items():
            reads, writes = cells.get(name, (404, 403 if name == "viewer" else 404))
            read = ask(world, person, "GET", f"/agents/{made}")
            assert read.status_code == reads, (how, name, read.text)
            if reads == 200:
                assert read.json()["canEdit"] is (writes == 200), (how, name)
            for method, rest, more in (
                ("PATCH", "", {"json": {"description": "Changed."}}),
                ("DELETE", "", {}),
            ):
                if method == "DELETE" and writes == 200:
                    continue
                wrote = ask(world, person, method, f"/agents/{made}{rest}", **more)
                assert wrote.status_code == writes, (how, name, method, wrote.text)
            talks = reads == 200 and (how != "marketplace" or writes == 200)
            assert (made in ids(ask(world, person, "GET", "/agents", params={"limit": 100}))) is talks, (how, name)


def test_only_its_owner_publishes_and_never_a_secret_of_another(running: Any, world: World) -> None:
    admin = world.person("beeflow")
    owner, other = colleague(world, admin), colleague(world, admin)
    made = agent(world, owner, visibility="organisation")
    for person in (admin, other):
        assert told(ask(world, person, "POST", f"/agents/{made}/publish", json=SHELF)) == (403, "forbidden")
    secret = published(world, world.person("beeflow"))
    copy = ask(world, owner, "POST", f"/agents/{secret}/duplicate", json={"name": "Mine"}).json()
    assert copy["description"] == DRAFT["description"]
    refused = ask(world, owner, "POST", f"/agents/{copy['id']}/publish", json=SHELF)
    assert told(refused) == (403, "forbidden")
    ours = str(agents.builtin.agents()["policy_desk"].id)
    for method, rest, more in (
        ("PATCH", "", {"json": {"name": "Mine"}}),
        ("DELETE", "", {}),
        ("POST", "/publish", {"json": SHELF}),
    ):
        assert told(ask(world, admin, method, f"/agents/{ours}{rest}", **more)) == (403, "forbidden"), method


def test_what_comes_with_the_platform_is_there_for_everybody_to_read_and_copy(running: Any, world: World) -> None:
    who = world.person("beeflow")
    listed = ask(world, who, "GET", "/agents").json()
    names = [each["name"] for each in listed["items"]]
    assert (names, listed["total"]) == (sorted(names), len(names))
    assert {"Assistant", "Policy desk", "Contract reader"} <= set(names)
    assert {"Planner", "Security assistant", "Triage"}.isdisjoint(names)
    assert {each["owner"]["displayName"] for each in listed["items"]} == {"Bee Flow"}
    desk = next(each for each in listed["items"] if each["name"] == "Policy desk")
    assert (desk["canEdit"], desk["visibility"], desk["publication"]["category"]) == (False, "organisation", "hr")
    copy = ask(world, who, "POST", f"/agents/{desk['id']}/duplicate", json={"name": "Our desk"}).json()
    assert copy["instructions"].startswith("You answer questions about the organisation's rules")
    assert (copy["canEdit"], copy["copiedFrom"], copy["tools"]) == (
        True,
        desk["id"],
        ["search_documents", "current_time"],
    )
    planner = agents.builtin.agents()["planner"].id
    assert told(ask(world, who, "GET", f"/agents/{planner}")) == (404, "not_found")
    assert told(ask(world, who, "POST", f"/agents/{planner}/duplicate")) == (404, "not_found")


def test_an_agent_that_is_denied_is_neither_listed_nor_equipped(running: Any, world: World) -> None:
    admin = world.person("beeflow")
    member = colleague(world, admin)
    made = agent(world, admin, visibility="organisation")
    with world.acting(admin) as ctx:
        access.set_user_agent(ctx, member.account_id, agents.get_agent(ctx, UUID(made)).key, access="deny")
    assert made not in ids(ask(world, member, "GET", "/agents"))
    assert told(ask(world, member, "GET", f"/agents/{made}/tools")) == (403, "agent_denied")
    assert made in ids(ask(world, admin, "GET", "/agents"))


def test_a_key_that_only_reads_changes_nothing(running: Any, world: World) -> None:
    who = world.person("beeflow")
    made = agent(world, who)
    reply = ask(world, who, "POST", "/api-keys", json={"name": "reader", "scope": "read-only"})
    assert reply.status_code == 201, reply.text
    secret = next(value for value in reply.json().values() if str(value).startswith("bfk_") and len(value) > 20)
    key = {"headers": {"Authorization": f"Bearer {secret}"}}
    assert ask(world, None, "GET", f"/agents/{made}", **key).status_code == 200
    for method, path, more in (
        ("POST", "/agents", {"json": {"name": "x", "instructions": "y"}}),
        ("PATCH", f"/agents/{made}", {"json": {"name": "x"}}),
        ("DELETE", f"/agents/{made}", {}),
        ("POST", f"/agents/{made}/publish", {"json": SHELF}),
        ("POST", f"/agents/{made}/duplicate", {}),
        ("POST", "/skills", {"json": {"marketplaceId": NOBODY, "permissions": []}}),
    ):
        refused = ask(world, None, method, path, headers=dict(key["headers"]), **more)
        assert told(refused)[0] == 403, (method, path, refused.text)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"name": "   "}, (400, "validation_failed")),
        ({"name": "n" * 121}, (400, "validation_failed")),
        ({"instructions": "i" * 32_001}, (400, "validation_failed")),
        ({"starterPrompts": ["?"] * 5}, (400, "validation_failed")),
        ({"temperature": 2.01}, (400, "validation_failed")),
        ({"visibility": "public"}, (400, "validation_failed")),
        ({"visibility": "group"}, (400, "validation_failed")),
        ({"visibility": "group", "groupIds": []}, (400, "validation_failed")),
        ({"ownerId": NOBODY}, (400, "validation_failed")),
        ({"guardrails": {"dlpMode": "off"}}, (400, "validation_failed")),
        ({"tools": ["Not A Tool"]}, (400, "validation_failed")),
        ({"instructions": "a\u0000b"}, (400, "validation_failed")),
        ({"visibility": "group", "groupIds": [NOBODY]}, (422, "unprocessable")),
        ({"knowledgeBaseIds": [NOBODY]}, (422, "unprocessable")),
        ({"skillIds": [NOBODY]}, (422, "unprocessable")),
        ({"tools": ["no_such_tool"]}, (422, "unprocessable")),
        ({"tools": ["suspend_user"]}, (422, "unprocessable")),
        ({"model": "gpt-99"}, (422, "unprocessable")),
        ({"avatarUrl": "javascript:alert(1)"}, (422, "unprocessable")),
    ],
)
def test_a_definition_that_does_not_hold_is_refused(
    running: Any, world: World, wrong: dict[str, Any], refusal: tuple[int, str]
) -> None:
    who = world.person("beeflow")
    made = agent(world, who)
    before = ask(world, who, "GET", f"/agents/{made}").json()
    assert told(ask(world, who, "POST", "/agents", json={"name": "X", "instructions": "Y", **wrong})) == refusal
    assert told(ask(world, who, "PATCH", f"/agents/{made}", json=wrong)) == refusal
    assert ask(world, who, "GET", f"/agents/{made}").json() == before
    assert ask(world, who, "GET", "/agents", params={"mine": "true"}).json()["total"] == 1


def test_what_belongs_to_others_cannot_be_named(running: Any, world: World) -> None:
    """A knowledge base, skill or group of somebody else is as good as none, in the organisation and beyond."""
    admin = world.person("beeflow")
    one, two, stranger = colleague(world, admin), colleague(world, admin), world.person("beeflow")
    theirs: dict[str, str] = {
        "knowledgeBaseIds": base(world, one),
        "skillIds": installed(world, one),
        "groupIds": group_with(world, admin, one),
    }
    for field, value in theirs.items():
        for person in (two, stranger):
            more = {"visibility": "group"} if field == "groupIds" else {}
            refused = ask(world, person, "POST", "/agents", json={"name": "X", **DRAFT, field: [value], **more})
            assert told(refused) == (422, "unprocessable"), field
            assert refused.json()["details"]["field"] == field
    mine = agent(world, one, visibility="group", **{field: [value] for field, value in theirs.items()})
    kept = ask(world, admin, "PATCH", f"/agents/{mine}", json={"name": "Renamed", "skillIds": [theirs["skillIds"]]})
    assert kept.status_code == 200, kept.text
    assert kept.json()["skillIds"] == [theirs["skillIds"]]
    copy = ask(world, admin, "POST", f"/agents/{mine}/duplicate").json()
    assert (copy["knowledgeBaseIds"], copy["skillIds"], copy["groupIds"]) == ([], [], [])


def test_tiers_have_room_for_so_many_agents_and_sell_skills_and_the_check(running: Any, world: World) -> None:
    who = world.person("beeflow", plan="community")
    first = agent(world, who)
    agent(world, who)
    for path, more in (
        ("/agents", {"json": {"name": "Third", **DRAFT}}),
        (f"/agents/{first}/duplicate", {}),
        (f"/agents/{agents.builtin.agents()['policy_desk'].id}/duplicate", {}),
    ):
        full = ask(world, who, "POST", path, **more)
        assert told(full) == (402, "tier_limit"), path
        assert full.json()["details"] == {"limit": "agents", "allowed": "2", "used": "2"}
    assert ask(world, who, "DELETE", f"/agents/{first}").status_code == 204
    made = agent(world, who)
    for guardrails in ({"dlpMode": "block"}, {"dlpFailureMode": "fail_open"}):
        refused = ask(world, who, "PATCH", f"/agents/{made}", json={"guardrails": guardrails})
        assert told(refused) == (403, "license_feature_required")
        assert {"feature": "dlp", "required_tier": "enterprise"}.items() <= refused.json()["details"].items()
    shield = {"dlpMode": "ask", "privacyShield": "strict"}
    assert ask(world, who, "PATCH", f"/agents/{made}", json={"guardrails": shield}).status_code == 200
    wanted = {"marketplaceId": offered(world, "Meeting minutes")["id"], "permissions": []}
    for method, path, more in (
        ("GET", "/skills", {}),
        ("POST", "/skills", {"json": wanted}),
        ("DELETE", f"/skills/{NOBODY}", {}),
    ):
        assert told(ask(world, who, method, path, **more)) == (403, "license_feature_required"), method
    world.subscribe(who.organisation_id, "beeflow", "pro")
    assert ask(world, who, "POST", "/skills", json=wanted).status_code == 201


def test_the_same_key_makes_one_agent_and_refuses_another(running: Any, world: World) -> None:
    who = world.person("beeflow")
    key = {"Idempotency-Key": str(uuid4())}
    body = {"name": "Once", **DRAFT}
    first, again = (ask(world, who, "POST", "/agents", json=body, headers=dict(key)) for _ in range(2))
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert first.headers["location"] == again.headers["location"]
    other = ask(world, who, "POST", "/agents", json={**body, "name": "Twice"}, headers=dict(key))
    assert other.status_code == 422
    assert ask(world, who, "GET", "/agents", params={"mine": "true"}).json()["total"] == 1


def test_what_is_deleted_is_gone_from_every_agent(running: Any, world: World) -> None:
    admin = world.person("beeflow")
    base_id, other, skill = base(world, admin), base(world, admin), installed(world, admin)
    groups = [group_with(world, admin, admin), group_with(world, admin)]
    named_all = {"knowledgeBaseIds": [base_id, other], "skillIds": [skill], "visibility": "group", "groupIds": groups}
    made = agent(world, admin, **named_all)
    for path in (f"/knowledge/{base_id}", f"/skills/{skill}", f"/organisation/groups/{groups[0]}"):
        assert ask(world, admin, "DELETE", path).status_code == 204, path
    now = ask(world, admin, "GET", f"/agents/{made}").json()
    assert (now["knowledgeBaseIds"], now["skillIds"], now["groupIds"]) == ([other], [], [groups[1]])
    sent_back = {name: now[name] for name in ("knowledgeBaseIds", "skillIds", "groupIds", "visibility")}
    assert ask(world, admin, "PATCH", f"/agents/{made}", json=sent_back).status_code == 200


# --- lists -----------------------------------------------------------------------------------------------------------


def test_agents_are_found_by_their_words_and_pages_leave_no_gap(running: Any, world: World) -> None:
    admin = world.person("beeflow")
    member = colleague(world, admin)
    mine = [agent(world, member, name=f"Desk {number}") for number in range(3)]
    theirs = agent(world, admin, name="100% _shared_", description="For \\ everybody", visibility="organisation")
    hidden = agent(world, admin, name="Hidden desk")
    everything = ids(ask(world, member, "GET", "/agents", params={"limit": 100}))
    assert everything[:4] == [theirs, *reversed(mine)]
    assert hidden not in everything
    paged = [
        i for at in range(0, len(everything), 3) for i in ids(ask(world, member, "GET", f"/agents?limit=3&offset={at}"))
    ]
    assert paged == everything
    for query, expected in (
        ({"q": "desk", "mine": "true"}, [*reversed(mine)]),
        ({"mine": "false", "q": "shared"}, [theirs]),
        ({"q": "100%"}, [theirs]),
        ({"q": "\\"}, [theirs]),
        ({"q": "_"}, [theirs]),
        ({"q": "1 desk"}, [mine[1]]),
        ({"visibility": "private"}, [*reversed(mine)]),
        ({"visibility": "group"}, []),
        ({"q": "'; DROP TABLE agent; --"}, []),
    ):
        assert ids(ask(world, member, "GET", "/agents", params=query)) == expected, query
    # the words of a page are those of the contract
    assert told(ask(world, member, "GET", "/agents", params={"limit": 0})) == (400, "validation_failed")
    assert told(ask(world, member, "GET", "/agents", params={"visibility": "public"})) == (400, "validation_failed")


def test_anybody_browses_the_marketplace_and_learns_no_secret(running: Any, world: World) -> None:
    publisher = world.person("beeflow")
    mark = named("Mark")
    secret = "The recipe is forty-two grams."
    made = published(world, publisher, {"category": "sales", "tags": ["grams"]}, name=mark, instructions=secret)
    base_id = base(world, publisher, name=mark, visibility="public", description="Grams", language="fr-CA")
    base(world, publisher, name=f"{mark} hidden", visibility="organisation")
    for path, expected in (("agents", made), ("knowledge", base_id)):
        reply = ask(world, None, "GET", f"/marketplace/{path}", params={"q": mark})
        assert ids(reply) == [expected]
        for word in (secret, str(publisher.account_id), publisher.email):
            assert word not in reply.text, path
    assert ids(ask(world, None, "GET", "/marketplace/knowledge", params={"q": mark, "language": "fr"})) == [base_id]
    assert ids(ask(world, None, "GET", "/marketplace/knowledge", params={"q": mark, "language": "de"})) == []
    assert ids(ask(world, None, "GET", "/marketplace/agents", params={"q": mark, "category": "legal"})) == []
    for path in ("agents", "knowledge", "skills"):
        for query in ({"sort": "cheapest"}, {"limit": 101}, {"offset": -1}):
            refused = ask(world, None, "GET", f"/marketplace/{path}", params=query)
            assert told(refused) == (400, "validation_failed"), (path, query)
        names = [each["name"] for each in ask(world, None, "GET", f"/marketplace/{path}?sort=name").json()["items"]]
        assert names == sorted(names, key=str.lower), path
    first = ask(world, None, "GET", "/marketplace/skills")
    assert (
        ask(world, None, "GET", "/marketplace/skills", headers={"If-None-Match": first.headers["etag"]}).status_code
        == 304
    )
    assert ask(world, publisher, "PATCH", f"/knowledge/{base_id}", json={"visibility": "private"}).status_code == 200
    assert ids(ask(world, None, "GET", "/marketplace/knowledge", params={"q": mark})) == []
    with world.platform(publisher.organisation_id) as ctx:
        identity.close_organisation(ctx)
    assert ids(ask(world, None, "GET", "/marketplace/agents", params={"q": mark})) == []


# --- skills ----------------------------------------------------------------------------------------------------------


def test_a_skill_is_installed_given_to_an_agent_and_taken_out_again(running: Any, world: World) -> None:
    admin = world.person("beeflow")
    member, other, stranger = colleague(world, admin), colleague(world, admin), world.person("beeflow")
    wanted = offered(world, "Number checker")
    body = {"marketplaceId": wanted["id"], "permissions": wanted["permissions"], "settings": {"currency": "EUR"}}
    made = ask(world, member, "POST", "/skills", json=body)
    assert made.status_code == 201, made.text
    skill = made.json()["id"]
    assert told(ask(world, member, "POST", "/skills", json=body)) == (409, "duplicate")
    assert ids(ask(world, member, "GET", "/skills")) == [skill]
    assert ids(ask(world, other, "GET", "/skills")) == []
    desk = agent(world, member, skillIds=[skill], visibility="organisation")
    [listed] = ask(world, member, "GET", "/skills").json()["items"]
    assert (listed["agentCount"], listed["settings"]) == (1, {"currency": "EUR"})
    [tool] = ask(world, other, "GET", f"/agents/{desk}/tools").json()["tools"]
    assert (tool["name"], tool["source"], tool["sourceId"], tool["available"]) == ("calculator", "skill", skill, True)
    for person in (other, admin, stranger):
        assert told(ask(world, person, "DELETE", f"/skills/{skill}")) == (404, "not_found")
    assert ask(world, member, "DELETE", f"/skills/{skill}").status_code == 204
    assert told(ask(world, member, "DELETE", f"/skills/{skill}")) == (404, "not_found")
    assert ask(world, member, "GET", f"/agents/{desk}").json()["skillIds"] == []
    assert ask(world, other, "GET", f"/agents/{desk}/tools").json()["tools"] == []

    shared = body | {"visibility": "organisation"}
    assert told(ask(world, member, "POST", "/skills", json=shared)) == (403, "forbidden")
    common = ask(world, admin, "POST", "/skills", json=shared).json()["id"]
    assert ids(ask(world, other, "GET", "/skills")) == [common]
    assert told(ask(world, other, "DELETE", f"/skills/{common}")) == (403, "forbidden")
    assert told(ask(world, stranger, "DELETE", f"/skills/{common}")) == (404, "not_found")
    before = offered(world, "Number checker")["installs"]
    assert ask(world, admin, "DELETE", f"/skills/{common}").status_code == 204
    assert offered(world, "Number checker")["installs"] == before - 1


@pytest.mark.parametrize(
    ("more", "refusal"),
    [
        ({"version": "9.9.9"}, (404, "not_found")),
        ({"permissions": ["web_access", "mail_send"]}, (422, "unprocessable")),
        ({"settings": {"colour": "red"}}, (422, "unprocessable")),
        ({"version": "latest"}, (400, "validation_failed")),
        ({"permissions": ["everything"]}, (400, "validation_failed")),
        ({"visibility": "public"}, (400, "validation_failed")),
    ],
)
def test_a_skill_that_cannot_be_installed_is_refused(
    running: Any, world: World, more: dict[str, Any], refusal: tuple[int, str]
) -> None:
    who = world.person("beeflow")
    body = {"marketplaceId": offered(world, "Web reader")["id"], "permissions": ["web_access"], **more}
    assert told(ask(world, who, "POST", "/skills", json=body)) == refusal
    assert ids(ask(world, who, "GET", "/skills")) == []


# --- answers ---------------------------------------------------------------------------------------------------------


def test_an_agent_answers_from_a_public_knowledge_base_of_another_organisation(reading: Any, world: World) -> None:
    publisher, reader = world.person("beeflow"), world.person("beeflow")
    base_id = base(world, publisher, name=named("Leave"), visibility="public")
    files = {"file": ("leave.md", LEAVE, "text/markdown")}
    assert ask(world, publisher, "POST", f"/knowledge/{base_id}/documents", files=files).status_code == 202
    end = time.monotonic() + 60
    while ask(world, publisher, "GET", f"/knowledge/{base_id}").json()["status"] != "ready":
        assert time.monotonic() < end
        time.sleep(0.2)
    shown = ask(world, reader, "GET", f"/knowledge/{base_id}").json()
    assert (shown["canEdit"], shown["owner"]["id"], shown["documentCount"]) == (
        False,
        str(publisher.organisation_id),
        1,
    )
    found = ask(world, reader, "POST", f"/knowledge/{base_id}/search", json={"query": QUESTION}).json()
    assert "thirty-one days" in found["items"][0]["text"]
    assert ask(world, reader, "GET", f"/knowledge/{base_id}/documents").status_code == 404
    assert ask(world, reader, "PATCH", f"/knowledge/{base_id}", json={"name": "Mine"}).status_code == 404
    desk = agent(world, reader, knowledgeBaseIds=[base_id])
    heard = said(world, reader, QUESTION, agentId=desk)
    assert heard.last[0] == "done", heard.events
    assert "thirty-one days" in heard.text
    assert "thirty-one days" in next(data for _, name, data in heard.events if name == "citation")["snippet"]
    assert ask(world, publisher, "PATCH", f"/knowledge/{base_id}", json={"visibility": "private"}).status_code == 200
    assert ask(world, reader, "GET", f"/knowledge/{base_id}").status_code == 404
    assert "thirty-one" not in said(world, reader, QUESTION, agentId=desk).text
