"""Guardrails: what is found, what is done about it, and that the text itself is kept nowhere."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain import conversations
from domain.conversations.guardrails import policy, recognise
from domain.conversations.guardrails.output import Blocked, Filter
from domain.conversations.guardrails.policy import Policy
from domain.conversations.guardrails.shield import Shield
from domain.kernel.errors import Conflict, NotFound

SECRET = "Pay ada@example.org from NL91 ABNA 0417 1643 00 please"
REDACTED = "Pay [email] from [iban] please"


def of(events, name):
    return [d for n, d in events if n == name]


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("write to ada.lovelace+x@example.co.uk now", "email"),
        ("call +31 20 123 4567 today", "phone"),
        ("phone: 020-1234567", "phone"),
        ("IBAN DE89 3704 0044 0532 0130 00", "iban"),
        ("card 4111-1111-1111-1111", "credit_card"),
        ("BSN 111222333", "bsn"),
        ("SSN 536-90-4399", "ssn_us"),
        ("DNI 12345678Z", "nif_es"),
        ("server 192.168.10.4 is down", "ip_address"),
        ("password: hunter22", "password"),
        ("use sk-proj-abcdefghij0123456789 there", "access_key"),
        ("born 12-03-1984 in Turku", "date_of_birth"),
        ("My name is Ada Lovelace", "person"),
        ("visit 10 Downing Street today", "address"),
    ],
)
def test_personal_data_is_recognised(text, category):
    assert [f.category for f in recognise.find(text)] == [category]


@pytest.mark.parametrize(
    "text",
    [
        "order 1234567890123 of 12-03-2024",
        "IBAN DE89 3704 0044 0532 0130 01",
        "card 4111-1111-1111-1112",
        "111222334 items",
        "version 1.2.3 and 999.1.1.1",
        "room 0201234",
        "The meeting is at 10:30 with 45 people.",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text):
    assert recognise.find(text) == []


def test_terms_of_the_organisation_are_found_whole_and_in_any_case():
    found = recognise.find("Falcon and falconry, FALCON!", terms=["falcon"])
    assert [(f.start, f.end) for f in found] == [(0, 6), (21, 27)]


@pytest.mark.parametrize(
    ("text", "kept", "removed"),
    [
        ("pay\u200b\u2060load\U000e0041\U000e0042", "payload", 4),
        ("👨\u200d👩\u200d👧 ❤\ufe0f", "👨\u200d👩\u200d👧 ❤\ufe0f", 0),
        ("می\u200cخواهم", "می\u200cخواهم", 0),
        ("soft\u00adhyphen", "softhyphen", 1),
    ],
)
def test_what_nobody_sees_is_stripped_and_what_scripts_need_stays(text, kept, removed):
    assert recognise.stripped(text) == (kept, removed)


@pytest.mark.parametrize(
    ("organisation", "agent", "mode", "open_"),
    [
        ({}, {}, "ask", True),
        ({"dlp_mode": "block"}, {}, "block", False),
        ({"dlp_mode": "block"}, {"dlp_mode": "auto_redact"}, "auto_redact", True),
        ({"dlp_mode": "block", "dlp_failure_mode": "fail_open"}, {}, "block", True),
        ({}, {"dlp_failure_mode": "fail_closed"}, "ask", False),
    ],
)
def test_the_agent_decides_before_the_organisation(organisation, agent, mode, open_):
    held = policy.merged(organisation, agent, entitled=True)
    assert (held.mode, held.fails_open) == (mode, open_)


# --- in a turn ---------------------------------------------------------------------------------------


def bee(make_world, plan="enterprise", **guardrails):
    return make_world("beeflow", plan, guardrails=guardrails)


def test_a_finding_stops_the_turn_until_it_is_decided_and_the_same_stream_goes_on(make_world, script):
    model = script("Done.")
    world = bee(make_world)
    turn_id = world.start(SECRET)
    work = world.work()
    conversations.run(work, turn_id)
    name, finding = world.check(work)[-1]
    assert name == "dlp_finding"
    assert finding["categories"] == ["email", "iban"]
    assert finding["redacted_preview"] == REDACTED
    assert finding["action"] == "ask"
    assert model.asked == []
    with world.ctx() as ctx:
        message = conversations.list_messages(ctx, world.turn(turn_id).conversation_id).items[-1]
        assert message.status == "awaiting_decision"
        conversations.decide(ctx, turn_id, "redact")
    conversations.run(work, turn_id)
    events = world.check(work)
    assert [n for n, _ in events if n in ("dlp_finding", "dlp_decided", "complete")] == [
        "dlp_finding", "dlp_decided", "complete",
    ]  # fmt: skip
    assert model.asked[0].question == REDACTED
    with world.ctx() as ctx:
        first = conversations.list_messages(ctx, world.turn(turn_id).conversation_id).items[0]
        assert first.content == REDACTED
        with pytest.raises(Conflict):
            conversations.decide(ctx, turn_id, "allow")


@pytest.mark.parametrize(("decision", "asked", "end"), [("allow", [SECRET], "complete"), ("block", [], "error")])
def test_a_decision_lets_it_through_or_ends_it(make_world, script, decision, asked, end):
    model = script("Done.")
    world = bee(make_world)
    turn_id = world.start(SECRET)
    world.run(turn_id)
    with world.ctx() as ctx:
        conversations.decide(ctx, turn_id, decision)
    name, data = world.run(turn_id)[-1]
    assert name == end
    assert [r.question for r in model.asked] == asked
    if end == "error":
        assert data["code"] == "dlp_blocked"
        with world.ctx() as ctx:
            page = conversations.list_messages(ctx, world.turn(turn_id).conversation_id)
        assert page.items[-1].status == "blocked"
        assert page.items[0].content == REDACTED


def test_what_nobody_decides_on_ends_after_five_minutes(make_world):
    world = bee(make_world)
    turn_id = world.start(SECRET)
    world.run(turn_id)
    with world.ctx() as ctx:
        conversations.expire(ctx, turn_id)  # too early
    assert world.turn(turn_id).state == "waiting"
    world.set(turn_id, waiting_until=world.turn(turn_id).waiting_until - timedelta(minutes=6))
    with world.ctx() as ctx, pytest.raises(NotFound):
        conversations.decide(ctx, turn_id, "allow")
    with world.ctx() as ctx:
        conversations.expire(ctx, turn_id)
        assert conversations.result(ctx, turn_id).final["code"] == "dlp_expired"
        with pytest.raises(NotFound):
            conversations.decide(ctx, turn_id, "allow")


def test_only_who_asked_may_decide(make_world):
    world = bee(make_world)
    turn_id = world.start(SECRET)
    world.run(turn_id)
    with world.ctx(user_id=make_world().user_id) as ctx, pytest.raises(NotFound):
        conversations.decide(ctx, turn_id, "allow")


def test_redaction_and_refusal_need_nobody(make_world, script):
    model = script("Done.")
    assert bee(make_world, dlp_mode="auto_redact").ask(SECRET)["name"] == "complete"
    assert model.asked[0].question == REDACTED
    refused = bee(make_world, dlp_mode="block").ask(SECRET)
    assert (refused["name"], refused["code"]) == ("error", "dlp_blocked")
    assert len(model.asked) == 1


def test_without_the_plan_nothing_is_looked_at(make_world, script):
    model = script("Done.")
    assert bee(make_world, plan="pro", dlp_mode="block").ask(SECRET)["name"] == "complete"
    assert model.asked[0].question == SECRET


def test_a_check_that_fails_lets_pass_or_refuses_as_it_is_told(make_world, script, monkeypatch):
    script("Done.")
    monkeypatch.setattr(recognise, "find", lambda *a, **k: 1 / 0)
    assert bee(make_world, dlp_mode="ask").ask(SECRET)["name"] == "complete"
    assert bee(make_world, dlp_mode="block").ask(SECRET)["code"] == "dlp_blocked"


def test_answers_are_redacted_or_stopped_while_they_are_said(make_world, script):
    script("Write to ada@example.org about it. " + "More words follow here. " * 20)
    done = bee(make_world, dlp_mode="auto_redact").ask("Whom?")
    assert done["response"].startswith("Write to [email] about it.")
    assert "ada@" not in str(done["events"])
    stopped = bee(make_world, dlp_mode="block").ask("Whom?")
    assert stopped["code"] == "dlp_blocked"
    assert "ada@" not in str(stopped["events"])


def test_the_log_holds_categories_and_no_text(make_world, script):
    script("Fine.")
    world = bee(make_world, dlp_mode="auto_redact", custom_terms=["Falcon"])
    world.ask("Falcon: " + SECRET + "\u200b")
    with world.ctx() as ctx:
        page = conversations.list_guardrail_events(ctx)
        exported = list(conversations.export_guardrail_events(ctx, batch=1))
        pii = conversations.list_guardrail_events(ctx, kind="pii", action="redact", user_id=world.user_id)
    assert sorted((e.violation_type, e.action_taken, tuple(e.categories)) for e in page.items) == [
        ("custom_term", "redact", ("custom_term",)),
        ("pii", "redact", ("email", "iban")),
        ("unicode_smuggling", "stripped", ("invisible",)),
    ]
    assert [e.id for e in exported] == [e.id for e in page.items]
    assert pii.total == 1
    assert "ada@" not in str([vars(e) for e in page.items])


# --- while it is said --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 7, 50, 400])
def test_a_filter_finds_the_same_however_the_words_are_cut(size):
    text = ("Some words before. Mail ada@example.org and pay NL91 ABNA 0417 1643 00 now. " * 5).strip()
    watch = Filter(Policy(dlp=True, mode="auto_redact"))
    out = "".join(watch.feed(text[i : i + size]) for i in range(0, len(text), size)) + watch.end()
    assert out == recognise.redacted(text, recognise.find(text))
    assert watch.categories == {"email", "iban"}


def test_a_filter_that_blocks_lets_nothing_of_a_finding_out():
    watch = Filter(Policy(dlp=True, mode="block"))
    said = []

    def say():
        text = "A harmless beginning. " * 10 + "ada@example.org " + "and so on " * 40
        said.extend(watch.feed(character) for character in text)

    with pytest.raises(Blocked) as blocked:
        say()
    assert blocked.value.facts["categories"] == ["email"]
    assert "ada" not in "".join(said)


def test_a_shield_hides_and_puts_back_across_pieces():
    shield = Shield(Policy(shield="standard"))
    hidden = shield.hide("Mail ada@example.org and bob@example.org, ada@example.org first.")
    assert hidden == "Mail [email_1] and [email_2], [email_1] first."
    answer = "I wrote to [email_2] and [email_1] [1]."
    assert (
        "".join(shield.feed(c) for c in answer) + shield.end() == "I wrote to bob@example.org and ada@example.org [1]."
    )
    assert shield.arguments({"to": ["[email_1]"], "n": 1}) == {"to": ["ada@example.org"], "n": 1}


def test_a_model_outside_sees_placeholders_and_the_person_the_real_words(make_world, script):
    model = script(lambda request: "I have noted [email_1].", capable=True)
    world = bee(make_world, plan="pro", privacy_shield="standard")
    done = world.ask("Note ada@example.org")
    assert "ada@" not in str(model.asked[0])
    assert done["response"] == "I have noted ada@example.org."
