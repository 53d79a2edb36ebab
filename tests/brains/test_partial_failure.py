"""A role that fails or runs out of time never ends the chain, and partners learn what that means (seed 003)."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from domain import brains, inference
from domain.brains.plan import ORDER
from domain.brains.roles import ROLES
from domain.inference import Completion, InvalidOutput, TimedOut, Usage
from domain.kernel.errors import LimitExceeded, Unavailable

TEXT = "Remember that Nordwind Logistics delivers on Tuesdays. Who signs for it?"
DEPENDANTS = {"architect": {"devil", "scorer"}}


def broken(state, drivers, deadline):
    raise RuntimeError("secret detail /srv/path")


@pytest.mark.parametrize("role", ORDER)
def test_a_role_that_breaks_leaves_a_structured_partial_artifact(world, spoil, role):
    spoil(role, think=broken)
    events = world.events(TEXT)
    names = [name for name, _ in events]
    assert names.index("chain.partial") < names.index("full.artifact") == len(names) - 1
    partial, full = events[-2][1], events[-1][1]
    failed = {role, *DEPENDANTS.get(role, ())}
    assert {f["role"] for f in partial["failed_roles"]} == failed
    assert set(partial["completed_roles"]) == set(ORDER) - failed
    assert partial["status"] == "partial"
    assert full["status"] == "partial"
    for each in partial["failed_roles"]:
        assert each["reason"] == ("error" if each["role"] == role else "skipped")
        assert each["impact"] == ROLES[each["role"]].failure
        assert each["impact"] in full["warnings"]
    assert {r for r, a in full["anchor_trace"].items() if a["status"] == "failed"} == failed
    assert "secret" not in str(events)


def test_devil_failed_means_unchallenged(world, spoil):
    spoil("devil", think=broken)
    world.ask("Acme must be audited before March. Acme must be audited because its certificate ends.")
    full = world.ask("Who must be audited before March?")
    assert full["objections"] == []
    assert full["risk_score"] is None
    assert full["confidence_score"] is not None
    assert full["gate_decision"] in ("review", "block")
    assert "The output was not stress-tested; treat it as unchallenged." in full["warnings"]


def test_scorer_failed_means_no_score_and_no_gate(world, spoil):
    spoil("scorer", think=broken)
    full = world.ask(TEXT)
    assert full["confidence_score"] is None
    assert full["gate_decision"] is None


def test_boundary_keeper_failed_means_no_guardrails_and_nothing_kept_for_good(world, spoil):
    spoil("boundary_keeper", think=broken)
    full = world.ask(TEXT)
    assert full["guardrails"] is None
    assert not [e for e in world.memory(ring="institutional") if e.source == "chain"]
    assert list(world.memory(ring="session")), "what completed roles learnt is committed"


def test_blocked_terms_are_withheld_even_when_the_boundary_keeper_failed(make_world, spoil):
    world = make_world(blocked_terms=["Nordwind"])
    spoil("boundary_keeper", think=broken)
    full = world.ask(TEXT)
    assert full["answer"] == ""
    assert "Nordwind" not in str(full["sections"]) + str(full["citations"])


def test_librarian_failed_means_memory_is_not_updated(world, spoil):
    spoil("librarian", think=broken)
    full = world.ask(TEXT)
    assert full["memory"]["written"] == []
    assert full["answer"]
    assert not [e for e in world.memory() if e.source == "chain"]


def test_the_librarian_runs_when_everything_else_failed(world, spoil):
    for role in ORDER[:-1]:
        spoil(role, think=broken)
    events = world.events(TEXT)
    assert events[-1][1]["status"] == "failed"
    assert events[-1][1]["anchor_trace"]["librarian"]["status"] == "complete"
    assert [name for name, _ in events] == ["fast.artifact", "chain.partial", "full.artifact"]


def test_a_write_that_fails_half_way_leaves_nothing(world, spoil):
    from domain import memory

    def half(ctx, state, entries):
        memory.write(ctx, entries[:1])
        raise ValueError("broken")

    spoil("librarian", note=half)
    full = world.ask(TEXT)
    assert full["anchor_trace"]["librarian"] == full["anchor_trace"]["librarian"] | {
        "status": "failed",
        "reason": "error",
    }
    assert not [e for e in world.memory() if e.source == "chain"]


def test_a_role_that_is_stuck_is_left_behind_at_its_timeout(world, spoil):
    release = threading.Event()

    def stuck(state, drivers, deadline):
        release.wait(30)

    spoil("devil", think=stuck)
    started = time.monotonic()
    full = world.ask(TEXT, role_config={"timeouts": {"devil": 0.2}})
    assert time.monotonic() - started < 3
    release.set()
    assert full["anchor_trace"]["devil"]["reason"] == "timeout"
    assert 190 <= full["anchor_trace"]["devil"]["duration_ms"] < 1500
    assert full["anchor_trace"]["scorer"]["status"] == "complete"


def test_what_a_stuck_role_answers_too_late_is_not_looked_at(world, spoil):
    original = ROLES["devil"].think

    def slow(state, drivers, deadline):
        time.sleep(0.4)
        return original(state, drivers, deadline)

    spoil("devil", think=slow)
    full = world.ask(TEXT, role_config={"timeouts": {"devil": 0.1}})
    time.sleep(0.5)
    assert full["objections"] == []


def test_stuck_roles_do_not_pile_up(world, spoil):
    release = threading.Event()
    spoil("devil", think=lambda state, drivers, deadline: release.wait(30))
    try:
        reasons = [
            world.ask(TEXT, role_config={"roles": ["architect", "devil"], "timeouts": {"devil": 0.06}})["anchor_trace"][
                "devil"
            ]["reason"]
            for _ in range(8)
        ]
        assert reasons == ["timeout"] * 8
        late = world.ask(TEXT)
        assert {a.get("reason") for a in late["anchor_trace"].values()} == {"unavailable", "skipped"}
    finally:
        release.set()
    time.sleep(0.1)
    assert "reason" not in world.ask(TEXT, role_config={"roles": ["architect"]})["anchor_trace"]["architect"]


class Model:
    """A language model that does as told."""

    name = "test"

    def __init__(self, act):
        self.act = act

    def complete(self, task, deadline):
        return self.act(task, deadline)

    def warm(self):
        pass


def raises(problem):
    def act(task, deadline):
        raise problem

    return act


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (raises(TimedOut()), "timeout"),
        (raises(InvalidOutput()), "invalid_output"),
        (raises(LimitExceeded(retry_after=3)), "rate_limited"),
        (raises(Unavailable("The model's provider did not answer.")), "unavailable"),
        (raises(MemoryError()), "error"),
        (lambda task, deadline: Completion({"answer": ""}, Usage("test")), "invalid_output"),
        (lambda task, deadline: Completion({"answer": "x", "sections": "no"}, Usage("test")), "invalid_output"),
        (lambda task, deadline: Completion({"answer": 3, "sections": []}, Usage("test")), "invalid_output"),
    ],
)
def test_a_model_that_fails_is_named_by_a_short_reason(world, drivers, act, reason):
    inference.bind(replace(drivers, languages={"extractive": Model(act)}))
    full = world.ask(TEXT)
    assert full["anchor_trace"]["architect"]["reason"] == reason
    assert full["anchor_trace"]["devil"]["reason"] == "skipped"
    assert full["answer"] == ""
    assert full["memory"]["written"], "what the triage read is kept"


def test_an_embedder_that_is_away_fails_every_role_that_needs_it(world, drivers):
    class Away:
        name, dimensions = "away", 384

        def embed(self, texts, deadline=None):
            raise Unavailable("Embeddings are away.")

        def warm(self):
            pass

    invocation_id = world.start(TEXT)
    inference.bind(replace(drivers, embedder=Away()))
    work = world.work()
    brains.run(work, invocation_id)
    full = work.stream[max(work.stream)][1]
    assert full["status"] == "partial"
    assert {r for r, a in full["anchor_trace"].items() if a.get("reason") == "unavailable"} == {
        "triage",
        "listener",
        "architect",
    }
    assert full["address_key"] == "intent_clarification.global.general.general"


def test_citations_that_a_model_makes_up_are_taken_out_and_held_against_it(world, drivers):
    def act(task, deadline):
        if task.kind == "challenge":
            return Completion({"objections": []}, Usage("test"))
        data = {
            "answer": "Everything is fine [m77].",
            "sections": [
                {"heading": "True", "text": "Quoted.", "cites": ["i1", "m99"]},
                {"heading": "Made up", "text": "No source [i55].", "cites": []},
            ],
            "open_questions": [],
        }
        return Completion(data, Usage("test", 10, 5))

    inference.bind(replace(drivers, languages={"extractive": Model(act)}))
    full = world.ask(TEXT)
    text = full["answer"] + str(full["sections"])
    assert "m77" not in text
    assert "m99" not in text
    assert "i55" not in text
    assert [c["id"] for c in full["citations"]] == ["i1"]
    assert any("Made up" in o["text"] and o["severity"] == "high" for o in full["objections"])
    assert full["confidence_score"] < 60


def test_a_chain_that_runs_out_of_time_still_writes_and_ends(world):
    invocation_id = world.start(TEXT)
    work = world.work(seconds=5.0)
    brains.run(work, invocation_id)
    full = work.stream[max(work.stream)][1]
    assert {a["status"] for r, a in full["anchor_trace"].items() if r != "librarian"} == {"failed"}
    assert full["anchor_trace"]["librarian"]["status"] == "complete"
