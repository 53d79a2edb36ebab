"""What carries outgoing requests: connections to judged addresses alone, each request within its time.

Apart from `domain.kernel.outgoing` because of what it imports: a process that calls nobody does without.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import httpcore
import httpx

from domain.kernel.outgoing import Address, Refused


def client(judge: Callable[[Address], bool], verify: ssl.SSLContext | None) -> httpx.Client:
    """A client that connects to the addresses that `judge` lets pass."""
    return httpx.Client(
        transport=_transport(Guarded(judge), verify or ssl.create_default_context()),
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": "thalweg", "Accept-Encoding": "gzip"},
    )


def end_at(end: float) -> None:
    """When the next request of this thread has to be over (monotonic)."""
    _deadline.end = end


class Guarded(httpcore.NetworkBackend):
    """Connects to judged addresses only."""

    def __init__(self, judge: Callable[[Address], bool]) -> None:
        self._judge = judge
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        failure: Exception | None = None
        for address in _resolved(host, port)[:4]:
            if not self._judge(address):
                failure = Refused()
                continue
            try:
                stream = self._plain.connect_tcp(str(address), port, _left(timeout), local_address, socket_options)
                return _Timed(stream)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as away:
                failure = away
        raise failure or httpcore.ConnectError("no address")

    def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Any = None) -> Any:
        raise Refused


class _Timed(httpcore.NetworkStream):
    """Keeps the whole request within its time: a server that sends a byte now and then must not hold a thread."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


_deadline = threading.local()
"""`end`: when the request of this thread has to be over (monotonic)."""


def _left(timeout: float | None) -> float:
    left: float = _deadline.end - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the request took too long")
    return left if timeout is None else min(left, timeout)


def _resolved(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise httpcore.ConnectError("the name is not known") from None
    unique = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return [ipaddress.ip_address(text) for text in unique]


def _transport(backend: httpcore.NetworkBackend, verify: ssl.SSLContext) -> httpx.HTTPTransport:
    transport = httpx.HTTPTransport(verify=verify, trust_env=False)
    # httpx has no public way to give its pool another network: the pool is httpcore's public class all the same.
    transport._pool = httpcore.ConnectionPool(
        ssl_context=verify,
        max_connections=100,
        max_keepalive_connections=20,
        keepalive_expiry=15.0,
        http1=True,
        network_backend=backend,
    )
    return transport
