"""Containers at OpenAI, against a server on this machine that speaks its containers and responses API."""

from __future__ import annotations

import email
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from domain import containers
from domain.containers import choice
from domain.conversations import tool_calls
from domain.kernel import outgoing
from domain.kernel.errors import Unavailable


@dataclass
class Provider:
    """What the service holds, and how it misbehaves. `answers` take the place of the next ones: `(status, body)` or
    `(status, body, headers)`."""

    url: str = ""
    made: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    answers: list[tuple[Any, ...]] = field(default_factory=list)
    ran: Callable[[str], dict[str, Any]] = lambda code: {"code": code, "outputs": [{"type": "logs", "logs": "42\n"}]}

    def calls(self, method: str, path: str) -> list[Any]:
        return [body for verb, where, body in self.asked if verb == method and where.startswith(path)]


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kind = self.headers.get("Content-Type", "")
            body: Any = json.loads(content) if kind == "application/json" else (kind, content)
            path = self.path.removeprefix("/v1/")
            provider.asked.append((self.command, path, body))
            if self.headers.get("Authorization") != "Bearer sk-test":
                self._send(401, {"error": {"message": "Incorrect API key provided: sk-wro*******ng"}})
            elif provider.answers:
                self._send(*provider.answers.pop(0))
            else:
                self._send(*self._act(path, body))

        do_GET = do_POST = do_DELETE = _answer

        def _act(self, path: str, body: Any) -> tuple[int, Any]:
            parts = path.partition("?")[0].split("/")
            if parts[0] == "responses":
                tool = body["tools"][0]["container"]
                if isinstance(tool, str) and tool not in provider.made:
                    return 404, {"error": {"message": f"Container with id '{tool}' not found."}}
                call = {"type": "code_interpreter_call", "status": "completed", "id": "ci_1", "container_id": "cntr_1"}
                return 200, {"id": "resp_1", "output": [{"type": "reasoning"}, call | provider.ran(body["input"])]}
            if len(parts) == 1 and self.command == "GET":
                return 200, {"object": "list", "data": list(provider.made.values())[::-1], "has_more": False}
            if len(parts) == 1:
                made = {"id": f"cntr_{len(provider.made)}abc", "object": "container", "status": "running", **body}
                provider.made[made["id"]] = made
                return 200, made
            if parts[1] not in provider.made:
                return 404, {"error": {"message": "Container not found."}}
            if self.command == "DELETE":
                del provider.made[parts[1]]
                return 200, {"id": parts[1], "object": "container.deleted", "deleted": True}
            kind, content = body
            form = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + content, policy=HTTP)
            for part in form.iter_parts():
                held = provider.files.setdefault(parts[1], {})
                held[str(part.get_filename())] = bytes(part.get_payload(decode=True))
            return 200, {"id": "cfile_1", "object": "container.file"}

        def _send(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    return Handler


@pytest.fixture
def provider(world: Any, bound_containers: Callable[..., None]) -> Iterator[Provider]:
    held = Provider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(held))
    held.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    outgoing.use(outgoing.Client(allow=("127.0.0.0/8",)))
    bound_containers("openai:gpt-5-mini", key="sk-test", address=held.url)
    yield held
    outgoing.use(None)
    server.shutdown()
    server.server_close()


def test_a_container_is_made_by_a_job_with_its_size_and_rest(world: Any, provider: Provider) -> None:
    made = world.container("box", memory="4g", rest_minutes=15)
    with world.ctx() as ctx:
        held = containers.get(ctx, made)
        assert (held.state, held.external_id, held.driver) == ("creating", None, "openai")
    assert world.settle() == ["containers.prepare"]
    with world.ctx() as ctx:
        held = containers.get(ctx, made)
        assert (held.state, held.external_id) == ("running", "cntr_0abc")
    assert provider.calls("POST", "containers") == [
        {
            "name": f"thalweg-{made.hex}",
            "memory_limit": "4g",
            "expires_after": {"anchor": "last_active_at", "minutes": 15},
        }
    ]


def test_one_that_an_attempt_before_has_made_is_found_and_not_made_again(world: Any, provider: Provider) -> None:
    made = world.container()
    provider.made["cntr_before"] = {"id": "cntr_before", "name": f"thalweg-{made.hex}"}
    world.settle()
    with world.ctx() as ctx:
        assert containers.get(ctx, made).external_id == "cntr_before"
    assert provider.calls("POST", "containers") == []


def test_files_are_sent_whole_under_their_names(world: Any, provider: Provider) -> None:
    content = bytes(range(256)) * 100 + b"\r\n--end"
    made = world.container(file_ids=[world.stored(content, 'a "good" file.bin')])
    world.settle()
    assert world.state(made) == "running"
    assert provider.files == {"cntr_0abc": {"a _good_ file.bin": content}}


def test_code_is_run_in_the_agents_container_and_held_against_what_was_given(world: Any, provider: Provider) -> None:
    world.bound()
    world.settle()
    outcome = world.run("print(6 * 7)")
    assert (outcome.ending, outcome.stdout) == ("done", "42\n")
    body = provider.calls("POST", "responses")[0]
    assert body["tools"] == [{"type": "code_interpreter", "container": "cntr_0abc"}]
    assert (body["model"], body["input"], body["tool_choice"]) == ("gpt-5-mini", "print(6 * 7)", "required")
    assert (body["store"], body["include"]) == (False, ["code_interpreter_call.outputs"])


def test_an_agent_without_a_container_gets_a_fresh_one(world: Any, provider: Provider) -> None:
    assert world.run("print(42)").ending == "done"
    assert provider.calls("POST", "responses")[0]["tools"][0]["container"] == {"type": "auto", "memory_limit": "1g"}


def test_code_that_fails_is_told_as_such(world: Any, provider: Provider) -> None:
    logs = "Traceback (most recent call last):\n  ...\nZeroDivisionError: division by zero"
    provider.ran = lambda code: {"code": code, "outputs": [{"type": "logs", "logs": logs}]}
    outcome = world.run("1 / 0")
    assert (outcome.ending, outcome.stdout, outcome.stderr) == ("failed", "", logs)


@pytest.mark.parametrize(
    "ran",
    [
        {"code": "print('something else')", "outputs": []},
        {"code": None, "outputs": None},
        {"outputs": [{"type": "logs", "logs": "42"}]},
        {"type": "message"},
    ],
)
def test_an_answer_to_other_code_is_none(world: Any, provider: Provider, ran: dict[str, Any]) -> None:
    provider.ran = lambda code: ran
    with pytest.raises(outgoing.UpstreamFailed):
        world.run("print(42)")


@pytest.mark.parametrize("status", [500, 502, 503])
def test_code_at_which_the_service_failed_may_have_run(world: Any, provider: Provider, status: int) -> None:
    provider.answers = [(status, {"error": {"message": "sk-secret"}}, {"Retry-After": "5"})]
    with pytest.raises(outgoing.UpstreamFailed) as failed:
        world.run("print(42)")
    assert failed.value.code in tool_calls.UNKNOWN  # the model is told that it may have taken effect
    assert "sk-secret" not in failed.value.message
    assert len(provider.calls("POST", "responses")) == 1


def test_code_whose_answer_never_came_may_have_run(world: Any, provider: Provider) -> None:
    def torn(code: str) -> dict[str, Any]:
        raise ConnectionResetError  # the server's thread ends, and the connection with it

    provider.ran = torn
    with pytest.raises(outgoing.UpstreamFailed) as failed:
        world.run("print(42)")
    assert failed.value.code in tool_calls.UNKNOWN
    assert len(provider.calls("POST", "responses")) == 1


def test_code_that_the_service_was_too_busy_for_has_not_run(world: Any, provider: Provider) -> None:
    provider.answers = [(429, {"error": {}})]
    with pytest.raises(Unavailable) as busy:
        world.run("print(42)")
    assert busy.value.code not in tool_calls.UNKNOWN


def test_a_container_that_the_service_has_lost_is_expired_here(world: Any, provider: Provider) -> None:
    made = world.bound()
    world.settle()
    provider.made.clear()
    with pytest.raises(containers.Gone):
        world.run("print(42)")
    assert world.state(made) == "expired"
    assert world.settle() == ["containers.discard"]


def test_one_that_expired_there_is_expired_here(world: Any, provider: Provider) -> None:
    made = world.bound()
    world.settle()
    provider.answers = [(400, {"error": {"message": "Container is expired.", "type": "invalid_request_error"}})]
    with pytest.raises(containers.Gone):
        world.run("print(42)")
    assert world.state(made) == "expired"


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "The model `gpt-5-mini` does not exist or you do not have access to it."}},
        {"detail": "Not Found"},
        b"404 page not found",
        b"",
    ],
)
def test_a_404_that_speaks_of_something_else_ends_no_container(world: Any, provider: Provider, body: Any) -> None:
    made = world.bound()
    world.settle()
    provider.answers = [(404, body)]
    with pytest.raises(containers.Declined, match="did not take the code"):
        world.run("print(42)")
    assert world.state(made) == "running"
    assert world.run("print(42)").ending == "done"


def test_without_a_container_none_is_gone(world: Any, provider: Provider) -> None:
    provider.answers = [(404, {"error": {"message": "Container not found."}})]
    with pytest.raises(containers.Declined):
        world.run("print(42)")


def test_a_server_without_containers_makes_an_error_at_once(world: Any, provider: Provider) -> None:
    made = world.container()
    provider.answers = [(404, b"404 page not found")]
    assert world.settle() == ["containers.prepare"]
    assert world.state(made) == "error"


def test_a_run_says_how_long_it_took(world: Any, provider: Provider) -> None:
    def slowly(code: str) -> dict[str, Any]:
        time.sleep(0.2)
        return {"code": code, "outputs": []}

    provider.ran = slowly
    assert 0.2 <= world.run("print(42)").seconds < 10


def _putting(raised: Exception) -> None:
    def put(*_: Any) -> None:
        raise raised

    choice.driver("openai").put = put  # type: ignore[method-assign]


@pytest.mark.parametrize("raised", [containers.Declined, containers.Gone])
def test_one_that_was_made_there_is_dropped_when_its_files_are_declined(
    world: Any, provider: Provider, raised: type[Exception]
) -> None:
    made = world.container(file_ids=[world.stored(b"x", "a.txt")])
    _putting(raised())
    assert world.settle() == ["containers.prepare", "containers.discard"]
    assert world.state(made) == "error"
    assert (len(provider.calls("POST", "containers")), provider.made) == (1, {})


def test_one_that_was_made_there_is_dropped_when_its_job_is_given_up(world: Any, provider: Provider) -> None:
    made = world.container(file_ids=[world.stored(b"x", "a.txt")])
    _putting(Unavailable())
    with pytest.raises(Unavailable):
        world.settle()
    assert list(provider.made) == ["cntr_0abc"]
    with world.ctx() as ctx:
        containers.give_up(ctx, made)
    assert "containers.discard" in world.settle()
    assert world.state(made) == "error"
    assert provider.made == {}


def test_one_of_an_attempt_before_that_is_not_found_again_is_dropped(
    world: Any, provider: Provider, bound_containers: Any
) -> None:
    made = world.container(file_ids=[world.stored(b"x", "a.txt")])
    _putting(Unavailable())
    with pytest.raises(Unavailable):
        world.settle()
    provider.made["cntr_0abc"]["name"] = "beyond what is listed"
    bound_containers("openai:gpt-5-mini", key="sk-test", address=provider.url)
    assert world.settle() == ["containers.prepare", "containers.discard"]
    assert (world.state(made), list(provider.made)) == ("running", ["cntr_1abc"])


@pytest.mark.parametrize(("said", "after"), [("²", 30), ("soon", 30), ("7", 7), ("0", 1), ("86400", 600)])
def test_when_to_ask_again_is_what_the_service_says_within_reason(
    world: Any, provider: Provider, said: str, after: int
) -> None:
    provider.answers = [(503, b"", {"Retry-After": said})]
    with pytest.raises(Unavailable) as away:
        choice.chosen().check()
    assert away.value.facts["retry_after"] == after


def test_deleting_drops_it_there_and_twice_is_fine(world: Any, provider: Provider) -> None:
    made = world.container()
    world.settle()
    with world.ctx() as ctx:
        containers.delete_container(ctx, made)
    assert world.settle() == ["containers.discard"]
    assert provider.made == {}
    choice.driver("openai").discard("cntr_0abc")


def test_one_that_was_deleted_while_it_was_made_is_dropped_there(world: Any, provider: Provider) -> None:
    made = world.container()
    original = choice.driver("openai").make

    def meanwhile(wanted: Any) -> str:
        external = original(wanted)
        with world.ctx() as ctx:
            containers.delete_container(ctx, made)
        return external

    choice.driver("openai").make = meanwhile  # type: ignore[method-assign]
    assert world.settle() == ["containers.prepare", "containers.discard"]
    assert provider.made == {}
    assert world.state(made) == "deleted"


def test_what_the_service_declines_ends_in_an_error(world: Any, provider: Provider) -> None:
    made = world.container()
    provider.answers = [(200, {"data": []}), (400, {"error": {"message": "minutes must be at most 20: sk-secret"}})]
    world.settle()
    with world.ctx() as ctx:
        held = containers.get(ctx, made)
        assert held.state == "error"
        assert "sk-secret" not in (held.failure or "")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_that_is_away_is_asked_again_later(world: Any, provider: Provider, status: int) -> None:
    made = world.container()
    provider.answers = [(status, {"error": {"message": "sk-secret"}})]
    with pytest.raises(Unavailable) as away:
        world.settle()
    assert "sk-secret" not in str(away.value)
    assert away.value.facts["retry_after"]
    assert world.state(made) == "creating"
    world.settle()
    assert world.state(made) == "running"


@pytest.mark.parametrize("body", [b"", b"<html>", {"data": {}}, {"data": [{"id": "../up", "name": "x"}]}, []])
def test_an_answer_that_is_none_is_refused(world: Any, provider: Provider, body: Any) -> None:
    world.container()
    provider.answers = [(200, body)]
    with pytest.raises(outgoing.UpstreamFailed):
        world.settle()


def test_a_key_that_is_refused_says_which_setting(world: Any, provider: Provider, bound_containers: Any) -> None:
    bound_containers("openai:gpt-5-mini", key="sk-wrong", address=provider.url)
    with pytest.raises(Unavailable, match="openai_api_key") as refused:
        choice.chosen().check()
    assert "sk-" not in str(refused.value)


def test_it_needs_a_key_or_an_address(bound_containers: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match="containers"):
        bound_containers("openai:gpt-5-mini")


def test_what_is_at_the_service_stays_there_when_new_ones_are_local(
    world: Any, provider: Provider, bound_containers: Callable[..., None]
) -> None:
    made = world.bound()
    world.settle()
    bound_containers("local", key="sk-test", address=provider.url)
    assert world.run("print(6 * 7)").stdout == "42\n"
    bound_containers("local")
    with pytest.raises(Unavailable, match="not set up"):
        world.run("print(42)")
    assert world.state(made) == "running"
