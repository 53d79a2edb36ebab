"""What carries calls to an address that a person has entered: connections to judged addresses alone, no redirects, no
proxy from the environment.

The clients of the providers' libraries are asynchronous and of another make than `domain.kernel.outgoing`; the rule is
the same. A name is resolved here and the connection goes to the address that was judged.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import httpcore2
import httpx2

from domain.kernel import outgoing


def client(seconds: float) -> httpx2.AsyncClient:
    """For one call, inside its event loop; close it. `seconds`: how long it may take to connect or be silent."""
    verify = _certificates()
    transport = httpx2.AsyncHTTPTransport(verify=verify, trust_env=False)
    # The library has no public way to give its pool another network: the pool is a public class all the same.
    transport._pool = httpcore2.AsyncConnectionPool(
        ssl_context=verify, max_connections=4, http1=True, network_backend=Guarded()
    )
    return httpx2.AsyncClient(
        transport=transport,
        follow_redirects=False,
        trust_env=False,
        timeout=httpx2.Timeout(seconds, connect=min(seconds, 5.0)),
    )


def open_client(seconds: float) -> httpx2.AsyncClient:
    """The same for an address that the operator has set: it may be anywhere, through the environment's proxy too."""
    timeout = httpx2.Timeout(seconds, connect=min(seconds, 5.0))
    return httpx2.AsyncClient(verify=_certificates(), timeout=timeout)


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Whom calls trust. Read once: it takes 25 ms with the interpreter lock held, for which all turns would wait."""
    return ssl.create_default_context()


class Guarded(httpcore2.AsyncNetworkBackend):
    """Connects only where outgoing requests of this process may go."""

    def __init__(self) -> None:
        self._plain = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's own signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        failure: Exception | None = None
        for address in (await _resolved(host, port))[:4]:
            if not outgoing.client().may_call(address):
                failure = outgoing.Refused()
                continue
            try:
                return await self._plain.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as away:
                failure = away
        raise failure or httpcore2.ConnectError("no address")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's own signature
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        raise outgoing.Refused

    async def sleep(self, seconds: float) -> None:
        await self._plain.sleep(seconds)


async def _resolved(host: str, port: int) -> list[outgoing.Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise httpcore2.ConnectError("the name is not known") from None
    unique = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return [ipaddress.ip_address(text) for text in unique]
