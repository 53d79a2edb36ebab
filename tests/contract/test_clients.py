"""Clients of other people's making: whole, and theirs alone in their folder.

That those of all surfaces compile and call the running server is shown in contract-tests/test_clients.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thalweg.contract import generator_input, tools
from thalweg.contract import project as projects
from thalweg.contract.bundle import Bundle, bundle
from thalweg.contract.cli import ClientLanguage, app
from thalweg.contract.clients import MARK, Client, clients, languages
from thalweg.contract.findings import ContractError
from thalweg.contract.project import Project
from thalweg.contract.sources import Library

ROOT = Path(__file__).parents[2]
TRACE = "01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21"

# A frame in pieces, a CRLF cut in half, and U+2028, which ends a line for str.splitlines() and not for a stream.
FRAMES = [
    b": hello\n\nid: 1\nevent: fast.tri",
    b'age\ndata: {"intent": "a\xe2\x80\xa8b"}\n\n',
    b'id: 2\r\nevent: full.artifact\r\ndata: {"done":\r',
    b"\ndata: true}\r\n\r\n",
]


def made(surface: str) -> Bundle:
    project = projects.find(ROOT)
    return bundle(surface, project.source(surface), Library(project.root))


def operations(surface: str) -> list[tuple[str, str]]:
    """Tag and operationId of all of a surface's operations."""
    return [(one["tags"][0], one["operationId"]) for _, _, one in made(surface).operations()]


def build(language: str, surface: str, out: Path) -> Client:
    """The client of one of this project's surfaces; skips the test where its generator cannot be had."""
    try:
        return next(iter(clients(projects.find(ROOT), [surface], language, out)))
    except ContractError as error:
        if error.findings[0].message.startswith("npm cannot get"):
            pytest.skip(f"no npm registry can be reached: {error.findings[0].message[:200]}")
        raise


def needs(*names: str) -> None:
    for name in names:
        if why := tools.missing(name):
            pytest.skip(f"{why}; `thalweg contract clients` says what to install")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clients")


@pytest.fixture
def streaming_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            welcome = self.headers["X-API-Key"] == "thm_test"
            self.send_response(200 if welcome else 401)
            self.send_header("Content-Type", "text/event-stream" if welcome else "application/json")
            self.end_headers()
            for frame in FRAMES if welcome else [b'{"error": "A valid API key is needed.", "code": "unauthorized"}']:
                self.wfile.write(frame)
                self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


# --- Python ----------------------------------------------------------------------------------------


def test_the_python_client_reads_a_stream_event_by_event(streaming_server: str, out: Path) -> None:
    client = build("python", "thalium", out)
    script = f"""
import asyncio, json
from uuid import UUID
from thalium_client import AuthenticatedClient, streams
from thalium_client.api.brains import invoke_brain
from thalium_client.models import InvokeRequest

def client(token):
    return AuthenticatedClient(base_url="{streaming_server}", token=token, prefix="", auth_header_name="X-API-Key")

said = {{"session_id": "s", "input": {{"type": "text", "content": "?"}}}}
call = dict(brain_id=UUID("{TRACE}"), body=InvokeRequest.from_dict(said))
print(json.dumps([(e.id, e.name, e.data) for e in streams.stream(client("thm_test"), invoke_brain, **call)]))

async def later():
    return [(e.id, e.name, e.data) async for e in streams.astream(client("thm_test"), invoke_brain, **call)]

print(json.dumps(asyncio.run(later())))
try:
    list(streams.stream(client("wrong"), invoke_brain, **call))
except streams.StreamRefused as refused:
    print(json.dumps([refused.status, json.loads(refused.body)["code"]]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=client.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    events, later, refused = map(json.loads, done.stdout.splitlines())
    assert events == [["1", "fast.triage", {"intent": "a\u2028b"}], ["2", "full.artifact", {"done": True}]]
    assert later == events
    assert refused == [401, "unauthorized"]


def test_an_answer_of_several_media_types_is_handed_out_as_bytes_and_said_so(out: Path) -> None:
    client = build("python", "thalian", out)
    assert [note.split(" is ")[0] for note in client.notes] == ["exportWorkspace 200"]
    assert client.notes[0] in (client.folder / "README.md").read_text()
    module = client.folder / "thalian_client/api/export/export_workspace.py"
    assert "File(payload=BytesIO(response.content))" in module.read_text()


# --- TypeScript ------------------------------------------------------------------------------------


@pytest.mark.timeout(300)  # npm fetches the generator and the compiler once
def test_the_typescript_client_reads_a_stream_event_by_event(streaming_server: str, out: Path) -> None:
    needs("node")
    client = build("typescript", "thalium", out)
    assert tools.npx(["typescript"], "tsc", folder=client.folder).returncode == 0
    script = f"""
import {{ invokeBrain }} from "thalium-client";
import {{ client }} from "thalium-client/client";
client.setConfig({{ baseUrl: "{streaming_server}", auth: () => "thm_test" }});
const body = {{ session_id: "s", input: {{ type: "text", content: "?" }} }};
const {{ stream }} = await invokeBrain({{ path: {{ brainId: "{TRACE}" }}, body }});
const events = [];
for await (const event of stream) events.push(event);
console.log(JSON.stringify(events));
"""
    (client.folder / "dist" / "stream.mjs").write_text(script)
    command = ["node", "dist/stream.mjs"]
    done = subprocess.run(command, cwd=client.folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [{"intent": "a\u2028b"}, {"done": True}]


# --- Java ------------------------------------------------------------------------------------------


def test_the_java_client_has_a_method_for_every_operation_and_says_what_it_cannot_do(out: Path) -> None:
    needs("java", "openapi_generator_cli")
    client = build("java", "thalian", out)
    folder = client.folder / "src/main/java/dev/thalweg/thalian/api"
    code = "".join(file.read_text() for file in folder.glob("*Api.java"))
    assert all(f" {name}(" in code for _, name in operations("thalian"))
    assert not (client.folder / "git_push.sh").exists()
    assert client.notes
    assert all(f"- {note}" in (client.folder / "README.md").read_text() for note in client.notes)


# --- the folder ------------------------------------------------------------------------------------


def test_a_client_that_is_up_to_date_is_not_made_again(
    shop: Project, tmp_path: Path, no_generator: Callable[[], None]
) -> None:
    (first,) = clients(shop, ["shop"], "python", tmp_path)
    assert first.changed == first.files > 10
    no_generator()
    (second,) = clients(shop, ["shop"], "python", tmp_path)
    assert second.changed == 0


def test_a_changed_contract_touches_only_what_differs(shop: Project, tmp_path: Path) -> None:
    (first,) = clients(shop, ["shop"], "python", tmp_path)
    untouched = first.folder / "shop_client/client.py"
    before = untouched.stat().st_mtime_ns
    paths = shop.root / "openapi/shop/paths/things.yaml"
    paths.write_text(paths.read_text().replace("getThing", "seeThing"))
    (second,) = clients(shop, ["shop"], "python", tmp_path)
    assert 0 < second.changed < first.changed
    assert untouched.stat().st_mtime_ns == before
    api = second.folder / "shop_client/api/things"
    assert sorted(one.name for one in api.iterdir()) == ["__init__.py", "replace_thing.py", "see_thing.py"]


def test_a_client_that_somebody_has_edited_is_made_anew(shop: Project, tmp_path: Path) -> None:
    (first,) = clients(shop, ["shop"], "python", tmp_path)
    file = first.folder / "shop_client/api/things/get_thing.py"
    whole = file.read_text()
    file.write_text("")
    (first.folder / "notes.txt").write_text("mine")
    (second,) = clients(shop, ["shop"], "python", tmp_path)
    assert second.changed == 2
    assert file.read_text() == whole


def test_a_folder_that_is_no_client_is_left_alone(shop: Project, tmp_path: Path) -> None:
    folder = tmp_path / "python" / "shop"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("ten years")
    with pytest.raises(ContractError, match="holds something that is no generated client"):
        list(clients(shop, ["shop"], "python", tmp_path))
    assert [one.name for one in folder.iterdir()] == ["thesis.txt"]


def test_a_generator_that_fails_leaves_no_half_client(
    shop: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = subprocess.CompletedProcess(["x"], 3, "", "it does not like this\n")
    monkeypatch.setattr(tools, "python", lambda *_, **__: broken)
    with pytest.raises(ContractError, match=r"openapi-python-client failed \(3\): it does not like this"):
        list(clients(shop, ["shop"], "python", tmp_path))
    assert list((tmp_path / "python").iterdir()) == []


def test_a_client_that_lacks_an_operation_is_an_error(
    shop: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(module: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        (Path(arguments[arguments.index("--output-path") + 1]) / "shop_client/api/things").mkdir(parents=True)
        return subprocess.CompletedProcess([module], 0, "", "")

    monkeypatch.setattr(tools, "python", forgetful)
    with pytest.raises(ContractError, match="left out getThing, replaceThing of shop"):
        list(clients(shop, ["shop"], "python", tmp_path))


@pytest.fixture
def no_generator(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def called(*_: object, **__: object) -> None:
        raise AssertionError("the generator was called")

    return lambda: monkeypatch.setattr(tools, "python", called)


# --- what is missing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "said", "advice"),
    [
        ("typescript", "Node.js with npx is not installed", "install Node.js 20.19 or newer"),
        ("java", "Java is not installed", "install a Java runtime, 11 or newer"),
    ],
)
def test_a_missing_program_is_named_with_what_to_install(
    language: str, said: str, advice: str, shop: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    command = ["clients", "--lang", language, "--out", str(tmp_path), "--project", str(shop.root)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())
    assert advice in " ".join(result.output.split())


def test_a_missing_generator_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ContractError, match=r"pip install openapi-generator-cli==\d+\.\d+"):
        tools.need("openapi_generator_cli")


@pytest.mark.parametrize("module", sorted(tools.PYTHON))
def test_the_generator_that_is_installed_is_the_one_that_is_named(module: str) -> None:
    needs(module)
    assert metadata.version(module.replace("_", "-")) == tools.PYTHON[module]


def test_the_command_offers_every_language() -> None:
    assert [one.value for one in ClientLanguage] == list(languages())


def test_an_old_node_is_told_apart_from_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/usr/bin/node")
    monkeypatch.setattr(tools, "_version", lambda *_: "v18.20.1\n")
    assert tools.missing("node") == "Node.js v18.20.1 is older than 20.19"


def test_an_unreachable_registry_is_told_apart_from_a_failing_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "npm warn x\nnpm error code ENOTFOUND\nnpm error network request failed\n"
    monkeypatch.setattr(tools, "missing", lambda tool: None)
    monkeypatch.setattr(tools, "run", lambda *_, **__: subprocess.CompletedProcess(["npx"], 1, "", said))
    with pytest.raises(ContractError, match=r"npm cannot get typescript@5.*ENOTFOUND"):
        tools.npx(["typescript"], "tsc", folder=tmp_path)


def test_a_program_that_never_ends_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="was not done after 1 s"):
        tools.run([sys.executable, "-c", "import time; time.sleep(60)"], folder=tmp_path, timeout=1)


# --- the command -----------------------------------------------------------------------------------


def test_the_command_tells_what_it_made_and_machines_the_same(shop: Project, tmp_path: Path) -> None:
    command = ["clients", "-l", "python", "-o", str(tmp_path), "--project", str(shop.root)]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    assert "2 operations" in first.output
    (told,) = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert (told["surface"], told["language"], told["operations"], told["changed"]) == ("shop", "python", 2, 0)
    assert (Path(told["folder"]) / MARK).is_file()


# --- the generators' input -------------------------------------------------------------------------


def document(**parts: object) -> dict[str, object]:
    return {"openapi": "3.0.3", "info": {"title": "T", "version": "1"}, "paths": {}, **parts}


def test_nullable_objects_become_named_ones_or_null_wherever_they_are_used() -> None:
    given = document(
        components={
            "schemas": {
                "Thing": {"type": "object", "nullable": True, "properties": {"nullable": {"type": "boolean"}}},
                "Box": {"type": "object", "properties": {"thing": {"$ref": "#/components/schemas/Thing"}}},
            }
        }
    )
    generator_input.name_nullable_objects(given)
    schemas = given["components"]["schemas"]  # type: ignore[index]
    assert schemas["Thing"] == {"type": "object", "properties": {"nullable": {"type": "boolean"}}}
    first, second = schemas["Box"]["properties"]["thing"]["oneOf"]
    assert first == {"$ref": "#/components/schemas/Thing"}
    assert second["enum"] == [None]


def test_links_go_and_properties_named_links_stay() -> None:
    answer = {"description": "Done.", "links": {"next": {"operationId": "a"}}}
    listing = {"type": "object", "description": "A page.", "properties": {"links": {"type": "string"}}}
    given = document(
        paths={"/a": {"get": {"operationId": "a", "responses": {"200": answer}}}},
        components={"schemas": {"Page": listing}},
    )
    generator_input.drop_links(given)
    assert "links" not in answer
    assert listing["properties"] == {"links": {"type": "string"}}


def test_typescript_gets_the_union_of_an_answers_media_types() -> None:
    found, _ = generator_input.for_typescript(made("thalian"))
    content = found["paths"]["/api/export-workspace"]["post"]["responses"]["200"]["content"]
    told = content["application/json"]["schema"]["oneOf"]
    assert [one.get("$ref", "").rpartition("/")[2] or one.get("format", one.get("type")) for one in told] == [
        "WorkspaceExport",
        "string",
        "binary",
    ]


def for_java(schemas: dict[str, object]) -> tuple[dict[str, dict[str, object]], list[str]]:
    given = document(components={"schemas": schemas})
    generator_input.nullable_references(given)
    notes = generator_input.any_for_loose_unions(given)
    generator_input.lists_for_sets(given)
    return given["components"]["schemas"], notes  # type: ignore[index]


NULL = {"type": "string", "nullable": True, "enum": [None]}
CAT = {"type": "object", "properties": {"lives": {"type": "integer"}}}


def reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def test_java_gets_null_as_a_flag_and_no_type_of_its_own() -> None:
    box = {"type": "object", "properties": {"cat": {"oneOf": [reference("Cat"), reference("Null")]}}}
    always = {"type": "object", "properties": {"data": reference("Null")}}
    schemas, notes = for_java({"Null": NULL, "Cat": CAT, "Box": box, "Always": always})
    assert "Null" not in schemas
    assert schemas["Box"]["properties"] == {"cat": {"allOf": [reference("Cat")], "nullable": True}}
    assert schemas["Always"]["properties"] == {"data": {"nullable": True}}
    assert notes == []


def test_java_gets_any_value_for_a_union_that_it_cannot_write() -> None:
    schemas, notes = for_java(
        {
            "Cat": CAT,
            "Open": {"type": "object", "additionalProperties": True},
            "Dog": CAT,
            "Pet": {"oneOf": [reference("Cat"), reference("Dog")], "discriminator": {"propertyName": "kind"}},
            "Loose": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
            "Mixed": {"anyOf": [reference("Cat"), reference("Open"), NULL], "description": "Something."},
        }
    )
    assert "oneOf" in schemas["Pet"]
    assert schemas["Loose"] == {}
    assert schemas["Mixed"] == {"nullable": True, "description": "Something."}
    assert notes == ["Loose: what may be string, array is an Object", "Mixed: what may be Cat, Open is an Object"]


def test_java_gets_lists_for_sets() -> None:
    schemas, _ = for_java({"Tags": {"type": "array", "uniqueItems": True, "items": {"type": "string"}}})
    assert schemas["Tags"] == {"type": "array", "items": {"type": "string"}}


@pytest.mark.parametrize(
    ("media_type", "taken_for"),
    [
        ("application/json", None),
        ("application/problem+json", "application/json"),
        ("application/rss+xml", "text/plain"),
        ("text/csv; charset=utf-8", None),
        ("application/pdf", "application/octet-stream"),
        ("audio/mpeg", "application/octet-stream"),
    ],
)
def test_media_types_that_a_client_does_not_know_are_text_or_bytes(media_type: str, taken_for: str | None) -> None:
    assert generator_input.readable(media_type) == taken_for
