"""Failures that operations of knowledge and storage declare and that the edge or the place of the caller brings about:
each operation, each of these statuses, one request that is answered so, in the surface's own error body.

What is particular to an operation (a full plan, a name that is taken, a range past the end) stands in the tests of its
surface. 429 is in test_limits, 408 in test_hostile, 503 without Valkey in test_identity_failures; 500 is a defect.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
import recipes
from recipes import RECIPES, Call, Person, World, beeflow_transcriptions, send
from recipes import thallus_documents as documents
from sqlalchemy import text

from domain import identity, knowledge
from domain.kernel import idempotency
from thalweg.contract import project
from thalweg.edge.schema import Compiler

ROOT = Path(__file__).resolve().parents[1]
PROJECT = project.find(ROOT)
TAGS = {
    "thallus": {"documents", "collections", "organization-documents"},
    "beeflow": {"knowledge", "webpages", "transcriptions", "meet-bot"},
    "starter": {"vector-stores", "storage", "containers"},
}
BROKEN = {"thallus": 422, "beeflow": 400, "starter": 422}
"""What a request that breaks the contract is answered with."""


@dataclass(frozen=True)
class Operation:
    surface: str
    entry: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.entry["operation_id"])

    @property
    def base(self) -> str:
        return PROJECT.base_path(self.surface)


def _operations() -> Iterator[Operation]:
    for surface, tags in TAGS.items():
        manifest = json.loads((PROJECT.generated / surface / "operations.json").read_bytes())
        yield from (Operation(surface, entry) for entry in manifest["operations"] if entry["tag"] in tags)


def _asked() -> list[tuple[Operation, int]]:
    found = []
    for operation in _operations():
        for status in map(int, operation.entry["statuses"]):
            named = "{" in operation.entry["path"] or status != 404
            guarded = status != 409 or "x-idempotency" in operation.entry["extensions"]
            wanted = status in PROVOKED or status == BROKEN[operation.surface]
            if (operation.surface, operation.id, status) in PARTICULAR or (wanted and named and guarded):
                found.append((operation, status))
    return found


# --- how they are brought about ------------------------------------------------------------------------------


def _prepared(operation: Operation, world: World) -> tuple[Call, Person]:
    """The call that would succeed, and whose it is."""
    call = RECIPES[operation.surface, operation.id](world)
    return call, call.who or world.person(operation.surface)


def _perform(operation: Operation, world: World, call: Call, who: Person | None, **headers: str) -> httpx.Response:
    given = {} if who is None else who.headers()
    return send(world, operation.base, operation.entry["method"], operation.entry["path"], call, given | headers)


def _broken(operation: Operation, world: World) -> httpx.Response:
    """A parameter that the contract does not know."""
    call, who = _prepared(operation, world)
    call.query = {**call.query, "surplus": "1"}
    return _perform(operation, world, call, who)


def _nobody(operation: Operation, world: World) -> httpx.Response:
    call, _ = _prepared(operation, world)
    return _perform(operation, world, call, None)


def _elsewhere(operation: Operation, world: World) -> httpx.Response:
    """From an address that the organisation does not let in."""
    call, who = _prepared(operation, world)
    with world.platform(who.organisation_id) as ctx:
        identity.organisations.allow_networks(ctx, ["203.0.113.0/24"])
    return _perform(operation, world, call, who)


def _missing(operation: Operation, world: World) -> httpx.Response:
    call, who = _prepared(operation, world)
    call.path = {name: uuid4() if _is_id(value) else value for name, value in call.path.items()}
    if "agent_key" in call.path:
        call.path = {**call.path, "agent_key": "nobody_there"}
    if call.json is not None:  # what a body names must not be there either
        call.json = {name: str(uuid4()) if _is_id(value) else value for name, value in call.json.items()}
    return _perform(operation, world, call, who)


def _is_id(value: Any) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True


def _unwritable(operation: Operation, world: World) -> httpx.Response:
    """Asked for in a form that there is not."""
    call, who = _prepared(operation, world)
    return _perform(operation, world, call, who, Accept="application/x-nothing")


def _of_another_kind(operation: Operation, world: World) -> httpx.Response:
    call, who = _prepared(operation, world)
    call.json, call.form, call.files, call.content = None, None, None, b"something else"
    return _perform(operation, world, call, who, **{"Content-Type": "text/plain"})


def _large(operation: Operation, world: World) -> httpx.Response:
    """A length past the limit, which is refused before a byte has come."""
    call, who = _prepared(operation, world)
    kind = next(iter(operation.entry["request"]["content"]))
    path = f"{operation.base}{operation.entry['path']}"
    for name, value in call.path.items():
        path = path.replace(f"{{{name}}}", str(value))
    most = operation.entry["extensions"].get("x-max-bytes", 1 << 20)
    address = urlsplit(world.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    try:
        connection.putrequest(operation.entry["method"], path)
        headers = who.headers() | {"Content-Type": f"{kind}; boundary=b", "Content-Length": str(most + 1)}
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        reply = connection.getresponse()
        return httpx.Response(reply.status, content=reply.read(), headers=dict(reply.getheaders()))
    finally:
        connection.close()


def _at_once(operation: Operation, world: World) -> httpx.Response:
    """The key of a request that is still under way."""
    call, who = _prepared(operation, world)
    key = str(uuid4())
    number = idempotency._lock(who.organisation_id, f"{operation.surface}.{operation.id}", key)
    with world.database.session(None, platform=True) as session:
        session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})
        return _perform(operation, world, call, who, **{"Idempotency-Key": key})


PROVOKED: dict[int, Callable[[Operation, World], httpx.Response]] = {
    401: _nobody,
    403: _elsewhere,
    404: _missing,
    406: _unwritable,
    409: _at_once,
    413: _large,
    415: _of_another_kind,
}


# --- what is particular --------------------------------------------------------------------------------------


def _into_nowhere(world: World) -> Call:
    return Call(files=documents.file(), form={"collection_id": str(uuid4())}, who=world.person("thallus"))


def _past_the_end(world: World) -> Call:
    return documents.about(world, headers={"Range": "bytes=1000000-"})


def _among_unknown_ones(world: World) -> Call:
    return Call(json={"query": "notice", "collection_ids": [str(uuid4())]}, who=world.person("thallus"))


def _to_where_it_is_already(world: World) -> Call:
    """The same bytes stand in the other collection."""
    who = world.person("thallus")
    other = documents.collection(world, who)
    same = {"file": ("same.md", b"# The same\n\nIn two collections.", "text/markdown")}
    ids = [
        httpx.post(f"{world.url}{UPLOAD}", files=same, data=form, headers=who.headers(), timeout=30).json()["id"]
        for form in ({}, {"collection_id": str(other)})
    ]
    return Call(json={"collection_id": str(other)}, path={"document_id": ids[0]}, who=who)


def _to_a_name_that_is_taken(world: World) -> Call:
    who = world.person("thallus")
    first, second = (documents.collection(world, who) for _ in range(2))
    with world.acting(who) as ctx:
        name = knowledge.get(ctx, first, "collection").collection.name
    return Call(json={"name": name}, path={"collection_id": second}, who=who)


def _the_default_one(world: World) -> Call:
    who = world.person("thallus")
    return Call(path={"collection_id": documents.uploaded(world, who)["collection_id"]}, who=who)


def _of_an_unknown_base(world: World) -> Call:
    return Call(query={"knowledgeBaseId": str(uuid4())}, who=world.person("beeflow"))


def _page_for_an_unknown_base(world: World) -> Call:
    wish = {"url": "https://docs.lovelace.example/", "knowledgeBaseId": str(uuid4())}
    return Call(json=wish, who=world.person("beeflow"))


def _page_of_this_machine(world: World) -> Call:
    return Call(json={"url": "http://169.254.169.254/latest/meta-data/"}, who=world.person("beeflow"))


def _recording_for_an_unknown_base(world: World) -> Call:
    files = {"audio": ("a.wav", beeflow_transcriptions.WAV, "audio/wav")}
    return Call(files=files, form={"knowledgeBaseId": str(uuid4())}, who=world.person("beeflow"))


def _meeting_for_an_unknown_base(world: World) -> Call:
    wish = {**beeflow_transcriptions.meeting(), "knowledgeBaseId": str(uuid4())}
    return Call(json=wish, who=world.person("beeflow"))


def _with_an_unknown_file(world: World) -> Call:
    return Call(json={"name": f"box-{uuid4().hex}", "file_ids": [str(uuid4())]}, who=world.person("starter"))


UPLOAD = "/thallus/api/v1/documents/upload"
PARTICULAR: dict[tuple[str, str, int], Callable[[World], Call]] = {
    ("thallus", "uploadDocument", 404): _into_nowhere,
    ("thallus", "uploadOrganizationDocument", 404): _into_nowhere,
    ("thallus", "downloadDocument", 416): _past_the_end,
    ("thallus", "queryDocuments", 404): _among_unknown_ones,
    ("thallus", "moveDocument", 409): _to_where_it_is_already,
    ("thallus", "updateCollection", 409): _to_a_name_that_is_taken,
    ("thallus", "deleteCollection", 409): _the_default_one,
    ("beeflow", "listWebpages", 404): _of_an_unknown_base,
    ("beeflow", "addWebpage", 404): _page_for_an_unknown_base,
    ("beeflow", "addWebpage", 422): _page_of_this_machine,
    ("beeflow", "createTranscription", 404): _recording_for_an_unknown_base,
    ("beeflow", "joinMeeting", 404): _meeting_for_an_unknown_base,
    ("starter", "createContainer", 404): _with_an_unknown_file,
}


# --- the tests -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compilers() -> dict[str, tuple[dict[str, Any], Compiler]]:
    recipes.load()
    bundles = {each: json.loads((PROJECT.generated / each / "bundle.json").read_bytes()) for each in TAGS}
    return {surface: (bundle, Compiler(bundle)) for surface, bundle in bundles.items()}


def _schema(bundle: dict[str, Any], operation: Operation, status: int) -> dict[str, Any]:
    declared = bundle["paths"][operation.entry["path"]][operation.entry["method"].lower()]["responses"][str(status)]
    while "$ref" in declared:
        target: Any = bundle
        for part in declared["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        declared = target
    schema: dict[str, Any] = declared["content"]["application/json"]["schema"]
    return schema


@pytest.mark.parametrize(("failing", "status"), [pytest.param(o, s, id=f"{o.surface}.{o.id}-{s}") for o, s in _asked()])
def test_a_declared_failure_is_reached_in_the_surfaces_own_words(
    failing: Operation,
    status: int,
    running: Any,
    world: World,
    compilers: dict[str, tuple[dict[str, Any], Compiler]],
) -> None:
    if own := PARTICULAR.get((failing.surface, failing.id, status)):
        call = own(world)
        reply = _perform(failing, world, call, call.who)
    else:
        provoke = _broken if status == BROKEN[failing.surface] else PROVOKED[status]
        reply = provoke(failing, world)
    assert reply.status_code == status, reply.text[:1000]
    bundle, compiler = compilers[failing.surface]
    schema = _schema(bundle, failing, status)
    assert compiler.compile(schema, "response").violations(reply.json()) == ()


def test_no_operation_of_knowledge_and_storage_is_left_out() -> None:
    assert sum(1 for _ in _operations()) == 18 + 10 + 4 + 5 + 9 + 4 + 6


@pytest.mark.parametrize("name", ["\x1c", "\x1f", "\u2028", "\x85"])
def test_a_name_of_separators_alone_is_refused(name: str, world: World) -> None:
    """What counts as blank differs between regular expressions and Python: neither may take such a name, nor fall."""
    for surface, path in {
        "thallus": "/thallus/api/v1/documents/collections",
        "beeflow": "/beeflow/api/knowledge",
        "starter": "/starter/api/v1/vector-stores",
    }.items():
        headers = world.person(surface).headers()
        reply = httpx.post(f"{world.url}{path}", json={"name": name}, headers=headers, timeout=30)
        assert reply.status_code in (400, 422), (surface, reply.status_code, reply.text)
    who = world.person("thallus")
    path = f"/thallus/api/v1/documents/collections/{documents.collection(world, who)}"
    reply = httpx.put(f"{world.url}{path}", json={"name": name}, headers=who.headers(), timeout=30)
    assert reply.status_code == 422, reply.text
