"""Clients made from the contracts, as a partner would make them, call the running server.

The generators run once for each state of the contracts: their work is kept in `.thalweg/`, marked with a hash of what
it was made from. Operations that ask for a credential are called with a wrong one; so what every operation shows is
that the client can send it, with the contract's own examples, and reads its answer as the type that is declared.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from recipes import Person, World

from thalweg.contract import clients, project, tools
from thalweg.contract.findings import ContractError
from thalweg.naming import snake_case

ROOT = Path(__file__).resolve().parent.parent
PROJECT = project.find(ROOT)
SURFACES = list(PROJECT.surfaces)
UUID = "01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]  # npm fetches the generator and the compiler once


def needs(*names: str) -> None:
    for name in names:
        if why := tools.missing(name):
            pytest.skip(f"{why}; `thalweg contract clients` says what to install")


def client(language: str, surface: str, folder: Path) -> clients.Client:
    try:
        return next(iter(clients.clients(PROJECT, [surface], language, folder)))
    except ContractError as error:
        if error.findings[0].message.startswith("npm cannot get"):
            pytest.skip(f"no npm registry can be reached: {error.findings[0].message[:200]}")
        raise


# --- what is called ----------------------------------------------------------------------------------


def calls(surface: str) -> list[dict[str, Any]]:
    """Every operation of a surface with its required parameters and its body, out of the contract's examples."""
    document = json.loads((PROJECT.generated / surface / "bundle.json").read_bytes())

    def resolved(node: Any) -> Any:
        while isinstance(node, Mapping) and "$ref" in node:
            target: Any = document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node

    found = []
    for item in document["paths"].values():
        for operation in item.values():
            if not isinstance(operation, dict) or "operationId" not in operation:
                continue
            call: dict[str, Any] = {
                "id": operation["operationId"],
                "tag": operation["tags"][0],
                "public": operation.get("security", document.get("security")) == [],
                "stream": "x-stream" in operation,
                "statuses": [int(status) for status in operation["responses"]],
                "parameters": {"path": {}, "query": {}, "header": {}, "cookie": {}},
            }
            for each in (*item.get("parameters", ()), *operation.get("parameters", ())):
                parameter = resolved(each)
                if parameter.get("required"):
                    schema = resolved(parameter["schema"])
                    value = parameter.get("example", schema.get("example", schema.get("default")))
                    if value is None:
                        value = schema["enum"][0] if "enum" in schema else UUID
                    call["parameters"][parameter["in"]][parameter["name"]] = value
            for media_type, media in resolved(operation.get("requestBody", {})).get("content", {}).items():
                examples = [resolved(one)["value"] for one in media.get("examples", {}).values()]
                schema = resolved(media.get("schema", {}))
                call["media_type"] = media_type
                call["body"] = examples[0] if examples else media.get("example", schema.get("example"))
                if media_type == "multipart/form-data":
                    parts = {name: resolved(one) for name, one in schema["properties"].items()}
                    files = sorted(name for name, one in parts.items() if one.get("format") == "binary")
                    told = {name: parts[name].get("example") for name in schema.get("required", ())}
                    body = {**told, **(call["body"] or {})}
                    call["body"] = {name: value for name, value in body.items() if name not in files}
                    call["files"] = files
                break
            found.append(call)
    return found


def run(command: list[str], folder: Path, **more: Any) -> str:
    """What a program prints; the test fails with what it complained about when it ends badly."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=240, check=False, stdin=subprocess.DEVNULL, **more
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def judge(surface: str, told: list[dict[str, Any]]) -> None:
    """Every operation was called, and answered something that it declares."""
    declared = {call["id"]: call for call in calls(surface)}
    assert [one["id"] for one in told] == list(declared)
    wrong = [one for one in told if one.get("error") or one["status"] not in declared[one["id"]]["statuses"]]
    assert not wrong, json.dumps(wrong[:5], indent=1)
    # Without this, a server that refuses everything at the door would do.
    assert all(one["status"] != 401 for one in told if declared[one["id"]]["public"] and one["id"] not in SIGN_IN)


SIGN_IN = {"login", "refreshSession", "refresh", "pickUpLogin", "setUpServer"}
"""Public operations whose business is a credential in the body or a cookie: 401 is their answer to a wrong one."""


# --- Python ------------------------------------------------------------------------------------------

PYTHON = """
import datetime, enum, importlib, inspect, io, json, sys, types, typing, uuid

surface, url = sys.argv[1:3]
package = importlib.import_module(f"{surface}_client")
shapes = importlib.import_module(f"{surface}_client.types")
importlib.import_module(f"{surface}_client.models")
public = package.Client(base_url=url, raise_on_unexpected_status=True)
secured = package.AuthenticatedClient(base_url=url, token="wrong", raise_on_unexpected_status=True)


def fitting(value, kind):
    # The example's JSON value as the type that the function asks for.
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        for one in typing.get_args(kind):
            if one in (shapes.Unset, type(None)):
                continue
            try:
                return fitting(value, one)
            except (TypeError, ValueError, KeyError, AttributeError):
                pass
        raise TypeError(f"{value!r} is none of {kind}")
    if typing.get_origin(kind) is list:
        return [fitting(one, *typing.get_args(kind)) for one in value]
    if kind is uuid.UUID:
        return uuid.UUID(value)
    if kind is datetime.datetime:
        return datetime.datetime.fromisoformat(value)
    if kind is datetime.date:
        return datetime.date.fromisoformat(value)
    if kind is shapes.File:
        return shapes.File(payload=io.BytesIO(b"a,b\\n1,2\\n"), file_name="t.csv", mime_type="text/csv")
    return kind.from_dict(value) if hasattr(kind, "from_dict") else value


def body_of(call, kind):
    if call.get("files") is None:
        return fitting(call["body"], kind)
    hints = typing.get_type_hints(kind.__init__, vars(sys.modules[kind.__module__]), {"File": shapes.File})
    found = {name: fitting(value, hints[name]) for name, value in call["body"].items()}
    return kind(**found, **{name: fitting(None, shapes.File) for name in call["files"]})


told = []
for call in json.load(sys.stdin):
    module = importlib.import_module(f"{surface}_client.api.{call['module']}")
    parameters = inspect.signature(module.sync_detailed).parameters
    hints = typing.get_type_hints(module.sync_detailed)
    given = {name: value for kind in call["parameters"].values() for name, value in kind.items()}
    arguments = {}
    entry = {"id": call["id"], "status": 0}
    try:
        for name, value in given.items():
            plain = name.replace("-", "").replace("_", "").lower()
            key = next(one for one in parameters if one.replace("_", "") == plain)
            arguments[key] = fitting(value, hints[key])
        if "body" in parameters:
            arguments["body"] = body_of(call, hints["body"])
        reply = module.sync_detailed(client=public if call["public"] else secured, **arguments)
        entry["status"], entry["parsed"] = int(reply.status_code), type(reply.parsed).__name__
        if reply.content and reply.status_code >= 400 and reply.parsed is None:
            entry["error"] = "the body was not read: " + reply.content.decode()[:200]
    except Exception as error:
        entry["error"] = f"{type(error).__name__}: {error}"[:300]
    told.append(entry)
print(json.dumps(told))
"""


@pytest.mark.parametrize("surface", SURFACES)
def test_the_python_client_calls_every_operation_and_reads_every_answer(surface: str, running: Any, made: Path) -> None:
    lies = client("python", surface, made)
    given = calls(surface)
    modules = {
        file.stem.replace("_", ""): f"{file.parent.name}.{file.stem}"
        for file in (lies.folder / f"{surface}_client" / "api").glob("*/*.py")
    }
    for call in given:
        call["module"] = modules[snake_case(call["id"]).replace("_", "")]
    url = f"{running.url}{PROJECT.base_path(surface)}"
    done = subprocess.run(
        [sys.executable, "-c", PYTHON, surface, url],
        cwd=lies.folder,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    judge(surface, json.loads(done.stdout))


def test_the_python_client_invokes_a_brain_and_reads_its_stream(running: Any, tenant: Any, made: Path) -> None:
    lies = client("python", "thalium", made)
    script = f"""
    import json
    from uuid import UUID
    from thalium_client import AuthenticatedClient, streams
    from thalium_client.api.brains import get_brain_status, invoke_brain, list_brain_memory
    from thalium_client.models import InvokeRequest

    how = dict(prefix="", auth_header_name="X-API-Key", raise_on_unexpected_status=True)
    client = AuthenticatedClient(base_url="{running.url}/thalium", token="{tenant.key}", **how)
    brain = UUID("{tenant.brain_id}")
    asked = InvokeRequest.from_dict({{"session_id": "py", "input": {{"type": "text", "content": "Who audits?"}}}})
    events = [event.name for event in streams.stream(client, invoke_brain, brain, body=asked)]
    page = list_brain_memory.sync(brain, client=client, ring="session")
    status = get_brain_status.sync(brain, client=client)
    print(json.dumps([events, len(page.results), type(status).__name__]))
    """
    events, learnt, status = json.loads(run([sys.executable, "-c", textwrap.dedent(script)], lies.folder))
    assert (events[0], events[-1]) == ("fast.triage", "full.artifact")
    assert learnt >= 1
    assert status == "BrainStatus"


# --- TypeScript --------------------------------------------------------------------------------------

TYPESCRIPT = """
import { readFileSync } from "node:fs";
import * as sdk from "%(surface)s-client";
import { client } from "%(surface)s-client/client";
client.setConfig({ baseUrl: "%(url)s", auth: () => "wrong" });
const told = [];
for (const call of JSON.parse(readFileSync("dist/calls.json", "utf8"))) {
  const { path, query, header } = call.parameters;
  const asked = { path, query, headers: header, redirect: "manual" };
  if (call.body !== undefined && call.body !== null) asked.body = call.body;
  for (const name of call.files ?? []) asked.body[name] = new File(["a,b\\n1,2\\n"], "t.csv", { type: "text/csv" });
  const entry = { id: call.id, status: 0 };
  try {
    if (call.stream) {
      // A stream's status is told by its fetch alone: an error is not an event.
      asked.fetch = async (...all) => { const reply = await fetch(...all); entry.status = reply.status; return reply; };
      const { stream } = await sdk[call.id]({ ...asked, sseMaxRetryAttempts: 1 });
      for await (const _ of stream) {}
    } else {
      const { data, error, response } = await sdk[call.id](asked);
      entry.status = response.status;
      if (response.status >= 400 && typeof error !== "object") entry.error = "the body was not read";
    }
  } catch (error) { entry.error = String(error.stack ?? error).slice(0, 300); }
  told.push(entry);
}
console.log(JSON.stringify(told));
"""


@pytest.fixture(scope="session")
def compiled(made: Path) -> dict[str, clients.Client]:
    """TypeScript clients that have passed `tsc --strict`, by surface."""
    needs("node")
    found = {}
    for surface in SURFACES:
        lies = client("typescript", surface, made)
        done = tools.npx(["typescript"], "tsc", "--strict", folder=lies.folder)
        assert done.returncode == 0, f"{surface}: {done.stdout[-3000:]}"
        found[surface] = lies
    return found


@pytest.mark.parametrize("surface", SURFACES)
def test_the_typescript_client_compiles_strictly_and_calls_every_operation(
    surface: str, running: Any, compiled: dict[str, clients.Client]
) -> None:
    folder = compiled[surface].folder
    (folder / "dist" / "calls.json").write_text(json.dumps(calls(surface)))
    url = f"{running.url}{PROJECT.base_path(surface)}"
    (folder / "dist" / "calls.mjs").write_text(TYPESCRIPT % {"surface": surface, "url": url})
    judge(surface, json.loads(run(["node", "dist/calls.mjs"], folder)))


def typed(folder: Path, program: str) -> Any:
    """What a program that uses the client in `folder` prints as JSON, after it has passed `tsc --strict` itself."""
    uses = folder / "dist" / "uses"
    uses.mkdir(exist_ok=True)
    (uses / "main.ts").write_text("declare const console: { log(text: string): void };\n" + textwrap.dedent(program))
    settings = json.loads((folder / "tsconfig.json").read_text())["compilerOptions"]
    settings |= {"rootDir": ".", "outDir": "made", "declaration": False}
    (uses / "tsconfig.json").write_text(json.dumps({"compilerOptions": settings, "include": ["main.ts"]}))
    done = tools.npx(["typescript"], "tsc", "-p", "dist/uses", folder=folder)
    assert done.returncode == 0, done.stdout[-3000:]
    return json.loads(run(["node", "dist/uses/made/main.js"], folder))


def test_the_typescript_client_invokes_a_brain_and_reads_its_stream(
    running: Any, tenant: Any, compiled: dict[str, clients.Client]
) -> None:
    """Typed: the program that uses the client is compiled too, and its narrowing of events has to hold."""
    folder = compiled["thalium"].folder
    program = f"""
    import {{ getBrainStatus, invokeBrain, listBrainMemory, type InvokeBrainResponses }} from "thalium-client";
    import {{ client }} from "thalium-client/client";
    client.setConfig({{ baseUrl: "{running.url}/thalium", auth: () => "{tenant.key}" }});
    const path = {{ brainId: "{tenant.brain_id}" }};
    const body = {{ session_id: "ts", input: {{ type: "text" as const, content: "Who audits the suppliers?" }} }};
    const {{ stream }} = await invokeBrain({{ path, body }});
    const events: string[] = [];
    for await (const event of stream) {{
      const told: InvokeBrainResponses[200] = event;
      events.push(told.type);
      if (told.type === "full.artifact") events.push(typeof told.answer);
    }}
    const page = await listBrainMemory({{ path, query: {{ ring: "session", session_id: "ts" }} }});
    const status = await getBrainStatus({{ path, throwOnError: true }});
    console.log(JSON.stringify([events, page.data?.results.length, status.data.brain_id]));
    """
    events, learnt, brain = typed(folder, program)
    assert (events[0], events[-2:]) == ("fast.triage", ["full.artifact", "string"])
    assert learnt >= 1
    assert brain == str(tenant.brain_id)


class Torn:
    """A way to the server on which the first stream of events breaks off after its third. Nobody works on turns until
    the client is there again, so what it hears then was not said before."""

    FRAMES = 3

    def __init__(self, url: str, worker: int) -> None:
        self.target = ("127.0.0.1", int(url.rpartition(":")[2]))
        self.worker = worker
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.listener.close()
        os.killpg(self.worker, signal.SIGCONT)

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
                threading.Thread(target=self._ask, args=(near, far), daemon=True).start()
                threading.Thread(target=self._answer, args=(far, near), daemon=True).start()

    def _ask(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := near.recv(65536):
                if self.cuts:
                    os.killpg(self.worker, signal.SIGCONT)
                far.sendall(data)
        with suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)

    def _answer(self, far: socket.socket, near: socket.socket) -> None:
        streams, heard, sent = False, b"", 0
        with suppress(OSError), far, near:
            while data := far.recv(65536):
                heard += data
                streams = streams or b"text/event-stream" in heard.lower()
                if streams and not self.cuts:
                    ends = [found.end() for found in re.finditer(rb"data: (?![^\n]*heartbeat)[^\n]*\n\n", heard)]
                    if len(ends) >= self.FRAMES:
                        self.cuts += 1
                        os.killpg(self.worker, signal.SIGSTOP)
                        near.sendall(heard[sent : ends[self.FRAMES - 1]])
                        time.sleep(0.5)  # what was sent arrives before the end
                        near.shutdown(socket.SHUT_RDWR)  # in the middle of a chunked body: no end, but a break
                        return
                near.sendall(data)
                sent = len(heard)


@pytest.fixture
def torn(running: Any) -> Iterator[Torn]:
    way = Torn(running.url, running.processes["worker"].pid)
    yield way
    way.close()


def test_the_typescript_client_watches_a_chat_and_goes_on_where_the_connection_broke(
    running: Any, world: World, torn: Torn, compiled: dict[str, clients.Client]
) -> None:
    """Thallus' frames hold data only: the program remembers `event_id` and asks for what is behind it."""
    who = world.person("thallus")
    program = f"""
    import {{ getChatResult, listConversationMessages, startChat, streamChatProgress }} from "thallus-client";
    import type {{ StreamChatProgressResponses }} from "thallus-client";
    import {{ client }} from "thallus-client/client";
    client.setConfig({{ baseUrl: "{torn.url}/thallus", auth: () => "{who.token}" }});
    const question = "What is 12 times 12? Which documents tell of hedgehogs?";
    const body = {{ message: question, mode: "research" as const }};
    const task = (await startChat({{ body, throwOnError: true }})).data;
    const path = {{ task_id: task.task_id }};
    let last_id = "0";
    let words = "";
    const events: [string, string][] = [];
    const heard: number[] = [];
    let broken = 0;
    for (let over = false; !over && heard.length < 9; ) {{
      const before = events.length;
      const how = {{ sseMaxRetryAttempts: 1, onSseError: () => {{ broken += 1; }} }};
      const {{ stream }} = await streamChatProgress({{ path, query: {{ last_id }}, ...how }});
      for await (const event of stream) {{
        const told: StreamChatProgressResponses[200] = event;
        if (told.update_type === "heartbeat") continue;
        events.push([told.update_type, told.event_id]);
        last_id = told.event_id;
        if (told.update_type === "text_delta") words += told.delta;
        over = told.update_type === "complete" || told.update_type === "error";
      }}
      heard.push(events.length - before);
    }}
    const result = (await getChatResult({{ path, throwOnError: true }})).data;
    const said = await listConversationMessages({{ path: {{ conversation_id: task.conversation_id }} }});
    console.log(JSON.stringify([events, heard, broken, words, result.response, said.data?.items.length]));
    """
    events, heard, broken, words, response, said = typed(compiled["thallus"].folder, program)
    assert (torn.cuts, broken, len(heard), heard[0]) == (1, 1, 2, Torn.FRAMES)
    task = task_of(world, who)
    whole = [(each["update_type"], each["event_id"]) for each in watched(world, who, task)]
    assert [tuple(each) for each in events] == whole, "each event once, in order"
    assert events[-1][0] == "complete"
    assert words == response
    assert said == 2


def test_the_typescript_client_goes_on_by_itself_where_events_have_ids(
    running: Any, world: World, torn: Torn, compiled: dict[str, clients.Client]
) -> None:
    """Bee Flow's events have ids: the client sends the last one as `Last-Event-ID` and is not asked twice."""
    who = world.person("beeflow")
    program = f"""
    import {{ listConversations, listMessages, startChatTurn, type StartChatTurnResponses }} from "beeflow-client";
    import {{ client }} from "beeflow-client/client";
    client.setConfig({{ baseUrl: "{torn.url}/beeflow", auth: () => "{who.token}" }});
    const body = {{ messages: [{{ role: "user" as const, content: "What is 12 times 12?" }}] }};
    let broken = 0;
    const told: [string | undefined, string | undefined][] = [];
    const {{ stream }} = await startChatTurn({{
      body,
      sseDefaultRetryDelay: 100,
      sseMaxRetryAttempts: 4,
      onSseError: () => {{ broken += 1; }},
      onSseEvent: (event) => {{ told.push([event.event, event.id]); }},
    }});
    let words = "";
    for await (const event of stream) {{
      const one: StartChatTurnResponses[200] = event;
      if ("text" in one && typeof one.text === "string") words += one.text;
    }}
    const [conversation] = (await listConversations({{ throwOnError: true }})).data.items;
    const said = await listMessages({{ path: {{ id: conversation!.id }}, throwOnError: true }});
    console.log(JSON.stringify([told, broken, words, said.data.items.map((each) => [each.role, each.content])]));
    """
    told, broken, words, said = typed(compiled["beeflow"].folder, program)
    events = [each for each in told if each[0] is not None]
    assert (torn.cuts, broken) == (1, 1)
    assert len({each[1] for each in events}) == len(events) > Torn.FRAMES
    assert events[-1][0] == "done"
    assert said == [["user", "What is 12 times 12?"], ["assistant", words]]


def task_of(world: World, who: Person) -> str:
    """The task that a person's program has started."""
    reply = httpx.get(f"{world.url}/thallus/api/v1/chat/active", headers=who.headers(), timeout=30)
    return str(reply.json()["tasks"][0]["task_id"])


def watched(world: World, who: Person, task_id: str) -> list[dict[str, Any]]:
    """Its events from the start, as anybody reads them who was not torn off."""
    url = f"{world.url}/thallus/api/v1/chat/{task_id}/progress?last_id=0"
    lines = httpx.get(url, headers=who.headers(), timeout=30).text.splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    return [each for each in events if each["update_type"] != "heartbeat"]


# --- Java --------------------------------------------------------------------------------------------

STAND_INS = {
    "jakarta/annotation/Generated.java": """
        package jakarta.annotation;
        public @interface Generated { String[] value(); String date() default ""; String comments() default ""; }
        """,
    "jakarta/annotation/Nonnull.java": "package jakarta.annotation; public @interface Nonnull {}",
    "jakarta/annotation/Nullable.java": "package jakarta.annotation; public @interface Nullable {}",
    "org/apache/http/entity/mime/MultipartEntityBuilder.java": """
        package org.apache.http.entity.mime;
        public class MultipartEntityBuilder {
          public static MultipartEntityBuilder create() { throw new UnsupportedOperationException(); }
          public MultipartEntityBuilder addBinaryBody(String name, java.io.File file) { return this; }
          public MultipartEntityBuilder addTextBody(String name, String text) { return this; }
          public org.apache.http.HttpEntity build() { throw new UnsupportedOperationException(); }
        }
        """,
}
"""What the clients take from libraries that Maven would fetch and that the generator's own jar does not have. Jackson
and the rest of Apache's HttpClient are in that jar."""

JAVA = """
import dev.thalweg.thalium.ApiClient;
import dev.thalweg.thalium.ApiException;
import dev.thalweg.thalium.api.BrainsApi;
import java.util.Map;
import java.util.UUID;

public class Calls {
  public static void main(String[] given) throws Exception {
    ApiClient client = new ApiClient();
    client.updateBaseUri(given[0]);
    client.setRequestInterceptor(request -> request.header("X-API-Key", given[1]));
    BrainsApi brains = new BrainsApi(client);
    System.out.println(brains.getBrainStatus(UUID.fromString(given[2]), null).getBrainId());
    try {
      brains.getBrainStatus(UUID.randomUUID(), null);
    } catch (ApiException refused) {
      System.out.println(refused.getCode());
    }
  }
}
"""


def test_the_java_clients_compile_and_one_calls_the_server(running: Any, tenant: Any, made: Path) -> None:
    needs("java", "openapi_generator_cli")
    lies = [client("java", surface, made) for surface in SURFACES]
    if tools.missing("javac"):
        pytest.skip(f"the Java clients are made; {tools.missing('javac')}, so they are not compiled")
    jar, folder = tools.generator_jar(), made / "java-classes"
    (folder / "out").mkdir(parents=True, exist_ok=True)
    own = {**STAND_INS, "Calls.java": JAVA}
    for name, text in own.items():
        (folder / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "own" / name).write_text(textwrap.dedent(text))
    sources = [folder / "own" / name for name in own]
    sources += [file for one in lies for file in sorted((one.folder / "src" / "main").rglob("*.java"))]
    (folder / "sources").write_text("\n".join(f'"{file}"' for file in sources))
    run(["javac", "-proc:none", "-nowarn", "-cp", str(jar), "-d", "out", "@sources"], folder)
    path = f"{folder / 'out'}:{jar}"
    given = [f"{running.url}/thalium", tenant.key, str(tenant.brain_id)]
    assert run(["java", "-cp", path, "Calls", *given], folder).split() == [str(tenant.brain_id), "404"]
