"""Starter: how turns with agents fail, and questions about agents and conversations."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from recipes.failures import failure
from recipes.starter_chat import QUESTION
from recipes.thallus_models import configured, provider
from recipes.world import Call, World

S = "starter"


@failure(S, "chat", 400)
@failure(S, "streamChat", 400)
def nothing_is_said(world: World) -> Call:
    return Call(json={"message": " \u00a0\n"}, who=world.person(S))


@failure(S, "chat", 402, on="guarded")
@failure(S, "streamChat", 402, on="guarded")
def on_a_plan_that_the_guardrails_do_not_know(world: World) -> Call:
    return Call(json={"message": QUESTION}, who=world.person(S, plan="pro"))


@failure(S, "chat", 404)
@failure(S, "streamChat", 404)
def in_an_unknown_conversation(world: World) -> Call:
    return Call(json={"message": QUESTION, "conversation_id": str(uuid4())}, who=world.person(S))


@failure(S, "chat", 502)
def the_provider_takes_the_key_no_more(world: World) -> Call:
    """A model of one's own, chosen on another surface; its provider refuses from now on."""
    who = world.person(S)
    world.subscribe(who.organisation_id, "thallus")
    provider().tell(configured(world, world.again(replace(who, surface="thallus"))), "status:401")
    return Call(json={"message": QUESTION}, who=who)


@failure(S, "getAgentStatus", 404)
def of_an_unknown_agent(world: World) -> Call:
    return Call(path={"agent_name": "nobody"}, who=world.person(S))


@failure(S, "listConversations", 400)
def behind_a_cursor_that_nobody_made(world: World) -> Call:
    return Call(query={"cursor": "nonsense"}, who=world.person(S))


@failure(S, "searchConversations", 400)
def search_behind_a_cursor_that_nobody_made(world: World) -> Call:
    return Call(query={"q": "time", "cursor": "nonsense"}, who=world.person(S))
