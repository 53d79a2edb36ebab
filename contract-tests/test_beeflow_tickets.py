"""Tickets over HTTP: from a mail to a suggested answer, and what is answered where it cannot be."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import httpx
import pytest
from recipes import Person, World
from recipes.beeflow_tickets import PATH, mail

MANUAL = b"# Refunds\n\nAn invoice that was booked twice is refunded within five working days.\n"
ASKED = (
    "Hello,\n\nour invoice was booked twice. When is an invoice that was booked twice refunded?\n\nKind regards\nGrace"
)


def post(world: World, who: Person, wish: Any, **headers: str) -> httpx.Response:
    return httpx.post(f"{world.url}{PATH}", json=wish, headers=who.headers() | headers, timeout=30)


def listed(world: World, who: Person, **query: Any) -> list[dict[str, Any]]:
    reply = httpx.get(f"{world.url}{PATH}", params=query, headers=who.headers(), timeout=30)
    assert reply.status_code == 200, reply.text
    return list(reply.json()["items"])


def read(world: World, who: Person, ticket_id: str) -> dict[str, Any]:
    """The ticket when it was judged."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        (found,) = [each for each in listed(world, who) if each["id"] == ticket_id]
        if found["category"] is not None:
            return found
        time.sleep(0.2)
    raise AssertionError("nobody has read the ticket")


def base(world: World, who: Person) -> str:
    """A knowledge base of this person with the manual, ready to be searched."""
    api = f"{world.url}/beeflow/api/knowledge"
    made = httpx.post(api, json={"name": f"Manual {uuid4()}"}, headers=who.headers(), timeout=30)
    assert made.status_code == 201, made.text
    files = {"file": ("Refunds.md", MANUAL, "text/markdown")}
    base_id = made.json()["id"]
    filed = httpx.post(f"{api}/{base_id}/documents", files=files, headers=who.headers(), timeout=30)
    assert filed.status_code in (201, 202), filed.text
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = httpx.get(f"{api}/{base_id}/documents", headers=who.headers(), timeout=30).json()["items"]
        if found and found[0]["status"] == "completed":
            return str(base_id)
        time.sleep(0.2)
    raise AssertionError(f"the manual was not read: {found}")


def test_a_mail_becomes_a_ticket_with_an_answer_from_the_knowledge_bases(reading: Any, world: World) -> None:
    ada = world.person("beeflow")
    bob = world.person("beeflow", organisation_id=ada.organisation_id, role="member", name="Bob")
    base(world, ada)
    made = post(world, ada, {"email": mail(text=ASKED)})
    assert made.status_code == 201, made.text
    assert made.json()["suggestion"] == {
        "status": "pending", "text": None, "confidence": None, "citations": [], "createdAt": None
    }  # fmt: skip
    ticket = read(world, ada, made.json()["id"])
    assert (ticket["category"], ticket["language"], ticket["number"]) == ("billing", "en", 1)
    assert ticket["summary"] in ASKED
    suggestion = ticket["suggestion"]
    assert suggestion["status"] == "completed"
    assert "refunded within five working days.” [1]" in suggestion["text"]
    assert "five working days" in suggestion["citations"][0]["snippet"]
    assert 0 < suggestion["confidence"] <= 1
    (theirs,) = listed(world, bob)  # the ticket is the organisation's, the knowledge base is not
    assert (theirs["id"], theirs["suggestion"]) == (ticket["id"], None)


def test_an_answer_joins_its_ticket_and_the_same_mail_makes_no_second_one(world: World) -> None:
    ada = world.person("beeflow")
    first = mail()
    made = post(world, ada, {"email": first, "suggest": False}).json()
    assert made["suggestion"] is None
    answer = mail(subject="Re: Invoice", text="And 4712 too.", inReplyTo=first["messageId"])
    joined = post(world, ada, {"email": answer, "suggest": False})
    assert (joined.status_code, joined.json()["id"], joined.json()["messageCount"]) == (200, made["id"], 2)
    refused = post(world, ada, {"email": answer})
    assert refused.status_code == 409
    assert refused.json()["error"] == "mail_has_ticket"
    assert refused.json()["details"]["ticket_id"] == made["id"]
    assert [each["id"] for each in listed(world, ada, q="4712")] == [made["id"]]


@pytest.mark.parametrize(
    ("wish", "status", "error"),
    [
        ({}, 422, "one_mail"),
        ({"email": None, "emailId": None}, 422, "one_mail"),
        ({"email": mail(), "assigneeId": "01931c3e-7a10-7c2e-9b1f-0d2f6c1e8a77"}, 422, "assignee_unknown"),
        ({"emailId": "01931c3e-7a10-7c2e-9b1f-0d2f6c1e8a77"}, 404, "email_unknown"),
        ({"email": mail(sender={"email": "nobody"})}, 400, "validation_failed"),
        ({"email": mail(text="")}, 400, "validation_failed"),
    ],
)
def test_what_makes_no_ticket_says_why(world: World, wish: Any, status: int, error: str) -> None:
    ada = world.person("beeflow")
    reply = post(world, ada, wish)
    assert (reply.status_code, reply.json()["error"]) == (status, error), reply.text
    assert listed(world, ada) == []


def test_a_repeat_with_its_key_is_the_same_ticket(world: World) -> None:
    ada = world.person("beeflow")
    wish, key = {"email": mail(messageId=None)}, str(uuid4())
    first, again = (post(world, ada, wish, **{"Idempotency-Key": key}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert len(listed(world, ada)) == 1


def test_tickets_are_listed_by_filters_and_an_unchanged_list_is_not_sent_again(world: World) -> None:
    ada = world.person("beeflow")
    low = post(world, ada, {"email": mail(), "priority": "low", "suggest": False}).json()["id"]
    mine = post(
        world, ada, {"email": mail(), "priority": "high", "assigneeId": str(ada.account_id), "suggest": False}
    ).json()["id"]
    assert [each["id"] for each in listed(world, ada, priority="low")] == [low]
    assert [each["id"] for each in listed(world, ada, assigneeId=str(ada.account_id))] == [mine]
    assert listed(world, ada, status="solved") == []
    assert listed(world, ada, to="2020-01-01T00:00:00.000Z") == []
    read(world, ada, low)
    read(world, ada, mine)
    url = f"{world.url}{PATH}"
    reply = httpx.get(url, headers=ada.headers(), timeout=30)
    headers = ada.headers() | {"If-None-Match": reply.headers["etag"]}
    assert httpx.get(url, headers=headers, timeout=30).status_code == 304


def test_the_tier_decides_who_has_tickets(world: World) -> None:
    ada = world.person("beeflow", plan="community")
    for reply in (
        post(world, ada, {"email": mail()}),
        httpx.get(f"{world.url}{PATH}", headers=ada.headers(), timeout=30),
    ):
        assert reply.status_code == 403
        assert reply.json()["error"] == "license_feature_required"
        assert reply.json()["details"]["feature"] == "ticket_assistant"
    world.subscribe(ada.organisation_id, "beeflow", "pro")
    assert post(world, ada, {"email": mail()}).status_code == 201
