"""What a partner sees of a chain that goes well."""

from __future__ import annotations

import pytest

from domain import audit, brains, inference
from domain.brains.plan import ORDER
from domain.kernel.errors import Invalid, NotFound, PaymentRequired, TooLarge, Unprocessable

FACTS = (
    "Acme must be audited before March because its certificate ends on 28 February. "
    "Beta Logistics was audited in June and passed."
)
QUESTION = "Which of our suppliers must be audited before March, and why?"


def names(events):
    return [name for name, _ in events]


def test_the_events_come_in_the_contracts_order(world):
    assert names(world.events(FACTS)) == ["fast.triage", "chain.novel", "fast.artifact", "full.artifact"]


def test_what_one_session_taught_answers_another(world):
    world.ask(FACTS, session="teacher")
    artifact = world.ask(QUESTION, session="pupil")
    assert artifact["status"] == "complete"
    assert "Acme must be audited before March because its certificate ends on 28 February." in artifact["answer"]
    cited = [c for c in artifact["citations"] if c["kind"] == "memory"]
    remembered = {str(entry.id): entry for entry in world.memory()}
    assert cited
    for citation in cited:
        assert citation["quote"] in remembered[citation["entry_id"]].text


def test_citations_of_the_input_are_its_own_words_in_their_place(world):
    text = "  The pump stopped at noon.\n\n- The filter was replaced yesterday. Why does it fail? "
    artifact = world.ask(text)
    own = [c for c in artifact["citations"] if c["kind"] == "input"]
    assert own
    for citation in own:
        assert text[citation["start"] : citation["end"]] == citation["quote"]


def test_every_mark_in_the_answer_points_to_a_citation_and_back(world):
    world.ask(FACTS)
    artifact = world.ask(QUESTION)
    text = " ".join([artifact["answer"], *(s["text"] for s in artifact["sections"])])
    marks = {c["id"] for c in artifact["citations"]}
    assert all(f"[{mark}]" in text for mark in marks)


def test_a_second_look_at_the_same_matter_is_not_novel(world):
    assert "chain.novel" in names(world.events(FACTS))
    assert "chain.novel" not in names(world.events(QUESTION))


def test_a_question_that_was_asked_is_no_evidence_for_its_answer(world):
    world.ask("Who keeps the keys of the archive?", session="a")
    artifact = world.ask("Who keeps the keys of the archive?", session="a")
    assert not [c for c in artifact["citations"] if c["kind"] == "memory"]
    assert artifact["gate_decision"] == "block"


def test_the_score_follows_the_published_formula(world):
    world.ask(FACTS)
    artifact = world.ask(QUESTION)
    invocation_score = artifact["confidence_score"]
    with world.ctx() as ctx:
        from sqlalchemy import select

        from domain.brains.models import RoleResult

        architect = ctx.session.scalars(
            select(RoleResult).where(RoleResult.invocation_id == artifact["trace_id"], RoleResult.role == "architect")
        ).one()
    expected = 0.4 * architect.output["confidence"] + 0.4 * (100 - artifact["risk_score"]) + 0.2 * 50
    assert invocation_score == pytest.approx(expected, abs=0.06)
    assert artifact["gate_decision"] == ("pass" if expected >= 80 else "review" if expected >= 50 else "block")


def test_the_same_input_on_the_same_memory_has_the_same_answer(make_world):
    kept = ("answer", "sections", "objections", "risk_score", "confidence_score", "gate_decision", "address_key")
    artifacts = []
    for world in (make_world(), make_world()):
        world.ask(FACTS)
        artifacts.append(world.ask(QUESTION))
    assert [artifacts[0][k] for k in kept] == [artifacts[1][k] for k in kept]


def test_rings_are_written_by_what_they_are_for(world):
    world.ask(FACTS, session="one", entity_id="supplier:acme")
    session = world.memory(ring="session")
    entity = world.memory(ring="entity")
    good = [e for e in world.memory(ring="institutional") if e.source == "chain"]
    assert {e.session_id for e in session} == {"one"}
    assert all(e.level == "leaf" for e in session)
    assert {e.entity_id for e in entity} == {"supplier:acme"}
    assert all(e.level == "branch" and e.session_id is None for e in [*entity, *good])
    assert {e.text for e in good} == {e.text for e in entity}


def test_another_session_does_not_see_what_was_only_said_in_one(world):
    world.ask("Why did the Zephyr migration stop at step nine? It stopped because the disk was full.", session="mine")
    other = world.ask("Why did the Zephyr migration stop?", session="theirs")
    same = world.ask("Why did the Zephyr migration stop?", session="mine")
    assert not [p for p in other["provenance"] if p["ring"] == "session"]
    assert [p for p in same["provenance"] if p["ring"] == "session"]


def test_a_blocked_term_withholds_the_answer_everywhere_and_is_not_learnt(make_world):
    world = make_world(blocked_terms=["Project Nightingale"])
    events = dict(world.events("The budget of PROJECT\u00a0 Night\u200bingale is nine million euros. Remember it."))
    artifact = events["full.artifact"]
    assert artifact["guardrails"]["verdict"] == "block"
    assert artifact["gate_decision"] == "block"
    assert artifact["answer"] == ""
    assert artifact["sections"] == []
    assert artifact["citations"] == []
    assert events["fast.artifact"]["status"] == "unavailable"
    assert artifact["memory"]["written"] == []
    assert not [e for e in world.memory() if e.source == "chain"]


def test_personal_data_is_named_by_kind_and_never_kept_for_good(world):
    artifact = world.ask(
        "Remember that Mrs. Diaz has the IBAN DE89 3704 0044 0532 0130 00 and writes from diaz@example.org."
    )
    assert {f["rule"] for f in artifact["guardrails"]["findings"]} >= {"email", "iban"}
    assert artifact["guardrails"]["verdict"] == "warn"
    kept = " ".join(e.text for e in world.memory(ring="institutional"))
    assert "DE89" not in kept
    assert "diaz@" not in kept
    assert "Mrs. Diaz has the IBAN [removed]" in kept


def test_role_config_narrows_and_reorders(world):
    artifact = world.ask(QUESTION, role_config={"roles": ["boundary_keeper", "architect", "scorer"]})
    assert list(artifact["anchor_trace"]) == ["triage", "boundary_keeper", "architect", "scorer", "librarian"]
    assert artifact["risk_score"] is None
    assert artifact["gate_decision"] != "pass"
    assert any("not stress-tested" in warning for warning in artifact["warnings"])


def test_without_an_architect_there_is_no_draft_and_no_answer(world):
    events = world.events(QUESTION, role_config={"roles": ["listener"]})
    assert "fast.artifact" not in names(events)
    assert events[-1][1]["answer"] == ""
    assert events[-1][1]["status"] == "complete"


def test_a_brains_own_role_config_is_the_default_of_its_invocations(make_world):
    world = make_world(role_config={"roles": ["listener", "architect"]})
    assert list(world.ask(QUESTION)["anchor_trace"]) == ["triage", "listener", "architect", "librarian"]
    assert list(world.ask(QUESTION, role_config={"roles": list(ORDER)})["anchor_trace"]) == list(ORDER)


def test_starting_leaves_an_audit_entry_a_job_and_one_unit_of_the_plan(world):
    from domain import billing

    with world.ctx() as ctx:
        before = billing.usage(ctx)[0].used
    trace = world.start(QUESTION)
    with world.ctx(frozenset({"admin"})) as ctx:
        assert billing.usage(ctx)[0].used == before + 1
        entries = [e for e in audit.find(ctx).items if e.action == "brain.invoke"]
        assert entries[0].details["trace_id"] == str(trace)
        from domain.kernel import outbox

        jobs = [j for j in outbox.list_jobs(ctx).items if j.args == {"invocation_id": str(trace)}]
        assert [j.queue for j in jobs] == ["interactive"]


def test_the_months_invocations_can_run_out(make_world):
    from domain import billing

    world = make_world()
    with world.ctx() as ctx:
        billing.subscribe(ctx, "spark")
        billing.consume(ctx, "thalium.invocations", 500 - billing.usage(ctx)[0].used)
    with pytest.raises(PaymentRequired):
        world.start(QUESTION)
    with world.ctx() as ctx:
        assert brains.status(ctx, world.brain_id).queued_chain_count == 0


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"content": "   \n "}, Invalid),
        ({"content": "\x00\x01"}, Invalid),
        ({"content": "x" * 200_001}, TooLarge),
        ({"session_id": "a\nb"}, Invalid),
        ({"session_id": ""}, Invalid),
        ({"entity_id": "\ud800"}, Invalid),
        ({"input_type": "video"}, Invalid),
        ({"input_type": "audio", "content": "UklGRg=="}, Unprocessable),
        ({"input_type": "image", "content": "iVBORw0KGgo="}, Unprocessable),
        ({"role_config": {"roles": ["devil"]}}, Invalid),
        ({"role_config": {"model": "gpt-99"}}, Invalid),
    ],
)
def test_what_cannot_be_carried_out_is_refused_before_it_is_counted(world, given, error):
    from domain import billing

    with world.ctx() as ctx:
        before = billing.usage(ctx)[0].used
    with pytest.raises(error):
        world.start(given.pop("content", QUESTION), **given)
    with world.ctx() as ctx:
        assert billing.usage(ctx)[0].used == before


def test_an_archived_brain_is_not_found(world):
    with world.ctx() as ctx:
        brains.archive_brain(ctx, world.brain_id)
    with pytest.raises(NotFound):
        world.start(QUESTION)


def test_the_message_for_a_missing_driver_says_what_to_do(world):
    with pytest.raises(Unprocessable, match="speech"):
        world.start("UklGRg==", input_type="audio")
    with pytest.raises(Unprocessable, match="multimodal"):
        world.start("iVBORw0KGgo=", input_type="image")


def test_a_warm_chain_is_quick(world):
    import time

    world.ask(FACTS)
    started = time.monotonic()
    world.ask(QUESTION)
    assert time.monotonic() - started < 2.0


def test_the_artifact_is_kept_with_the_invocation(world):
    artifact = world.ask(FACTS)
    with world.ctx() as ctx:
        invocation = brains.get_invocation(ctx, artifact["trace_id"])
        assert invocation.artifact == artifact
        assert invocation.state == "complete"
        assert [e.number for e in brains.events_after(ctx, invocation.id, 2)] == [3, 4]


def test_a_recording_is_transcribed_and_then_treated_as_text(world, drivers):
    from dataclasses import replace

    class Hears:
        def available(self):
            pass

        def transcribe(self, recording, deadline):
            assert recording.startswith(b"RIFF")
            return "Acme must be audited before March."

    inference.bind(replace(drivers, transcriber=Hears()))
    import base64

    content = "data:audio/wav;base64," + base64.b64encode(b"RIFF\x00\x00\x00\x00WAVEfmt ").decode()
    artifact = world.ask(content, input_type="audio")
    assert "Acme must be audited before March." in artifact["answer"]
