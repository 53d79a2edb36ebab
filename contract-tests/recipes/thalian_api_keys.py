"""Thalian: API keys of a workspace."""

from __future__ import annotations

from domain import identity
from recipes.world import Call, World, recipe


@recipe("thalian", "createApiKey")
def create_key(world: World) -> Call:
    person = world.person("thalian")
    return Call(json={"workspaceId": str(person.organisation_id), "name": "SIEM", "scope": "write"}, who=person)


@recipe("thalian", "listApiKeys")
def list_keys(world: World) -> Call:
    person = world.person("thalian")
    return Call(query={"workspaceId": str(person.organisation_id)}, who=person)


@recipe("thalian", "revokeApiKey")
def revoke_key(world: World) -> Call:
    person = world.person("thalian")
    with world.acting(person) as ctx:
        key, _ = identity.issue_api_key(ctx, "old", ["read"], "thalian")
    return Call(json={"workspaceId": str(person.organisation_id), "keyId": str(key.id)}, who=person, once=True)
