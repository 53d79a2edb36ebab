"""Thalium: how a brain's operations fail."""

from __future__ import annotations

from domain import billing
from recipes import thalium_brains as brains
from recipes.failures import failure
from recipes.world import Call, World

S = "thalium"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@failure(S, "invokeBrain", 402)
def when_the_month_is_used_up(world: World) -> Call:
    who = brains.keyholder(world, plan="spark")
    with world.platform(who.organisation_id) as ctx:
        billing.consume(ctx, "thalium.invocations", 500)
    return brains.about(world, who, json=brains.question())


@failure(S, "invokeBrain", 403)
def invoked_with_a_key_that_may_read_the_memory(world: World) -> Call:
    return brains.about(world, brains.keyholder(world, "memory:read"), json=brains.question())


@failure(S, "getBrainStatus", 403)
def with_a_key_that_may_read_the_memory(world: World) -> Call:
    return brains.about(world, brains.keyholder(world, "memory:read"))


@failure(S, "listBrainMemory", 403)
def with_a_key_that_may_invoke(world: World) -> Call:
    return brains.about(world, brains.keyholder(world, "invoke"))


@failure(S, "invokeBrain", 422)
def with_an_image_that_nobody_can_read(world: World) -> Call:
    return brains.about(world, json=brains.question(input={"type": "image", "content": PIXEL}))


@failure(S, "getBrainStatus", 503)
@failure(S, "listBrainMemory", 503)
def while_the_database_gives_up(world: World) -> Call:
    call = brains.about(world)
    world.unreachable("brain")
    return call
