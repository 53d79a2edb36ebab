"""What a generated client gets besides the generator's own files: settings, a README, a reader of streams."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

from thalweg.contract import tools
from thalweg.contract.generator_input import JSON
from thalweg.naming import snake_case

STREAMS = '''"""Server-sent events: operations that stream, read event by event.

    from {package} import AuthenticatedClient, streams
    from {package}.api.{tag} import {module}

    for event in streams.stream(client, {module}, ...):
        print(event.name, event.data)

The arguments are those of the operation's functions. `Last-Event-ID`, where the operation takes it, resumes a stream.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import httpx

from .client import AuthenticatedClient, Client

TIMEOUT = httpx.Timeout(10.0, read=60.0)
"""Seconds. A quiet stream gives a sign of life before `read` is over."""


@dataclass(frozen=True)
class Event:
    """One event. `data` is its JSON value, or the text itself where it is no JSON."""

    name: str
    data: Any
    id: str | None = None


class StreamRefused(Exception):
    """The server has answered with an error instead of a stream; `body` is what it said."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{{status}}: {{body[:500]!r}}")
        self.status = status
        self.body = body


def stream(client: AuthenticatedClient | Client, operation: ModuleType, *args: Any, **kwargs: Any) -> Iterator[Event]:
    """The events of `operation`, a module of `api`, as they come. Raises `StreamRefused` and httpx's errors."""
    request = operation._get_kwargs(*args, **kwargs)
    with client.get_httpx_client().stream(**request, timeout=TIMEOUT) as response:
        if response.status_code != 200:
            raise StreamRefused(response.status_code, response.read())
        frames = _Frames()
        for text in response.iter_text():
            yield from frames.feed(text)


async def astream(
    client: AuthenticatedClient | Client, operation: ModuleType, *args: Any, **kwargs: Any
) -> AsyncIterator[Event]:
    """Like `stream`, for asyncio."""
    request = operation._get_kwargs(*args, **kwargs)
    async with client.get_async_httpx_client().stream(**request, timeout=TIMEOUT) as response:
        if response.status_code != 200:
            raise StreamRefused(response.status_code, await response.aread())
        frames = _Frames()
        async for text in response.aiter_text():
            for event in frames.feed(text):
                yield event


class _Frames:
    """Lines to events, as the HTML standard has it (9.2.6); only CR, LF and CRLF end a line."""

    def __init__(self) -> None:
        self.rest = ""
        self.name = "message"
        self.data: list[str] = []
        self.id: str | None = None

    def feed(self, text: str) -> Iterator[Event]:
        text = self.rest + text
        held = "\\r" if text.endswith("\\r") else ""  # perhaps half of a CRLF
        lines = text[: len(text) - len(held)].replace("\\r\\n", "\\n").replace("\\r", "\\n").split("\\n")
        self.rest = lines.pop() + held
        for line in lines:
            if line:
                self.field(line)
            elif self.data:
                yield Event(self.name, _value("\\n".join(self.data)), self.id)
                self.name, self.data = "message", []
            else:
                self.name = "message"

    def field(self, line: str) -> None:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self.name = value
        elif field == "data":
            self.data.append(value)
        elif field == "id" and "\\0" not in value:
            self.id = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
'''


def streams_module(package: str, document: JSON) -> str | None:
    """The reader of streams for a Python client; None when nothing streams."""
    for item in document["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict) and "x-stream" in operation:
                module = snake_case(operation["operationId"])
                return STREAMS.format(package=package, tag=snake_case(operation["tags"][0]), module=module)
    return None


def typescript_config(source: str, folder: str) -> str:
    """The settings of openapi-ts: one client over fetch, imports that Node resolves without a bundler."""
    settings = {
        "input": source,
        "output": {"path": folder, "importFileExtension": ".js"},
        "plugins": ["@hey-api/typescript", "@hey-api/sdk", "@hey-api/client-fetch"],
        "logs": {"level": "warn", "file": False},
    }
    return f"export default {json.dumps(settings, indent=2)};\n"


def typescript_package(surface: str, document: JSON) -> dict[str, str]:
    """`package.json` and `tsconfig.json`: `npm install && npm run build` makes a package without dependencies."""
    package = {
        "name": f"{surface}-client",
        "version": document["info"]["version"],
        "description": f"Client of {document['info']['title']}",
        "license": document["info"].get("license", {}).get("name", "UNLICENSED"),
        "type": "module",
        "exports": {
            ".": {"types": "./dist/index.d.ts", "default": "./dist/index.js"},
            "./client": {"types": "./dist/client.gen.d.ts", "default": "./dist/client.gen.js"},
        },
        "files": ["dist"],
        "sideEffects": False,
        "engines": {"node": ">=18"},
        "scripts": {"build": "tsc"},
        "devDependencies": {"typescript": tools.NPM["typescript"].rpartition("@")[2]},
    }
    options: dict[str, Any] = {
        "strict": True,
        "target": "ES2022",
        "module": "NodeNext",
        "moduleResolution": "NodeNext",
        "lib": ["ES2022", "DOM", "DOM.Iterable"],
        "types": [],
        "rootDir": "src",
        "outDir": "dist",
        "declaration": True,
    }
    return {
        "package.json": json.dumps(package, indent=2) + "\n",
        "tsconfig.json": json.dumps({"compilerOptions": options, "include": ["src"]}, indent=2) + "\n",
    }


def readme(language: str, surface: str, document: JSON, base_path: str, notes: list[str]) -> str:
    """How to install a Python or TypeScript client, sign in, and call something."""
    info = document["info"]
    tag, operation = _sample(document)
    server = f"http://localhost:8080{base_path}"
    lines = [f"# {info['title']} {info['version']}: {'Python' if language == 'python' else 'TypeScript'} client", ""]
    if language == "python":
        header, prefix = _credential(document)
        package, module = f"{surface}_client", snake_case(operation)
        lines += ["```", "pip install .", "```", "", "```python", f"from {package} import AuthenticatedClient"]
        lines += [f"from {package}.api.{snake_case(tag)} import {module}", ""]
        lines += [f'url = "{server}"', f'how = {{"prefix": "{prefix}", "auth_header_name": "{header}"}}']
        lines += ['client = AuthenticatedClient(base_url=url, token="...", **how)']
        lines += [f"answer = {module}.sync_detailed(client=client, ...)", "print(answer.status_code, answer.parsed)"]
        lines += ["```", "", "`sync` hands out the parsed answer alone; `asyncio` and `asyncio_detailed` are awaited."]
        if streams_module(package, document):
            lines += ["`streams.stream` and `streams.astream` read an operation that streams, event by event."]
    else:
        lines += ["```", "npm install && npm run build", "```", "", "```ts"]
        lines += [f'import {{ {operation} }} from "{surface}-client";']
        lines += [f'import {{ client }} from "{surface}-client/client";', ""]
        lines += [f'client.setConfig({{ baseUrl: "{server}", auth: () => "..." }});']
        lines += [f"const {{ data, error, response }} = await {operation}({{ ... }});", "```"]
        if streams_module("", document):
            lines += ["", "Operations that stream answer `{ stream }`, an async generator of events."]
    told = f"\n{limits_of_the_generator(notes)}" if notes else ""
    return "\n".join(lines) + "\n" + told


def limits_of_the_generator(notes: list[str]) -> str:
    """The part of a README that says what a client hands out otherwise than the contract has it."""
    return "\n".join(["What the generator cannot do:", "", *(f"- {note}" for note in notes)]) + "\n"


def java_names(surface: str, document: JSON) -> tuple[str, str]:
    """Group id and root package: the reversed host of the contact's address, and the surface."""
    host = urlsplit(document["info"].get("contact", {}).get("url", "")).hostname or "client"
    group = ".".join(re.sub(r"\W", "_", part) for part in reversed(host.split(".")))
    return group, f"{group}.{surface}"


def _sample(document: JSON) -> tuple[str, str]:
    """Tag and operationId of an operation that is likely to be tried first: a GET with a credential, or anything."""
    found = [
        (method != "get" or operation.get("security") == [], operation["tags"][0], operation["operationId"])
        for item in document["paths"].values()
        for method, operation in item.items()
        if isinstance(operation, dict) and "operationId" in operation
    ]
    return min(found, key=lambda one: one[0])[1:]


def _credential(document: JSON) -> tuple[str, str]:
    """Header and prefix of the document's own credential."""
    schemes = document.get("components", {}).get("securitySchemes", {})
    for requirement in document.get("security", []):
        for name in requirement:
            scheme = schemes.get(name, {})
            if scheme.get("type") == "apiKey" and scheme.get("in") == "header":
                return scheme["name"], ""
    return "Authorization", "Bearer"
