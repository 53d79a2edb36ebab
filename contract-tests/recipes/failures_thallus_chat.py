"""Thallus: how chat tasks, agents and their settings, models with keys of one's own, and memories fail."""

from __future__ import annotations

import contextlib
import threading
import time
from uuid import uuid4

import httpx
from sqlalchemy import text

from domain import billing
from recipes import thallus_chat as chat
from recipes import thallus_models as models
from recipes.failures import STREAMS, failure
from recipes.world import Call, Person, World

S = "thallus"
QUESTION = {"message": "What time is it?", "mode": "ask"}


# --- chat tasks ----------------------------------------------------------------------------------------------


@failure(S, "startChat", 402)
@failure(S, "chat", 402)
def without_investigations_left(world: World) -> Call:
    who = world.person("thallus", plan="trial")
    with world.platform(who.organisation_id) as ctx:
        billing.consume(ctx, "thallus.investigations", billing.plan_of(ctx, S).quotas["thallus.investigations"] or 0)
    return Call(json=QUESTION, who=who)


@failure(S, "startChat", 404)
@failure(S, "chat", 404)
def in_an_unknown_conversation(world: World) -> Call:
    return Call(json={**QUESTION, "conversation_id": str(uuid4())}, who=world.person("thallus"))


@failure(S, "getChatResult", 409)
def of_a_task_that_works(world: World) -> Call:
    world.rest()
    who = world.person("thallus")
    return Call(path={"task_id": chat.asked(world, who)["task_id"]}, who=who)


@failure(S, "streamChatProgress", 410)
@failure(S, "getChatState", 410)
def of_a_task_of_long_ago(world: World) -> Call:
    return _ended(world, hours=2)


@failure(S, "getChatResult", 410)
def of_a_task_of_the_day_before(world: World) -> Call:
    return _ended(world, hours=25)


def _ended(world: World, *, hours: int) -> Call:
    who = world.person("thallus")
    task_id = chat.answered(world, who)["task_id"]
    with world.platform() as ctx:
        ctx.session.execute(
            text("UPDATE turn SET ended_at = now() - make_interval(hours => :hours) WHERE id = :id"),
            {"hours": hours, "id": task_id},
        )
    return Call(path={"task_id": task_id}, who=who)


@failure(S, "streamChatProgress", 503, on="guarded")
def one_stream_too_many(world: World) -> Call:
    """The process holds as many as it may."""
    world.rest()
    who = world.person("thallus")
    task_id = chat.asked(world, who)["task_id"]
    held, reading = contextlib.ExitStack(), []
    world.afterwards.append(held.close)
    for _ in range(STREAMS):
        path = f"{world.url}{chat.BASE}/chat/{task_id}/progress"
        lines = held.enter_context(httpx.stream("GET", path, headers=who.headers(), timeout=30)).iter_lines()
        assert next(lines), "it is one of them once it has said something"
        reading.append(lines)  # whoever forgets it hangs up
    held.callback(reading.clear)
    return Call(path={"task_id": task_id}, who=who)


# --- agents --------------------------------------------------------------------------------------------------


@failure(S, "listAgentTools", 404)
@failure(S, "getAgentSettings", 404)
def of_nobody(world: World) -> Call:
    return Call(path={"agent_name": "nobody"}, who=world.person("thallus"))


@failure(S, "updateAgentSettings", 404)
def to_nobody(world: World) -> Call:
    return Call(path={"agent_name": "nobody"}, json={}, who=world.person("thallus"))


@failure(S, "updateAgentSettings", 400)
def a_tool_that_it_does_not_have(world: World) -> Call:
    return Call(path={"agent_name": "assistant"}, json={"disabled_tools": ["send_mail"]}, who=world.person("thallus"))


@failure(S, "updatePlatformAgent", 404)
def nobody_for_all(world: World) -> Call:
    who = world.person("thallus", platform_role="superadmin")
    return Call(path={"agent_name": "nobody"}, json={"access": "deny"}, who=who)


# --- models with keys of one's own ---------------------------------------------------------------------------


@failure(S, "updateModelSettings", 400)
def a_key_that_is_refused(world: World) -> Call:
    return _with_a_provider_that(world, "status:401")


@failure(S, "updateModelSettings", 502)
def a_provider_that_has_fallen(world: World) -> Call:
    return _with_a_provider_that(world, "status:500")


@failure(S, "updateModelSettings", 504)
def a_provider_that_is_silent(world: World) -> Call:
    return _with_a_provider_that(world, "wait:25")


def _with_a_provider_that(world: World, does: str) -> Call:
    key = models.fresh_key()
    models.provider().tell(key, does)
    return Call(json=models.chosen(key), who=world.person("thallus"))


@failure(S, "updateModelSettings", 409)
def settings_that_are_removed_meanwhile(world: World) -> Call:
    """The person removes them, in another window, while the provider takes its time."""
    call = _with_a_provider_that(world, "wait:2")
    who, key = call.who, call.json["credentials"]["api_key"]
    assert who is not None
    removing = threading.Thread(target=_remove, args=(world, who, key))
    removing.start()
    world.afterwards.append(removing.join)
    return call


def _remove(world: World, who: Person, key: str) -> None:
    end = time.monotonic() + 20
    while not models.provider().seen[key] and time.monotonic() < end:
        time.sleep(0.02)
    reply = httpx.delete(f"{world.url}{models.BASE}/settings/models", headers=who.headers(), timeout=30)
    assert reply.status_code == 204, reply.text


@failure(S, "validateModelSettings", 400)
def without_a_key(world: World) -> Call:
    given = {"provider": "openai", "base_url": models.provider().url}
    return Call(json={"credentials": given}, who=world.person("thallus"))


@failure(S, "validateModelSettings", 504)
def a_trial_that_nobody_begins(world: World) -> Call:
    world.rest()
    given = {"credentials": models.credentials(), "models": ["small"]}
    return Call(json=given, who=world.person("thallus"), seconds=60)


# --- memories ------------------------------------------------------------------------------------------------


@failure(S, "createMemory", 409)
def what_is_remembered_already(world: World) -> Call:
    who = world.person("thallus")
    chat.remembered(world, who, "Prefers amounts in euros.")
    return Call(json={"content": "prefers amounts in EUROS"}, who=who)


@failure(S, "updateMemory", 409)
def to_what_another_one_says(world: World) -> Call:
    who = world.person("thallus")
    chat.remembered(world, who, "Prefers amounts in euros.")
    other = chat.remembered(world, who, "Has a dog called Nero.")["id"]
    return Call(path={"memory_id": other}, json={"content": "Prefers amounts in euros."}, who=who)
