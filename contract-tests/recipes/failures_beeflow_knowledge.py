"""Bee Flow: how knowledge bases, pages, recordings and meetings fail."""

from __future__ import annotations

from uuid import uuid4

from recipes import beeflow_transcriptions
from recipes.failures import failure
from recipes.world import Call, World

S = "beeflow"


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


@failure(S, "createTranscription", 404)
def recording_for_an_unknown_base(world: World) -> Call:
    files = {"audio": ("a.wav", beeflow_transcriptions.WAV, "audio/wav")}
    return Call(files=files, form={"knowledgeBaseId": str(uuid4())}, who=world.person("beeflow"))


@failure(S, "joinMeeting", 404)
def meeting_for_an_unknown_base(world: World) -> Call:
    wish = {**beeflow_transcriptions.meeting(), "knowledgeBaseId": str(uuid4())}
    return Call(json=wish, who=world.person("beeflow"))
