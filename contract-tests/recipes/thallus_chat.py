"""Thallus: chat tasks, conversations and memories. What a call is about is asked and written down as partners do it."""

from __future__ import annotations

import itertools
import time
from typing import Any
from uuid import UUID

import httpx

from domain import conversations
from recipes.world import Call, Person, World, recipe

BASE = "/thallus/api/v1"
_numbers = itertools.count(1)


def asked(world: World, who: Person, message: str = "What time is it?", **more: Any) -> dict[str, Any]:
    """A task that was just started."""
    reply = httpx.post(
        f"{world.url}{BASE}/chat/stream",
        json={"message": message, "mode": "ask", **more},
        headers=who.headers(),
        timeout=30,
    )
    assert reply.status_code == 202, reply.text
    body: dict[str, Any] = reply.json()
    return body


def ended(world: World, who: Person, task_id: str, seconds: float = 60.0) -> dict[str, Any]:
    """The result of a task, as soon as there is one. It is waited for in the database: on a platform with narrow limits
    asking again and again would be refused."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with world.acting(who) as ctx:
            over = conversations.ended(ctx, UUID(task_id))
        if over:
            reply = httpx.get(f"{world.url}{BASE}/chat/{task_id}/result", headers=who.headers(), timeout=30)
            assert reply.status_code == 200, reply.text
            body: dict[str, Any] = reply.json()
            return body
        time.sleep(0.1)
    raise AssertionError("the task is still processing")


def answered(world: World, who: Person, message: str = "What time is it?", **more: Any) -> dict[str, Any]:
    """A task that has ended, with its answer."""
    return ended(world, who, asked(world, who, message, **more)["task_id"])


def remembered(world: World, who: Person, content: str | None = None, **more: Any) -> dict[str, Any]:
    content = content or f"Prefers amounts in euros, and tables of {next(_numbers)} rows."
    reply = httpx.post(
        f"{world.url}{BASE}/memories", json={"content": content, **more}, headers=who.headers(), timeout=30
    )
    assert reply.status_code == 201, reply.text
    body: dict[str, Any] = reply.json()
    return body


def _of_task(world: World, **more: Any) -> Call:
    who = world.person("thallus")
    return Call(path={"task_id": answered(world, who)["task_id"]}, who=who, **more)


def _of_memory(world: World, **more: Any) -> Call:
    who = world.person("thallus")
    return Call(path={"memory_id": remembered(world, who)["id"]}, who=who, **more)


@recipe("thallus", "startChat")
def start_chat(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert reply.headers["location"].endswith(f"{BASE}/chat/{reply.json()['task_id']}/progress/state")

    return Call(json={"message": "What time is it?", "mode": "ask"}, check=check)


@recipe("thallus", "streamChatProgress")
def stream_chat_progress(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert '"update_type":"complete"' in reply.text.rstrip().rsplit("\n", 1)[-1]

    return _of_task(world, check=check)


@recipe("thallus", "getChatState")
def get_chat_state(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert reply.json()["events"][-1]["update_type"] == "complete"

    return _of_task(world, check=check)


@recipe("thallus", "getChatResult")
def get_chat_result(world: World) -> Call:
    return _of_task(world)


@recipe("thallus", "listActiveChats")
def list_active_chats(world: World) -> Call:
    who = world.person("thallus")
    known = answered(world, who)["task_id"]

    def check(reply: httpx.Response) -> None:
        assert [task["task_id"] for task in reply.json()["tasks"]] == [known]

    return Call(who=who, check=check)


@recipe("thallus", "chat")
def chat(world: World) -> Call:
    return Call(json={"message": "What time is it?", "mode": "ask"}, status=200)


@recipe("thallus", "listConversations")
def list_conversations(world: World) -> Call:
    who = world.person("thallus")
    known = answered(world, who)["conversation_id"]

    def check(reply: httpx.Response) -> None:
        assert [each["id"] for each in reply.json()["items"]] == [known]

    return Call(query={"search": "time"}, who=who, check=check)


@recipe("thallus", "listConversationMessages")
def list_conversation_messages(world: World) -> Call:
    who = world.person("thallus")
    return Call(path={"conversation_id": answered(world, who)["conversation_id"]}, query={"order": "desc"}, who=who)


@recipe("thallus", "listMemories")
def list_memories(world: World) -> Call:
    who = world.person("thallus")
    known = remembered(world, who, category="PREFERENCES", importance=0.8)["id"]

    def check(reply: httpx.Response) -> None:
        assert [each["id"] for each in reply.json()["items"]] == [known]

    query = {"category": "PREFERENCES", "source": "manual", "min_importance": 0.5, "search": "euros"}
    return Call(query=query, who=who, check=check)


@recipe("thallus", "createMemory")
def create_memory(world: World) -> Call:
    return Call(json={"content": "Prefers amounts in euros.", "category": "PREFERENCES"}, once=True)


@recipe("thallus", "getMemoryStats")
def get_memory_stats(world: World) -> Call:
    who = world.person("thallus")
    remembered(world, who)

    def check(reply: httpx.Response) -> None:
        assert (reply.json()["total"], reply.json()["manual"]) == (1, 1)

    return Call(who=who, check=check)


@recipe("thallus", "getMemory")
def get_memory(world: World) -> Call:
    return _of_memory(world)


@recipe("thallus", "updateMemory")
def update_memory(world: World) -> Call:
    return _of_memory(world, json={"content": "Prefers amounts in thousands of euros.", "importance": 0.3})


@recipe("thallus", "deleteMemory")
def delete_memory(world: World) -> Call:
    return _of_memory(world, once=True)
