"""Starter: how vector stores, storage and containers fail."""

from __future__ import annotations

from uuid import uuid4

from recipes.failures import failure
from recipes.world import Call, World

S = "starter"


@failure(S, "createContainer", 404)
def with_an_unknown_file(world: World) -> Call:
    return Call(json={"name": f"box-{uuid4().hex}", "file_ids": [str(uuid4())]}, who=world.person("starter"))
