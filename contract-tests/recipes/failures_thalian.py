"""Thalian: how a message to the assistant fails."""

from __future__ import annotations

from uuid import uuid4

from domain.agents import confirmations
from recipes.failures import failure
from recipes.thalian_chat import said, sent
from recipes.world import Call, World

S = "thalian"


@failure(S, "sendChatMessage", 404)
def approval_of_what_nobody_proposed(world: World) -> Call:
    who = world.person(S)
    token = confirmations.token(uuid4())
    return Call(json=said(who, "Suspend Alice.", confirmationToken=token), who=who)


@failure(S, "sendChatMessage", 422)
def another_message_by_the_same_key(world: World) -> Call:
    who = world.person(S)
    key = {"Idempotency-Key": str(uuid4())}
    assert sent(world, who, headers=key).is_success
    return Call(json=said(who, "Another question"), headers=key, who=who)
