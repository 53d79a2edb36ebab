"""Tickets that agents open: `create_ticket` in a turn, asked for where the surface asks, done once, for the person's
organisation."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from domain import audit, billing, conversations, identity, support
from domain.agents import own_settings
from domain.kernel.context import SystemActor
from domain.kernel.pages import OffsetPage
from domain.support.models import TicketMessage

FINDING = "01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21"
DOOR = {"title": "The door", "description": "The door of the lab is broken."}


@pytest.fixture
def opened(script, call):
    """A model that calls the tool once and says what came of it."""

    def make(**given):
        calls = [call("create_ticket", **{**DOOR, **given})]
        return script(lambda request: "Done." if request.messages[-1].role == "tool" else calls)

    return make


def settled(world):
    """The person of the world, with an account and a name."""
    with world.database.context(SystemActor("test"), None, platform=True) as ctx:
        email = f"ada-{uuid4().hex[:8]}@example.org"
        account = identity.accounts.make(ctx, email=email, name="Ada Lovelace", source="signup", verified=True)
        identity.accounts.join(ctx, account, world.organisation_id, "member", source="invite")
        world.user_id = account.id
    return email


def tickets(world):
    with world.ctx(permissions=frozenset({"tickets:read"})) as ctx:
        return [shown.ticket for shown in support.list_tickets(ctx, OffsetPage()).items]


def of(done, name):
    return [data for event, data in done["events"] if event == name]


@pytest.mark.parametrize("surface", ["thalian", "beeflow"])
def test_where_no_confirmation_is_asked_the_ticket_is_opened_at_once(make_world, opened, surface):
    world = make_world(surface, plan="enterprise")
    email = settled(world)
    model = opened(priority="medium", finding_id=FINDING)
    agent = {"beeflow": {"agent": "support_desk"}}.get(surface, {})
    done = world.ask("Create a ticket for the door", **agent)
    assert of(done, "tool_error") == []
    (ticket,) = tickets(world)
    assert (ticket.number, ticket.subject, ticket.priority, ticket.source) == (1, "The door", "normal", "tool")
    assert (ticket.requester_email, ticket.created_by) == (email, world.user_id)
    assert ticket.finding_id == UUID(FINDING)
    assert ticket.suggestion_state is None
    assert model.asked[-1].messages[-1].text == "Ticket 1 is open: The door"
    (result,) = of(done, "tool_completed")
    assert result["result"] == {"id": str(ticket.id), "number": 1, "title": "The door", "status": "open"}
    with world.ctx() as ctx:
        assert ctx.session.scalars(select(TicketMessage.content)).all() == [DOOR["description"]]


def test_where_writing_asks_the_ticket_is_opened_by_a_yes_and_once(world, opened, script):
    settled(world)
    opened()
    asked = world.ask("Create a ticket for the door")
    assert tickets(world) == []
    assert of(asked, "confirmation_required")
    script("Your ticket is open.")
    world.ask("yes", conversation_id=asked["conversation_id"])
    world.ask("yes", conversation_id=asked["conversation_id"])
    assert [each.subject for each in tickets(world)] == ["The door"]


def test_who_has_switched_the_question_off_is_not_asked(world, opened):
    settled(world)
    with world.ctx() as ctx:
        own_settings.save_settings(ctx, "assistant", confirm_writes=False)
    opened()
    world.ask("Create a ticket for the door")
    assert len(tickets(world)) == 1


@pytest.mark.parametrize(
    ("told", "kept", "given"),
    [
        ("low", "low", True),
        ("medium", "normal", True),
        ("high", "high", True),
        ("urgent", "urgent", True),
        (None, "normal", False),
    ],
)
def test_an_agents_urgency_is_the_tickets(make_world, opened, told, kept, given):
    world = make_world("thalian")
    settled(world)
    opened(**({} if told is None else {"priority": told}))
    world.ask("Create a ticket")
    (ticket,) = tickets(world)
    assert (ticket.priority, ticket.priority_given) == (kept, given)


def test_on_bee_flow_a_tier_without_tickets_opens_none(make_world, opened):
    world = make_world("beeflow")
    settled(world)
    with world.database.context(SystemActor("test"), world.organisation_id, frozenset({"admin"})) as ctx:
        billing.subscribe(ctx, "community", "beeflow")
    opened()
    done = world.ask("Create a ticket", agent="support_desk")
    assert [each["outcome"] for each in of(done, "tool_error")] == ["denied"]
    assert tickets(world) == []


def test_an_organisation_sees_its_own_tickets_alone(make_world, opened):
    world, other = make_world("thalian"), make_world("thalian")
    settled(world)
    opened()
    world.ask("Create a ticket")
    assert len(tickets(world)) == 1
    assert tickets(other) == []


def test_a_ticket_is_on_the_audit_trail_of_the_person(make_world, opened):
    world = make_world("thalian")
    settled(world)
    opened(finding_id=FINDING)
    world.ask("Create a ticket")
    (ticket,) = tickets(world)
    with world.ctx(permissions=frozenset({"admin"})) as ctx:
        (entry,) = ctx.session.scalars(
            select(audit.AuditEntry).where(audit.AuditEntry.resource_id == str(ticket.id))
        ).all()
    assert entry.action == "ticket.create"
    assert entry.details == {"number": 1, "source": "tool", "finding_id": FINDING}
    assert entry.actor_id == str(world.user_id)
    assert DOOR["description"] not in str(entry.details)


def test_however_often_the_turn_is_killed_there_is_one_ticket(make_world, opened, killed):
    world = make_world("thalian")
    settled(world)
    opened()
    turn_id = world.start("Create a ticket")
    for boundary in range(1, 60, 2):
        points = iter(range(1, 1000))

        def die(point, last=boundary, points=points):
            if next(points) == last:
                raise killed(point)

        try:
            conversations.run(world.work(die=die), turn_id)
            break
        except killed:
            continue
    assert world.turn(turn_id).state == "completed"
    assert len(tickets(world)) == 1


def test_what_does_not_fit_opens_nothing(make_world, opened):
    world = make_world("thalian")
    settled(world)
    opened(priority="normal", finding_id="7")
    done = world.ask("Create a ticket")
    assert "arguments do not fit" in of(done, "tool_error")[0]["error"]
    assert tickets(world) == []


def test_without_a_language_model_the_words_of_a_request_open_one(make_world):
    world = make_world("thalian")
    settled(world)
    done = world.ask('Create a ticket about "the door is broken"')
    assert done["response"].startswith("Ticket 1 is open: ")
    assert len(tickets(world)) == 1
