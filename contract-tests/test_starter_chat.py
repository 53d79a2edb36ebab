"""Starter's agents on the running platform: ask, watch, read and search what was said, delete it; what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from recipes import Person, World
from recipes.aside import Aside, soon
from recipes.starter_chat import QUESTION, said, told
from recipes.starter_identity import machine_token
from recipes.starter_vector_stores import attached, store, stored

from domain import agents, billing, conversations, inference, memory
from domain.inference.models import ModelSetting
from domain.kernel.context import SystemActor
from thalweg.contract import clients, project, tools
from thalweg.embedded.valkey import Valkey

PROJECT = project.find(Path(__file__).resolve().parent.parent)
BASE = "/starter/api/v1"
RULES = b"""# Leave

Whoever leaves the company gives notice three months ahead, in writing.

# Travel

Trains are booked by the office on the ground floor. A hotel costs at most 140 euros a night.
"""
NOTICE = "How many months ahead does somebody who leaves give notice?"
CODE = "Write a function in Python that adds two numbers."
NOWHERE = "01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21"


def call(world: World, who: Person | None, method: str, path: str, **more: Any) -> httpx.Response:
    headers = ({} if who is None else who.headers()) | more.pop("headers", {})
    return httpx.request(method, f"{world.url}{BASE}{path}", headers=headers, timeout=60, **more)


def chat(world: World, who: Person, message: str = QUESTION, headers: Any = None, **more: Any) -> httpx.Response:
    return call(world, who, "POST", "/chat", json={"message": message, **more}, headers=headers or {})


def stream(world: World, who: Person, message: str = QUESTION, headers: Any = None, **more: Any) -> httpx.Response:
    return call(world, who, "POST", "/chat/stream", json={"message": message, **more}, headers=headers or {})


def events(world: World, who: Person, message: str = QUESTION, **more: Any) -> list[dict[str, Any]]:
    """What a stream shows, held against what every stream keeps."""
    reply = stream(world, who, message, **more)
    assert (reply.status_code, reply.headers["content-type"].partition(";")[0]) == (200, "text/event-stream"), (
        reply.text
    )
    return kept(told(reply.text))


def kept(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    assert [each["sequence_number"] for each in shown] == list(range(1, len(shown) + 1))
    assert [each["is_terminal"] for each in shown] == [False] * (len(shown) - 1) + [True]
    assert shown[-1]["kind"] in ("usage", "error")
    assert len({each["conversation_id"] for each in shown}) == 1
    return shown


def code(reply: httpx.Response) -> tuple[int, str]:
    body = reply.json()
    assert body["success"] is False
    assert body["error"] == body["message"] == body["detail"]
    return reply.status_code, body["details"]["code"]


def listed(world: World, who: Person, **query: Any) -> list[str]:
    reply = call(world, who, "GET", "/conversations", params=query)
    assert reply.status_code == 200, reply.text
    return [each["conversation_id"] for each in reply.json()["items"]]


def member(world: World, owner: Person, role: str, **more: Any) -> Person:
    return world.person("starter", organisation_id=owner.organisation_id, role=role, **more)


# --- answers ---------------------------------------------------------------------------------------------------


def test_an_answer_cites_a_file_of_a_vector_store(reading: Any, world: World) -> None:
    who = world.person("starter")
    store_id, file_id = store(world, who), stored(world, who, RULES, "rules.md", "text/markdown")
    attached(world, who, store_id, file_id)
    path = f"/vector-stores/{store_id}/files/{file_id}"
    soon(lambda: call(world, who, "GET", path).json()["status"] == "completed", 90)
    answer = said(world, who, NOTICE)
    assert "three months ahead" in answer["response"]
    (cited,) = answer["metadata"]["citations"]
    assert (cited["type"], cited["file_id"], cited["filename"]) == ("file_citation", file_id, "rules.md")
    assert f"[{cited['index']}]" in answer["response"]
    assert "three months ahead" in cited["quote"]
    assert answer["metadata"]["usage"]["requests"] == 2
    assert answer["metadata"]["tool_calls"] == 1

    shown = events(world, who, NOTICE)
    (message,) = [each for each in shown if each.get("run_item_name") == "message_output_created"]
    assert message["payload"]["citations"] == answer["metadata"]["citations"]
    assert message["response_text"] == shown[-1]["response_text"] == answer["response"]
    (asked, came) = [each for each in shown if each["kind"] == "run_item" and each["tool_name"] == "search_documents"]
    assert (asked["run_item_type"], came["run_item_type"]) == ("tool_call_item", "tool_call_output_item")
    assert NOTICE[:20] in asked["payload"]["query"]
    assert came["payload"]["titles"] == ["rules.md"]

    viewer, stranger = member(world, who, "member"), world.person("starter")
    assert "three months ahead" in said(world, viewer, NOTICE)["response"]
    assert said(world, stranger, NOTICE)["metadata"]["citations"] == []
    assert call(world, who, "DELETE", path).status_code == 204
    assert said(world, who, NOTICE)["metadata"]["citations"] == []


def test_agents_search_what_the_whole_tenant_may_see_and_nothing_of_the_asker_alone(reading: Any, world: World) -> None:
    who = world.person("starter")
    world.subscribe(who.organisation_id, "thallus")
    elsewhere = world.again(replace(who, surface="thallus"))

    def thallus(method: str, path: str, **more: Any) -> Any:
        url = f"{world.url}/thallus/api/v1{path}"
        reply = httpx.request(method, url, headers=elsewhere.headers(), timeout=60, **more)
        assert reply.is_success, reply.text
        return reply.json()

    made = thallus("POST", "/documents/upload", files={"file": ("rules.md", RULES, "text/markdown")})
    soon(lambda: thallus("GET", f"/documents/{made['id']}/status")["status"] == "completed")
    question = {"message": NOTICE, "mode": "ask"}
    assert [each["document_id"] for each in thallus("POST", "/chat", json=question)["citations"]] == [made["id"]]
    answer = said(world, who, NOTICE)
    assert answer["metadata"]["citations"] == []
    assert "three months" not in answer["response"]


def test_nothing_personal_is_remembered_or_told_where_others_read(running: Any, world: World) -> None:
    who = world.person("starter")
    with world.acting(who) as ctx:
        text = "My cat is called Nero."
        (vector,) = inference.drivers().embedder.embed([text])
        memory.draw(ctx, who.account_id, uuid4(), [memory.Drawn(text, "FACTS", 0.9, vector=vector)])
    answer = said(world, who, "What is my cat called?")
    assert "Nero" not in answer["response"]
    assert answer["metadata"]["citations"] == []


def test_frames_hold_data_only_and_say_everything_in_order(running: Any, world: World) -> None:
    who = world.person("starter")
    shown = events(world, who, "What is 12 times 12? 12*12")
    assert {each["agent_used"] for each in shown} == {"triage"}
    points = [each["event"] for each in shown if each["kind"] == "lifecycle"]
    assert (points[0], points[1], points[-1]) == ("run_started", "agent_start", "agent_end")
    assert points.count("llm_start") == points.count("llm_end") > 0
    words = "".join(each["text_delta"] for each in shown if each["kind"] == "raw_response")
    assert shown[-1]["response_text"] == words
    spent = shown[-1]["payload"]
    assert spent["total_tokens"] == spent["input_tokens"] + spent["output_tokens"]
    assert (shown[-1]["structured_output"], shown[-1]["attachments"]) == (None, [])


def test_a_sum_is_a_tool_call_that_the_stream_and_the_conversation_show_alike(running: Any, world: World) -> None:
    who = world.person("starter")
    shown = events(world, who, "12*12", agent_type="data_analyst")
    called = [each for each in shown if each["kind"] == "run_item" and each["tool_name"] == "calculator"]
    assert [each["run_item_name"] for each in called] == ["tool_called", "tool_output"]
    assert "144" in shown[-1]["response_text"]
    points = [each["event"] for each in shown if each["kind"] == "lifecycle" and each["tool_name"] == "calculator"]
    assert points == ["tool_start", "tool_end"]
    path = f"/conversations/{shown[0]['conversation_id']}/events"
    items = call(world, who, "GET", path).json()["items"]
    assert [each["run_item_type"] for each in items] == [
        "user_message_item",
        "tool_call_item",
        "tool_call_output_item",
        "message_output_item",
    ]
    assert [each["sequence_no"] for each in items] == [1, 2, 3, 4]
    question, asked, came, answer = items
    assert (question["role"], question["content_text"], question["agent"]) == ("user", "12*12", None)
    assert (asked["tool_call_id"], asked["call_arguments"]) == (called[0]["tool_call_id"], called[0]["payload"])
    assert (came["tool_name"], came["call_output"]) == ("calculator", called[1]["payload"])
    assert (answer["role"], answer["agent"], answer["model"]) == ("assistant", "data_analyst", "extractive")
    assert answer["content_text"] == shown[-1]["response_text"]
    assert call(world, who, "GET", path, params={"workflow_run_id": NOWHERE}).json()["items"] == []
    assert [each["timestamp"] for each in items] == sorted(each["timestamp"] for each in items)


def test_triage_hands_over_to_whoever_knows_best(running: Any, world: World) -> None:
    who = world.person("starter")
    shown = events(world, who, CODE)
    (update,) = [each for each in shown if each["kind"] == "agent_update"]
    assert (update["agent"], update["new_agent"]) == ("triage", "code_assistant")
    handed = [each["run_item_name"] for each in shown if each["kind"] == "run_item"]
    assert [name for name in handed if name.startswith("handoff")] == ["handoff_requested", "handoff_occured"]
    assert shown[-1]["agent_used"] == "code_assistant"
    answer = said(world, who, CODE)
    assert (answer["agent_used"], answer["handoff_occurred"]) == ("code_assistant", True)
    direct = said(world, who, CODE, agent_type="code_assistant")
    assert (direct["agent_used"], direct["handoff_occurred"]) == ("code_assistant", False)
    history = call(world, who, "GET", f"/conversations/{answer['conversation_id']}").json()
    assert history["agent_context"] == {"active_agent": "code_assistant"}
    steps = call(world, who, "GET", f"/conversations/{answer['conversation_id']}/events").json()["items"]
    assert [(each["run_item_type"], each["agent"]) for each in steps if "handoff" in each["run_item_type"]] == [
        ("handoff_call_item", "triage"),
        ("handoff_output_item", "code_assistant"),
    ]
    plain = said(world, who, QUESTION)["conversation_id"]
    assert set(listed(world, who, agent="code_assistant")) == {
        shown[0]["conversation_id"],
        answer["conversation_id"],
        direct["conversation_id"],
    }
    assert plain in listed(world, who, agent="triage")
    status = call(world, who, "GET", "/agents/code_assistant/status").json()
    assert (status["total_conversations"], status["status"]) == (3, "active")
    assert call(world, who, "GET", "/agents/data_analyst/status").json()["last_used"] is None


def test_a_place_is_told_to_the_agent_only_when_it_is_shared(running: Any, world: World) -> None:
    who, place = world.person("starter"), {"city": "Tokyo", "timezone": "Asia/Tokyo"}
    assert "Asia/Tokyo" in said(world, who, QUESTION, share_location=True, location=place)["response"]
    assert "Asia/Tokyo" not in said(world, who, QUESTION, location=place)["response"]


# --- repeating and coming back ---------------------------------------------------------------------------------


def test_the_same_key_has_the_stream_from_its_start_and_nothing_twice(running: Any, world: World) -> None:
    who, key = world.person("starter"), {"Idempotency-Key": str(uuid4())}
    first = stream(world, who, headers=key)
    again = stream(world, who, headers=key | {"Last-Event-ID": "5"})
    assert (first.status_code, again.status_code) == (200, 200)
    shown = kept(told(first.text))
    assert kept(told(again.text)) == shown
    assert code(stream(world, who, "Something else?", headers=key)) == (422, "idempotency_mismatch")
    history = call(world, who, "GET", f"/conversations/{shown[0]['conversation_id']}").json()
    assert [each["role"] for each in history["messages"]] == ["user", "assistant"]
    with world.platform(who.organisation_id) as ctx:
        assert [use.used for use in billing.usage(ctx) if use.metric == "starter.messages"] in ([1], [])


def test_whoever_goes_away_finds_the_answer_in_the_conversation(running: Any, world: World) -> None:
    who = world.person("starter")
    with running.resting():
        body = {"message": QUESTION}
        with httpx.stream(
            "POST", f"{world.url}{BASE}/chat/stream", json=body, headers=who.headers(), timeout=20
        ) as reply:
            assert reply.status_code == 200
            assert next(reply.iter_lines()).startswith(":"), "a sign of life while nothing happens"
        (conversation_id,) = listed(world, who)
    path = f"/conversations/{conversation_id}"
    messages = soon(lambda: (m := call(world, who, "GET", path).json()["messages"]) and len(m) == 2 and m)
    assert messages[1]["content"]
    assert call(world, who, "GET", path).json()["messages"] == messages


def test_a_conversation_has_one_answer_under_way_and_a_person_five(running: Any, world: World) -> None:
    who = world.person("starter")
    with running.resting():
        asked = [Aside(lambda: stream(world, who)) for _ in range(4)]
        first = soon(lambda: len(listed(world, who)) == 4 and listed(world, who))[0]
        assert code(chat(world, who, conversation_id=first)) == (409, "turn_active")
        asked.append(Aside(lambda: stream(world, who)))
        soon(lambda: len(listed(world, who)) == 5)
        refused = chat(world, who)
        assert code(refused) == (429, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert stream(world, who).status_code == 429
        colleague = member(world, who, "member")
        theirs = Aside(lambda: chat(world, colleague))
        soon(lambda: len(listed(world, who)) == 6)
        assert code(chat(world, colleague, conversation_id=first)) == (409, "turn_active")
    for each in asked:
        assert kept(told(each.reply().text))[-1]["kind"] == "usage"
    assert theirs.reply().status_code == 200
    assert chat(world, who, conversation_id=first).status_code == 200


def test_deleting_a_conversation_ends_what_is_under_way_in_it(running: Any, world: World) -> None:
    who = world.person("starter")
    with running.resting():
        watching = Aside(lambda: stream(world, who))
        first = soon(lambda: listed(world, who))[0]
        waiting = Aside(lambda: chat(world, who))
        second = soon(lambda: [each for each in listed(world, who) if each != first])[0]
        for each in (first, second):
            assert call(world, who, "DELETE", f"/conversations/{each}").status_code == 204
            assert call(world, who, "DELETE", f"/conversations/{each}").status_code == 404
            for path in ("", "/events"):
                assert call(world, who, "GET", f"/conversations/{each}{path}").status_code == 404
            assert chat(world, who, conversation_id=each).status_code == 404
        assert listed(world, who) == []
    shown = kept(told(watching.reply().text))
    assert [each.get("event") for each in shown] == ["cancelled", None]
    assert (shown[-1]["kind"], shown[-1]["response_text"]) == ("usage", None)
    assert code(waiting.reply()) == (409, "cancelled")


# --- the tenant's ----------------------------------------------------------------------------------------------


def test_conversations_are_the_tenants_and_nobody_elses(running: Any, world: World) -> None:
    owner = world.person("starter")
    first = said(world, owner)["conversation_id"]
    colleague, viewer = member(world, owner, "member"), member(world, owner, "viewer")
    assert said(world, colleague, "12*12", conversation_id=first)["conversation_id"] == first
    for who in (owner, colleague, viewer):
        read = call(world, who, "GET", f"/conversations/{first}")
        assert [each["role"] for each in read.json()["messages"]] == ["user", "assistant"] * 2
        assert listed(world, who) == [first]
        assert call(world, who, "GET", f"/conversations/{first}/events").status_code == 200
    again = call(world, viewer, "GET", f"/conversations/{first}", headers={"If-None-Match": read.headers["etag"]})
    assert again.status_code == 304
    stranger = world.person("starter")
    assert chat(world, stranger, conversation_id=first).status_code == 404
    assert stream(world, stranger, conversation_id=first).status_code == 404
    for path in ("", "/events"):
        assert call(world, stranger, "GET", f"/conversations/{first}{path}").status_code == 404
    assert call(world, stranger, "DELETE", f"/conversations/{first}").status_code == 404
    assert listed(world, stranger) == []
    found = call(world, stranger, "GET", "/conversations/search", params={"q": "time"}).json()
    assert found == {"items": [], "next_cursor": None}


def test_what_is_said_elsewhere_stays_its_persons_own(running: Any, world: World) -> None:
    who = world.person("starter")
    with world.acting(who) as ctx:
        ctx.surface = "thallus"
        turn = conversations.start(ctx, "What is between us?", surface="thallus", agent="assistant")
        elsewhere = turn.conversation_id
    assert listed(world, who) == []
    assert call(world, who, "GET", f"/conversations/{elsewhere}").status_code == 404
    assert chat(world, who, conversation_id=str(elsewhere)).status_code == 404
    assert call(world, who, "DELETE", f"/conversations/{elsewhere}").status_code == 404


ROLES = {
    # operation: owner, admin, member, viewer
    ("POST", "/chat"): (200, 200, 200, 403),
    ("POST", "/chat/stream"): (200, 200, 200, 403),
    ("GET", "/agents"): (200, 200, 200, 200),
    ("GET", "/agents/triage/status"): (200, 200, 200, 200),
    ("GET", "/tools"): (200, 200, 200, 200),
    ("GET", "/conversations"): (200, 200, 200, 200),
    ("GET", "/conversations/search?q=time"): (200, 200, 200, 200),
    ("GET", "/conversations/{id}"): (200, 200, 200, 200),
    ("GET", "/conversations/{id}/events"): (200, 200, 200, 200),
    ("DELETE", "/conversations/{id}"): (204, 204, 403, 403),
}


def test_what_each_role_may(running: Any, world: World) -> None:
    owner = world.person("starter")
    people = {
        role: owner if role == "owner" else member(world, owner, role)
        for role in ("owner", "admin", "member", "viewer")
    }
    for (method, path), expected in ROLES.items():
        for (role, who), status in zip(people.items(), expected, strict=True):
            body = {"json": {"message": QUESTION}} if method == "POST" else {}
            known = said(world, owner)["conversation_id"] if "{id}" in path else ""
            for given, headers in ((who, {}), (owner, {"X-Tenant-Role": role})):
                target = known
                if method == "DELETE" and given is owner and role != "owner":
                    target = said(world, owner)["conversation_id"]
                elif method == "DELETE" and headers:
                    continue
                reply = call(world, given, method, path.replace("{id}", target), headers=headers, **body)
                assert reply.status_code == status, (method, path, role, headers, reply.text[:300])
            if status == 403:
                body = call(world, who, method, path.replace("{id}", known or NOWHERE), **body).json()
                assert body["details"]["required_scope"].startswith("conversations:")


def test_tenant_headers_guard_and_lower_and_never_raise(running: Any, world: World) -> None:
    owner = world.person("starter")
    viewer, stranger = member(world, owner, "viewer"), world.person("starter")
    same = {"X-Tenant-Id": str(owner.organisation_id)}
    assert call(world, owner, "GET", "/conversations", headers=same).status_code == 200
    mixed = {"X-Tenant-Id": str(stranger.organisation_id)}
    assert code(call(world, owner, "GET", "/conversations", headers=mixed)) == (403, "tenant_mismatch")
    for path in ("/chat", "/chat/stream"):
        raised = call(world, viewer, "POST", path, json={"message": QUESTION}, headers={"X-Tenant-Role": "owner"})
        assert code(raised) == (403, "role_not_held")
    unproved = world.person("starter", verified=False)
    for method, path in (("POST", "/chat"), ("GET", "/conversations"), ("GET", "/agents"), ("GET", "/tools")):
        body = {"json": {"message": QUESTION}} if method == "POST" else {}
        assert code(call(world, unproved, method, path, **body)) == (403, "email_not_verified")


def test_a_service_account_talks_and_reads_as_far_as_its_scopes_go(running: Any, world: World) -> None:
    owner = world.person("starter")
    _, refresh = machine_token(world, owner, account="synthetic-monitor", scopes=["conversations:write", "tools:read"])
    token = call(world, None, "POST", "/auth/refresh", json={"refresh_token": refresh}).json()["access_token"]
    machine = {"Authorization": f"Bearer {token}"}
    answer = call(world, None, "POST", "/chat", json={"message": QUESTION}, headers=machine)
    assert answer.status_code == 200, answer.text
    assert call(world, None, "GET", "/agents", headers=machine).status_code == 200
    assert call(world, None, "GET", "/conversations", headers=machine).status_code == 403
    assert listed(world, owner) == [answer.json()["conversation_id"]]
    going_on = call(
        world, None, "POST", "/chat", headers=machine,
        json={"message": "12*12", "conversation_id": answer.json()["conversation_id"]},
    )  # fmt: skip
    assert "144" in going_on.json()["response"]


# --- finding ---------------------------------------------------------------------------------------------------


def test_a_search_ranks_by_words_and_by_meaning(running: Any, world: World) -> None:
    who = world.person("starter")
    bill = said(world, who, "The invoice of the bakery is still open, who pays it?")["conversation_id"]
    van = said(world, who, "How many people fit into our biggest delivery van?")["conversation_id"]
    said(world, who, CODE)

    def found(q: str, **more: Any) -> dict[str, Any]:
        reply = call(world, who, "GET", "/conversations/search", params={"q": q, **more})
        assert reply.status_code == 200, reply.text
        body: dict[str, Any] = reply.json()
        return body

    (exact,) = found("invoice bakery")["items"][:1]
    assert exact["conversation_id"] == bill
    assert "invoice of the bakery" in exact["preview"]
    assert exact["score"] > 0

    def first(q: str) -> str | None:
        items = found(q)["items"]
        return items[0]["conversation_id"] if items else None

    # Not a word of these was said: a worker has placed the messages meanwhile.
    soon(lambda: first("unpaid bread bills") == bill)
    soon(lambda: first("seats in a transporter vehicle") == van)
    assert found("zxqwv")["items"] == []
    assert found("invoice", agent="code_assistant")["items"] == []
    page = found("the of", limit=1)
    seen = [each["conversation_id"] for each in page["items"]]
    while page["next_cursor"]:
        page = found("the of", limit=1, cursor=page["next_cursor"])
        seen += [each["conversation_id"] for each in page["items"]]
    assert len(seen) == len(set(seen)) >= 1
    for hostile in ("a'b\"c)(&|!:*", "\ufeff\u200b ", "%", "x" * 512):
        assert call(world, who, "GET", "/conversations/search", params={"q": hostile}).status_code == 200


def test_lists_go_by_cursor_the_latest_moved_first(running: Any, world: World) -> None:
    who = world.person("starter")
    made = [said(world, who, f"What time is it in place {number}?")["conversation_id"] for number in range(3)]
    said(world, who, "12*12", conversation_id=made[0])
    assert listed(world, who) == [made[0], made[2], made[1]]
    page = call(world, who, "GET", "/conversations", params={"limit": 2}).json()
    assert [each["message_count"] for each in page["items"]] == [4, 2]
    assert "144" in page["items"][0]["last_message"]
    rest = call(world, who, "GET", "/conversations", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert ([each["conversation_id"] for each in rest["items"]], rest["next_cursor"]) == ([made[1]], None)
    cursor = page["next_cursor"]
    for path, query in (
        ("/conversations", {"cursor": cursor, "agent": "triage"}),
        ("/conversations/search", {"cursor": cursor, "q": "time"}),
    ):
        assert code(call(world, who, "GET", path, params=query))[0] == 400
    stranger = world.person("starter")
    assert call(world, stranger, "GET", "/conversations", params={"cursor": cursor}).status_code == 400


# --- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/chat", "/chat/stream"])
def test_what_is_refused_and_how(running: Any, world: World, path: str) -> None:
    who = world.person("starter")

    def asked(**body: Any) -> httpx.Response:
        return call(world, who, "POST", path, json={"message": QUESTION, **body})

    assert code(asked(conversation_id=NOWHERE)) == (404, "not_found")
    for unknown in ("nobody", "assistant", "planner", "security_assistant"):
        assert code(asked(agent_type=unknown)) == (404, "not_found"), unknown
    for broken in (
        {"message": ""},
        {"message": None},
        {"message": "x" * 100_001},
        {"conversation_id": "7"},
        {"agent_type": "Not A Name"},
        {"run_options": {"max_turns": 0}},
        {"run_options": {"handoff_input_filter": "half"}},
        {"location": {"planet": "Mars"}},
        {"surprise": True},
    ):
        reply = asked(**broken)
        assert (reply.status_code, reply.json()["error"]) == (422, "ValidationError"), broken
        assert reply.json()["details"] == reply.json()["detail"]
    assert listed(world, who) == []


def test_agents_that_are_denied_or_switched_off_take_no_turns(running: Any, world: World) -> None:
    who = world.person("starter")
    with world.database.context(SystemActor("tests"), who.organisation_id, frozenset({"admin"})) as ctx:
        agents.access.set_organisation_agent(ctx, "data_analyst", access="deny")
    with world.acting(who) as ctx:
        agents.own_settings.save_settings(ctx, "code_assistant", enabled=False)
    names = {each["name"]: each["status"] for each in call(world, who, "GET", "/agents").json()}
    assert names == {"triage": "active", "code_assistant": "inactive"}
    assert call(world, who, "GET", "/agents/data_analyst/status").status_code == 403
    assert code(chat(world, who, agent_type="data_analyst"))[0] == 403
    assert code(chat(world, who, agent_type="code_assistant")) == (409, "agent_inactive")
    assert call(world, who, "GET", "/agents/assistant/status").status_code == 404
    known = call(world, who, "GET", "/tools").json()
    assert all("data_analyst" not in each["agents"] for each in known.values())
    assert {name: each["name"] for name, each in known.items()} == {name: name for name in known}


def test_a_model_that_refuses_fails_the_run_and_shows_in_the_agents(running: Any, world: World) -> None:
    who = world.person("starter")
    with world.platform(who.organisation_id) as ctx:
        ctx.session.add(ModelSetting(user_id=who.account_id, provider="openai", status="invalid"))
    assert code(chat(world, who)) == (502, "model_unavailable")
    shown = events(world, who)
    assert (shown[-1]["kind"], shown[-1]["payload"]["code"]) == ("error", "model_unavailable")
    assert "key" in shown[-1]["payload"]["message"]
    assert {each["status"] for each in call(world, who, "GET", "/agents").json()} == {"error"}
    assert call(world, who, "GET", "/agents/triage/status").json()["status"] == "error"
    steps = call(world, who, "GET", f"/conversations/{shown[0]['conversation_id']}/events").json()["items"]
    assert [each["run_item_type"] for each in steps] == ["user_message_item"]
    colleague = member(world, who, "member")
    assert chat(world, colleague, conversation_id=shown[0]["conversation_id"]).status_code == 200


@pytest.fixture(scope="module")
def guarded(platforms: Callable[..., Any], server_folder: Path) -> Iterator[Any]:
    """A platform with narrow limits and usage guardrails, on a Valkey of its own."""
    server = Valkey(server_folder / "guarded-valkey", volatile=True)
    yield platforms(
        "guarded",
        server.start(),
        limits="starter.chat=4/minute,starter.chat_stream=2/minute",
        starter_usage_guardrails="starter=2,enterprise=unlimited",
    )
    server.stop()


def test_rates_and_usage_are_bounded_where_the_server_says_so(guarded: Any) -> None:
    world = World(guarded.url, guarded.database, guarded.logs / "data")
    free = world.person("starter", plan="enterprise")
    statuses = [chat(world, free).status_code for _ in range(5)]
    assert statuses == [200] * 4 + [429]
    refused = chat(world, free)
    assert code(refused) == (429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 120
    assert (refused.headers["ratelimit-limit"], refused.headers["ratelimit-remaining"]) == ("4", "0")
    assert [stream(world, free).status_code for _ in range(3)] == [200, 200, 429]

    bounded = world.person("starter", plan="starter")
    assert [chat(world, bounded).status_code, stream(world, bounded).status_code] == [200, 200]
    over = chat(world, bounded)
    assert code(over) == (429, "usage_limit_exceeded")
    assert 1 <= int(over.headers["retry-after"]) <= 31 * 86400
    assert code(chat(world, member(world, bounded, "member", plan="starter"))) == (429, "usage_limit_exceeded")
    assert len(listed(world, bounded)) == 2
    unknown = world.person("starter", plan="pro")
    assert code(chat(world, unknown)) == (402, "usage_policy_configuration_error")
    assert code(stream(world, unknown)) == (402, "usage_policy_configuration_error")
    assert listed(world, unknown) == []


# --- by the client that a partner would generate ---------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_python_client_chats_watches_and_reads(running: Any, world: World, made: Path) -> None:
    if why := tools.missing("openapi_python_client"):
        pytest.skip(f"{why}; `thalweg contract clients` says what to install")
    client = next(iter(clients.clients(PROJECT, ["starter"], "python", made)))
    who = world.person("starter")
    script = f"""
    import json
    from starter_client import AuthenticatedClient, streams
    from starter_client.api.agents import list_agents
    from starter_client.api.chat import chat, stream_chat
    from starter_client.api.conversations import (
        delete_conversation, get_conversation, list_conversation_events, list_conversations, search_conversations
    )
    from starter_client.api.tools import list_tools
    from starter_client.models import AgentChatRequest

    client = AuthenticatedClient(
        base_url="{running.url}/starter", token="{who.token}", raise_on_unexpected_status=True
    )
    agents = [agent.name for agent in list_agents.sync(client=client)]
    answer = chat.sync(client=client, body=AgentChatRequest(message="What time is it?", agent_type=agents[-1]))
    body = AgentChatRequest(message="12*12", conversation_id=answer.conversation_id)
    events = [event.data for event in streams.stream(client, stream_chat, body=body)]
    history = get_conversation.sync(answer.conversation_id, client=client)
    steps = list_conversation_events.sync(answer.conversation_id, client=client)
    listed = list_conversations.sync(client=client)
    found = search_conversations.sync(client=client, q="time")
    tools = list_tools.sync(client=client)
    gone = [delete_conversation.sync_detailed(answer.conversation_id, client=client).status_code for _ in range(2)]
    print(json.dumps([
        agents, answer.agent_used, events[-1]["kind"], events[-1]["response_text"], [m.role for m in history.messages],
        [str(s.run_item_type) for s in steps.items][0], len(listed.items), len(found.items),
        sorted(tools.additional_keys), [int(status) for status in gone],
    ]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=client.folder, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    names, used, last, words, roles, first, listed_, found, known, gone = json.loads(done.stdout)
    assert (names, used, last) == (["code_assistant", "data_analyst", "triage"], "triage", "usage")
    assert "144" in words
    assert roles == ["user", "assistant"] * 2
    assert (first, listed_, found, gone) == ("user_message_item", 1, 1, [204, 404])
    assert "calculator" in known
