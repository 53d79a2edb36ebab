"""Thalian's assistant on the running platform: one message, one answer, whatever the model's provider does."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from recipes import Person, World
from recipes.aside import Aside, soon
from recipes.thalian_chat import PATH, file, said, sent
from recipes.thallus_models import LEAK, SAID, configured, provider
from sqlalchemy import text

from domain import identity, support
from domain.agents import confirmations
from domain.kernel.pages import OffsetPage

HOUR = "What time does the depot open?"
SUSPEND = {"platform": "okta", "user_email": "alice@example.com"}


def pdf(words: str) -> bytes:
    """A page that says `words`."""
    stream = f"BT /F1 12 Tf 72 720 Td ({words}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
    ]
    out, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = len(out)
    out += b"xref\n0 5\n0000000000 65535 f \n" + table
    return out + b"trailer << /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % end


def copies(world: World, who: Person, count: int) -> None:
    """Let the workspace have sent `count` more messages today, as the last one was."""
    with world.platform() as ctx:
        columns = ctx.session.scalars(
            text("SELECT column_name FROM information_schema.columns WHERE table_name = 'turn' AND column_name <> 'id'")
        ).all()
        names = ", ".join(f'"{name}"' for name in columns)
        ctx.session.execute(
            text(
                f"INSERT INTO turn (id, {names}) SELECT gen_random_uuid(), {names} FROM "
                "(SELECT * FROM turn WHERE organisation_id = :id ORDER BY created_at DESC LIMIT 1) AS last, "
                "generate_series(1, :count)"
            ),
            {"id": who.organisation_id, "count": count},
        )


def proposed(world: World, who: Person, session: UUID, minutes: int = 0) -> str:
    """The token of an action that waits in a session, proposed `minutes` ago."""
    with world.platform() as ctx:
        conversation, turn = ctx.session.execute(
            text(
                "SELECT c.id, t.id FROM conversation c JOIN turn t ON t.conversation_id = c.id "
                "WHERE c.client_id = :id ORDER BY t.created_at LIMIT 1"
            ),
            {"id": session},
        ).one()
    with world.acting(who) as ctx:
        asked = confirmations.ask(
            ctx,
            user_id=who.account_id,
            conversation_id=conversation,
            turn_id=turn,
            call_id="call_9",
            tool="suspend_user",
            arguments=SUSPEND,
        )
        asked.created_at -= minutes * (confirmations.LIFE / 5)
        asked.expires_at -= minutes * (confirmations.LIFE / 5)
        return confirmations.token(asked.id)


def test_a_message_is_answered_at_once_and_a_session_carries_what_was_said(running: Any, world: World) -> None:
    who = world.person("thalian")
    first = sent(world, who)
    assert first.status_code == 200, first.text
    assert set(first.json()) == {"response", "tokens_used", "model", "stop_reason"}
    assert (first.json()["model"], first.json()["stop_reason"]) == ("extractive", "end_turn")
    key = configured(world, who)
    session = str(uuid4())
    told = sent(world, who, HOUR, sessionId=session).json()
    assert told == {"response": SAID, "tokens_used": 30, "model": "openai:middle", "stop_reason": "end_turn"}
    sent(world, who, "And on Sundays?", sessionId=session)
    heard = [m["content"] for m in provider().seen[key][-1]["messages"] if m["role"] != "system"]
    assert heard == [HOUR, SAID, "And on Sundays?"]
    sent(world, who, "And on Sundays?")
    assert [m["content"] for m in provider().seen[key][-1]["messages"] if m["role"] != "system"] == ["And on Sundays?"]


@pytest.mark.parametrize("role", ["owner", "admin", "analyst", "agent", "auditor", "viewer"])
def test_every_role_may_talk(running: Any, world: World, role: str) -> None:
    owner = world.person("thalian")
    who = world.person("thalian", organisation_id=owner.organisation_id, role=role)
    assert sent(world, who).status_code == 200


def test_a_message_is_for_ones_own_workspace_with_a_session_of_ones_own(running: Any, world: World) -> None:
    who, other = world.person("thalian"), world.person("thalian")
    for workspace in (other.organisation_id, uuid4()):
        refused = httpx.post(
            f"{world.url}{PATH}", json={**said(who), "workspaceId": str(workspace)}, headers=who.headers(), timeout=30
        )
        assert (refused.status_code, set(refused.json())) == (403, {"error"})
    malformed = httpx.post(
        f"{world.url}{PATH}", json={**said(who), "workspaceId": "mine"}, headers=who.headers(), timeout=30
    )
    assert malformed.status_code == 400
    with world.acting(who) as ctx:
        _, plain = identity.issue_api_key(ctx, "mcp", ["write"], "thalian")
    for headers in ({}, {"Authorization": f"Bearer {plain}"}):
        assert httpx.post(f"{world.url}{PATH}", json=said(who), headers=headers, timeout=30).status_code == 401
    session = str(uuid4())
    key = configured(world, other)
    assert sent(world, who, "My cat is called Nero.", sessionId=session).status_code == 200
    assert sent(world, other, "What is it called?", sessionId=session).status_code == 200
    assert "Nero" not in json.dumps(provider().seen[key])


@pytest.mark.parametrize("message", ["", " \n\t", "\u200b", "x" * 32_001])
def test_what_says_nothing_or_too_much_is_refused(running: Any, world: World, message: str) -> None:
    who = world.person("thalian")
    refused = sent(world, who, message)
    assert (refused.status_code, set(refused.json())) == (400, {"error"})


# --- limits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("plan", "most"), [("free", 25), ("trial", 100), ("pro", 100), ("enterprise", None)])
def test_a_plan_has_its_messages_a_day_and_not_one_more(
    running: Any, world: World, plan: str, most: int | None
) -> None:
    who = world.person("thalian", plan=plan)
    colleague = world.person("thalian", organisation_id=who.organisation_id, role="viewer", plan=plan)
    assert sent(world, who).status_code == 200
    copies(world, who, (most or 1000) - 2)
    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(lambda each: sent(world, each), [who, colleague, who, colleague]))
    statuses = sorted(reply.status_code for reply in replies)
    assert statuses == ([200] * 4 if most is None else [200, 429, 429, 429])
    for refused in (reply for reply in replies if reply.status_code == 429):
        assert set(refused.json()) == {"error"}
        assert str(most) in refused.json()["error"]
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
    if most is not None:  # midnight comes
        with world.platform() as ctx:
            ctx.session.execute(
                text("UPDATE turn SET created_at = created_at - interval '1 day' WHERE organisation_id = :id"),
                {"id": who.organisation_id},
            )
        assert sent(world, who).status_code == 200


def test_a_session_has_one_answer_under_way(running: Any, world: World) -> None:
    who = world.person("thalian")
    session = uuid4()
    configured(world, who)

    def begun() -> Any:
        query = "SELECT 1 FROM turn JOIN conversation ON conversation.id = turn.conversation_id WHERE client_id = :id"
        with world.platform() as ctx:
            return ctx.session.scalar(text(query), {"id": session})

    with running.resting():
        first = Aside(lambda: sent(world, who, HOUR, sessionId=str(session)))
        soon(begun)
        assert sent(world, who, HOUR, sessionId=str(session)).status_code == 409
    assert first.reply().status_code == 200


def test_an_idempotency_key_answers_again_and_asks_once(running: Any, world: World) -> None:
    who = world.person("thalian")
    key = configured(world, who)
    header = {"Idempotency-Key": str(uuid4())}
    first, again = (sent(world, who, HOUR, headers=header) for _ in range(2))
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert len(provider().seen[key]) == 4, "three when the key was tried, and one"


# --- a provider that misbehaves --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "status", "tries"),
    [
        (("status:503", "drop:0", "garble", "answer"), 200, 4),
        (("drop:18", "answer"), 200, 2),
        (("status:503",), 503, 4),
        (("drop:6",), 503, 4),
        (("garble",), 503, 4),
        (("limit:17",), 429, 1),
        (("status:401",), 503, 1),
        (("status:404",), 503, 1),
    ],
)
def test_what_the_provider_does_is_an_answer_a_503_or_a_429(
    running: Any, world: World, faults: tuple[str, ...], status: int, tries: int
) -> None:
    who = world.person("thalian")
    key = configured(world, who)
    provider().tell(key, *faults)
    reply = sent(world, who, HOUR)
    assert reply.status_code == status, reply.text
    assert len(provider().seen[key]) == 3 + tries
    if status == 200:
        assert reply.json()["response"] == SAID
    else:
        assert set(reply.json()) == {"error"}
        assert int(reply.headers["retry-after"]) == (17 if status == 429 else 30)
    assert key not in reply.text
    assert LEAK not in reply.text
    logs = "".join(path.read_text(errors="replace") for path in Path(running.logs).glob("*.log"))
    assert key not in logs
    assert LEAK not in logs


# --- actions ---------------------------------------------------------------------------------------------------


def test_actions_that_are_not_there_yet_are_not_offered_and_a_model_that_wants_one_is_told(
    running: Any, world: World
) -> None:
    who = world.person("thalian")
    key = configured(world, who)
    provider().tell(key, f"call:suspend_user:{json.dumps(SUSPEND)}")
    reply = sent(world, who, "Suspend Alice.")
    assert reply.status_code == 200, reply.text
    assert ("toolCalls" in reply.json(), reply.json()["stop_reason"]) == (False, "end_turn")
    first, second = provider().seen[key][-2:]
    offered = {tool["function"]["name"] for tool in first["tools"]}
    assert offered == {"create_ticket", "current_time", "search_documents", "search_memory"}
    assert "not available right now" in second["messages"][-1]["content"]


def test_a_ticket_is_opened_at_once_for_the_workspace_of_the_person(running: Any, world: World) -> None:
    who = world.person("thalian")
    key = configured(world, who)
    given = {"title": "Enforce MFA", "description": "Three administrators have no second factor.", "priority": "medium"}
    provider().tell(key, f"call:create_ticket:{json.dumps(given)}")
    reply = sent(world, who, "Open a ticket for the missing second factors.")
    assert reply.status_code == 200, reply.text
    (called,) = reply.json()["toolCalls"]
    assert (called["name"], called["input"], called["requiresConfirmation"]) == ("create_ticket", given, False)
    assert provider().seen[key][-1]["messages"][-1]["content"] == "Ticket 1 is open: Enforce MFA"
    with world.acting(who) as ctx:
        (shown,) = support.list_tickets(ctx, OffsetPage()).items
    assert (shown.ticket.subject, shown.ticket.priority, shown.ticket.created_by) == (
        "Enforce MFA", "normal", who.account_id
    )  # fmt: skip


def test_a_token_approves_once_for_its_person_and_session_within_five_minutes(running: Any, world: World) -> None:
    who = world.person("thalian")
    colleague = world.person("thalian", organisation_id=who.organisation_id, role="admin")
    session = uuid4()
    key = configured(world, who)
    assert sent(world, who, "Suspend Alice.", sessionId=str(session)).status_code == 200
    token = proposed(world, who, session)
    assert sent(world, who, "Something else", sessionId=str(uuid4()), confirmationToken=token).status_code == 404
    assert sent(world, colleague, "Suspend Alice.", confirmationToken=token).status_code == 404
    used = sent(world, who, "Suspend Alice.", sessionId=str(session), confirmationToken=token)
    assert used.status_code == 200, used.text
    assert "toolCalls" not in used.json(), "what could not be carried out is not told as done"
    call, result = provider().seen[key][-1]["messages"][-2:]
    assert call["tool_calls"][0]["function"]["name"] == "suspend_user"
    assert "not available right now" in result["content"]
    asked = len(provider().seen[key])
    for stale in (
        token,
        proposed(world, who, session, minutes=5),
        token[:-4] + "AAAA",
        confirmations.token(uuid4()),
        "cft_8s7d6f5g4h3j2k1l",
    ):
        for place in ({"sessionId": str(session)}, {}):
            refused = sent(world, who, "Suspend Alice.", confirmationToken=stale, **place)
            assert (refused.status_code, set(refused.json())) == (404, {"error"}), stale
    assert len(provider().seen[key]) == asked
    # The same request again names no session where the first named none.
    assert sent(world, who, "Suspend Alice.", confirmationToken=proposed(world, who, session)).status_code == 200
    assert len(provider().seen[key]) == asked + 1


# --- files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"The gate code of the depot is 4711.", "gate.txt"),
        (b"The gate code of the depot is 4711.", None),
        (b"x\n\n" * 3000 + b"The gate code of the depot is 4711.\n\n" + b"Nothing of interest. " * 9000, "gate.log"),
        (pdf("The gate code of the depot is 4711."), "gate.pdf"),
        (pdf("The gate code of the depot is 4711."), None),
    ],
)
def test_a_file_is_read_shown_to_the_model_and_gone(
    running: Any, world: World, content: bytes, name: str | None
) -> None:
    who = world.person("thalian")
    question = "What is the gate code of the depot?"
    quoted = sent(world, who, question, **file(content, name))
    assert quoted.status_code == 200, quoted.text
    assert "4711" in quoted.json()["response"]
    key = configured(world, who)
    assert sent(world, who, question, **file(content, name)).status_code == 200
    shown = json.dumps(provider().seen[key][-1]["messages"])
    assert "The gate code of the depot is 4711." in shown
    assert len(shown) < 40_000
    with world.platform() as ctx:
        left = ctx.session.scalar(
            text("SELECT count(*) FROM stored_object WHERE organisation_id = :id AND state <> 'deleted'"),
            {"id": who.organisation_id},
        )
    assert left == 0


def test_a_later_question_of_the_session_may_be_about_the_file_and_one_of_another_is_not(
    running: Any, world: World
) -> None:
    who = world.person("thalian")
    session = str(uuid4())
    assert sent(world, who, "Keep this.", sessionId=session, **file(pdf("The gate code is 4711."))).status_code == 200
    key = configured(world, who)
    assert sent(world, who, "What is the gate code?", sessionId=session).status_code == 200
    passages = provider().seen[key][-1]["messages"][-2]["content"]
    assert passages.startswith("Passages that came with the message")
    assert "The gate code is 4711." in passages
    assert sent(world, who, "What is the gate code?", sessionId=str(uuid4())).status_code == 200
    assert "4711" not in json.dumps(provider().seen[key][-1]["messages"])


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (file(b"PK\x03\x04" + bytes(64), "archive.zip"), 415),
        (file(b"a,b\n1,2\n", "table.csv"), 415),
        (file(b"\x7fELF" + bytes(64)), 415),
        (file(b"just words", "report.pdf"), 415),
        (file(pdf("words"), "words.txt"), 415),
        (file(b"\x89PNG\r\n\x1a\n" + bytes(64), "picture.jpg"), 415),
        (file(b"\x89PNG\r\n\x1a\n" + bytes(64), "picture.png"), 503),
        ({"fileBase64": "no base64!", "fileName": "a.txt"}, 400),
        (file(b"%PDF-1.4\nbroken", "broken.pdf"), 400),
        (file(b" \n " * 20, "blank.txt"), 400),
        (file(b"a" * (10 * 1024 * 1024 + 1), "large.txt"), 413),
    ],
    ids=lambda each: each.get("fileName", "no name") if isinstance(each, dict) else str(each),
)
def test_a_file_that_is_not_taken_or_cannot_be_read_says_so(
    running: Any, world: World, fields: dict[str, str], status: int
) -> None:
    who = world.person("thalian")
    refused = sent(world, who, "What is in it?", **fields)
    assert (refused.status_code, set(refused.json())) == (status, {"error"}), refused.text
    with world.platform() as ctx:
        left = ctx.session.scalar(
            text("SELECT count(*) FROM stored_object WHERE organisation_id = :id AND state <> 'deleted'"),
            {"id": who.organisation_id},
        )
    assert left == 0
