"""Bee Flow: how agents, skills, conversations, turns and voice fail."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from domain import billing
from domain.conversations.models import Turn
from recipes.beeflow_agents import DRAFT, SHELF, about, agent, asked, offered
from recipes.beeflow_chat import QUESTION, found, said
from recipes.beeflow_transcriptions import WAV
from recipes.failures import failure
from recipes.failures_beeflow_knowledge import keyed
from recipes.thallus_models import configured, provider
from recipes.world import Call, Person, World

S = "beeflow"


# --- agents and skills -------------------------------------------------------------------------------------


def with_all_agents(world: World) -> tuple[Person, str]:
    """Somebody whose tier has no room for another agent, and one of theirs."""
    who = world.person(S, plan="community")
    known, _ = agent(world, who), agent(world, who)
    return who, known


@failure(S, "createAgent", 402)
def one_agent_too_many(world: World) -> Call:
    who, _ = with_all_agents(world)
    return Call(json={"name": "Third desk", **DRAFT}, who=who)


@failure(S, "duplicateAgent", 402)
def one_copy_too_many(world: World) -> Call:
    who, known = with_all_agents(world)
    return Call(json={"name": "Third desk"}, path={"id": known}, who=who)


@failure(S, "updateAgent", 422)
def agent_with_an_unknown_base(world: World) -> Call:
    return about(world, json={"knowledgeBaseIds": [str(uuid4())]})


@failure(S, "publishAgent", 422)
def agent_that_says_nothing_of_itself(world: World) -> Call:
    who = world.person(S)
    return Call(json=SHELF, path={"id": agent(world, who, description=None)}, who=who)


def _install(world: World, **more: Any) -> Call:
    wanted = offered(world, "Web reader")
    return Call(json={"marketplaceId": wanted["id"], "permissions": wanted["permissions"], **more}, who=world.person(S))


@failure(S, "installSkill", 404)
def unknown_skill(world: World) -> Call:
    return _install(world, marketplaceId=str(uuid4()))


@failure(S, "installSkill", 422)
def skill_that_is_not_given_what_it_asks_for(world: World) -> Call:
    return _install(world, permissions=[])


# --- conversations -----------------------------------------------------------------------------------------


def by_own_model(world: World, who: Person, *told: str) -> None:
    """Let somebody work with a model of their own from now on, and tell it how to behave (`thallus_models.Provider`).
    Such a model is chosen on another surface, for all of them."""
    world.subscribe(who.organisation_id, "thallus")
    provider().tell(configured(world, world.again(replace(who, surface="thallus"))), *told)


@failure(S, "createConversation", 404)
def conversation_with_an_unknown_agent(world: World) -> Call:
    return Call(json={"agentId": str(uuid4())}, who=world.person(S))


@failure(S, "createConversation", 422)
def another_conversation_by_the_same_key(world: World) -> Call:
    call = Call(json={"title": "Penalties"}, who=world.person(S))
    return keyed(world, "/conversations", {"json": {"title": "Notice periods"}}, call)


@failure(S, "regenerateConversationTitle", 422)
def nothing_to_name(world: World) -> Call:
    who = world.person(S)
    return Call(path={"id": asked(world, who, "POST", "/conversations", json={})["id"]}, who=who)


@failure(S, "regenerateConversationTitle", 502)
def model_that_will_not_name_it(world: World) -> Call:
    who = world.person(S)
    known = said(world, who).conversation_id
    by_own_model(world, who, "status:400")
    return Call(path={"id": known}, who=who)


@failure(S, "regenerateConversationTitle", 504)
def model_that_thinks_for_too_long(world: World) -> Call:
    who = world.person(S)
    known = said(world, who).conversation_id
    by_own_model(world, who, "wait:60")
    return Call(path={"id": known}, who=who)


@failure(S, "branchConversation", 422)
def another_branch_by_the_same_key(world: World) -> Call:
    who = world.person(S)
    heard = said(world, who)
    call = Call(json={"messageId": heard.message_id, "title": "Another way"}, path={"id": heard.conversation_id})
    call.who = who
    first = {"json": {"messageId": heard.message_id}}
    return keyed(world, f"/conversations/{heard.conversation_id}/branch", first, call)


# --- turns, in writing and aloud ---------------------------------------------------------------------------


def without_messages(world: World) -> Person:
    """Somebody whose organisation has sent all messages of the month."""
    who = world.person(S, plan="community")
    with world.acting(who) as ctx:
        billing.consume(ctx, "beeflow.messages", 1_000)
    return who


def long_over(world: World, who: Person) -> str:
    """The id of the last event of a turn that ended the day before."""
    heard = said(world, who)
    with world.acting(who) as ctx:
        turn = ctx.session.get(Turn, UUID(heard.message_id))
        assert turn is not None
        assert turn.ended_at is not None
        turn.ended_at -= timedelta(hours=25)
    return heard.events[-1][0]


def _question(who: Person, **more: Any) -> Call:
    headers = more.pop("headers", {})
    return Call(json={"messages": [{"role": "user", "content": QUESTION}], **more}, headers=headers, who=who)


def _spoken(who: Person, recording: bytes = WAV, **more: Any) -> Call:
    return Call(files={"audio": ("question.wav", recording, "audio/wav")}, who=who, **more)


@failure(S, "startChatTurn", 402)
def one_message_too_many(world: World) -> Call:
    return _question(without_messages(world))


@failure(S, "startChatTurn", 404)
def question_to_nobody(world: World) -> Call:
    return _question(world.person(S), agentId=str(uuid4()))


@failure(S, "startChatTurn", 410)
def turn_that_is_long_over(world: World) -> Call:
    who = world.person(S)
    return _question(who, headers={"Last-Event-ID": long_over(world, who)})


@failure(S, "startChatTurn", 422)
def turn_without_a_question(world: World) -> Call:
    before = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]
    return _question(world.person(S), messages=before)


@failure(S, "startVoiceTurn", 402)
def one_spoken_message_too_many(world: World) -> Call:
    return _spoken(without_messages(world))


@failure(S, "startVoiceTurn", 404)
def spoken_to_nobody(world: World) -> Call:
    return _spoken(world.person(S), form={"agentId": str(uuid4())})


@failure(S, "startVoiceTurn", 410)
def spoken_turn_that_is_long_over(world: World) -> Call:
    who = world.person(S)
    return _spoken(who, headers={"Last-Event-ID": long_over(world, who)})


@failure(S, "startVoiceTurn", 422)
def nothing_to_hear(world: World) -> Call:
    return _spoken(world.person(S), b"%PDF-1.7 nothing to hear")


@failure(S, "cancelChatTurn", 409)
def stopping_what_is_over(world: World) -> Call:
    who = world.person(S)
    return Call(path={"msgId": said(world, who).message_id}, who=who)


@failure(S, "decideDlpFinding", 409)
def deciding_twice(world: World) -> Call:
    who = world.person(S)
    path = {"msgId": found(world, who).message_id}
    asked(world, who, "POST", f"/chat/{path['msgId']}/dlp-decision", json={"decision": "block"})
    return Call(json={"decision": "allow"}, path=path, who=who)


@failure(S, "rateMessage", 409)
def rating_what_is_under_way(world: World) -> Call:
    who = world.person(S)
    return Call(json={"rating": "up"}, path={"msgId": found(world, who).message_id}, who=who)


@failure(S, "rateMessage", 422)
def rating_ones_own_question(world: World) -> Call:
    who = world.person(S)
    kept = asked(world, who, "GET", f"/conversations/{said(world, who).conversation_id}/messages")["items"]
    [question] = [each["id"] for each in kept if each["role"] == "user"]
    return Call(json={"rating": "up"}, path={"msgId": question}, who=who)
