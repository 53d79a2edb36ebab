"""Conversations as people see them: lists, searches, branches, deletion, feedback, titles; what is remembered of them;
and the limits of plans."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from domain import billing, conversations, inference, memory
from domain.conversations.digesting import drawn_from
from domain.conversations.models import Conversation, MessageRow, Turn, TurnEvent
from domain.conversations.rules import affirms, cited, title_of
from domain.inference import End, Refused, TimedOut, Usage
from domain.kernel.context import SystemActor
from domain.kernel.errors import Conflict, Invalid, LimitExceeded, NotFound, PaymentRequired, Unprocessable
from domain.kernel.pages import CursorPage, OffsetPage


def talk(world, *questions, **more):
    done = None
    for question in questions:
        done = world.ask(question, **({"conversation_id": done["conversation_id"]} if done else more))
    return done


def digest(world, done):
    conversations.digest(world.work(), done["message_id"])


def test_lists_go_by_offset_with_a_total_and_by_a_cursor_that_is_their_own(world, script):
    script("Fine.")
    made = [world.ask(f"Question {n}")["conversation_id"] for n in range(5)]
    with world.ctx() as ctx:
        page = conversations.list_conversations(ctx, page=OffsetPage(2, 1))
        assert ([str(c.id) for c in page.items], page.total) == ([made[3], made[2]], 5)
        seen, cursor = [], None
        while True:
            page = conversations.list_conversations(ctx, page=CursorPage(2, cursor))
            seen += [str(c.id) for c in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == made[::-1]
        first = conversations.list_conversations(ctx, page=CursorPage(2)).next_cursor
        with pytest.raises(Invalid):
            conversations.list_conversations(ctx, agent="writer", page=CursorPage(2, first))


def test_a_search_finds_words_and_what_is_near_them(world, script):
    script("The invoice of the baker is overdue.", "The weather is fine in Helsinki.")
    bakery = world.ask("What about the bakery?")
    weather = world.ask("And the sky?")
    for done in (bakery, weather):
        digest(world, done)
    vector = inference.drivers().embedder.embed(["sunny day in Helsinki"])[0]
    with world.ctx() as ctx:
        by_word = conversations.search_conversations(ctx, "overdue invoice")
        near = conversations.search_conversations(ctx, "sunny day in Helsinki", vector=vector)
        listed = conversations.list_conversations(ctx, search="baker")
    assert [str(h.conversation.id) for h in by_word.items] == [bakery["conversation_id"]]
    assert "invoice" in by_word.items[0].preview
    assert [str(h.conversation.id) for h in near.items] == [weather["conversation_id"]]
    assert [str(c.id) for c in listed.items] == [bakery["conversation_id"]]
    with world.ctx(user_id=uuid4()) as ctx:
        assert conversations.search_conversations(ctx, "overdue").items == []


def test_a_branch_begins_with_everything_up_to_a_message(world, script):
    script("One.", "Two.", "Three.")
    done = talk(world, "First?", "Second?")
    with world.ctx() as ctx:
        messages = conversations.list_messages(ctx, done["conversation_id"]).items
        branch = conversations.branch_conversation(ctx, done["conversation_id"], messages[1].id)
        copied = conversations.list_messages(ctx, branch.id).items
        with pytest.raises(NotFound):
            conversations.branch_conversation(ctx, done["conversation_id"], uuid4())
    assert [m.content for m in copied] == ["First?", "One."]
    assert (branch.parent_id, branch.branch_message_id) == (messages[0].conversation_id, messages[1].id)
    world.ask("Another way?", conversation_id=branch.id)
    with world.ctx() as ctx:
        assert conversations.list_messages(ctx, done["conversation_id"]).total == 4


def test_a_deleted_conversation_is_hidden_can_come_back_and_is_erased_after_thirty_days(world, script):
    script("Fine.")
    done = world.ask("Hello")
    conversation_id = done["conversation_id"]
    with world.ctx() as ctx:
        conversations.delete_conversation(ctx, conversation_id)
    with world.ctx() as ctx:
        assert conversations.list_conversations(ctx).total == 0
        with pytest.raises(NotFound):
            conversations.delete_conversation(ctx, conversation_id)
    with world.ctx(permissions=frozenset({"admin"})) as ctx:
        conversations.restore_conversation(ctx, conversation_id)
    with world.ctx() as ctx:
        assert conversations.list_conversations(ctx).total == 1
        conversations.delete_conversation(ctx, conversation_id)
    platform = {"platform": True}
    with world.database.context(SystemActor("cron"), None, frozenset({"admin"}), **platform) as ctx:
        assert conversations.purge_deleted(ctx) == 0
        ctx.session.execute(
            update(Conversation)
            .where(Conversation.organisation_id == world.organisation_id)
            .values(deleted_at=ctx.now() - timedelta(days=31))
        )
        assert conversations.purge_deleted(ctx) == 1
        assert ctx.session.scalars(select(MessageRow).where(MessageRow.conversation_id == conversation_id)).all() == []


def test_single_words_of_yesterdays_turns_are_cleared_and_the_steps_stay(world, script):
    script("Words and words.")
    done = world.ask("Talk")
    with world.database.context(SystemActor("cron"), None, frozenset({"admin"}), platform=True) as ctx:
        ctx.session.execute(update(Turn).values(ended_at=ctx.now() - timedelta(hours=30)))
        assert conversations.compact(ctx) >= 1
        assert conversations.compact(ctx) == 0
        names = set(ctx.session.scalars(select(TurnEvent.name).where(TurnEvent.turn_id == done["message_id"])))
    assert "text_delta" not in names
    assert {"turn_started", "complete"} <= names
    with world.ctx() as ctx:
        assert conversations.list_messages(ctx, done["conversation_id"]).items[-1].content == "Words and words."
        steps = conversations.list_events(ctx, done["conversation_id"])
    assert steps[-1][1].name == "complete"


def test_answers_are_rated_once_by_who_asked(world, script):
    script("Fine.")
    done = world.ask("Hello")
    with world.ctx() as ctx:
        conversations.rate_message(ctx, done["message_id"], "up")
        conversations.rate_message(ctx, done["message_id"], "down", "Too short")
        question, answer = conversations.list_messages(ctx, done["conversation_id"]).items
        assert (answer.rating, answer.comment) == ("down", "Too short")
        with pytest.raises(Unprocessable):
            conversations.rate_message(ctx, question.id, "up")
    with world.ctx(user_id=uuid4()) as ctx, pytest.raises(NotFound):
        conversations.rate_message(ctx, done["message_id"], "up")
    turn_id = world.start("Next")
    with world.ctx() as ctx, pytest.raises(Conflict):
        conversations.rate_message(ctx, turn_id, "up")


def test_a_title_is_made_anew_by_a_model_that_can_and_else_from_the_questions(world, script):
    script("Fine.", '"Depot hours"', capable=True)
    done = world.ask("When does it open?")
    with world.ctx() as ctx:
        request_id = conversations.request_title(ctx, done["conversation_id"])
    work = world.work()
    conversations.retitle(work, done["conversation_id"], request_id)
    assert work.stream[1][0] == "done"
    with world.ctx() as ctx:
        assert conversations.get_conversation(ctx, done["conversation_id"]).title == "Depot hours"
        empty = conversations.create_conversation(ctx, agent="assistant")
        with pytest.raises(Unprocessable):
            conversations.request_title(ctx, empty.id)


def test_a_client_finds_its_conversation_by_an_id_of_its_own(make_world, script):
    script("Fine.")
    world = make_world("thalian")
    own = uuid4()
    first = world.ask("Hello", client_id=own)
    assert world.ask("Again", client_id=own)["conversation_id"] == first["conversation_id"]
    with world.ctx(user_id=uuid4()) as ctx:
        other = conversations.start(ctx, "Me too", client_id=own)
    assert str(other.conversation_id) != first["conversation_id"]


def test_what_was_said_elsewhere_comes_before_the_question(make_world, script):
    model = script("Fine.")
    world = make_world("beeflow")
    prior = [conversations.Prior("user", "I am Ada."), conversations.Prior("assistant", "Hello Ada.")]
    world.ask("Who am I?", prior=prior)
    assert [m.text for m in model.asked[0].messages] == ["I am Ada.", "Hello Ada.", "Who am I?"]


# --- memory ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Please remember that the depot moved to Turku.", [("The depot moved to Turku.", "MEMORIES")]),
        ("I prefer short answers in bullet points.", [("I prefer short answers in bullet points.", "PREFERENCES")]),
        ("My name is Ada and I work here.", [("My name is Ada and I work here.", "FACTS")]),
        ("Every Monday we review the open orders.", [("Every Monday we review the open orders.", "PATTERNS")]),
        ("Where do I live?", []),
        ("What is the capital of France?", []),
        ("The sky is blue and the grass is green.", []),
    ],
)
def test_what_a_message_says_about_its_writer(text, found):
    assert [(t, c) for t, c, _ in drawn_from(text)] == found


def test_a_digest_waits_for_a_deletion_with_nothing_in_hand_and_finds_it_gone(world, script):
    script("Fine.")
    done = world.ask("How are you?")
    with ThreadPoolExecutor(1) as pool:
        with world.ctx() as ctx:
            held = select(Conversation.id).where(Conversation.id == UUID(done["conversation_id"])).with_for_update()
            ctx.session.execute(held)
            digested = pool.submit(digest, world, done)
            time.sleep(1.0)
            assert not digested.done()
            messages = select(MessageRow.id).where(MessageRow.conversation_id == UUID(done["conversation_id"]))
            assert len(ctx.session.scalars(messages.with_for_update(nowait=True)).all()) == 2
            conversations.delete_conversation(ctx, UUID(done["conversation_id"]), for_good=True)
        assert digested.result(20) is None


def test_what_one_says_is_remembered_once_and_recalled_with_its_source(world):
    done = world.ask("I prefer espresso without sugar after lunch.")
    digest(world, done)
    digest(world, done)
    with world.ctx() as ctx:
        (kept,) = memory.list_memories(ctx, world.user_id).items
    assert (kept.category, str(kept.conversation_id)) == ("PREFERENCES", done["conversation_id"])
    asked = world.ask("Do I prefer espresso with or without sugar?")
    assert "without sugar" in asked["response"]
    (citation,) = asked["citations"]
    assert (citation["kind"], citation["source_id"]) == ("memory", str(kept.id))
    with world.ctx() as ctx:
        assert memory.get_memory(ctx, world.user_id, kept.id).use_count == 1


def test_what_is_said_on_one_surface_is_seen_corrected_and_forgotten_on_another(make_world):
    """One store, whichever surface a person speaks on."""
    world = make_world("beeflow")
    digest(world, world.ask("I prefer espresso without sugar after lunch."))
    with world.ctx(surface="thallus") as ctx:
        (kept,) = memory.list_memories(ctx, world.user_id).items
        memory.update_memory(ctx, world.user_id, kept.id, content="I prefer espresso with honey after lunch.")
    asked = world.ask("How do I prefer espresso after lunch?")
    assert ("with honey" in asked["response"], "without sugar" in asked["response"]) == (True, False)
    with world.ctx(surface="thallus") as ctx:
        memory.delete_memory(ctx, world.user_id, kept.id)
    again = world.ask("How do I prefer espresso after lunch?")
    assert "honey" not in again["response"]
    assert again["citations"] == []
    assert memory_of(world, uuid4()) == [], "nor does anybody else see any of it"


def test_a_message_that_is_digested_by_several_at_once_is_remembered_once(world):
    done = world.ask("I prefer espresso without sugar after lunch. I live in Lyon.")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: digest(world, done), range(4)))
    assert len(memory_of(world, world.user_id)) == 2


def memory_of(world, user_id):
    with world.ctx(user_id) as ctx:
        return memory.list_memories(ctx, user_id).items


def test_without_memory_nothing_is_drawn_and_nothing_recalled(world):
    with world.ctx() as ctx:
        memory.remember(ctx, world.user_id, "I prefer espresso without sugar.")
    done = world.ask("I prefer tea. Do I prefer espresso?", options={"memory": False})
    digest(world, done)
    with world.ctx() as ctx:
        assert memory.list_memories(ctx, world.user_id).total == 1
    assert [n for n, _ in done["events"]].count("citation") == 0 or done["citations"][0]["kind"] != "conversation"


# --- limits ------------------------------------------------------------------------------------------


def test_a_month_has_so_many_messages(make_world, script):
    script("Fine.")
    world = make_world("thallus")
    with world.database.context(SystemActor("test"), world.organisation_id, frozenset({"admin"})) as ctx:
        billing.subscribe(ctx, "trial", "thallus")
        billing.consume(ctx, "thallus.investigations", 9)
    world.ask("The tenth")
    with pytest.raises(PaymentRequired) as full:
        world.start("The eleventh")
    assert full.value.facts["reason"] == "tier_limit"
    with world.ctx() as ctx:
        assert conversations.list_conversations(ctx).total == 1


@pytest.mark.parametrize(("plan", "limit"), [("free", 25), ("pro", 100), ("trial", 100), ("enterprise", None)])
def test_a_day_has_so_many_messages(make_world, script, monkeypatch, plan, limit):
    from domain.conversations import rules

    script("Fine.")
    assert rules.SURFACES["thalian"].per_day[plan] == limit
    world = make_world("thalian")
    small = rules.TurnRules(per_day={plan: None if limit is None else 2}, agent="security_assistant")
    with world.database.context(SystemActor("test"), world.organisation_id, frozenset({"admin"})) as ctx:
        billing.subscribe(ctx, plan, "thalian")
    for _ in range(2):
        world.ask("Hello", turn_rules=small)
    if limit is None:
        world.ask("Hello", turn_rules=small)
        return
    with world.ctx() as ctx, pytest.raises(LimitExceeded) as full:
        conversations.start(ctx, "Hello", turn_rules=small)
    assert full.value.facts["reason"] == "plan_limit"
    assert 0 < full.value.facts["retry_after"] <= 86400


def test_a_person_has_so_many_answers_under_way(make_world):
    world = make_world("beeflow")
    for _ in range(5):
        world.start("Hello")
    with world.ctx() as ctx, pytest.raises(LimitExceeded):
        conversations.start(ctx, "One more")


def test_tokens_are_accounted(world, script):
    script("Fine.")
    done = world.ask("Hello")
    turn = world.turn(done["message_id"])
    assert (turn.input_tokens, turn.output_tokens, turn.requests, turn.model) == (10, 5, 1, "script")
    assert done["usage"]["total_tokens"] == 15


@pytest.mark.parametrize("end", ["fails", "is cancelled"])
def test_tokens_of_a_turn_that_is_not_completed_are_accounted_too(world, bound, call, end):
    """A model has answered once, called a tool, and then broken off: the provider bills both."""

    class Breaks:
        name, capable, asked = "breaks", True, 0

        def generate(self, request, deadline, emit):
            self.asked += 1
            if self.asked == 1:
                return End(Usage(self.name, 10, 2), (call("current_time"),), "tools")
            for _ in range(20):
                emit("text", "words and ")
            time.sleep(0.3)
            if end == "fails":
                raise Refused(reason="refused")
            with world.ctx() as ctx:
                conversations.cancel(ctx, turn_id)
            while not deadline.over:
                time.sleep(0.05)
            raise TimedOut

    bound(Breaks())
    turn_id = world.start("Hello")
    name, _ = world.run(turn_id)[-1]
    turn = world.turn(turn_id)
    assert (name, turn.state) == (("error", "failed") if end == "fails" else ("cancelled", "cancelled"))
    assert (turn.requests, turn.model) == (2, "breaks")
    assert turn.output_tokens == 2 + 40
    assert 10 < turn.input_tokens < 2000
    with world.ctx() as ctx:
        answer = conversations.list_messages(ctx, turn.conversation_id).items[-1]
    assert (answer.input_tokens, answer.output_tokens) == (turn.input_tokens, turn.output_tokens)


def test_a_model_that_refuses_at_once_takes_no_tokens(world, script):
    script(Refused(reason="invalid_key"), capable=True)
    turn_id = world.start("Hello")
    assert world.run(turn_id)[-1][0] == "error"
    turn = world.turn(turn_id)
    assert (turn.input_tokens, turn.output_tokens, turn.requests, turn.model) == (0, 0, 0, None)


# --- pure rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "yes"),
    [("yes", True), ("Yes, please!", True), ("OK", True), ("go ahead", True), ("Ja.", True), ("yes but not now", False),
     ("no", False), ("yesterday", False), ("confirm the order of bread with the baker", False)],
)  # fmt: skip
def test_a_plain_yes_and_nothing_else_affirms(said, yes):
    assert affirms(said) is yes


def test_numbers_in_brackets_are_citations_only_where_there_is_a_source():
    assert cited("As [2] and [1, 3] say, [9] does not; [2] again.", {1: 0, 2: 0, 3: 0}) == [2, 1, 3]


@pytest.mark.parametrize(
    ("message", "title"),
    [("When does it open?", "When does it open?"),
     ("Hi. How are you today, my friend?", "Hi. How are you today, my friend?"),
     ("x" * 300, "x" * 79 + "…"), ("   a\n b  ", "a b")],
)  # fmt: skip
def test_a_title_is_the_first_sentence(message, title):
    assert title_of(message) == title
