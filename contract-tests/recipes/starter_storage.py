"""Starter: files by presigned addresses."""

from __future__ import annotations

import httpx

from recipes.world import Call, Person, World, recipe

CONTENT = b"Wednesday is market day.\n"


def _announce(world: World, person: Person) -> dict[str, str]:
    reply = httpx.post(
        f"{world.url}/starter/api/v1/storage/objects/upload-url",
        json={"filename": "notes.txt", "mime_type": "text/plain", "size_bytes": len(CONTENT)},
        headers=person.headers(),
        timeout=30,
    )
    assert reply.status_code < 300, reply.text
    found: dict[str, str] = reply.json()
    put = httpx.put(str(found["upload_url"]), content=CONTENT, headers=dict(reply.json()["headers"]), timeout=30)
    assert put.status_code < 300, put.text
    return found


@recipe("starter", "createUploadUrl")
def create_upload_url(world: World) -> Call:
    return Call(json={"filename": "notes.txt", "mime_type": "text/plain", "size_bytes": len(CONTENT)})


@recipe("starter", "listObjects")
def list_objects(world: World) -> Call:
    return Call()


@recipe("starter", "getDownloadUrl")
def get_download_url(world: World) -> Call:
    person = world.person("starter")
    return Call(path={"object_id": _announce(world, person)["object_id"]}, who=person)


@recipe("starter", "deleteObject")
def delete_object(world: World) -> Call:
    person = world.person("starter")
    return Call(path={"object_id": _announce(world, person)["object_id"]}, who=person)
