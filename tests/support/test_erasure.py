"""What tickets say of a person goes with the person; the tickets stay the organisation's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from uuid import UUID

import pytest
from sqlalchemy import text

from domain import support
from domain.identity import accounts
from domain.kernel.errors import Unprocessable
from domain.support.erasure import ERASED

TABLES = ("ticket", "ticket_message", "ticket_desk")


def named(world, *words: str) -> set[str]:
    """The tables of tickets in which one of the words stands, in whichever column."""
    found = set()
    with world.database.session(None, platform=True) as session:
        for name in TABLES:
            any_of = " OR ".join(f"t::text ILIKE :w{number}" for number, _ in enumerate(words))
            given = {f"w{number}": f"%{word}%" for number, word in enumerate(words)}
            statement = text(f'SELECT count(*) FROM "{name}" t WHERE {any_of}')
            if session.connection().scalar(statement, given):
                found.add(name)
    return found


def erase(world, actor) -> None:
    with world.ctx() as ctx:
        support.erase_person(ctx, actor.user_id)


def test_nothing_names_who_was_erased_and_the_tickets_stay(world):
    email = "grace.hopper@navy.example"
    grace, ada = world.person(email, name="Grace Murray"), world.person()
    mine = world.submit(
        grace,
        f"Write to {email} or GRACE.hopper@navy.example.",
        sender_email="Grace.Hopper@navy.example",
        sender_name="Grace Murray",
        subject=f"For {email}",
        message_id=f"<{email}>",
        assignee_id=grace.user_id,
    ).shown.ticket
    theirs = world.submit(ada, "About something else.", subject="Other", assignee_id=grace.user_id).shown.ticket
    world.submit(
        ada,
        f"> {email} wrote that.",
        sender_email="ada@lovelace.example",
        sender_name="Ada",
        message_id="<2@x.example>",
        in_reply_to=f"<{email}>",
    )
    with world.ctx(grace) as ctx:
        made = support.open_ticket(ctx, "By an agent", "Broken.", requester=accounts.get(ctx, grace.user_id))
    world.settle()
    words = (str(grace.user_id), email, "Grace Murray")
    assert named(world, *words) == {"ticket", "ticket_message"}
    before = {each.ticket.id: each.ticket.updated_at for each in world.listed()}
    erase(world, grace)
    assert named(world, *words) == set()
    after = {each.ticket.id: each.ticket for each in world.listed()}
    assert set(after) == {mine.id, theirs.id, made.id}
    assert {key: value.updated_at for key, value in after.items()} == before
    assert after[theirs.id].requester_email == "grace@hopper.example"
    first, second = world.messages(mine.id)
    assert first.content == f"Write to {ERASED} or {ERASED}."
    assert (second.sender_email, second.content) == ("ada@lovelace.example", f"> {ERASED} wrote that.")
    assert world.listed(words="navy") == []


def test_erasing_reaches_no_other_organisation(world, make_world):
    other = make_world()
    grace = world.person("g@navy.example")
    ticket = other.submit(other.person(), sender_email="g@navy.example").shown.ticket
    erase(world, grace)
    assert other.ticket(ticket.id).requester_email == "g@navy.example"


def test_who_was_erased_already_is_no_failure(world):
    erase(world, type("Gone", (), {"user_id": UUID(int=1)}))


def test_who_is_being_erased_is_not_assigned_and_neither_waits_for_the_other_for_ever(world):
    grace, ada = world.person(), world.person()
    ticket = world.submit(ada, message_id="<1@x.example>", assignee_id=grace.user_id).shown.ticket
    with ThreadPoolExecutor(1) as pool:
        with world.database.session(None, platform=True) as session:
            held = text("SELECT 1 FROM account WHERE id = :id FOR UPDATE")
            session.connection().execute(held, {"id": grace.user_id})
            answer = pool.submit(
                world.submit,
                ada,
                message_id="<2@x.example>",
                in_reply_to="<1@x.example>",
                assignee_id=grace.user_id,
            )
            with pytest.raises(FutureTimeout):
                answer.result(0.5)
            # The answer waits, and holds nothing that an erasure wants.
            free = text("SELECT 1 FROM ticket WHERE id = :id FOR UPDATE NOWAIT")
            session.connection().execute(free, {"id": ticket.id})
            session.connection().execute(
                text("UPDATE account SET erased_at = now() WHERE id = :id"), {"id": grace.user_id}
            )
        with pytest.raises(Unprocessable):
            answer.result(10)
