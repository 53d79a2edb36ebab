"""The one client for requests outside: which addresses it calls, and what it takes from a server."""

from __future__ import annotations

import gzip
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest

from domain.kernel import outgoing
from domain.kernel.errors import Unavailable
from domain.kernel.outgoing import Answer, Client, Refused, UpstreamFailed, callable_address


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_private_addresses_are_not_called_in_whatever_coat(address: str) -> None:
    assert not callable_address(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_addresses_are(address: str) -> None:
    assert callable_address(ipaddress.ip_address(address))


def test_what_the_operator_allows_is_called() -> None:
    allowed = [ipaddress.ip_network("10.1.0.0/16")]
    assert callable_address(ipaddress.ip_address("10.1.2.3"), allowed)
    assert not callable_address(ipaddress.ip_address("10.2.2.3"), allowed)


@pytest.mark.parametrize("url", ["http://localhost:1/", "http://127.0.0.1:1/", "http://2130706433:1/", "http://[::1]/"])
def test_a_url_of_this_machine_is_refused(url: str) -> None:
    with pytest.raises(UpstreamFailed):
        Client().get(url)


def test_a_name_that_leads_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))]
    )
    with pytest.raises(Refused):
        Client().get("http://rebound.example/latest/meta-data")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("1" * 5000, 3600),  # more digits than `int` takes of a stranger
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),  # over
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
        ("Mon, 01 Jan 0001 00:00:00 -0000", 1),
        ("²", None), ("٣", None), ("-1", None), ("1.5", None), ("soon", None), ("", None),
        ("Mon, 99 Foo 2030 00:00:00 GMT", None), ("Fri, 31 Dec 99999999999 23:59:59 GMT", None),
    ],
)  # fmt: skip
def test_what_a_server_says_of_asking_again_is_seconds_or_nothing(said: str, seconds: int | None) -> None:
    assert Answer(503, {"Retry-After": said}, b"").retry_after == seconds
    assert Answer(503, {"retry-after": said}, b"").retry_after == seconds


def test_a_date_at_which_to_ask_again_is_a_number_of_seconds() -> None:
    said = formatdate(time.time() + 90, usegmt=True)
    assert 85 <= (Answer(429, {"retry-after": said}, b"").retry_after or 0) <= 90
    assert Answer(429, {}, b"").retry_after is None


class Raw:
    """A server of sockets that answers what it is told, byte by byte if need be."""

    def __init__(self) -> None:
        self.answer: list[bytes] = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"]
        self.pause = 0.0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._speak, args=(connection,), daemon=True).start()

    def _speak(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65536)
                for piece in self.answer:
                    connection.sendall(piece)
                    time.sleep(self.pause)
            except OSError:
                return


@pytest.fixture
def raw() -> Iterator[Raw]:
    server = Raw()
    yield server
    server.listener.close()


@pytest.fixture
def client() -> Client:
    return Client(("127.0.0.0/8",), seconds=1.0, max_bytes=1000)


def test_an_answer_comes_whole(raw: Raw, client: Client) -> None:
    assert client.get(raw.url).json() == {}


def test_a_server_that_drips_is_left_after_its_time(raw: Raw, client: Client) -> None:
    for head in ([b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"], []):
        raw.answer, raw.pause = [*head, *[b"x"] * 100], 0.2
        began = time.monotonic()
        with pytest.raises(UpstreamFailed):
            client.get(raw.url)
        assert time.monotonic() - began < 2.5


def test_an_answer_that_is_too_large_is_refused_packed_or_not(raw: Raw, client: Client) -> None:
    packed = gzip.compress(b"\0" * 500_000)
    raw.answer = [
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed,
    ]
    assert len(packed) < 1000
    with pytest.raises(UpstreamFailed):
        client.get(raw.url)
    raw.answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000]
    with pytest.raises(UpstreamFailed):
        client.get(raw.url)


def test_a_redirect_is_answered_and_not_followed(raw: Raw, client: Client) -> None:
    raw.answer = [b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"]
    assert client.get(raw.url).status == 302


@pytest.mark.parametrize("url", ["ftp://example.org/", "file:///etc/passwd", "http://", "nonsense", "http://a b/"])
def test_what_is_no_web_address_is_not_called(client: Client, url: str) -> None:
    with pytest.raises(UpstreamFailed):
        client.get(url)


def test_an_answer_that_is_not_json_is_a_failure_of_the_server(raw: Raw, client: Client) -> None:
    raw.answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<xml>"]
    with pytest.raises(UpstreamFailed):
        client.get(raw.url).json()


def test_no_more_than_so_many_calls_are_under_way(raw: Raw) -> None:
    client = Client(("127.0.0.0/8",), seconds=1.0, at_once=1)
    raw.answer, raw.pause = [b"HTTP/1.1 200 OK\r\n"], 5.0

    def slow() -> None:
        with pytest.raises(UpstreamFailed):
            client.get(raw.url, seconds=1.5)

    thread = threading.Thread(target=slow)
    thread.start()
    time.sleep(0.2)
    with pytest.raises(Unavailable):
        client.get(raw.url, seconds=0.2)
    thread.join()


def test_the_process_has_one_client() -> None:
    outgoing.use(None)
    assert outgoing.client() is outgoing.client()
    outgoing.use(None)
