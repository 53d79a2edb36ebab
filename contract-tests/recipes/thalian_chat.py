"""Thalian: messages to the assistant."""

from __future__ import annotations

import base64
from typing import Any

import httpx

from recipes.world import Call, Person, World, recipe

PATH = "/thalian/api/ai-chat"


def said(who: Person, message: str = "What time is it?", **more: Any) -> dict[str, Any]:
    """What is sent."""
    return {"workspaceId": str(who.organisation_id), "message": message, **more}


def sent(world: World, who: Person, message: str = "What time is it?", **more: Any) -> httpx.Response:
    headers = {**who.headers(), **more.pop("headers", {})}
    return httpx.post(f"{world.url}{PATH}", json=said(who, message, **more), headers=headers, timeout=180)


def file(content: bytes, name: str | None = None) -> dict[str, str]:
    """The fields of a file that comes along."""
    given = {"fileBase64": base64.b64encode(content).decode()}
    return given if name is None else {**given, "fileName": name}


@recipe("thalian", "sendChatMessage")
def send_message(world: World) -> Call:
    who = world.person("thalian")

    def check(reply: httpx.Response) -> None:
        assert reply.json()["stop_reason"] == "end_turn"
        assert "toolCalls" not in reply.json()

    return Call(json=said(who), who=who, check=check)
