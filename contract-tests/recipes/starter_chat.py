"""Starter: turns with agents, and the conversations that come of them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx

from recipes.starter_vector_stores import asked
from recipes.world import Call, Person, World, recipe

QUESTION = "What time is it?"
_numbers = itertools.count(1)


def said(world: World, who: Person, message: str = QUESTION, **more: Any) -> dict[str, Any]:
    """The answer to a message."""
    return asked(world, who, "POST", "/chat", json={"message": message, **more})


def told(text: str) -> list[dict[str, Any]]:
    """The events of a stream. Frames that hold anything but data are none of it."""
    frames = [frame for frame in text.split("\n\n") if frame and not frame.startswith(":")]
    assert all(frame.startswith("data: ") and "\n" not in frame for frame in frames), text[:2000]
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


def about(world: World, **more: Any) -> Call:
    """A call about a conversation with one turn."""
    who = world.person("starter")
    return Call(path={"conversation_id": said(world, who)["conversation_id"]}, who=who, **more)


@recipe("starter", "chat")
def chat(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        body = reply.json()
        assert (body["agent_used"], body["handoff_occurred"], body["attachments"]) == ("triage", False, [])
        assert body["metadata"]["model"] == "extractive"

    location = {"city": "Lyon", "country": "France", "timezone": "Europe/Paris"}
    body = {
        "message": QUESTION,
        "agent_type": "triage",
        "context": {"page": "/pricing"},
        "share_location": True,
        "location": location,
        "run_options": {"max_turns": 6, "handoff_input_filter": "last_turn", "run_config": {"temperature": 0.2}},
    }
    return Call(json=body, check=check)


@recipe("starter", "streamChat")
def stream_chat(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert [each["kind"] for each in told(reply.text) if each["is_terminal"]] == ["usage"]

    return Call(json={"message": QUESTION}, check=check)


@recipe("starter", "listAgents")
def list_agents(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        known = {each["name"]: each["status"] for each in reply.json()}
        assert known == dict.fromkeys(("code_assistant", "data_analyst", "triage"), "active")
        assert list(known) == sorted(known)

    return Call(check=check)


@recipe("starter", "getAgentStatus")
def get_agent_status(world: World) -> Call:
    who = world.person("starter")
    said(world, who)

    def check(reply: httpx.Response) -> None:
        body = reply.json()
        assert (body["name"], body["status"], body["total_conversations"]) == ("triage", "active", 1)
        assert body["last_used"] is not None

    return Call(path={"agent_name": "triage"}, who=who, check=check)


@recipe("starter", "listTools")
def list_tools(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        tools = reply.json()
        assert {"search_documents", "calculator", "current_time"} <= set(tools)
        assert "triage" in tools["search_documents"]["agents"]
        assert tools["calculator"]["parameters"]["required"] == ["expression"]

    return Call(check=check)


@recipe("starter", "listConversations")
def list_conversations(world: World) -> Call:
    who = world.person("starter")
    known = said(world, who)["conversation_id"]

    def check(reply: httpx.Response) -> None:
        assert [each["conversation_id"] for each in reply.json()["items"]] == [known]

    return Call(query={"agent": "triage", "limit": 10}, who=who, check=check)


@recipe("starter", "searchConversations")
def search_conversations(world: World) -> Call:
    who, word = world.person("starter"), f"hedgehog{next(_numbers)}"
    known = said(world, who, f"What time does the {word} come?")["conversation_id"]

    def check(reply: httpx.Response) -> None:
        (found,) = reply.json()["items"]
        assert found["conversation_id"] == known
        assert word in found["preview"]

    return Call(query={"q": word, "agent": "triage"}, who=who, check=check)


@recipe("starter", "getConversation")
def get_conversation(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert [each["role"] for each in reply.json()["messages"]] == ["user", "assistant"]

    return about(world, check=check)


@recipe("starter", "deleteConversation")
def delete_conversation(world: World) -> Call:
    return about(world, once=True)


@recipe("starter", "listConversationEvents")
def list_conversation_events(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        items = reply.json()["items"]
        assert [each["sequence_no"] for each in items] == list(range(1, len(items) + 1))
        assert (items[0]["run_item_type"], items[-1]["run_item_type"]) == ("user_message_item", "message_output_item")

    return about(world, check=check)
