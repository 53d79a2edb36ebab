"""Modes: a plan of agents that is revised, hypotheses that are steered, and the choice among them."""

from __future__ import annotations

import pytest

from domain import conversations
from domain.conversations.modes.research import Step, divided, ordered, parsed

FACTS = {
    "Refund policy": "Refunds are paid within 14 days. A refund needs the original receipt.",
    "Depot handbook": "The depot opens at six in the morning. Forklifts need a licence.",
    "Outage report": "The outage was caused by an expired certificate. The certificate expired on Sunday night.",
    "Second report": "An expired certificate had caused the outage of the shop. Nobody had renewed it.",
    "Canteen": "The canteen serves soup from noon.",
}


def of(events, name):
    return [d for n, d in events if n == name]


def test_research_plans_carries_out_and_writes_with_citations(world, searchable):
    searchable(world, FACTS)
    done = world.ask("When does the depot open? How long does a refund take?", mode="research")
    events = done["events"]
    (plan,) = of(events, "plan_created")
    assert [s["title"] for s in plan["steps"]] == [
        "When does the depot open?", "How long does a refund take?", "Write the answer",
    ]  # fmt: skip
    assert plan["steps"][-1]["depends_on"] == ["step_1", "step_2"]
    assert [e["step_id"] for e in of(events, "agent_completed")] == ["step_1", "step_2", "write"]
    assert {c["title"] for c in done["citations"]} == {"Refund policy", "Depot handbook"}
    assert done["mode"] == "research"
    assert done["response"] == "".join(d["delta"] for d in of(events, "text_delta"))


def test_what_finds_nothing_is_asked_in_other_words(world, searchable):
    searchable(world, FACTS)
    done = world.ask("When does the depot open? Who is the emperor of the moon?", mode="research")
    replans = of(done["events"], "replan_triggered")
    assert [r["attempt"] for r in replans] == [1, 2]
    assert "emperor moon" in str(replans[0]["steps"])
    assert done["name"] == "complete"
    assert "opens at six" in done["response"]


def test_a_plan_of_a_model_is_carried_out_in_an_order_that_works(world, script):
    plan = '{"steps": [{"id": "b", "title": "Second", "agent": "data_analyst", "depends_on": ["a"]}, ' \
           '{"id": "a", "title": "First", "agent": "researcher", "depends_on": []}]}'  # fmt: skip

    def answer(request):
        if "Answer with JSON" in request.question:
            return f"Here it is: {plan}"
        if request.question in ("First", "Second"):
            return f"Finding on {request.question}"
        return "The answer."

    script(answer, capable=True)
    done = world.ask("Something large", mode="research")
    started = [e["title"] for e in of(done["events"], "agent_started") if e["step_id"] in ("a", "b", "a_again")]
    assert started[:2] == ["First", "Second"]
    assert done["response"] == "The answer."


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("no plan", []),
        ('{"steps": "none"}', []),
        ('{"steps": [1, {"title": ""}, {"title": "Only"}]}', ["step_3"]),
        ('{"steps": [{"id": "x", "title": "A"}, {"id": "x", "title": "B"}]}', ["x", "x_2"]),
        ('{"steps": ' + "[" * 5000 + "}", []),
    ],
)
def test_a_plan_that_is_none_is_not_believed(text, ids):
    assert [step.id for step in parsed(text)] == ids


def test_steps_that_wait_for_each_other_are_carried_out_all_the_same():
    steps = [Step("a", "A", "x", ("b",)), Step("b", "B", "x", ("a",)), Step("c", "C", "x", ("nowhere",))]
    assert [s.id for s in ordered(steps)] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("When? Where?", ["When?", "Where?"]),
        ("Compare the old contract with the new contract.", ["the old contract", "the new contract"]),
        ("What is A and how is B?", ["What is A", "how is B?"]),
        ("???", ["???"]),
    ],
)
def test_a_question_is_divided_at_its_seams(question, parts):
    assert divided(question) == parts


def test_an_investigation_pauses_for_a_word_and_goes_on_with_it(world, searchable):
    searchable(world, FACTS)
    turn_id = world.start("Why did the outage happen?", mode="investigate")
    work = world.work()
    conversations.run(work, turn_id)
    name, asked = world.check(work)[-1]
    assert name == "steering_required"
    assert world.turn(turn_id).state == "waiting"
    assert any("certificate" in h["statement"] for h in asked["hypotheses"])
    conversation_id = world.turn(turn_id).conversation_id
    assert world.start("Look at the certificate", conversation_id=conversation_id) == turn_id
    conversations.run(work, turn_id)
    events = world.check(work)
    last = events[-1]
    assert last[0] == "complete"
    assert of(events, "steered")[0]["text"] == "Look at the certificate"
    hypotheses = of(events, "hypotheses_updated")[-1]["hypotheses"]
    assert hypotheses[0]["statement"] == "Look at the certificate"
    assert {h["status"] for h in hypotheses} <= {"supported", "refuted", "inconclusive"}
    assert any(h["status"] == "supported" for h in hypotheses)
    assert "certificate" in last[1]["response"]
    with world.ctx() as ctx:
        page = conversations.list_messages(ctx, conversation_id)
    assert [(m.role, m.content[:12]) for m in page.items[:2]] == [("user", "Why did the "), ("user", "Look at the ")]
    assert page.items[2].role == "assistant"


def test_an_investigation_that_nobody_steers_goes_on_by_itself(world, searchable):
    searchable(world, FACTS)
    turn_id = world.start("Why did the outage happen?", mode="investigate")
    world.run(turn_id)
    world.set(turn_id, waiting_until=world.turn(turn_id).created_at)
    with world.ctx() as ctx:
        conversations.expire(ctx, turn_id)
    assert len(world.jobs("conversations.answer")) == 2
    assert world.run(turn_id)[-1][0] == "complete"


@pytest.mark.parametrize(
    ("question", "mode"),
    [
        ("When does the canteen open?", "ask"),
        ("Why did sales drop in April?", "investigate"),
        ("What caused the outage last week?", "investigate"),
        ("Compare our two suppliers and recommend one of them", "research"),
        ("Write a report about the new regulation with all we know", "research"),
        ("Thank you!", "ask"),
        ("What is 3 times 4?", "ask"),
    ],
)
def test_auto_chooses_by_the_question(world, searchable, question, mode):
    searchable(world, {"Canteen": "The canteen opens at noon."})
    events = world.run(world.start(question, mode="auto", options={"steering": False}))
    assert of(events, "mode_chosen")[0]["mode"] == mode


def test_who_listens_first_hands_over_to_whoever_knows_best(make_world):
    world = make_world("starter")
    code = world.ask("Write a Python function that parses a date")
    assert code["agent_used"] == "code_assistant"
    assert code["handoff_occurred"]
    assert of(code["events"], "handoff")[0]["to_agent"] == "code_assistant"
    plain = world.ask("Hello, who are you?")
    assert (plain["agent_used"], plain["handoff_occurred"]) == ("triage", False)


def test_research_survives_a_crash_between_its_steps(world, searchable, killed):
    searchable(world, FACTS)
    question = "When does the depot open? How long does a refund take?"
    whole = world.ask(question, mode="research")["response"]
    for at in (25, 60, 95):
        turn_id = world.start(question, mode="research")
        left = [at]

        def die(point, left=left):
            left[0] -= 1
            if left[0] == 0:
                raise killed

        work = world.work(die=die)
        with pytest.raises(killed):
            conversations.run(work, turn_id)
        conversations.run(work, turn_id)
        events = world.check(work)
        assert len(of(events, "plan_created")) == 1
        assert events[-1][1]["response"] == whole


def test_a_denied_worker_is_stood_in_for(world, searchable):
    from domain import agents

    searchable(world, FACTS)
    with world.ctx() as ctx:
        agents.access.set_organisation_agent(ctx, "researcher", access="deny")
    done = world.ask("When does the depot open?", mode="research")
    assert "researcher" not in {d["agent"] for n, d in done["events"] if n == "agent_started"}
    assert "opens at six" in done["response"]
