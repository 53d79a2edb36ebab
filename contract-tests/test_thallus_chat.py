"""Thallus' chat on the running platform: ask, watch, come back, read the answer and what is remembered."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import httpx
from recipes import Person, World
from recipes.thallus_chat import BASE, answered, asked, ended, remembered
from sqlalchemy import text

from domain import billing

WORDS = """# Leave

Whoever leaves the company gives notice three months ahead, in writing.

# Travel

Trains are booked by the office on the ground floor. A hotel costs at most 140 euros a night.
"""


def call(world: World, who: Person, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {**who.headers(), **more.pop("headers", {})}
    return httpx.request(method, f"{world.url}{BASE}{path}", headers=headers, timeout=60, **more)


def frames(body: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in body.splitlines() if line.startswith("data: ")]


def watched(world: World, who: Person, task_id: str, last_id: str = "0") -> list[dict[str, Any]]:
    """The task's events to the end, without the signs of life between them."""
    reply = call(world, who, "GET", f"/chat/{task_id}/progress", params={"last_id": last_id})
    assert (reply.status_code, reply.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    lines = [line for line in reply.text.splitlines() if line]
    assert all(line.startswith("data: ") for line in lines), "frames hold data only"
    return [event for event in frames(reply.text) if event["update_type"] != "heartbeat"]


def documented(world: World, who: Person) -> str:
    """A document that can be asked about."""
    made = httpx.post(
        f"{world.url}{BASE}/documents/upload",
        files={"file": ("rules.md", WORDS.encode(), "text/markdown")},
        headers=who.headers(),
        timeout=60,
    )
    assert made.status_code == 201, made.text
    end = time.monotonic() + 60
    while (told := call(world, who, "GET", f"/documents/{made.json()['id']}/status").json())["status"] != "completed":
        assert time.monotonic() < end, told
        time.sleep(0.2)
    return str(made.json()["id"])


def test_a_question_about_a_document_is_watched_to_its_cited_answer(reading: Any, world: World) -> None:
    who = world.person("thallus")
    document_id = documented(world, who)
    task = asked(world, who, "How many months ahead does somebody who leaves give notice?")
    told = watched(world, who, task["task_id"])
    kinds = [event["update_type"] for event in told]
    assert kinds[-1] == "complete"
    assert {"agent_started", "tool_started", "tool_completed", "agent_completed", "text_delta"} <= set(kinds)
    assert not {"complete", "error"} & set(kinds[:-1])
    result = ended(world, who, task["task_id"])
    words = "".join(event["delta"] for event in told if event["update_type"] == "text_delta")
    assert (result["status"], result["mode"], result["error"]) == ("completed", "ask", None)
    assert result["response"] == words
    assert "three months ahead" in words
    assert [each["document_id"] for each in result["citations"]] == [document_id]
    assert f"[{result['citations'][0]['index']}]" in words
    assert told[-1]["citations"] == result["citations"]
    assert told[-1]["message_id"] == result["message_id"] == task["task_id"]
    said = call(world, who, "GET", f"/conversations/{task['conversation_id']}/messages").json()
    assert [(each["role"], each["mode"]) for each in said["items"]] == [("user", None), ("assistant", "ask")]
    assert said["items"][1]["citations"] == result["citations"]


def test_a_stream_goes_on_behind_every_event_without_a_gap_or_a_repetition(running: Any, world: World) -> None:
    who = world.person("thallus")
    task = asked(world, who)
    told = watched(world, who, task["task_id"])
    numbers = [int(event["event_id"].rpartition("-")[2]) for event in told]
    assert numbers == sorted(set(numbers))
    for place, event in enumerate(told):
        assert watched(world, who, task["task_id"], event["event_id"]) == told[place + 1 :]
    state = call(world, who, "GET", f"/chat/{task['task_id']}/progress/state")
    body = state.json()
    assert (body["status"], body["last_id"]) == ("completed", told[-1]["event_id"])
    assert [e for e in body["events"] if e["update_type"] != "text_delta"] == [
        e for e in told if e["update_type"] != "text_delta"
    ]
    assert "".join(e.get("delta", "") for e in body["events"]) == "".join(e.get("delta", "") for e in told)
    again = call(
        world, who, "GET", f"/chat/{task['task_id']}/progress/state", headers={"If-None-Match": state.headers["etag"]}
    )
    assert again.status_code == 304
    for unknown in ("1793611801250-9999", "1793611801250-9999999999", "nothing"):
        reply = call(world, who, "GET", f"/chat/{task['task_id']}/progress", params={"last_id": unknown})
        assert (reply.status_code, reply.json()["error"]) == (422, "validation_error")


def test_a_person_has_one_task_at_a_time_and_finds_their_way_back_to_it(running: Any, world: World) -> None:
    who = world.person("thallus")
    with running.resting():
        task = asked(world, who)
        for path in ("/chat/stream", "/chat"):
            second = call(world, who, "POST", path, json={"message": "And now?"})
            assert (second.status_code, second.json()["error"]) == (409, "task_active"), second.text
            assert second.json()["details"]["task_id"] == task["task_id"]
        active = call(world, who, "GET", "/chat/active").json()
        assert active["has_active"] is True
        assert [(t["task_id"], t["status"], t["message"]) for t in active["tasks"]] == [
            (task["task_id"], "processing", "What time is it?")
        ]
        listed = call(world, who, "GET", "/conversations").json()["items"]
        assert [(each["id"], each["active_task_id"]) for each in listed] == [(task["conversation_id"], task["task_id"])]
        said = call(world, who, "GET", f"/conversations/{task['conversation_id']}/messages").json()
        assert [each["role"] for each in said["items"]] == ["user"]
        assert call(world, who, "GET", f"/chat/{task['task_id']}/result").json()["error"] == "task_processing"
        with httpx.stream(
            "GET", f"{world.url}{BASE}/chat/{task['task_id']}/progress", headers=who.headers(), timeout=20
        ) as reply:
            alive = next(line for line in reply.iter_lines() if '"heartbeat"' in line)
        beat = json.loads(alive.removeprefix("data: "))
    told = watched(world, who, task["task_id"], beat["event_id"])
    assert told[-1]["update_type"] == "complete"
    active = call(world, who, "GET", "/chat/active").json()
    assert (active["has_active"], active["tasks"][0]["last_id"]) == (False, told[-1]["event_id"])
    assert active["tasks"][0]["completed_at"] is not None


def test_whoever_asks_and_waits_gets_the_answer_in_the_same_conversation(running: Any, world: World) -> None:
    who = world.person("thallus")
    first = call(world, who, "POST", "/chat", json={"message": "What time is it?", "mode": "ask"})
    assert (first.status_code, first.json()["status"]) == (200, "completed"), first.text
    conversation = first.json()["conversation_id"]
    key = {"Idempotency-Key": str(uuid4())}
    question = {"message": "What is 12 times 12?", "mode": "ask", "conversation_id": conversation}
    second = call(world, who, "POST", "/chat", json=question, headers=key)
    again = call(world, who, "POST", "/chat", json=question, headers=key)
    assert (second.status_code, second.json()) == (200, again.json())
    path = f"/conversations/{conversation}/messages"
    everything = call(world, who, "GET", path).json()
    assert [each["role"] for each in everything["items"]] == ["user", "assistant"] * 2
    pages = [call(world, who, "GET", path, params={"limit": 1, "offset": n, "order": "desc"}).json() for n in range(4)]
    assert [page["items"][0] for page in pages] == everything["items"][::-1]
    assert {page["total"] for page in pages} == {4}
    other = answered(world, who, "Where do hedgehogs sleep?")["conversation_id"]
    found = call(world, who, "GET", "/conversations", params={"search": "hedgehogs"}).json()
    assert ([each["id"] for each in found["items"]], found["total"]) == ([other], 1)
    newest = call(world, who, "GET", "/conversations", params={"limit": 1}).json()
    assert ([each["id"] for each in newest["items"]], newest["total"]) == ([other], 2)


def test_nobody_else_finds_a_task_a_conversation_or_a_memory(running: Any, world: World) -> None:
    who = world.person("thallus")
    task, memory = answered(world, who), remembered(world, who)
    colleague = world.person("thallus", organisation_id=who.organisation_id, role="admin")
    for other in (colleague, world.person("thallus")):
        for path in (
            f"/chat/{task['task_id']}/progress",
            f"/chat/{task['task_id']}/progress/state",
            f"/chat/{task['task_id']}/result",
            f"/conversations/{task['conversation_id']}/messages",
            f"/memories/{memory['id']}",
        ):
            assert call(world, other, "GET", path).status_code == 404, path
        for path in ("/chat", "/chat/stream"):
            question = {"message": "What was said?", "conversation_id": task["conversation_id"]}
            assert call(world, other, "POST", path, json=question).status_code == 404
        changed = call(world, other, "PUT", f"/memories/{memory['id']}", json={"importance": 0})
        assert changed.status_code == call(world, other, "DELETE", f"/memories/{memory['id']}").status_code == 404
        assert call(world, other, "GET", "/chat/active").json() == {"has_active": False, "tasks": []}
        for path in ("/conversations", "/memories"):
            assert call(world, other, "GET", path).json()["total"] == 0
        assert call(world, other, "GET", "/memories/stats").json()["total"] == 0
    assert call(world, who, "GET", f"/memories/{memory['id']}").json() == memory


def test_events_are_gone_an_hour_after_the_end_and_the_result_a_day_after(running: Any, world: World) -> None:
    who = world.person("thallus")
    task = answered(world, who)

    def statuses(hours: int) -> list[int]:
        with world.platform() as ctx:
            ctx.session.execute(
                text("UPDATE turn SET ended_at = now() - make_interval(hours => :hours) WHERE id = :id"),
                {"hours": hours, "id": task["task_id"]},
            )
        paths = ("progress", "progress/state", "result")
        return [call(world, who, "GET", f"/chat/{task['task_id']}/{path}").status_code for path in paths]

    assert statuses(2) == [410, 410, 200]
    assert statuses(25) == [410, 410, 410]
    assert call(world, who, "GET", f"/conversations/{task['conversation_id']}/messages").json()["total"] == 2


def test_memories_are_kept_corrected_found_by_meaning_counted_and_forgotten(running: Any, world: World) -> None:
    who = world.person("thallus")
    euros = remembered(world, who, "Prefers amounts in euros.", category="PREFERENCES", importance=0.8)
    dog = remembered(world, who, "Has a dog called Nero.", category="FACTS", importance=0.2)
    assert (euros["source"], euros["use_count"], euros["conversation_id"]) == ("manual", 0, None)
    twice = call(world, who, "POST", "/memories", json={"content": "prefers amounts in EUROS"})
    assert (twice.status_code, twice.json()["error"]) == (409, "duplicate")
    assert twice.json()["details"]["memory_id"] == euros["id"]
    listed = call(world, who, "GET", "/memories", params={"sort": "importance"}).json()
    assert [each["id"] for each in listed["items"]] == [euros["id"], dog["id"]]
    meant = call(world, who, "GET", "/memories", params={"search": "the name of my pet dog"}).json()
    assert [each["id"] for each in meant["items"]] == [dog["id"]]
    changed = call(world, who, "PUT", f"/memories/{dog['id']}", json={"content": "Has a cat called Nero."}).json()
    assert (changed["content"], changed["importance"]) == ("Has a cat called Nero.", 0.2)
    stats = call(world, who, "GET", "/memories/stats").json()
    assert (stats["total"], stats["manual"], stats["average_importance"], stats["enabled"]) == (2, 2, 0.5, True)
    assert {each["category"]: each["count"] for each in stats["by_category"]} == {
        "MEMORIES": 0,
        "PREFERENCES": 1,
        "FACTS": 1,
        "PATTERNS": 0,
    }
    assert call(world, who, "DELETE", f"/memories/{dog['id']}").status_code == 204
    assert call(world, who, "GET", f"/memories/{dog['id']}").status_code == 404
    assert call(world, who, "GET", "/memories").json()["total"] == 1


def test_an_answer_uses_what_is_remembered_unless_the_person_wants_no_memory(running: Any, world: World) -> None:
    who = world.person("thallus")
    kept = remembered(world, who, "My cat is called Nero.", category="FACTS", importance=0.9)
    question = "What is my cat called?"
    result = answered(world, who, question)
    assert "Nero" in result["response"]
    assert [each["kind"] for each in result["citations"]] == ["memory"]
    used = call(world, who, "GET", f"/memories/{kept['id']}").json()
    assert used["use_count"] == 1
    assert used["last_used_at"] is not None
    off = call(world, who, "PATCH", "/auth/settings", json={"memory_enabled": False})
    assert off.status_code == 200, off.text
    assert call(world, who, "GET", "/memories/stats").json()["enabled"] is False
    assert "memory" not in [each["kind"] for each in answered(world, who, question)["citations"]]


def test_an_investigation_waits_for_a_word_of_direction_which_is_the_next_message(reading: Any, world: World) -> None:
    who = world.person("thallus")
    documented(world, who)
    task = asked(world, who, "Why do hotels cost at most 140 euros a night?", mode="investigate")
    path, end = f"/chat/{task['task_id']}/progress/state", time.monotonic() + 60
    while not (asks := [e for e in call(world, who, "GET", path).json()["events"] if "Say a word" in e["message"]]):
        assert time.monotonic() < end, call(world, who, "GET", path).text
        time.sleep(0.2)
    assert asks[0]["update_type"] == "hypotheses_updated"
    assert {each["status"] for each in asks[0]["hypotheses"]} == {"open"}
    word = asked(world, who, "Look at the first one.", conversation_id=task["conversation_id"])
    assert word["task_id"] == task["task_id"]
    assert watched(world, who, task["task_id"])[-1]["update_type"] == "complete"
    assert ended(world, who, task["task_id"])["mode"] == "investigate"
    said = call(world, who, "GET", f"/conversations/{task['conversation_id']}/messages").json()
    assert [each["role"] for each in said["items"]] == ["user", "user", "assistant"]


def test_what_the_plan_does_not_cover_any_more_is_refused_before_anything_happens(running: Any, world: World) -> None:
    who = world.person("thallus", plan="trial")
    with world.platform(who.organisation_id) as ctx:
        billing.consume(ctx, "thallus.investigations", 10)
    for path in ("/chat", "/chat/stream"):
        refused = call(world, who, "POST", path, json={"message": "What time is it?"})
        assert (refused.status_code, refused.json()["error"]) == (402, "tier_limit"), refused.text
    assert call(world, who, "GET", "/conversations").json()["total"] == 0
