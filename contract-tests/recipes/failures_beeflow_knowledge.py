"""Bee Flow: how knowledge bases, pages, recordings and meetings fail."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx

from domain.storage import quota
from recipes import beeflow_transcriptions
from recipes.beeflow_knowledge import about, added, asked, base, file
from recipes.failures import failure
from recipes.world import Call, Person, World

S = "beeflow"


def keyed(world: World, path: str, first: Mapping[str, Any], call: Call) -> Call:
    """`call` with the idempotency key of another request, `first`, that was answered."""
    assert call.who is not None
    call.headers = {"Idempotency-Key": str(uuid4())}
    headers = {**call.who.headers(), **call.headers}
    reply = httpx.post(f"{world.url}/beeflow/api{path}", headers=headers, timeout=30, **first)
    assert reply.is_success, reply.text
    return call


def without_room(world: World) -> Person:
    """Somebody whose organisation may keep nothing more."""
    who = world.person(S)
    with world.platform(who.organisation_id) as ctx:
        quota.set_quota(ctx, 0)
    return who


# --- knowledge bases ---------------------------------------------------------------------------------------


@failure(S, "createKnowledgeBase", 402)
def one_base_too_many(world: World) -> Call:
    who = world.person(S, plan="community")
    for _ in range(3):
        base(world, who)
    return Call(json={"name": "One more"}, who=who)


@failure(S, "updateKnowledgeBase", 409)
def name_of_another_base(world: World) -> Call:
    who = world.person(S)
    base_id = base(world, who)
    asked(world, who, "POST", "/knowledge", json={"name": "Manuals"})
    return Call(json={"name": " manuals "}, path={"id": base_id}, who=who)


@failure(S, "updateKnowledgeBase", 422)
def passages_that_share_everything(world: World) -> Call:
    return about(world, json={"settings": {"chunkSize": 400, "chunkOverlap": 400}})


@failure(S, "addKnowledgeDocument", 402)
def document_without_room(world: World) -> Call:
    who = without_room(world)
    return Call(files=file(), path={"id": base(world, who)}, who=who)


@failure(S, "addKnowledgeDocument", 422)
def another_document_by_the_same_key(world: World) -> Call:
    who = world.person(S)
    base_id = base(world, who)
    call = Call(files=file(), path={"id": base_id}, who=who)
    return keyed(world, f"/knowledge/{base_id}/documents", {"files": file()}, call)


@failure(S, "reindexKnowledgeBase", 409)
def base_that_is_being_read_anew(world: World) -> Call:
    call = about(world)
    assert call.who is not None
    world.rest("worker-default")  # it would be done before it is asked for again
    asked(world, call.who, "POST", f"/knowledge/{call.path['id']}/reindex")
    return call


@failure(S, "reindexKnowledgeBase", 422)
def another_base_by_the_same_key(world: World) -> Call:
    who = world.person(S)
    first, second = base(world, who), base(world, who)
    added(world, who, first)
    return keyed(world, f"/knowledge/{first}/reindex", {}, Call(path={"id": second}, who=who))


# --- webpages ----------------------------------------------------------------------------------------------


@failure(S, "listWebpages", 404)
def of_an_unknown_base(world: World) -> Call:
    return Call(query={"knowledgeBaseId": str(uuid4())}, who=world.person("beeflow"))


@failure(S, "addWebpage", 404)
def page_for_an_unknown_base(world: World) -> Call:
    wish = {"url": "https://docs.lovelace.example/", "knowledgeBaseId": str(uuid4())}
    return Call(json=wish, who=world.person("beeflow"))


@failure(S, "addWebpage", 422)
def page_of_this_machine(world: World) -> Call:
    return Call(json={"url": "http://169.254.169.254/latest/meta-data/"}, who=world.person("beeflow"))


# --- recordings and meetings -------------------------------------------------------------------------------


def _recording(**more: Any) -> Call:
    return Call(files={"audio": ("a.wav", beeflow_transcriptions.WAV, "audio/wav")}, **more)


@failure(S, "createTranscription", 402)
def recording_without_room(world: World) -> Call:
    return _recording(who=without_room(world))


@failure(S, "createTranscription", 404)
def recording_for_an_unknown_base(world: World) -> Call:
    return _recording(form={"knowledgeBaseId": str(uuid4())}, who=world.person("beeflow"))


@failure(S, "createTranscription", 415)
def words_for_a_recording(world: World) -> Call:
    return Call(files={"audio": ("a.wav", b"Nothing to hear.", "audio/wav")}, who=world.person(S))


@failure(S, "createTranscription", 422)
def another_recording_by_the_same_key(world: World) -> Call:
    call = _recording(form={"title": "Steering committee"}, who=world.person(S))
    return keyed(world, "/transcriptions", {"files": call.files}, call)


@failure(S, "joinMeeting", 404)
def meeting_for_an_unknown_base(world: World) -> Call:
    wish = {**beeflow_transcriptions.meeting(), "knowledgeBaseId": str(uuid4())}
    return Call(json=wish, who=world.person("beeflow"))


@failure(S, "joinMeeting", 409)
def second_bot_in_one_meeting(world: World) -> Call:
    who = world.person(S)
    wish = beeflow_transcriptions.meeting()
    asked(world, who, "POST", "/meet-bot/join", json=wish)
    return Call(json=wish, who=who)


@failure(S, "joinMeeting", 422)
def meeting_nowhere(world: World) -> Call:
    return Call(json={"meetingUrl": "https://meet.lovelace.example/steering"}, who=world.person(S))


@failure(S, "joinMeeting", 502)
def service_that_sends_nobody(world: World) -> Call:
    return Call(json={"meetingUrl": beeflow_transcriptions.NONSENSE}, who=world.person(S))


@failure(S, "leaveMeeting", 409)
def bot_that_has_left(world: World) -> Call:
    who = world.person(S)
    bot = asked(world, who, "POST", "/meet-bot/join", json=beeflow_transcriptions.meeting())
    asked(world, who, "POST", f"/meet-bot/{bot['id']}/leave")
    end = time.monotonic() + 60
    while asked(world, who, "GET", f"/transcriptions/{bot['transcriptionId']}")["status"] == "recording":
        assert time.monotonic() < end, "it did not leave"
        time.sleep(0.2)
    return Call(path={"id": bot["id"]}, who=who)
