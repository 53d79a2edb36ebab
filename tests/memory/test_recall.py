"""Does recall find what a person would have found?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import memory
from domain.kernel.clock import FixedClock
from domain.memory import rules

LIBRARY = {
    "tides": "The harbour gate opens two hours before high tide.",
    "canteen": "The canteen is closed on the first Monday of each month.",
    "nordwind": "Nordwind Logistics delivers on Tuesdays and Fridays only.",
    "acme": "Acme must be audited before March because its certificate ends on 28 February.",
    "radiology": "Dr. Okafor replaces Dr. Lindqvist as head of radiology from 1 June.",
    "press": "Press 4 stops with error E17 when the oil is colder than ten degrees.",
    "retention": "Applicants' documents are deleted six months after the position is filled.",
    "refunds": "Refunds above 500 euros need the signature of the branch manager.",
    "vpn": "Remote staff reach the file server through the company VPN only.",
    "invoice": "Invoices to the city council must carry the order number of the department.",
    "allergy": "Patient meals are checked against the allergy list before they leave the kitchen.",
    "fire": "The fire drill takes place every spring and is announced a week before.",
}
QUESTIONS = [
    ("tides", "When can ships enter the port?"),
    ("canteen", "Can I eat lunch here on Monday the first?"),
    ("nordwind", "On which days does Nordwind bring the goods?"),
    ("acme", "Which supplier's certification is about to expire?"),
    ("radiology", "Who is in charge of the X-ray department?"),
    ("press", "Why does the press shut down on cold mornings?"),
    ("retention", "How long do we keep the CVs of people we did not hire?"),
    ("refunds", "Who has to approve paying back a customer 800 euros?"),
    ("vpn", "How do I get at my files when I work from home?"),
    ("invoice", "What has to be on a bill for the municipality?"),
    ("allergy", "How do we make sure nobody is served peanuts by mistake?"),
    ("fire", "Will the evacuation exercise be a surprise?"),
]


@pytest.fixture
def library(shelf):
    for text in LIBRARY.values():
        shelf.write(text)
    with shelf.ctx() as ctx:
        memory.seed(ctx, shelf.brain_id)
    return shelf


def test_recall_puts_the_right_entry_first(library):
    nearest = {}
    for name, question in QUESTIONS:
        found = library.recall(question).entries
        nearest[name] = found[0].text if found else None
    right = [name for name, _ in QUESTIONS if nearest[name] == LIBRARY[name]]
    assert len(right) >= 10, {n: nearest[n] for n, _ in QUESTIONS if n not in right}


def test_what_bears_on_nothing_is_not_recalled(library):
    for question in ("What is the capital of Mongolia?", "qwertz uiop", "Write a poem about autumn leaves."):
        found = library.recall(question)
        assert found.relevant == 0
        assert memory.prediction_error(found.relevant) == 0.9


def test_baseline_guidance_goes_behind_what_was_learnt_and_is_no_knowledge(library):
    found = library.recall("What exactly is observed: press 4 stops with an error, since when?")
    assert found.entries[0].text == LIBRARY["press"]
    assert found.relevant == sum(1 for e in found.entries if e.kind == "statement")


def test_each_result_says_why_it_came_up(library):
    best = library.recall("Who approves large refunds?", address_key="knowledge_ingestion.org.finance.refund").entries[
        0
    ]
    assert best.text == LIBRARY["refunds"]
    assert best.proximity == 0.5
    assert 0 < best.similarity <= 1
    assert 0 < best.score <= 1
    assert 0.9 < best.recency <= 1


def test_rings_are_searched_only_for_whom_they_belong_to(shelf):
    shelf.write("The gate code is 4711.", ring="session", session_id="mine", level="leaf")
    shelf.write("The gate code is with Mrs. Falk.", ring="entity", entity_id="gate")
    question = "What is the gate code?"
    assert shelf.recall(question).entries == ()
    assert [e.ring for e in shelf.recall(question, session_id="mine").entries] == ["session"]
    assert [e.ring for e in shelf.recall(question, entity_id="gate").entries] == ["entity"]
    assert shelf.recall(question, session_id="other", entity_id="door").entries == ()


def test_what_the_organisation_keeps_outside_any_brain_is_common_knowledge(shelf):
    shelf.write("The company closes between Christmas and New Year.", brain_id=None)
    assert shelf.recall("When is the company closed?").relevant == 1


def test_contested_entries_come_later_and_archived_ones_not_at_all(shelf):
    doubted = shelf.write("The depot in Turku opens at six in the morning.")
    trusted = shelf.write("The Turku depot opens its doors at seven.")
    with shelf.ctx() as ctx:
        memory.contest(ctx, doubted)
    found = shelf.recall("When does the depot in Turku open?").entries
    assert [e.id for e in found] == [trusted, doubted]
    assert found[1].status == "contested"


def test_a_near_address_decides_between_like_entries(shelf):
    for key in ("diagnosis.org.software.checkout", "planning.org.software.checkout"):
        shelf.write(
            "The checkout needs the payment gateway to answer.", key, ring="session", session_id="s", level="leaf"
        )
    found = shelf.recall(
        "checkout payment gateway", address_key="planning.org.software.checkout", session_id="s"
    ).entries
    assert [e.address_key for e in found] == ["planning.org.software.checkout", "diagnosis.org.software.checkout"]


def test_the_newer_of_two_like_entries_goes_first(shelf):
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    made = []
    for _ in range(2):
        entries = memory.prepare(
            [
                memory.NewEntry(
                    "session",
                    "planning.org.people.hiring",
                    "Hiring starts in May.",
                    brain_id=shelf.brain_id,
                    session_id="s",
                    level="leaf",
                )
            ]
        )
        with shelf.ctx() as ctx:
            ctx.clock = clock
            made += memory.write(ctx, entries)
        clock.advance(timedelta(days=3))
    assert [e.id for e in shelf.recall("When does hiring start?", session_id="s").entries] == made[::-1]


def test_recall_stays_right_beside_many_rows_of_others(make_shelf):
    """The vector index holds everybody's rows; ours must be found among them."""
    crowd, mine = make_shelf(), make_shelf()
    entries = memory.prepare(
        [
            memory.NewEntry(
                "institutional",
                "planning.org.people.hiring",
                f"The canteen of building {n} is closed on Monday {n}.",
                brain_id=crowd.brain_id,
            )
            for n in range(600)
        ]
    )
    with crowd.ctx() as ctx:
        for entry in entries:
            memory.write(ctx, [entry])
    mine.write(LIBRARY["canteen"])
    assert [e.text for e in mine.recall("When is the canteen closed?").entries] == [LIBRARY["canteen"]]


def test_an_empty_memory_answers_with_nothing(shelf):
    found = shelf.recall("Anything?")
    assert (found.entries, found.relevant, found.nearest) == ((), 0, 0.0)


@pytest.mark.parametrize(
    ("count", "error"), [(0, 0.9), (1, 0.6), (5, 0.6), (6, 0.3), (20, 0.3), (21, 0.1), (10_000, 0.1)]
)
def test_prediction_error_is_the_documented_one(count, error):
    assert memory.prediction_error(count) == error


@given(
    st.floats(-1, 1), st.sampled_from([0, 0.25, 0.5, 0.75, 1]), st.sampled_from(["session", "entity", "institutional"]),
    st.floats(-1, 10_000), st.floats(0, 1), st.sampled_from(["active", "contested", "archived"]), st.booleans(),
)  # fmt: skip
def test_a_score_is_between_0_and_1_and_grows_with_similarity(similarity, near, ring, age, confidence, status, seeded):
    given_ = {
        "proximity": near,
        "ring": ring,
        "age_days": age,
        "confidence": confidence,
        "status": status,
        "seeded": seeded,
    }
    score = rules.nearness(similarity=similarity, **given_).score
    assert 0 <= score <= 1
    assert rules.nearness(similarity=1.0, **given_).score >= score
