"""A Nextcloud on loopback that tells its capabilities, and requests as its connector signs them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import flask
import pytest
from werkzeug.serving import make_server

from domain.identity import connector
from domain.kernel import outgoing
from domain.kernel.crypto import Secret

ENROLMENT = "the-enrolment-key-of-these-tests-0123456789"


@dataclass
class Facts:
    """What the edge knows of a request."""

    operation_id: str
    raw_path: str
    headers: Mapping[str, str]
    base_path: str = "/beeflow"


@dataclass
class FakeNextcloud:
    """`instance_id` is what it says of itself."""

    instance_id: str = "oc8f2k1q9x7z"
    url: str = ""
    status: int = 200
    body: Any = None
    seen: list[str] = field(default_factory=list)

    def app(self) -> flask.Flask:
        app = flask.Flask("nextcloud")

        @app.get("/ocs/v2.php/cloud/capabilities")
        def capabilities() -> Any:
            self.seen.append(flask.request.headers.get("OCS-APIRequest", ""))
            told = {
                "version": {"major": 32, "string": "32.0.1"},
                "capabilities": {"bee_flow": {"instanceId": self.instance_id}, "theming": {"name": "Lovelace Cloud"}},
            }
            return (self.body if self.body is not None else {"ocs": {"meta": {}, "data": told}}), self.status

        return app


@pytest.fixture
def nextcloud() -> Iterator[FakeNextcloud]:
    fake = FakeNextcloud()
    server = make_server("127.0.0.1", 0, fake.app(), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    outgoing.use(outgoing.Client(("127.0.0.0/8",)))
    yield fake
    outgoing.use(None)
    server.shutdown()
    thread.join(5)
    server.server_close()


@pytest.fixture(autouse=True)
def enrolment() -> Iterator[Secret]:
    connector.signature.enrol_with(ENROLMENT)
    yield Secret(ENROLMENT)
    connector.signature.enrol_with(None)
    connector.consents.ask_for(None)


@pytest.fixture(scope="session")
def facts_of() -> type[Facts]:
    return Facts
