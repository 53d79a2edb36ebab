"""Two judges, one verdict: what the edge answers and accepts is held against openapi-core, with the same contract.

The edge checks every reply itself (`response_mismatch=raise` would make it a 500). Here each status that an operation
declares is provoked, and openapi-core has to find the reply in order as well; and of many requests, right and wrong,
both have to accept the same ones.
"""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import httpx
import pytest
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse
from openapi_schema_validator import OAS30ReadValidator
from referencing import Registry
from referencing.jsonschema import DRAFT4
from sqlalchemy import text

from domain import billing
from domain.kernel.context import SystemActor

ROOT = Path(__file__).resolve().parent.parent
THALIUM = json.loads((ROOT / "generated" / "thalium" / "operations.json").read_bytes())["operations"]
QUESTION = {"session_id": "parity", "input": {"type": "text", "content": "Which supplier must be audited?"}}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

UNPROVOKED = {
    "408": "takes two minutes of silence; tests/edge has it with a shorter patience",
    "500": "only a defect makes it",
    "503": "needs Valkey or the database to be away: test_failures_of_conversations has it",
}

Provocation = Callable[[Any, Any, "Call"], httpx.Response]


class Call:
    """An operation, ready to be called: method, path and what a good request carries."""

    def __init__(self, running: Any, tenant: Any, entry: dict[str, Any]) -> None:
        self.running, self.tenant, self.entry = running, tenant, entry
        self.body = QUESTION if entry["request"] else None

    def __call__(
        self,
        headers: dict[str, str] | None = None,
        *,
        tenant: Any = None,
        brain: Any = None,
        body: Any = ...,
        content: bytes | None = None,
    ) -> httpx.Response:
        one = tenant or self.tenant
        path = self.entry["path"].replace("{brainId}", str(brain or one.brain_id))
        given = self.body if body is ... else body
        request = httpx.Request(
            self.entry["method"],
            f"{self.running.url}/thalium{path}",
            json=given if content is None and given is not None else None,
            content=content,
            headers={**one.headers(), **(headers or {})},
        )
        return send(request)


def send(request: httpx.Request, seconds: float = 30.0) -> httpx.Response:
    """The reply; a stream is read to its end."""
    with httpx.Client(timeout=seconds) as client:
        reply = client.send(request, stream=True)
        end = time.monotonic() + seconds
        body = bytearray()
        for piece in reply.iter_bytes():
            body += piece
            assert time.monotonic() < end, bytes(body)
        reply.close()
        headers = [(n, v) for n, v in reply.headers.items() if n not in ("content-encoding", "transfer-encoding")]
        return httpx.Response(reply.status_code, headers=headers, content=bytes(body), request=request)


# --- the statuses ----------------------------------------------------------------------------------


def in_flight(running: Any, tenant: Any, call: Call) -> httpx.Response:
    """A first request hangs in its transaction while the second one with its key comes."""
    key = {"Idempotency-Key": str(uuid4())}
    one = running.tenant()
    call(tenant=one)  # so that there is a counter to lock
    done: list[httpx.Response] = []
    first = threading.Thread(target=lambda: done.append(call(key, tenant=one)))
    with running.database.context(SystemActor("tests"), None, platform=True) as ctx:
        ctx.session.execute(
            text("SELECT 1 FROM usage_counter WHERE organisation_id = :id FOR UPDATE"), {"id": one.organisation_id}
        )
        first.start()
        _until(running, "SELECT count(*) FROM pg_locks WHERE NOT granted")
        second = call(key, tenant=one)
    first.join(30)
    assert done[0].status_code == 200
    return second


def _until(running: Any, query: str, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with running.database.context(SystemActor("tests"), None, platform=True) as ctx:
            if ctx.session.scalar(text(query)):
                return
        time.sleep(0.05)
    raise AssertionError(f"did not come true: {query}")


def used_up(running: Any, tenant: Any, call: Call) -> httpx.Response:
    small = running.tenant(plan="spark")
    with running.database.context(SystemActor("tests"), small.organisation_id) as ctx:
        billing.consume(ctx, "thalium.invocations", 500)
    return call(tenant=small)


def limited(running: Any, tenant: Any, call: Call) -> httpx.Response:
    slow = running.tenant(rate=1)
    assert call(tenant=slow).status_code == 200
    return call(tenant=slow)


def without_scope(running: Any, tenant: Any, call: Call) -> httpx.Response:
    scope = "invoke" if call.entry["extensions"]["x-permission"] != "invoke" else "memory:read"
    return call({"X-API-Key": tenant.keys[scope]})


def reused_key(running: Any, tenant: Any, call: Call) -> httpx.Response:
    key = {"Idempotency-Key": str(uuid4())}
    assert call(key).status_code == 200
    return call(key, body={**QUESTION, "session_id": "another"})


def unchanged(running: Any, tenant: Any, call: Call) -> httpx.Response:
    one = running.tenant()
    return call({"If-None-Match": call(tenant=one).headers["etag"]}, tenant=one)


def partial(running: Any, tenant: Any, call: Call) -> httpx.Response:
    """A text that cannot be placed in vector space within a millisecond."""
    tale = {"type": "text", "content": "A long tale of many words, never heard before. " * 400}
    reply = call(body={**QUESTION, "input": tale, "role_config": {"timeouts": {"listener": 0.001}}})
    assert "event: chain.partial" in reply.text
    return reply


EVERYWHERE: dict[str, dict[str, Provocation]] = {
    "200": {"as it should be": lambda r, t, call: call()},
    "400": {
        "an id that is none": lambda r, t, call: call(brain="none"),
        "a bad correlation id": lambda r, t, call: call({"X-Correlation-ID": "a b"}),
    },
    "401": {
        "no key": lambda r, t, call: call({"X-API-Key": ""}),
        "an unknown key": lambda r, t, call: call({"X-API-Key": "thm_unknown"}),
    },
    "403": {"a key without the scope": without_scope},
    "404": {"no such brain": lambda r, t, call: call(brain=uuid4())},
    "406": {"nothing acceptable": lambda r, t, call: call({"Accept": "text/csv"})},
    "429": {"past the limit": limited},
}
PROVOKED: dict[tuple[str, str], dict[str, Provocation]] = {
    ("invokeBrain", "200"): {
        "as it should be": lambda r, t, call: call(),
        "a partial answer": partial,
    },
    ("invokeBrain", "400"): {
        **EVERYWHERE["400"],
        "a broken body": lambda r, t, call: call(body={}),
        "no JSON": lambda r, t, call: call({"Content-Type": "application/json"}, content=b"{"),
        "roles in an impossible order": lambda r, t, call: call(
            body={**QUESTION, "role_config": {"roles": ["devil", "architect"]}}
        ),
        "a foreign event id": lambda r, t, call: call({"Last-Event-ID": "none"}),
    },
    ("invokeBrain", "402"): {"a plan that is used up": used_up},
    ("invokeBrain", "404"): {
        **EVERYWHERE["404"],
        "no such invocation": lambda r, t, call: call({"Last-Event-ID": f"{uuid4()}:1"}),
    },
    ("invokeBrain", "409"): {"the same key meanwhile": in_flight},
    ("invokeBrain", "413"): {
        "a body past the limit": lambda r, t, call: call(content=b" " * 10_485_761),
        "a text past the limit": lambda r, t, call: call(
            body={**QUESTION, "input": {"type": "text", "content": "x" * 200_001}}
        ),
    },
    ("invokeBrain", "415"): {
        "another type": lambda r, t, call: call({"Content-Type": "text/plain"}, content=b"{}"),
        "a compressed body": lambda r, t, call: call(
            {"Content-Type": "application/json", "Content-Encoding": "gzip"}, content=b"{}"
        ),
    },
    ("invokeBrain", "422"): {
        "the same key for another request": reused_key,
        "an image that nobody can read": lambda r, t, call: call(
            body={**QUESTION, "input": {"type": "image", "content": PIXEL}}
        ),
    },
    ("listBrainMemory", "304"): {"nothing new": unchanged},
}


def provocations(operation: str, status: str) -> dict[str, Provocation]:
    return PROVOKED.get((operation, status)) or EVERYWHERE.get(status, {})


CASES = [
    pytest.param(entry, status, provoke, id=f"{entry['operation_id']}-{status}-{name.replace(' ', '_')}")
    for entry in THALIUM
    for status in entry["statuses"]
    for name, provoke in provocations(entry["operation_id"], status).items()
]


@pytest.fixture(scope="module")
def document(running: Any) -> dict[str, Any]:
    """The contract with the running server's address."""
    found: dict[str, Any] = json.loads((ROOT / "generated" / "thalium" / "bundle.json").read_bytes())
    return {**found, "servers": [{"url": f"{running.url}/thalium"}]}


@pytest.fixture(scope="module")
def second_opinion(document: dict[str, Any]) -> OpenAPI:
    return OpenAPI.from_dict(document)


def test_every_declared_status_is_provoked_or_explained() -> None:
    missing = [
        (entry["operation_id"], status)
        for entry in THALIUM
        for status in entry["statuses"]
        if not provocations(entry["operation_id"], status) and status not in UNPROVOKED
    ]
    assert not missing
    known = {(entry["operation_id"], status) for entry in THALIUM for status in entry["statuses"]}
    assert not set(PROVOKED) - known, "provokes what is not declared any more"


@pytest.mark.parametrize(("entry", "status", "provoke"), CASES)
def test_each_answer_is_in_order_for_the_edge_and_for_openapi_core(
    entry: dict[str, Any],
    status: str,
    provoke: Provocation,
    running: Any,
    tenant: Any,
    second_opinion: OpenAPI,
    document: dict[str, Any],
) -> None:
    reply = provoke(running, tenant, Call(running, tenant, entry))
    assert str(reply.status_code) == status, reply.text[:2000]
    kind = reply.headers.get("content-type", "").partition(";")[0]
    declared = entry["responses"][status]
    assert not declared or kind in declared
    second_opinion.validate_response(
        _asked(reply.request), MockResponse(reply.content, reply.status_code, dict(reply.headers), kind)
    )
    if kind == "text/event-stream":
        assert _events(entry, document, reply.text) >= 3
    _carries_what_every_reply_carries(reply)


def _carries_what_every_reply_carries(reply: httpx.Response) -> None:
    assert reply.headers["x-correlation-id"]
    for name in ("x-frame-options", "x-content-type-options", "referrer-policy", "strict-transport-security"):
        assert name in reply.headers
    assert "server" not in reply.headers


def _events(entry: dict[str, Any], document: dict[str, Any], stream: str) -> int:
    """Every event against its schema in `x-stream`; how many there were."""
    operation = document["paths"][entry["path"]][entry["method"].lower()]
    resolver = Registry().with_resource("urn:contract", DRAFT4.create_resource(document)).resolver("urn:contract")
    count = 0
    for block in stream.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if "data" not in lines:
            continue
        schema = operation["x-stream"]["events"][lines["event"]]
        judge = OAS30ReadValidator(schema, _resolver=resolver, format_checker=OAS30ReadValidator.FORMAT_CHECKER)
        judge.validate(json.loads(lines["data"]))
        count += 1
    return count


def _asked(request: httpx.Request) -> MockRequest:
    """The request as openapi-core sees it."""
    url = urlsplit(str(request.url))
    headers = dict(request.headers)
    return MockRequest(
        f"{url.scheme}://{url.netloc}",
        request.method.lower(),
        url.path,
        args=dict(parse_qsl(url.query, keep_blank_values=True)),
        headers=headers,
        data=request.read() or None,
        content_type=headers.get("content-type", ""),
    )


# --- what is taken ----------------------------------------------------------------------------------

VALUES: tuple[Any, ...] = (None, True, 0, -1, 0.5, 1e300, "", "x", "invoke", "x" * 129, [], ["architect"], {}, {"a": 1})
QUERIES = {
    "ring": ("session", "entity", "institutional", "Session", "bogus", "session,entity"),
    "limit": ("1", "100", "0", "101", "-1", "1.5", "ten", "99999999999999999999"),
    "address_key": ("a.b", "*", "*.org.*", "a..b", ".", "a b", "a{1,2}", "a{2}", "!a.b|c", "x" * 257),
    "session_id": ("s", "a/b:c@d.e-f_g", "a b", "ä", "x" * 128, "x" * 129),
    "entity_id": ("supplier:acme", "a;b", "<", "x" * 129),
}
HEADERS = {
    "X-Correlation-ID": ("a", "a b", "x" * 129),
    "Idempotency-Key": ("a", "a b", "x" * 255, "x" * 256),
    "Last-Event-ID": ("a b", "x" * 129),
    "If-None-Match": ('"a"', "*"),
}


def mutations(value: Any) -> Iterator[tuple[str, Any]]:
    """The body with one place of it changed, left out or added to."""
    for path in _places(value):
        where = ".".join(map(str, path)) or "body"
        for other in VALUES:
            yield f"{where}={json.dumps(other)[:20]}", _changed(value, path, other)
        if path:
            yield f"without {where}", _changed(value, path, ...)
        if isinstance(_at(value, path), dict):
            yield f"{where} with more", _changed(value, (*path, "surplus"), 1)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        yield from _places(part, (*path, name))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


def _changed(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    changed = copy.deepcopy(value)
    holder = _at(changed, path[:-1])
    if other is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = other
    return changed


FULL = {
    **QUESTION,
    "entity_id": "supplier:acme",
    "role_config": {"roles": ["architect", "devil"], "timeouts": {"devil": 5}},
}


def requests(url: str, key: str) -> Iterator[tuple[str, httpx.Request]]:
    """Right and wrong requests. The brain is nobody's, so that nothing happens: what is accepted is a 404."""
    base, headers = f"{url}/thalium/v1/brain/{uuid4()}", {"X-API-Key": key}
    for name, body in mutations(FULL):
        yield name, httpx.Request("POST", f"{base}/invoke", json=body, headers=headers)
    for type_ in ("application/json; charset=utf-8", "application/JSON", "text/plain", "application/xml", ""):
        given = {**headers, "Content-Type": type_} if type_ else headers
        yield f"type {type_!r}", httpx.Request("POST", f"{base}/invoke", content=json.dumps(QUESTION), headers=given)
    for parameter, values in QUERIES.items():
        for value in values:
            query = httpx.Request("GET", f"{base}/memory", params={parameter: value}, headers=headers)
            yield f"{parameter}={value[:20]}", query
    for header, values in HEADERS.items():
        what, method, body = ("memory", "GET", None) if header == "If-None-Match" else ("invoke", "POST", QUESTION)
        for value in values:
            given = {**headers, header: value}
            yield f"{header}: {value[:20]}", httpx.Request(method, f"{base}/{what}", json=body, headers=given)


def test_a_query_parameter_that_the_contract_does_not_know_is_refused(running: Any, tenant: Any) -> None:
    """Where the two differ on purpose: openapi-core lets it pass, here a misspelt filter must not show everything."""
    for what in ("memory", "status"):
        url = f"{running.url}/thalium/v1/brain/{tenant.brain_id}/{what}?sesion_id=s"
        assert httpx.get(url, headers=tenant.headers(), timeout=20).status_code == 400


def test_the_edge_and_openapi_core_accept_the_same_requests(running: Any, tenant: Any, second_opinion: OpenAPI) -> None:
    differ, accepted, refused = [], 0, 0
    with httpx.Client(timeout=20) as client:
        for name, request in requests(running.url, tenant.key):
            reply = client.send(request)
            assert reply.status_code in (400, 404, 415), (name, reply.text)
            ours = reply.status_code == 404
            try:
                second_opinion.validate_request(_asked(request))
                theirs = True
            except OpenAPIError:
                theirs = False
            if ours != theirs:
                differ.append((name, "edge accepts" if ours else "edge refuses", reply.text))
            accepted, refused = accepted + ours, refused + (not ours)
    assert not differ
    assert accepted > 30
    assert refused > 150
