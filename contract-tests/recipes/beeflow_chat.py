"""Bee Flow: conversations, turns, decisions, ratings and the guardrail log, made as partners do it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from recipes.beeflow_transcriptions import WAV
from recipes.world import Call, Person, World, recipe

BASE = "/beeflow/api"
QUESTION = "What time is it?"
SENSITIVE = "Please pay DE89 3704 0044 0532 0130 00 and tell ada@lovelace.example."
"""Holds an IBAN and an address: the guardrails ask about it."""


@dataclass
class Heard:
    """What a stream said. `events` are `(id, name, data)`."""

    status: int
    headers: Mapping[str, str]
    events: list[tuple[str, str, Any]] = field(default_factory=list)

    @property
    def message_id(self) -> str:
        return self.headers["x-message-id"]

    @property
    def conversation_id(self) -> str:
        return self.headers["x-conversation-id"]

    @property
    def names(self) -> list[str]:
        return [name for _, name, _ in self.events]

    @property
    def text(self) -> str:
        return "".join(data["text"] for _, name, data in self.events if name == "token")

    @property
    def last(self) -> tuple[str, Any]:
        return self.events[-1][1], self.events[-1][2]


def frames(lines: Iterator[str]) -> Iterator[tuple[str, str, Any]]:
    """Events of a stream as they come; comments are left out."""
    held: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            held[name] = value
        elif "data" in held:
            yield held["id"], held["event"], json.loads(held["data"])
            held = {}


def said(
    world: World,
    who: Person,
    content: str = QUESTION,
    *,
    until: Callable[[str, Any], bool] = lambda name, data: False,
    headers: Mapping[str, str] | None = None,
    seconds: float = 60.0,
    **more: Any,
) -> Heard:
    """Take a turn, and listen to its end or `until(name, data)` of an event; then go away."""
    body = {"messages": [{"role": "user", "content": content}], **more}
    end = time.monotonic() + seconds
    with httpx.stream(
        "POST", f"{world.url}{BASE}/chat", json=body, headers={**who.headers(), **(headers or {})}, timeout=30
    ) as reply:
        if reply.status_code != 200:
            raise AssertionError(f"{reply.status_code} {reply.read().decode()}")
        heard = Heard(reply.status_code, reply.headers)
        for event in frames(reply.iter_lines()):
            heard.events.append(event)
            if until(event[1], event[2]):
                break
            assert time.monotonic() < end, heard.events
    return heard


def found(world: World, who: Person, content: str = SENSITIVE, **more: Any) -> Heard:
    """A turn that waits for a decision."""
    heard = said(world, who, content, until=lambda name, data: name == "dlp_finding", **more)
    assert heard.names == ["dlp_finding"], heard.events
    return heard


def settled(world: World, who: Person, message_id: str, conversation_id: str, seconds: float = 60.0) -> dict[str, Any]:
    """The answer as the conversation has it, when it is no longer under way."""
    end = time.monotonic() + seconds
    while True:
        reply = httpx.get(
            f"{world.url}{BASE}/conversations/{conversation_id}/messages", headers=who.headers(), timeout=30
        )
        [answer] = [each for each in reply.json()["items"] if each["id"] == message_id]
        if answer["status"] not in ("streaming", "awaiting_decision"):
            told: dict[str, Any] = answer
            return told
        assert time.monotonic() < end, answer
        time.sleep(0.1)


def _talked(world: World, **more: Any) -> Call:
    """A call about a conversation with an answer."""
    who = world.person("beeflow")
    return Call(path={"id": said(world, who).conversation_id}, who=who, **more)


@recipe("beeflow", "listConversations")
def list_conversations(world: World) -> Call:
    who = world.person("beeflow")
    said(world, who, "Where do hedgehogs sleep?")
    known = said(world, who).conversation_id

    def check(reply: httpx.Response) -> None:
        [listed] = reply.json()["items"]
        assert (listed["id"], listed["messageCount"], listed["title"]) == (known, 2, QUESTION)

    return Call(query={"q": "time", "source": "chat"}, who=who, check=check)


@recipe("beeflow", "createConversation")
def create(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        made = reply.json()
        assert (made["title"], made["messageCount"], made["source"]) == ("Notice periods", 0, "chat")
        assert reply.headers["location"].endswith(f"{BASE}/conversations/{made['id']}")

    return Call(json={"title": "Notice periods", "agentId": None}, check=check)


@recipe("beeflow", "getConversation")
def get(world: World) -> Call:
    return _talked(world)


@recipe("beeflow", "deleteConversation")
def delete(world: World) -> Call:
    return _talked(world, once=True)


@recipe("beeflow", "listMessages")
def list_messages(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert [(each["role"], each["status"]) for each in reply.json()["items"]] == [
            ("assistant", "complete"),
            ("user", "complete"),
        ]

    return _talked(world, query={"order": "desc"}, check=check)


@recipe("beeflow", "regenerateConversationTitle")
def retitle(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert reply.json()["title"] == QUESTION

    return _talked(world, check=check)


@recipe("beeflow", "branchConversation")
def branch(world: World) -> Call:
    who = world.person("beeflow")
    heard = said(world, who)

    def check(reply: httpx.Response) -> None:
        made = reply.json()
        assert (made["parentConversationId"], made["branchMessageId"]) == (heard.conversation_id, heard.message_id)
        assert (made["title"], made["messageCount"]) == ("Another way", 2)

    body = {"messageId": heard.message_id, "title": "Another way"}
    return Call(json=body, path={"id": heard.conversation_id}, who=who, check=check)


@recipe("beeflow", "startChatTurn")
def start(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        events = list(frames(iter(reply.text.splitlines())))
        assert events[-1][1] == "done", reply.text
        assert events[-1][2]["messageId"] == reply.headers["x-message-id"]

    return Call(json={"messages": [{"role": "user", "content": QUESTION}], "stream": True}, check=check)


@recipe("beeflow", "cancelChatTurn")
def cancel(world: World) -> Call:
    who = world.person("beeflow")
    return Call(path={"msgId": found(world, who).message_id}, who=who, once=True)


@recipe("beeflow", "decideDlpFinding")
def decide(world: World) -> Call:
    who = world.person("beeflow")

    def check(reply: httpx.Response) -> None:
        assert reply.json()["categories"] == ["email", "iban"]

    path = {"msgId": found(world, who).message_id}
    return Call(json={"decision": "redact"}, path=path, who=who, check=check, once=True)


@recipe("beeflow", "rateMessage")
def rate(world: World) -> Call:
    who = world.person("beeflow")
    body = {"rating": "down", "comment": "The clause is right, the date is not."}
    return Call(json=body, path={"msgId": said(world, who).message_id}, who=who)


@recipe("beeflow", "startVoiceTurn")
def speak(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        events = list(frames(iter(reply.text.splitlines())))
        assert (events[0][1], events[-1][1]) == ("transcript", "done"), reply.text
        assert events[0][2]["text"] == "We agreed on three months of notice."

    files = {"audio": ("question.wav", WAV, "audio/wav")}
    return Call(files=files, form={"language": "en-GB", "speak": "false"}, check=check)


def _logged(world: World, **more: Any) -> Call:
    """A call about two events of the log, of two people."""
    who = world.person("beeflow")
    colleague = world.person("beeflow", organisation_id=who.organisation_id, role="member")
    for each in (who, colleague):
        heard = found(world, each)
        decided = httpx.post(
            f"{world.url}{BASE}/chat/{heard.message_id}/dlp-decision",
            json={"decision": "block"},
            headers=each.headers(),
            timeout=30,
        )
        assert decided.status_code == 200, decided.text
    query = {"type": "pii", "user": str(colleague.account_id), "action": "block", "direction": "input"}
    return Call(query={**query, "org": str(who.organisation_id)}, who=who, **more)


@recipe("beeflow", "listGuardrailEvents")
def list_events(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        [event] = reply.json()["items"]
        assert (event["violationCategories"], event["source"]) == (["email", "iban"], "chat")

    return _logged(world, check=check)


@recipe("beeflow", "exportGuardrailEvents")
def export_events(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        header, line, end = reply.text.split("\r\n")
        assert (header.partition(",")[0], end) == ("id", "")
        assert ",pii,email;iban,input,block,chat," in line

    return _logged(world, check=check)
