"""Starter: how vector stores, storage and containers fail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import update

from domain import containers, storage
from domain.containers.models import Container
from recipes import starter_storage
from recipes.failures import failure
from recipes.starter_containers import AGENT, container
from recipes.starter_vector_stores import about, store, stored
from recipes.world import Call, World

S = "starter"
BLANK = "   "


# --- containers ----------------------------------------------------------------------------------------------


@failure(S, "createContainer", 400)
@failure(S, "createVectorStore", 400)
def without_a_name(world: World) -> Call:
    return Call(json={"name": BLANK}, who=world.person(S))


@failure(S, "createContainer", 404)
def with_an_unknown_file(world: World) -> Call:
    return Call(json={"name": f"box-{uuid4().hex}", "file_ids": [str(uuid4())]}, who=world.person(S))


@failure(S, "bindAgentContainer", 404)
def to_an_unknown_container(world: World) -> Call:
    return Call(json={"container_id": str(uuid4())}, path={"agent_key": AGENT}, who=world.person(S))


@failure(S, "bindAgentContainer", 409)
def to_a_container_that_rested_too_long(world: World) -> Call:
    who = world.person(S)
    expired = container(world, who, expires_after={"anchor": "last_active_at", "minutes": 1})
    with world.platform() as ctx:
        past = ctx.now() - timedelta(minutes=1)
        ctx.session.execute(update(Container).where(Container.id == UUID(expired)).values(expires_at=past))
        containers.expire(ctx)
    return Call(json={"container_id": expired}, path={"agent_key": AGENT}, who=who)


@failure(S, "unbindAgentContainer", 404)
def of_an_unknown_agent(world: World) -> Call:
    return Call(path={"agent_key": "nobody"}, who=world.person(S))


# --- vector stores -------------------------------------------------------------------------------------------


@failure(S, "attachVectorStoreFile", 400)
def a_file_that_nobody_can_read(world: World) -> Call:
    who = world.person(S)
    picture = stored(world, who, b"\x89PNG\r\n\x1a\n" + bytes(64), "picture.png", "image/png")
    return Call(json={"file_id": picture}, path={"vector_store_id": store(world, who)}, who=who)


@failure(S, "searchVectorStore", 400)
def by_a_filter_that_makes_no_sense(world: World) -> Call:
    wrong = {"type": "in", "key": "department", "value": "legal"}
    return about(world, json={"query": "notice", "filters": wrong})


# --- storage -------------------------------------------------------------------------------------------------


def _announced(world: World, **changes: Any) -> Call:
    file = {"filename": "notes.txt", "mime_type": "text/plain", "size_bytes": len(starter_storage.CONTENT)}
    return Call(json=file | changes, who=world.person(S))


@failure(S, "createUploadUrl", 400)
def of_a_type_that_is_not_taken(world: World) -> Call:
    return _announced(world, mime_type="application/x-msdownload")


@failure(S, "createUploadUrl", 402)
def into_a_full_storage(world: World) -> Call:
    call = _announced(world)
    assert call.who is not None
    with world.platform(call.who.organisation_id) as ctx:
        storage.set_quota(ctx, len(starter_storage.CONTENT) - 1)
    return call


@failure(S, "createUploadUrl", 404)
def for_an_unknown_conversation(world: World) -> Call:
    return _announced(world, conversation_id=str(uuid4()))


@failure(S, "getDownloadUrl", 503)
def while_the_database_gives_up(world: World) -> Call:
    call = starter_storage.get_download_url(world)
    world.unreachable("stored_object")
    return call
