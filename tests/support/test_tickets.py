"""One mail makes one ticket, an answer joins its ticket, and an organisation sees its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from domain import audit, support
from domain.kernel.errors import Conflict, NotFound, Unprocessable
from domain.kernel.pages import OffsetPage
from domain.support import Mail, Ticket


def subjects(shown):
    return [each.ticket.subject for each in shown]


def test_a_mail_makes_a_ticket_of_its_sender(world):
    ada = world.person()
    taken = world.submit(ada, "It prints\r\nnothing.", subject=" Printer \r\n broken ", message_id="<1@hopper.example>")
    ticket = taken.shown.ticket
    assert not taken.joined
    assert (ticket.number, ticket.subject, ticket.status, ticket.priority) == (1, "Printer broken", "open", "normal")
    assert (ticket.requester_email, ticket.requester_name) == ("grace@hopper.example", "Grace Hopper")
    assert (ticket.source, ticket.created_by, ticket.message_count) == ("mail", ada.user_id, 1)
    (said,) = world.messages(ticket.id)
    assert (said.content, said.position, said.message_id) == ("It prints\nnothing.", 1, "<1@hopper.example>")


def test_numbers_count_up_in_each_organisation(world, make_world):
    ada, other = world.person(), make_world()
    assert [world.submit(ada).shown.ticket.number for _ in range(3)] == [1, 2, 3]
    assert other.submit(other.person()).shown.ticket.number == 1


def test_exactly_one_mail_has_to_be_given(world):
    mail = Mail("grace@hopper.example", "Printer", "Broken.")
    with world.ctx(world.person()) as ctx:
        with pytest.raises(Unprocessable):
            support.submit(ctx)
        with pytest.raises(Unprocessable):
            support.submit(ctx, mail=mail, email_id=uuid4())
        with pytest.raises(NotFound):
            support.submit(ctx, email_id=uuid4())


@pytest.mark.parametrize("again", ["<1@hopper.example>", "1@hopper.example", "  <1@hopper.example>\r\n"])
def test_a_mail_that_has_a_ticket_makes_no_second_one(world, again):
    ada = world.person()
    first = world.submit(ada, message_id="<1@hopper.example>").shown.ticket
    with pytest.raises(Conflict) as refused:
        world.submit(ada, message_id=again, subject="Something else")
    assert refused.value.facts["ticket_id"] == str(first.id)
    assert len(world.listed()) == 1


def test_mails_without_an_id_are_each_their_own(world):
    ada = world.person()
    world.submit(ada)
    world.submit(ada, message_id="  ")
    assert len(world.listed()) == 2


def test_the_same_mail_in_two_organisations_has_two_tickets(world, make_world):
    other = make_world()
    world.submit(world.person(), message_id="<1@hopper.example>")
    taken = other.submit(other.person(), message_id="<2@x.example>", in_reply_to="<1@hopper.example>")
    assert not taken.joined
    other.submit(other.person(), message_id="<1@hopper.example>")
    assert [len(world.listed()), len(other.listed())] == [1, 2]


def test_an_answer_joins_its_ticket_and_opens_it_again(world):
    ada = world.person()
    first = world.submit(ada, message_id="<1@hopper.example>").shown.ticket
    second = world.submit(ada, message_id="<2@hopper.example>", in_reply_to="<1@hopper.example>")
    with world.ctx() as ctx:
        ctx.session.execute(update(Ticket).values(status="solved"))
    third = world.submit(
        ada, "Now it smokes.", message_id="<3@hopper.example>", in_reply_to="<2@hopper.example>", priority="urgent"
    )
    assert second.joined
    assert third.joined
    assert third.shown.ticket.id == first.id
    kept = world.ticket(first.id)
    assert (kept.status, kept.priority, kept.message_count, kept.subject) == ("open", "urgent", 3, "Printer")
    assert [each.position for each in world.messages(first.id)] == [1, 2, 3]
    with pytest.raises(Conflict):
        world.submit(ada, message_id="<2@hopper.example>", in_reply_to="<1@hopper.example>")


def test_an_answer_to_a_mail_that_nobody_has_handed_in_is_a_ticket_of_its_own(world):
    taken = world.submit(world.person(), message_id="<2@hopper.example>", in_reply_to="<1@hopper.example>")
    assert not taken.joined


def test_of_many_who_hand_in_the_same_mail_at_once_one_makes_the_ticket(world):
    ada = world.person()

    def hand_in(number):
        try:
            return world.submit(ada, message_id="<same@hopper.example>").shown.ticket.number
        except Conflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(hand_in, range(16)))
    assert sorted(made, key=str) == [1, *[None] * 15]
    assert len(world.jobs()) == 1


def test_of_many_mails_at_once_each_has_its_number_and_answers_their_places(world):
    ada = world.person()
    root = world.submit(ada, message_id="<root@hopper.example>").shown.ticket

    def hand_in(number):
        answers = "<root@hopper.example>" if number % 2 else None
        return world.submit(ada, message_id=f"<{number}@hopper.example>", in_reply_to=answers)

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(hand_in, range(16)))
    assert sum(each.joined for each in taken) == 8
    assert sorted(each.ticket.number for each in world.listed()) == list(range(1, 10))
    assert [each.position for each in world.messages(root.id)] == list(range(1, 10))
    assert world.ticket(root.id).message_count == 9


def test_only_somebody_of_the_organisation_takes_care_of_a_ticket(world, make_world):
    ada, bob, other = world.person(), world.person(name="Bob"), make_world()
    taken = world.submit(ada, assignee_id=bob.user_id)
    assert taken.shown.assignee.name == "Bob"
    for nobody in (uuid4(), other.person().user_id):
        with pytest.raises(Unprocessable):
            world.submit(ada, assignee_id=nobody)
    assert len(world.listed()) == 1


def test_tickets_are_found_by_what_they_are(world, make_world):
    ada, bob = world.person(), world.person()
    world.submit(ada, subject="One", priority="low")
    world.submit(ada, subject="Two", priority="high", assignee_id=bob.user_id)
    last = world.submit(ada, subject="Three", priority="high").shown.ticket
    with world.ctx() as ctx:
        ctx.session.execute(update(Ticket).where(Ticket.id == last.id).values(status="solved"))
    assert subjects(world.listed(priority="high")) == ["Three", "Two"]
    assert subjects(world.listed(priority="high", status="open")) == ["Two"]
    assert subjects(world.listed(assignee_id=bob.user_id)) == ["Two"]
    assert subjects(world.listed(status="closed")) == []
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    assert subjects(world.listed(until=moment)) == []
    assert len(world.listed(since=moment)) == 3
    assert world.listed(since=last.created_at)[0].ticket.id == last.id
    assert last.id not in {each.ticket.id for each in world.listed(until=last.created_at)}
    assert make_world().listed() == []


def test_words_are_looked_for_in_subjects_and_all_mails(world):
    ada = world.person()
    world.submit(ada, "The toner smears.", subject="Printer", message_id="<1@x.example>")
    world.submit(ada, "Also the e-mail to o'brien@x.example (100%) bounces.", subject="Bounces")
    world.submit(ada, "Now the drum, too.", subject="Re: Printer", in_reply_to="<1@x.example>")
    assert subjects(world.listed(words="PRINTER")) == ["Printer"]
    assert subjects(world.listed(words="toner drum")) == ["Printer"]  # in two mails of one ticket
    assert subjects(world.listed(words="toner bounces")) == []
    assert subjects(world.listed(words="e-mail 100%")) == ["Bounces"]
    assert subjects(world.listed(words="x.example")) == ["Bounces"]
    for nothing in ("???", "smear' OR '1", "\x00", "% _"):
        assert subjects(world.listed(words=nothing)) == []


def test_the_last_changed_comes_first_in_pages(world):
    ada = world.person()
    for number in range(5):
        world.submit(ada, subject=f"T{number}", message_id=f"<{number}@x.example>")
    world.submit(ada, in_reply_to="<1@x.example>", message_id="<again@x.example>")
    with world.ctx(ada) as ctx:
        first = support.list_tickets(ctx, OffsetPage(limit=2))
        second = support.list_tickets(ctx, OffsetPage(limit=2, offset=2))
    assert (first.total, second.total) == (5, 5)
    assert subjects(first.items) + subjects(second.items) == ["T1", "T4", "T3", "T2"]


def test_a_ticket_and_what_joins_it_are_on_the_audit_trail_without_their_words(world):
    ada = world.person()
    ticket = world.submit(ada, "My secret is 42.", message_id="<1@x.example>").shown.ticket
    world.submit(ada, message_id="<2@x.example>", in_reply_to="<1@x.example>")
    with world.ctx(permissions=frozenset({"admin"})) as ctx:
        entries = [
            each
            for each in ctx.session.scalars(select(audit.AuditEntry))
            if each.resource_id == str(ticket.id) and each.organisation_id == world.organisation_id
        ]
    assert sorted(each.action for each in entries) == ["ticket.create", "ticket.join"]
    assert "secret" not in str([each.details for each in entries])


def test_hostile_mails_are_kept_as_text(world):
    ada = world.person()
    words = "'; DROP TABLE ticket; --\u202e\x00\ud800 <script>alert(1)</script> " + "ab-cd " * 33_000
    ticket = world.submit(
        ada, words[:200_000], subject="\x00" + "s" * 990, message_id="<" + "m" * 990 + ">"
    ).shown.ticket
    (said,) = world.messages(ticket.id)
    assert "\x00" not in said.content
    assert said.content.startswith("'; DROP TABLE ticket; --")
    assert subjects(world.listed(words="alert"))


@pytest.mark.parametrize("base", [0x61, 0x3B1, 0x4E00, 0x20000])
def test_the_longest_mail_can_be_searched_to_its_end(world, base):
    ada = world.person()
    words = " ".join(chr(base + number // 500) + chr(base + 1 + number % 500) for number in range(66_000))
    world.submit(ada, words[:199_990] + " lastly", subject="Long")
    assert subjects(world.listed(words="lastly")) == ["Long"]
