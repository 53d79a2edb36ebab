"""Calls to an address that a person has entered go nowhere that outgoing requests may not go, whatever the name says a
moment later, and a key is not sent in the clear over the open network."""

from __future__ import annotations

import asyncio
import socket
import threading

import httpx2
import pytest

from domain.inference.drivers import addresses, guarded_http
from domain.kernel import outgoing

PUBLIC = "93.184.216.34"


@pytest.fixture(autouse=True)
def _client():
    yield
    outgoing.use(None)


@pytest.fixture
def listening():
    """A server that counts who comes, and answers nothing."""
    server = socket.create_server(("127.0.0.1", 0))
    came = []

    def accept():
        while True:
            try:
                connection, address = server.accept()
            except OSError:
                return
            came.append(address)
            connection.close()

    threading.Thread(target=accept, daemon=True).start()
    yield server.getsockname()[1], came
    server.close()


def resolving(monkeypatch, *addresses):
    """Names resolve to these, one after the other; the last for ever."""
    left = list(addresses)

    def answer(host, port, *args, **more):
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, port if isinstance(port, int) else 443))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def fetch(url):
    async def one():
        async with guarded_http.client(3.0) as http:
            return await http.get(url)

    return asyncio.run(one())


def test_a_name_that_leads_elsewhere_a_moment_later_gains_nothing(monkeypatch, listening):
    port, came = listening
    resolving(monkeypatch, PUBLIC, "127.0.0.1")
    addresses.judge(f"https://rebinding.example:{port}/v1")
    with pytest.raises(outgoing.Refused):
        fetch(f"http://rebinding.example:{port}/v1")
    assert came == []


def test_an_opened_network_may_be_called_and_by_http(monkeypatch, listening):
    port, came = listening
    resolving(monkeypatch, "127.0.0.1")
    outgoing.use(outgoing.Client(("127.0.0.0/8",)))
    addresses.judge(f"http://models.internal:{port}/v1")
    with pytest.raises(httpx2.TransportError):  # whoever listens hangs up: reached, and no more
        fetch(f"http://models.internal:{port}/v1")
    assert len(came) == 1


@pytest.mark.parametrize(
    ("url", "resolved"),
    [
        ("http://models.example/v1", PUBLIC),
        ("https://models.example/v1", "10.0.0.5"),
        ("https://models.example/v1", "169.254.169.254"),
        ("http://models.example/v1", "127.0.0.1"),
        ("ftp://models.example/v1", PUBLIC),
        ("https:///v1", PUBLIC),
    ],
)
def test_what_is_private_or_in_the_clear_is_refused(monkeypatch, url, resolved):
    resolving(monkeypatch, resolved)
    with pytest.raises(outgoing.Refused):
        addresses.judge(url)


def test_the_environments_proxy_is_not_taken(monkeypatch, listening):
    port, came = listening
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{port}")
    resolving(monkeypatch, "10.0.0.5")
    with pytest.raises(outgoing.Refused):
        fetch("http://models.example/v1")
    assert came == []
