"""A small contract of every kind of operation, on an application of a few lines: the edge on its own."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from connexion.resolver import Resolution, Resolver

from thalweg.edge.application import Caller, Credential, Event, Facts, File, Pending, Reply, StoredReply, Stream
from thalweg.edge.cookies import cookie, expired
from thalweg.edge.exchange import Services
from thalweg.edge.flaskhost import FlaskHost, HostFlask
from thalweg.edge.guard import Cors
from thalweg.edge.limits import Limits
from thalweg.edge.middleware import Edge
from thalweg.edge.observe import Observer
from thalweg.edge.origins import Origins
from thalweg.edge.plan import Surface
from thalweg.edge.pool import Pool
from thalweg.edge.problem import Problem
from thalweg.edge.schema import Compiler
from thalweg.edge.security import Authenticator
from thalweg.edge.serve import Document, assemble
from thalweg.edge.sse import StreamOptions
from thalweg.edge.tails import Tails
from thalweg.naming import snake_case

ORGANISATION = UUID("01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21")
THING = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id", "name"],
    "properties": {"id": {"type": "string", "format": "uuid"}, "name": {"type": "string", "maxLength": 20}},
}
ERROR = {
    "type": "object",
    "additionalProperties": False,
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "where": {"type": "array", "items": {"type": "string"}},
    },
}


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": "An answer.", "content": {"application/json": {"schema": schema}}}


WAIT = {"schema": {"type": "integer"}, "description": "Seconds."}
SAID = {"429": {**WAIT, "required": True}, "503": WAIT, "409": WAIT}
"""`Retry-After` by status, and where it is promised."""


def _error(status: str) -> dict[str, Any]:
    told = {"headers": {"Retry-After": SAID[status]}} if status in SAID else {}
    return _json({"$ref": "#/components/schemas/Error"}) | told


def _operation(operation_id: str, success: str = "200", answer: Any = None, **more: Any) -> dict[str, Any]:
    errors = ("400", "401", "403", "404", "406", "408", "409", "413", "415", "416", "422", "429", "500", "501", "503")
    return {
        "operationId": operation_id,
        "tags": ["toys"],
        "security": [{"apiKey": []}],
        **more,
        "responses": {
            success: answer if answer is not None else {"description": "Nothing."},
            **{status: _error(status) for status in errors},
            **more.get("responses", {}),
        },
    }


def _query(name: str, schema: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, **more}


def _body(media_type: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {media_type: {"schema": schema}}}


def contract() -> dict[str, Any]:
    """A fresh copy of the small contract (start-up may annotate it)."""
    thing = {"$ref": "#/components/schemas/Thing"}
    create = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 20}},
    }
    key = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 64}}
    thing_id = {"name": "thingId", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
    binary = {"type": "string", "format": "binary"}
    tagged = {**_json(thing), "headers": {"ETag": {"schema": {"type": "string"}}}}
    number = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    limit = _query("limit", {"type": "integer", "minimum": 1, "maximum": 100, "default": 50})
    offset = _query("offset", {"type": "integer", "minimum": 0, "maximum": 1000, "default": 0})
    document: dict[str, Any] = {
        "openapi": "3.0.3",
        "info": {"title": "Toys", "version": "1.0.0"},
        "paths": {
            "/things": {
                "get": _operation(
                    "listThings",
                    answer=_json({"type": "array", "items": thing}),
                    parameters=[limit, offset, _query("tag", {"type": "array", "items": {"type": "string"}})],
                    **{"x-pagination": "offset"},
                ),
                "post": _operation(
                    "createThing",
                    "201",
                    _json(thing),
                    parameters=[key],
                    requestBody=_body("application/json", create),
                    **{"x-permission": "things:write", "x-idempotency": True, "x-max-bytes": 1000, "x-timeout": 0.5},
                ),
            },
            "/things/special": {"get": _operation("getSpecial", answer=_json(number))},
            "/things/{thingId}": {
                "parameters": [thing_id],
                "get": _operation("getThing", answer=tagged, responses={"304": {"description": "Unchanged."}}),
                "delete": _operation("deleteThing", "204"),
            },
            "/upload": {
                "post": _operation(
                    "uploadThing",
                    answer=_json({"type": "object"}),
                    requestBody=_body(
                        "multipart/form-data",
                        {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["file"],
                            "properties": {"file": binary, "note": {"type": "string"}, "count": {"type": "integer"}},
                        },
                    ),
                    **{"x-max-bytes": 5_000_000},
                )
            },
            "/form": {
                "post": _operation(
                    "sendForm",
                    answer=_json(number),
                    requestBody=_body("application/x-www-form-urlencoded", {**number, "additionalProperties": False}),
                )
            },
            "/blob": {
                "put": _operation(
                    "putBlob", answer=_json(number), requestBody=_body("application/octet-stream", binary)
                )
            },
            "/file": {
                "get": _operation(
                    "getFile",
                    answer={"description": "A file.", "content": {"text/plain": {"schema": binary}}},
                    responses={"206": {"description": "A part."}, "304": {"description": "Unchanged."}},
                )
            },
            "/big": {"get": _operation("getBig", answer=_json({"type": "array", "items": {"type": "string"}}))},
            "/public": {"get": _operation("getPublic", answer=_json(number), security=[])},
            "/either": {
                "get": _operation(
                    "getEither", answer=_json({"type": "object"}), security=[{"bearer": []}, {"apiKey": []}, {}]
                )
            },
            "/cookie": {
                "get": _operation(
                    "getCookie",
                    answer=_json({"type": "object"}),
                    security=[{"session": []}],
                    parameters=[{"name": "flavour", "in": "cookie", "schema": {"type": "integer"}}],
                ),
                "post": _operation("sendCookie", "204", security=[{"session": []}, {"bearer": []}]),
            },
            "/session": {
                "post": _operation("signIn", "204", security=[], parameters=[_query("value", {"type": "string"})]),
            },
            "/hook/{hookId}": {
                "post": _operation(
                    "sendHook",
                    answer=_json(number),
                    security=[{"bearer": []}, {"hookToken": []}],
                    parameters=[{"name": "hookId", "in": "path", "required": True, "schema": {"type": "string"}}],
                    requestBody=_body("application/json", number),
                )
            },
            "/signed": {
                "post": _operation(
                    "sendSigned",
                    answer=_json(number),
                    security=[{"signature": []}],
                    requestBody=_body("application/json", number),
                )
            },
            "/mismatch": {"get": _operation("getMismatch", answer=_json(number))},
            "/boom": {"get": _operation("getBoom", answer=_json(number))},
            "/later": {"get": _operation("getLater", answer=_json(number))},
            "/refused": {
                "get": _operation("getRefused", answer=_json(number), parameters=[_query("code", {"type": "string"})])
            },
            "/unbuilt": {"get": _operation("getUnbuilt", answer=_json(number))},
            "/limited": {
                "post": _operation("sendLimited", answer=_json(number), **{"x-limit": "toys.send"}),
                "get": _operation("getLimited", answer=_json(number), **{"x-limit": "toys.send"}),
            },
            "/old": {
                "get": _operation(
                    "getOld",
                    answer=_json(number),
                    deprecated=True,
                    **{"x-sunset": "Wed, 01 Jan 2031 00:00:00 GMT"},
                )
            },
            "/wait": {
                "get": _operation(
                    "getWait", answer=_json(number), parameters=[_query("seconds", {"type": "number", "default": 5})]
                )
            },
            "/events": {
                "get": _operation(
                    "getEvents",
                    answer={"description": "Events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
                    **{"x-stream": {"events": {"tick": number, "end": number}, "terminal": ["end"]}},
                )
            },
        },
        "components": {
            "schemas": {"Thing": THING, "Error": ERROR},
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "sid"},
                "signature": {"type": "apiKey", "in": "header", "name": "X-Signature", "x-signed": True},
                "hookToken": {"type": "apiKey", "in": "query", "name": "token"},
            },
        },
    }
    copied: dict[str, Any] = json.loads(json.dumps(document))
    return copied


class Refused(Exception):
    """The small application's domain error."""

    def __init__(self, code: str, message: str, **facts: Any) -> None:
        self.code, self.message, self.facts = code, message, facts


@dataclass
class Who:
    key: str
    permissions: frozenset[str] = frozenset()
    organisation_id: UUID | None = ORGANISATION

    @property
    def user_key(self) -> str:
        return self.key


@dataclass
class Toys:
    """An application in memory. `rows` is its database: changes of a failed transaction are undone."""

    errors: tuple[type[Exception], ...] = (Refused,)
    rows: dict[str, str] = field(default_factory=dict)
    stored: dict[tuple[str, str], tuple[bytes, StoredReply]] = field(default_factory=dict)
    asked: int = 0
    met: list[tuple[Credential, Facts]] = field(default_factory=list)
    """What was asked."""
    calls: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    done: bool = False
    file: Path | None = None
    forget: Callable[[str | None], None] | None = None

    @property
    def idempotency(self) -> Toys:
        return self

    def start(self, forget: Callable[[str | None], None]) -> None:
        self.forget = forget

    def close(self) -> None: ...

    def anonymous(self, facts: Facts) -> Caller:
        return Who(f"address:{facts.address}", organisation_id=None)

    def authenticate(self, credential: Credential, facts: Facts) -> tuple[Caller, float]:
        self.asked += 1
        self.met.append((credential, facts))
        if credential.kind == "signature":
            if not hmac.compare_digest(credential.value, hmac.new(b"k", credential.body, hashlib.sha256).hexdigest()):
                raise Refused("unauthenticated", "The signature is wrong.")
            return Who("connector:1"), 60
        if credential.value == "reader":
            return Who("key:reader"), 60
        if credential.value in ("writer", "other"):
            return Who(f"key:{credential.value}", frozenset({"things:write"})), 60
        if credential.value == "old":
            raise Refused("unauthenticated", "The key has run out.", reason="expired_token")
        raise Refused("unauthenticated", "The key is not known.")

    def entitled(self, caller: Caller, plan: str, facts: Facts) -> None: ...

    @contextmanager
    def transaction(self, caller: Caller, facts: Facts) -> Iterator[Toys]:
        before = dict(self.rows)
        try:
            yield self
        except BaseException:
            self.rows = before
            raise

    def page(self, style: str, limit: int, offset: int, cursor: str | None) -> tuple[str, int, int]:
        return style, limit, offset

    def reopen(self, stream: Mapping[str, Any]) -> Stream:
        raise NotImplementedError

    def begin(self, ctx: Any, operation: str, key: str, fingerprint: bytes) -> StoredReply | None:
        known = self.stored.get((operation, key))
        if known is None:
            return None
        if known[0] != fingerprint:
            raise Refused("idempotency_mismatch", "This key was used for another request.")
        return known[1]

    def record(self, ctx: Any, operation: str, key: str, fingerprint: bytes, reply: StoredReply) -> None:
        self.stored[(operation, key)] = fingerprint, reply


class Handlers:
    """One function an operation."""

    def list_things(self, ctx: Toys, page: tuple[str, int, int], tag: list[str] | None = None) -> Any:
        _, limit, offset = page
        return [{"id": k, "name": n} for k, n in list(ctx.rows.items())[offset : offset + limit]]

    def create_thing(self, ctx: Toys, body: Any) -> Any:
        ctx.calls.append("create")
        key = str(uuid4())
        ctx.rows[key] = body["name"]
        if body["name"] == "taken":
            raise Refused("conflict", "The name is taken.")
        return Reply({"id": key, "name": body["name"]}, headers={"Location": f"/toys/things/{key}"})

    def get_special(self, ctx: Toys) -> Any:
        return {"n": 7}

    def get_thing(self, ctx: Toys, thing_id: UUID) -> Any:
        assert isinstance(thing_id, UUID)
        if str(thing_id) not in ctx.rows:
            raise Refused("not_found", "No such thing.")
        return {"id": str(thing_id), "name": ctx.rows[str(thing_id)]}

    def delete_thing(self, ctx: Toys, thing_id: UUID) -> None:
        ctx.rows.pop(str(thing_id), None)

    def upload_thing(self, ctx: Toys, body: Any) -> Any:
        upload = body["file"]
        with upload.open() as content:
            size = len(content.read())
        return {
            "name": upload.name,
            "size": upload.size,
            "read": size,
            "sha256": upload.sha256,
            "note": body.get("note"),
            "count": body.get("count"),
        }

    def send_form(self, ctx: Toys, body: Any) -> Any:
        return {"n": body["n"]}

    def put_blob(self, ctx: Toys, body: Any) -> Any:
        return {"n": body.size}

    def get_file(self, ctx: Toys) -> File:
        assert ctx.file is not None
        return File("text/plain", name="résumé.txt", path=str(ctx.file), etag='"v1"', modified=1_000_000_000.0)

    def get_big(self, ctx: Toys) -> Any:
        return ["word"] * 2000

    def get_public(self, ctx: Toys) -> Any:
        return {"n": 1}

    def get_either(self, ctx: Toys) -> Any:
        return {}

    def get_cookie(self, ctx: Toys, flavour: int | None = None) -> Any:
        return {"flavour": flavour}

    def send_cookie(self, ctx: Toys) -> None:
        ctx.calls.append("cookie")

    def sign_in(self, ctx: Toys, value: str | None = None) -> Reply:
        if value is not None:
            return Reply(cookies=[f"sid={value}"])
        return Reply(cookies=[cookie("sid", "reader", path="/toys", max_age=60), cookie("seen", "1")])

    def send_hook(self, ctx: Toys, hook_id: str, body: Any) -> Any:
        return {"n": body["n"]}

    def send_signed(self, ctx: Toys, body: Any) -> Any:
        return {"n": body["n"]}

    def get_mismatch(self, ctx: Toys) -> Any:
        ctx.rows["left"] = "behind"
        return {"n": "not a number"}

    def get_boom(self, ctx: Toys) -> Any:
        raise RuntimeError("secret detail at /var/lib/private")

    def get_later(self, ctx: Toys) -> Any:
        raise Refused("unavailable", "Come back later.", retry_after=7)

    def get_refused(self, ctx: Toys, code: str) -> Any:
        """`code`, or `code:seconds` that are told."""
        kind, _, wait = code.partition(":")
        raise Refused(kind, "No.", **({"retry_after": int(wait)} if wait else {}))

    def get_unbuilt(self, ctx: Toys) -> Any:
        from thalweg.edge.problem import not_implemented

        raise not_implemented()

    def send_limited(self, ctx: Toys) -> Any:
        return {"n": 1}

    get_limited = send_limited
    get_old = send_limited

    def get_wait(self, ctx: Toys, seconds: float) -> Pending:
        return Pending(
            channel="wait:1",
            terminal=frozenset({"end"}),
            ready=lambda c: c.done,
            then=lambda c: {"n": 1},
            timed_out=lambda c: {"n": 0},
            seconds=seconds,
        )

    def get_events(self, ctx: Toys) -> Stream:
        return Stream(
            channel="events:1",
            terminal=frozenset({"end"}),
            history=lambda c, after: [e for e in c.events if e.number > after],
            prefix="s1",
        )


class ToyResolver(Resolver):  # type: ignore[misc]
    def resolve(self, operation: Any) -> Resolution:
        return Resolution(getattr(Handlers(), snake_case(operation.operation_id)), operation.operation_id)


class Envelope:
    @staticmethod
    def status(problem: Problem) -> int:
        return problem.status

    @staticmethod
    def body(problem: Problem, request_id: str) -> dict[str, Any]:
        body: dict[str, Any] = {"code": problem.code, "message": problem.message}
        if problem.violations:
            body["where"] = [".".join(str(part) for part in v.path) for v in problem.violations]
        if "reason" in problem.facts or "limit" in problem.facts:
            body["where"] = [problem.facts.get("reason") or problem.facts["limit"]]
        return body

    @staticmethod
    def cookies(problem: Problem, base_path: str) -> Sequence[str]:
        return [expired("sid", path=base_path)] if problem.scheme == "session" else []


@dataclass
class ToyEdge:
    """The edge in front of `toys`; `call` is one request, straight into the ASGI application."""

    toys: Toys
    services: Services
    application: Any
    edge: Edge

    async def call(self, method: str, path: str, *, key: str | None = "writer", **given: Any) -> httpx.Response:
        headers = dict(given.pop("headers", {}))
        if key is not None:
            headers.setdefault("X-API-Key", key)
        transport = httpx.ASGITransport(app=self.application, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, "/toys" + path, headers=headers, **given)


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[ToyEdge]:
    async for made in _edge(tmp_path, "redis://127.0.0.1:1/0", "error", wait=0.0):
        yield made


@pytest.fixture
async def live_edge(tmp_path: Path, valkey: object, valkey_url: str) -> AsyncIterator[ToyEdge]:
    """With a Valkey behind it: limits, streams, waiting."""
    async for made in _edge(tmp_path, valkey_url, "error", wait=1.0):
        yield made


async def _edge(tmp_path: Path, redis_url: str, on_mismatch: str, wait: float) -> AsyncIterator[ToyEdge]:
    toys = Toys(file=tmp_path / "file.txt")
    assert toys.file is not None
    toys.file.write_bytes(b"0123456789" * 100)
    pool = Pool(4)
    flask = HostFlask("toys")
    flask.add_url_rule("/page", "page", lambda: "a page")
    services = Services(
        application=toys,  # type: ignore[arg-type]
        pool=pool,
        host=FlaskHost(flask, pool),
        authenticator=Authenticator(toys, pool, origins=Origins(["https://app.example.com", "*"])),  # type: ignore[arg-type]
        limits=Limits(redis_url, {"toys.send": {"rate": "3/minute", "per": "key"}}),
        streams=Tails(redis_url, pool, StreamOptions(heartbeat=0.2, life=5)),
        observer=Observer(),
        cors=Cors(frozenset({"https://app.example.com"})),
        spool_dir=str(tmp_path),
        on_mismatch=on_mismatch,
    )
    document = contract()
    surface = Surface(
        "toys", "/toys", Envelope, Compiler(document), lambda operation_id: None, cookies=Envelope.cookies
    )
    edge, application = assemble(services, [Document(document, surface, ToyResolver())])
    await services.streams.start(wait)
    await services.limits.start(wait)
    try:
        yield ToyEdge(toys, services, application, edge)
    finally:
        await services.streams.stop()
        await services.limits.stop()
        pool.close()
        await asyncio.sleep(0)
