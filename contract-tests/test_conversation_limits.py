"""What bounds conversations on each surface, as tables: messages a month by plan, requests a minute, streams at once,
who may what by role; and that every turn's tokens are accounted. Messages a day are Thalian's: test_thalian_chat."""

from __future__ import annotations

import json
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from recipes import Person, World
from sqlalchemy import text

from domain import billing, identity

ROOT = Path(__file__).resolve().parent.parent
BASES = {
    "thallus": "/thallus/api/v1",
    "beeflow": "/beeflow/api",
    "starter": "/starter/api/v1",
    "thalian": "/thalian/api",
}
QUESTION = "What time is it?"


def asking(who: Person, question: str = QUESTION) -> dict[str, Any]:
    """The body of a message, as its surface wants it."""
    if who.surface == "beeflow":
        return {"messages": [{"role": "user", "content": question}]}
    if who.surface == "thalian":
        return {"message": question, "workspaceId": str(who.organisation_id), "sessionId": str(uuid4())}
    return {"message": question}


def call(world: World, who: Person, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {**who.headers(), **more.pop("headers", {})}
    return httpx.request(method, f"{world.url}{BASES[who.surface]}{path}", headers=headers, timeout=60, **more)


def ask(world: World, who: Person, path: str, **more: Any) -> httpx.Response:
    """A message, and its answer or the whole of its stream."""
    return call(world, who, "POST", path, json=asking(who), **more)


# --- messages a month ----------------------------------------------------------------------------------------

MONTH = [
    # surface, plan, what is counted, how many a month (None: any number)
    ("thallus", "trial", "thallus.investigations", 10),
    ("thallus", "starter", "thallus.investigations", 100),
    ("thallus", "pro", "thallus.investigations", 350),
    ("thallus", "enterprise", "thallus.investigations", None),
    ("beeflow", "community", "beeflow.messages", 1_000),
    ("beeflow", "pro", "beeflow.messages", 50_000),
    ("beeflow", "enterprise", "beeflow.messages", None),
    ("beeflow", "full", "beeflow.messages", None),
    ("starter", "starter", "starter.messages", None),
    ("starter", "pro", "starter.messages", None),
    ("starter", "enterprise", "starter.messages", None),
]
DOORS = {"thallus": ("/chat", "/chat/stream"), "beeflow": ("/chat",), "starter": ("/chat", "/chat/stream")}


@pytest.mark.parametrize(("surface", "plan", "metric", "most"), MONTH, ids=[f"{m[0]}-{m[1]}" for m in MONTH])
def test_a_plan_has_its_messages_a_month_and_not_one_more(
    running: Any, world: World, surface: str, plan: str, metric: str, most: int | None
) -> None:
    who = world.person(surface, plan=plan)
    before = (most or 1_000_000) - 1
    with world.platform(who.organisation_id) as ctx:
        billing.consume(ctx, metric, before)
    assert ask(world, who, DOORS[surface][0]).status_code == 200
    if most is None:
        assert ask(world, who, DOORS[surface][0]).status_code == 200
        return
    for path in DOORS[surface]:
        refused = ask(world, who, path)
        assert (refused.status_code, refused.json()["error"]) == (402, "tier_limit"), refused.text
    with world.platform() as ctx:
        # What was refused is neither counted nor kept.
        kept = ctx.session.execute(
            text(
                "SELECT (SELECT sum(used) FROM usage_counter WHERE organisation_id = :id AND metric = :metric), "
                "(SELECT count(*) FROM turn WHERE organisation_id = :id), "
                "(SELECT count(*) FROM conversation WHERE organisation_id = :id)"
            ),
            {"id": who.organisation_id, "metric": metric},
        ).one()
        assert tuple(kept) == (most, 1, 1)
        ctx.session.execute(
            text("UPDATE usage_counter SET month = month - interval '1 month' WHERE organisation_id = :id"),
            {"id": who.organisation_id},
        )
    assert ask(world, who, DOORS[surface][0]).status_code == 200, "the next month has come"


# --- requests a minute ---------------------------------------------------------------------------------------

DECLARED = {
    # the limit: what the surface documents
    "thallus.chat": "30/minute",
    "thallus.stream": "60/minute",
    "thallus.stream_open": 5,
    "beeflow.chat": "120/2minute",  # 60 a minute, and 120 at once
    "beeflow.voice": "30/minute",
    "beeflow.stream_open": 5,
    "starter.chat": "60/minute",
    "starter.chat_stream": "30/minute",
    "starter.chat_stream_open": 5,
    "thalian.chat": "30/minute",
}
RATES = [
    # the limit, and a request that it bounds; nothing stands in for what makes no sense, so the others are refused too
    ("thallus.chat", "POST", "/chat/stream"),
    ("thallus.chat", "POST", "/chat"),
    ("thallus.stream", "GET", "/chat/01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21/progress"),
    ("beeflow.chat", "POST", "/chat"),
    ("beeflow.voice", "POST", "/voice/turn"),
    ("starter.chat", "POST", "/chat"),
    ("starter.chat_stream", "POST", "/chat/stream"),
    ("thalian.chat", "POST", "/ai-chat"),
]


@pytest.mark.parametrize(("name", "number"), DECLARED.items())
def test_the_limits_are_the_documented_ones_and_a_persons_own(name: str, number: str | int) -> None:
    declared = tomllib.loads((ROOT / "openapi" / name.partition(".")[0] / "limits.toml").read_text())[name]
    assert declared["per"] == "user"
    assert declared.get("rate", declared.get("concurrent")) == number


class Model(ThreadingHTTPServer):
    """Speaks OpenAI's protocol: three words, for which it counts 21 tokens in and 9 out."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Talk)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Talk(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        made = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "stub", "usage": None}
        for delta, finish in (({"role": "assistant", "content": "Just a moment."}, None), ({}, "stop")):
            self.tell(made | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        used = {"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30}
        self.tell(made | {"choices": [], "usage": used})
        self.wfile.write(b"data: [DONE]\n\n")

    def tell(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def bounded(platforms: Callable[..., Any], valkey_url: str) -> Iterator[Any]:
    """A platform with narrow limits, whose model counts tokens."""
    model = Model()
    yield platforms(
        "bounded",
        valkey_url,
        model="openai:stub",
        openai_base_url=f"http://127.0.0.1:{model.server_port}/v1",
        limits=",".join(f"{name}=3/hour" for name, number in DECLARED.items() if isinstance(number, str)),
    )
    model.shutdown()


@pytest.fixture
def here(bounded: Any) -> World:
    """People of that platform."""
    identity.tokens.configure(bounded.url)
    return World(bounded.url, bounded.database, bounded.logs / "data")


@pytest.mark.parametrize(("name", "method", "path"), RATES, ids=[f"{r[0]}-{r[1]}{r[2][:12]}" for r in RATES])
def test_a_person_has_so_many_requests_and_takes_nothing_from_another(
    here: World, name: str, method: str, path: str
) -> None:
    surface = name.partition(".")[0]
    who = here.person(surface)
    colleague = here.person(surface, organisation_id=who.organisation_id, role="member")
    given: dict[str, Any] = {} if method == "GET" else {"json": {}}
    replies = [call(here, who, method, path, **given) for _ in range(5)]
    assert [reply.status_code == 429 for reply in replies] == [False] * 3 + [True] * 2, [r.text for r in replies]
    refused = replies[-1]
    # A sliding window: what was used counts on in the next one, less and less, until there is room for one more.
    assert 1 <= int(refused.headers["retry-after"]) <= 3600 + 3600 // 3
    assert (refused.headers["ratelimit-limit"], refused.headers["ratelimit-remaining"]) == ("3", "0")
    told = refused.json()
    if surface == "thallus":
        assert set(told) == {"detail"}
    elif surface == "thalian":
        assert set(told) == {"error"}
    elif surface == "beeflow":
        assert told["error"] == "rate_limited"
    else:
        assert told["details"]["code"] == "rate_limited"
    assert call(here, colleague, method, path, **given).status_code not in (200, 429)


# --- streams at once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", ["thallus", "beeflow", "starter"])
def test_five_streams_are_open_at_once_and_the_sixth_when_one_has_closed(
    running: Any, world: World, surface: str
) -> None:
    who = world.person(surface)
    colleague = world.person(surface, organisation_id=who.organisation_id, role="member")
    with running.resting(), ExitStack() as streams:
        if surface == "thallus":
            task = ask(world, who, "/chat/stream").json()["task_id"]
            watch: dict[str, Any] = {"method": "GET", "url": f"{world.url}{BASES[surface]}/chat/{task}/progress"}
            own: dict[str, Any] = watch | {"headers": colleague.headers()}
        else:
            path = {"beeflow": "/chat", "starter": "/chat/stream"}[surface]
            watch = {"method": "POST", "url": f"{world.url}{BASES[surface]}{path}", "json": asking(who)}
            own = watch | {"headers": colleague.headers()}
        given = watch | {"headers": {**who.headers(), "Idempotency-Key": str(uuid4())}, "timeout": 30}
        opened = [ExitStack() for _ in range(5)]
        for each in opened:
            streams.callback(each.close)
            assert each.enter_context(httpx.stream(**given)).status_code == 200
        sixth = httpx.request(**given)
        assert sixth.status_code == 429, sixth.text
        assert int(sixth.headers["retry-after"]) >= 1
        with httpx.stream(**own, timeout=30) as reply:
            assert reply.status_code == (404 if surface == "thallus" else 200), (
                "another person has streams of their own"
            )
        opened[0].close()
        end = time.monotonic() + 20
        while True:  # the server notices in its own time that somebody has left
            with httpx.stream(**given) as reply:
                if reply.status_code == 200:
                    break
            assert time.monotonic() < end
            time.sleep(0.3)


# --- tokens --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", ["thallus", "beeflow", "starter", "thalian"])
def test_the_tokens_of_a_turn_are_told_and_kept(here: World, surface: str) -> None:
    who = here.person(surface)
    reply = ask(here, who, {"thalian": "/ai-chat"}.get(surface, "/chat"))
    assert reply.status_code == 200, reply.text
    if surface == "beeflow":
        done = next(line for line in reply.text.splitlines() if '"usage"' in line)
        usage = json.loads(done.removeprefix("data: "))["usage"]
        told: Any = (usage["input"], usage["output"])
    elif surface == "thalian":
        told = reply.json()["tokens_used"]
    else:
        body = reply.json()
        usage = body["usage"] if surface == "thallus" else body["metadata"]["usage"]
        told = (usage["input_tokens"], usage["output_tokens"])
    with here.platform() as ctx:
        [kept] = ctx.session.execute(
            text("SELECT input_tokens, output_tokens, requests, model FROM turn WHERE organisation_id = :id"),
            {"id": who.organisation_id},
        ).all()
        said = ctx.session.execute(
            text("SELECT sum(input_tokens), sum(output_tokens) FROM message WHERE organisation_id = :id"),
            {"id": who.organisation_id},
        ).one()
    requests = kept[2]
    assert requests >= 1
    assert tuple(kept) == (21 * requests, 9 * requests, requests, "openai:stub")
    assert tuple(said) == (21 * requests, 9 * requests)
    assert told == (30 * requests if surface == "thalian" else (21 * requests, 9 * requests))


# --- who may what --------------------------------------------------------------------------------------------

WRITERS = ("owner", "admin", "analyst", "agent", "member")
READERS = ("auditor", "viewer")
AGENT = {"name": "Helper", "instructions": "Be brief."}
ACCESS = [
    # surface, request, its body, what whoever may write gets, and whoever may only read
    ("thallus", "POST", "/chat", None, 200, 403),
    ("thallus", "POST", "/chat/stream", None, 202, 403),
    ("thallus", "GET", "/conversations", None, 200, 200),
    ("thallus", "GET", "/chat/active", None, 200, 200),
    ("thallus", "GET", "/agents", None, 200, 200),
    ("thallus", "POST", "/memories", {"content": "Prefers tables."}, 201, 403),
    ("thallus", "GET", "/memories", None, 200, 200),
    ("beeflow", "POST", "/chat", None, 200, 403),
    ("beeflow", "GET", "/conversations", None, 200, 200),
    ("beeflow", "GET", "/agents", None, 200, 200),
    ("beeflow", "POST", "/agents", AGENT, 201, 403),
]


@pytest.mark.parametrize("surface", ["thallus", "beeflow"])
def test_what_each_role_may(running: Any, world: World, surface: str) -> None:
    owner = world.person(surface)
    for role in (*WRITERS, *READERS):
        for _, method, path, body, writer, reader in (row for row in ACCESS if row[0] == surface):
            who = owner if role == "owner" else world.person(surface, organisation_id=owner.organisation_id, role=role)
            given = {} if method == "GET" else {"json": body or asking(who)}
            reply = call(world, who, method, path, **given)
            assert reply.status_code == (writer if role in WRITERS else reader), (role, method, path, reply.text[:300])
            if path == "/chat/stream" and reply.status_code == 202:
                end = time.monotonic() + 60
                while call(world, who, "GET", "/chat/active").json()["has_active"]:
                    assert time.monotonic() < end
                    time.sleep(0.1)
