"""Requests to the world outside: one client, which refuses private addresses and caps time and bytes.

    client = outgoing.Client(allow=("10.0.0.0/8",))
    answer = client.get("https://cloud.example/capabilities")     # never inside an open transaction
    answer.json()

A name is resolved here and the connection goes to the address that was judged, so a name that resolves differently a
moment later (DNS rebinding) gains nothing. Redirects are not followed: whoever wants one asks again, and is judged
again. No proxy is taken from the environment.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import orjson

from domain.kernel.errors import DomainError, Unavailable

if TYPE_CHECKING:
    import ssl

    import httpx

__all__ = ["Answer", "Client", "Refused", "TooMuch", "UpstreamFailed", "client", "use"]

SECONDS = 10.0
MAX_BYTES = 1 << 20
AT_ONCE = 12
"""Calls of one process that may be under way: a slow provider must not take every thread from the others."""
LONGEST_PAUSE = 3600

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_6TO4 = ipaddress.ip_network("2002::/16")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class UpstreamFailed(DomainError):
    """A server outside did not answer, or not as its protocol says. The message names no address."""

    code = "upstream_failed"
    default = "A server outside did not answer as it should."


class TooMuch(UpstreamFailed):
    """The answer is larger than was asked to be taken."""

    default = "A server outside answered more than is taken from it."


class Refused(UpstreamFailed):
    """The address is private, or not one that may be called at all."""

    default = "This address cannot be called from here."


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def retry_after(self) -> int | None:
        """Whole seconds that the server asks to be left alone, an hour at most: its `Retry-After`, which is a number or
        a date (RFC 9110, section 10.2.3). None where it says nothing that can be read."""
        said = next((value for name, value in self.headers.items() if name.lower() == "retry-after"), "").strip()
        if said.isascii() and said.isdecimal():
            return min(LONGEST_PAUSE, int(said[:9]))
        try:
            seconds = parsedate_to_datetime(said).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
        return min(LONGEST_PAUSE, max(1, round(seconds)))

    def json(self) -> Any:
        """Raises `UpstreamFailed` when it is not JSON."""
        try:
            return orjson.loads(self.content)
        except orjson.JSONDecodeError:
            raise UpstreamFailed("A server outside answered something other than JSON.") from None


class Client:
    """`allow`: private addresses or networks (CIDR) that may be reached all the same."""

    def __init__(
        self,
        allow: Iterable[str] = (),
        *,
        seconds: float = SECONDS,
        max_bytes: int = MAX_BYTES,
        at_once: int = AT_ONCE,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        self._networks = tuple(ipaddress.ip_network(entry, strict=False) for entry in allow)
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._places = threading.BoundedSemaphore(at_once)
        self._verify = verify
        self._making = threading.Lock()
        self._client: httpx.Client | None = None

    def _made(self) -> httpx.Client:
        from domain.kernel.drivers import outgoing_http  # late: libraries and certificates take 40 ms and 5 MiB

        with self._making:
            if self._client is None:
                self._client = outgoing_http.client(self.may_call, self._verify)
            return self._client

    def get(self, url: str, **given: Any) -> Answer:
        """`request("GET", ...)`."""
        return self.request("GET", url, **given)

    def post(self, url: str, **given: Any) -> Answer:
        """`request("POST", ...)`."""
        return self.request("POST", url, **given)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        content: bytes | None = None,
        auth: tuple[str, str] | None = None,
        seconds: float | None = None,
        max_bytes: int | None = None,
    ) -> Answer:
        """One request and its whole answer, whatever its status.

        Raises `Refused` for an address that may not be called, `UpstreamFailed` when the answer does not come in time
        or is larger than it may be, `Unavailable` when too many calls are under way.
        """
        left = seconds or self._seconds
        most = max_bytes or self._max_bytes
        if not self._places.acquire(timeout=min(left, 2.0)):
            raise Unavailable("Too many calls to servers outside are under way. Try again shortly.", retry_after=2)
        try:
            return self._ask(method, url, most, time.monotonic() + left, left, headers, data, content, auth)
        finally:
            self._places.release()

    def _ask(
        self,
        method: str,
        url: str,
        most: int,
        end: float,
        seconds: float,
        headers: Mapping[str, str] | None,
        data: Mapping[str, str] | None,
        content: bytes | None,
        auth: tuple[str, str] | None,
    ) -> Answer:
        import httpx  # late, as in `_made`

        from domain.kernel.drivers import outgoing_http

        outgoing_http.end_at(end)
        try:
            with self._made().stream(
                method,
                url,
                headers=headers,
                data=data,
                content=content,
                auth=auth,
                timeout=httpx.Timeout(seconds, connect=min(seconds, 5.0)),
            ) as reply:
                body = bytearray()
                # Decoded bytes are counted, so a small answer that unpacks into a large one is seen too.
                for piece in reply.iter_bytes(16 * 1024):
                    body += piece
                    if len(body) > most:
                        raise TooMuch
                return Answer(reply.status_code, dict(reply.headers), bytes(body))
        except httpx.TimeoutException:
            raise UpstreamFailed("A server outside did not answer in time.") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            raise UpstreamFailed from None

    def may_call(self, address: Address) -> bool:
        """Whether an address that is given as numbers may be called."""
        return callable_address(address, self._networks)

    def wider(self, at_once: int) -> Client:
        """One like it, for a process that does little else than wait for calls."""
        return Client(
            map(str, self._networks),
            seconds=self._seconds,
            max_bytes=self._max_bytes,
            at_once=at_once,
            verify=self._verify,
        )

    def close(self) -> None:
        """Close idle connections."""
        if self._client is not None:
            self._client.close()


def callable_address(address: Address, allowed: Iterable[Network] = ()) -> bool:
    """Whether an address may be called: a public one, or one of the allowed networks."""
    if any(address.version == network.version and address in network for network in allowed):
        return True
    if isinstance(address, ipaddress.IPv6Address):
        # An IPv4 address in another coat is judged as what it is.
        within = address.ipv4_mapped
        if within is None and address in _NAT64:
            within = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if within is None and address in _6TO4:
            within = address.sixtofour
        if within is not None:
            return callable_address(within, allowed)
    return address.is_global and not address.is_multicast


_client: Client | None = None
_making = threading.Lock()


def use(new: Client | None) -> None:
    """Give this process its client (setting `outgoing_allow`)."""
    global _client
    _client = new


def client() -> Client:
    """The process's client; one that calls public addresses alone where none was given."""
    global _client
    if _client is None:
        with _making:
            if _client is None:
                _client = Client()
    return _client
