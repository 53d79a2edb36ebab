"""Bee Flow: tickets made of mails that are sent along."""

from __future__ import annotations

import itertools
from typing import Any

import httpx

from recipes.world import Call, Person, World, recipe

_numbers = itertools.count(1)
S = "beeflow"
PATH = "/beeflow/api/ticket-assistant/tickets"


def mail(**more: Any) -> dict[str, Any]:
    """A mail that nobody has handed in yet."""
    return {
        "sender": {"email": "grace@hopper.example", "name": "Grace Hopper"},
        "subject": "Invoice 4711 was booked twice",
        "text": "Hello, invoice 4711 appears twice on our statement.",
        "messageId": f"<{next(_numbers)}@hopper.example>",
        **more,
    }


def submitted(world: World, who: Person, **more: Any) -> dict[str, Any]:
    """A ticket of this mail, as it was answered."""
    reply = httpx.post(f"{world.url}{PATH}", json={"email": mail(**more)}, headers=who.headers(), timeout=30)
    assert reply.status_code in (200, 201), reply.text
    return dict(reply.json())


@recipe(S, "createTicket")
def create(world: World) -> Call:
    who = world.person(S)

    def check(reply: httpx.Response) -> None:
        assert reply.status_code == 201
        told = reply.json()
        assert (told["number"], told["priority"], told["messageCount"]) == (1, "high", 1)
        assert told["assignee"]["id"] == str(who.account_id)
        assert told["suggestion"]["status"] == "pending"

    wish = {"email": mail(), "priority": "high", "assigneeId": str(who.account_id)}
    return Call(json=wish, who=who, once=True, check=check)


@recipe(S, "listTickets")
def list_tickets(world: World) -> Call:
    who = world.person(S)
    known = submitted(world, who)["id"]
    submitted(world, who, subject="Something else", text="Entirely.")

    def check(reply: httpx.Response) -> None:
        assert [each["id"] for each in reply.json()["items"]] == [known]
        assert reply.json()["total"] == 1

    return Call(query={"q": "invoice statement", "status": "open"}, who=who, check=check)
