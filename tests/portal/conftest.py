"""The platform's API with its pages, as a process on servers of this run; and a real browser to look at them with."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from domain import brains, identity
from domain.kernel import crypto
from domain.kernel.context import SystemActor
from domain.kernel.db import Database
from domain.startup import load_tables

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Portal:
    """A running API process, and a key and a brain to call it with."""

    url: str
    key: str
    brain: str

    def get(self, path: str, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.get(self.url + path, headers=named, timeout=20)


Served = Callable[..., str]


@pytest.fixture(scope="module")
def serve(database_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Starts an API process with the given settings, and answers its address."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**settings: str) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        folder = tmp_path_factory.mktemp("api")
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("THALWEG_")},
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
            "THALWEG_ENVIRONMENT": "test",
            "THALWEG_DATABASE_URL": database_url,
            "THALWEG_REDIS_URL": valkey_url,
            "THALWEG_SECRET_KEYS": f"test:{crypto.KeyRing.new_key()}",
            "THALWEG_DATA_DIR": str(folder),
            "THALWEG_RESPONSE_MISMATCH": "raise",
            **{f"THALWEG_{name.upper()}": value for name, value in settings.items()},
        }
        command = [sys.executable, "-m", "thalweg", "serve", "--port", str(port), "--parent", str(os.getpid())]
        log = folder / "api.log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
        started.append(process)
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 90
        while time.monotonic() < end and process.poll() is None:
            try:
                httpx.get(f"{url}/health", timeout=5)
                return url
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError(f"the API did not start:\n{log.read_text(errors='replace')[-4000:]}")

    yield start
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


@pytest.fixture(scope="module")
def portal(serve: Served, database: Database) -> Portal:
    """All surfaces at their base paths."""
    load_tables()
    with database.context(SystemActor("tests"), None, platform=True) as ctx:
        organisation = identity.create_organisation(ctx, name="Portal", slug="portal")
    with database.context(SystemActor("tests"), organisation.id) as ctx:
        brain = brains.create_brain(ctx, name="Portal", slug="portal")
        plain = identity.issue_api_key(ctx, "portal", ["invoke", "memory:read"], "thalium")[1]
        found = str(brain.id)
    return Portal(serve(), plain, found)


# --- the browser ---------------------------------------------------------------------------------------


@dataclass
class Tab:
    """A page in a browser, over the DevTools protocol."""

    socket: ClientConnection
    events: list[dict[str, Any]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv(timeout=60))
            if message.get("id") == number:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str, seconds: float = 30.0) -> Any:
        """Waits until an expression is true, and answers its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.run(script)
            if value:
                return value
            time.sleep(0.1)
        raise AssertionError(f"never true within {seconds} s: {script}")

    def show(self, width: int, height: int, theme: str) -> None:
        """Window size in CSS pixels, and what the system prefers."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def open(self, url: str) -> None:
        self.events.clear()
        self.send("Page.navigate", url=url)
        self.until(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url)})")

    def reload(self) -> None:
        """The page anew: what is asked next is asked of that."""
        self.run("window.before = true")
        self.send("Page.reload")  # answers while the old page is still there
        end = time.monotonic() + 30.0
        while time.monotonic() < end:
            with suppress(AssertionError):  # it went away under the question
                if self.run("window.before === undefined && document.readyState === 'complete'"):
                    return
            time.sleep(0.05)
        raise AssertionError("the page did not come back")

    def settle(self, seconds: float = 1.0) -> None:
        """Lets late requests and messages come."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.run("1")
            time.sleep(0.1)

    def picture(self, file: Path, *, whole: bool = False) -> None:
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))

    def addresses(self) -> set[str]:
        """Hosts that anything was asked of since `open`."""
        asked = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return {urlsplit(url).netloc for url in asked if url.startswith(("http", "ws"))}

    def complaints(self) -> list[str]:
        """Errors on the console, exceptions, and what the browser refused to do."""
        said = []
        for event in self.events:
            told = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                said.append(json.dumps(told["exceptionDetails"])[:500])
            elif event["method"] == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
                said.append(json.dumps(told["args"])[:500])
            elif event["method"] == "Log.entryAdded" and told["entry"]["level"] == "error":
                said.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        return said


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A headless Chromium of its own; the address of its debugging port."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on the PATH: `apt-get install chromium` (Debian, Ubuntu: chromium-browser)")
    folder = tmp_path_factory.mktemp("chromium")
    flags = "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run --disable-sync"
    more = "--disable-component-update --disable-dev-shm-usage --remote-debugging-port=0 --hide-scrollbars"
    command = [program, *flags.split(), *more.split(), f"--user-data-dir={folder}", "about:blank"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        port = folder / "DevToolsActivePort"
        end = time.monotonic() + 60
        while not (port.exists() and port.read_text().strip()):
            if time.monotonic() > end or process.poll() is not None:
                raise AssertionError((folder / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port.read_text().split()[0]}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


@pytest.fixture
def tab(browser: str) -> Iterator[Tab]:
    """A fresh page, in a profile of its own, that remembers what it asked for and what went wrong."""
    version = httpx.get(f"{browser}/json/version").json()
    with connect(version["webSocketDebuggerUrl"], max_size=None) as control:
        whole = Tab(control)
        profile = whole.send("Target.createBrowserContext")["browserContextId"]
        target = whole.send("Target.createTarget", url="about:blank", browserContextId=profile)["targetId"]
        address = re.sub(r"/devtools/.*", f"/devtools/page/{target}", version["webSocketDebuggerUrl"])
        with connect(address, max_size=None) as own:
            page = Tab(own)
            for domain in ("Page", "Network", "Runtime", "Log"):
                page.send(f"{domain}.enable")
            yield page
        whole.send("Target.disposeBrowserContext", browserContextId=profile)
