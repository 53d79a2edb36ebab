"""One pipelined, self-healing connection to Valkey (or Redis >= 6) for the event loop.

An API process needs two of these: one for streams (commands and pub/sub pushes on the same RESP3 connection, hence in
one order) and one for limits. All commands of a loop turn leave in one write; a command costs a third to a tenth of
what the general client's does (docs/decisions/0005-streams.md). While the server is away every call fails at once: the
keeper, not the caller, waits for it to come back.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import hiredis

log = logging.getLogger(__name__)

Callback = Callable[[Any], None]
"""Takes the reply, or the exception that came instead (`hiredis.ReplyError`, `LinkDown`). Must not raise."""

pack: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command  # type: ignore[attr-defined,unused-ignore]


_NOTHING_YET = object()
_CONFIRMATIONS = frozenset({b"subscribe", b"unsubscribe"})


def redis_scheme(url: str) -> str:
    """`valkey://` and `valkeys://` as the client library spells them."""
    return f"redis{url[6:]}" if url.startswith(("valkey://", "valkeys://")) else url


class LinkDown(ConnectionError):
    """The server is away, or was lost before it answered."""


class LinkRefused(ConnectionError):
    """The server answered the handshake with an error (credentials, rights, still loading)."""


class Link:
    """Keeps one connection open; `call` or `submit` commands on it.

    `on_push` is given every pub/sub message as a list of bytes; `on_up` and `on_down` run at each change. All run on
    the loop, inside the connection's own callbacks: a reply's callback and a push run in the order of the wire.
    `timeout` (seconds) bounds the wait for the oldest unanswered command, after which the connection is dropped.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "thalweg",
        timeout: float = 1.0,
        prelude: tuple[tuple[Any, ...], ...] = (),
        on_push: Callable[[list[Any]], None] | None = None,
        on_up: Callable[[], None] | None = None,
        on_down: Callable[[], None] | None = None,
    ) -> None:
        self._target = _target(redis_scheme(url))
        self._name = name
        self._timeout = timeout
        self._prelude = prelude
        self._on_push = on_push or _ignore_push
        self._on_up = on_up or _nothing
        self._on_down = on_down or _nothing
        self._wire: _Wire | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.connections = 0
        """How often a connection was made."""
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def up(self) -> bool:
        return self._wire is not None

    async def start(self, wait: float = 0.0) -> None:
        """Start keeping the connection; wait at most `wait` seconds for it. A server that is away raises nothing."""
        if self._keeper is None:
            self._loop = asyncio.get_running_loop()
            self._keeper = self._loop.create_task(self._keep(), name=f"link {self._name}")
        if wait and not self.up:
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None

    def call(self, *command: Any) -> asyncio.Future[Any]:
        """Send a command; the future gives the reply. Raises `LinkDown` here or there, `hiredis.ReplyError` there."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(reply: Any) -> None:
            if future.done():
                return
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)

        self.submit(pack(command), answered)
        return future

    def submit(self, packed: bytes, callback: Callback) -> None:
        """Send an already packed command whose one reply goes to `callback`. Raises `LinkDown`."""
        if self._wire is None:
            raise LinkDown("the connection to Valkey is down")
        self._wire.submit(packed, callback)

    def ask(self, *command: Any, patience: float) -> Any:
        """`call` from another thread than the loop's; waits at most `patience` seconds.

        Raises `LinkDown`, `TimeoutError`, `hiredis.ReplyError`.
        """
        if self._loop is None or not self.up:
            raise LinkDown("the connection to Valkey is down")

        async def asked() -> Any:
            return await self.call(*command)

        return asyncio.run_coroutine_threadsafe(asked(), self._loop).result(patience)

    def tell(self, packed: bytes, pushes: int) -> None:
        """Send a (UN)SUBSCRIBE, which RESP3 answers with `pushes` pushes, one a channel. Raises `LinkDown`."""
        if self._wire is None:
            raise LinkDown("the connection to Valkey is down")
        self._wire.expected += pushes
        self._wire.write(packed)

    # --- keeping it open ----------------------------------------------------------------------------

    async def _keep(self) -> None:
        delay, complained = 0.05, False
        while True:
            try:
                async with asyncio.timeout(max(self._timeout, 1.0)):
                    wire = await self._open()
            except (OSError, TimeoutError, hiredis.HiredisError) as away:
                if not complained:
                    log.warning("valkey is away (%s): %s", self._name, away or type(away).__name__)
                    complained = True
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                delay = min(delay * 2, 1.0)
                continue
            if complained:
                log.warning("valkey is back (%s)", self._name)
            complained = False
            self._wire = wire
            self.connections += 1
            self._changed.set()
            since = asyncio.get_running_loop().time()
            try:
                self._on_up()
                await self._watch(wire)
            finally:
                self._wire = None
                self._changed.clear()
                wire.abort()
                self._on_down()
            log.warning("valkey was lost (%s)", self._name)
            complained = True
            if asyncio.get_running_loop().time() - since > 1.0:
                delay = 0.05
            else:  # lost as soon as it was made: that may go on
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                delay = min(delay * 2, 1.0)

    async def _open(self) -> _Wire:
        loop = asyncio.get_running_loop()
        target = self._target
        if "path" in target:
            _, wire = await loop.create_unix_connection(lambda: _Wire(loop, self._on_push), target["path"])
        else:
            _, wire = await loop.create_connection(
                lambda: _Wire(loop, self._on_push),
                target.get("host", "localhost"),
                target.get("port", 6379),
                ssl=_tls(target),
            )
        try:
            await self._greet(wire)
        except BaseException:
            wire.abort()
            raise
        return wire

    async def _greet(self, wire: _Wire) -> None:
        hello: list[Any] = ["HELLO", "3"]
        if self._target.get("password"):
            hello += ["AUTH", self._target.get("username") or "default", self._target["password"]]
        hello += ["SETNAME", self._name]
        commands: list[tuple[Any, ...]] = [tuple(hello)]
        if self._target.get("db"):
            commands.append(("SELECT", self._target["db"]))
        loop = asyncio.get_running_loop()
        for command in (*commands, *self._prelude):
            answer: asyncio.Future[Any] = loop.create_future()
            wire.submit(pack(command), _answer(answer))
            reply = await answer
            if isinstance(reply, LinkDown):
                raise reply
            if isinstance(reply, Exception):
                # The server's own words never hold the password; the command might.
                raise LinkRefused(f"{command[0]}: {reply}")

    async def _watch(self, wire: _Wire) -> None:
        """Return when the connection is lost; drop it when the server has stopped answering."""
        loop = asyncio.get_running_loop()
        quiet = max(self._timeout * 4, 5.0)
        while not wire.lost.done():
            await asyncio.wait((wire.lost,), timeout=self._timeout / 2)
            if wire.overdue(self._timeout):
                # Perhaps it was this process that stood still: let the loop read what has come in meanwhile.
                heard = wire.heard
                await asyncio.sleep(0.02)
                if wire.heard == heard and wire.overdue(self._timeout):
                    log.warning("valkey does not answer (%s)", self._name)
                    return
            elif not wire.lost.done() and loop.time() - wire.heard_at > quiet:
                wire.submit(pack(("PING",)), _ignore_reply)


class _Wire(asyncio.Protocol):
    """One connection: replies to their callbacks in order, pushes to `on_push`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_push: Callable[[list[Any]], None]) -> None:
        self._loop = loop
        self._on_push = on_push
        self._reader = hiredis.Reader(notEnoughData=_NOTHING_YET)
        self._pending: deque[tuple[Callback, float]] = deque()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = loop.create_future()
        self.expected = 0
        """Confirmations of subscriptions that have not come yet."""
        self.heard = 0
        self.heard_at = loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def write(self, packed: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(packed)

    def submit(self, packed: bytes, callback: Callback) -> None:
        if self.lost.done():
            raise LinkDown("the connection to Valkey is down")
        self._pending.append((callback, self._loop.time()))
        self.write(packed)

    def overdue(self, seconds: float) -> bool:
        return bool(self._pending) and self._loop.time() - self._pending[0][1] > seconds

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(None)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def data_received(self, data: bytes) -> None:
        self.heard += 1
        self.heard_at = self._loop.time()
        reader, pending = self._reader, self._pending
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _NOTHING_YET:
                if isinstance(reply, hiredis.PushNotification):
                    if reply[0] in _CONFIRMATIONS:
                        self.expected -= 1
                    self._on_push(reply)
                elif self.expected and isinstance(reply, hiredis.ReplyError):
                    # Perhaps a refused SUBSCRIBE: were it taken for a command's answer, every later answer would go
                    # to the wrong asker.
                    raise hiredis.ProtocolError(str(reply))
                elif pending:
                    pending.popleft()[0](reply)
                else:
                    raise hiredis.ProtocolError("a reply that nobody asked for")
        except hiredis.ProtocolError as broken:
            log.warning("the conversation with valkey broke: %s", broken)
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.lost.done():
            return
        self.lost.set_result(None)
        down = LinkDown("the connection to Valkey was lost")
        while self._pending:
            self._pending.popleft()[0](down)


def _answer(future: asyncio.Future[Any]) -> Callback:
    def answered(reply: Any) -> None:
        if not future.done():
            future.set_result(reply)

    return answered


def _target(url: str) -> dict[str, Any]:
    """What a URL says, in the words of the client library.

    The plain kind is read here: to import the library takes an API process 60 ms and 15 MiB, and nothing else there
    needs it.
    """
    parts = urlsplit(url)
    if parts.scheme != "redis" or parts.query:
        from redis.asyncio.connection import parse_url

        return dict(parse_url(url))
    target: dict[str, Any] = {}
    if parts.hostname:
        target["host"] = unquote(parts.hostname)
    if parts.port:
        target["port"] = parts.port
    if parts.username:
        target["username"] = unquote(parts.username)
    if parts.password:
        target["password"] = unquote(parts.password)
    database = unquote(parts.path).strip("/")
    if database.isdigit():
        target["db"] = int(database)
    return target


def _tls(target: dict[str, Any]) -> ssl.SSLContext | None:
    if "connection_class" not in target:
        return None
    from redis.asyncio.connection import SSLConnection

    if not issubclass(target["connection_class"], SSLConnection):
        return None
    context = ssl.create_default_context(cafile=target.get("ssl_ca_certs"), capath=target.get("ssl_ca_path"))
    if str(target.get("ssl_cert_reqs", "required")).lower() in {"none", "optional"}:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if target.get("ssl_certfile"):
        context.load_cert_chain(target["ssl_certfile"], target.get("ssl_keyfile"), target.get("ssl_password"))
    return context


def _ignore_push(message: list[Any]) -> None: ...


def _ignore_reply(reply: Any) -> None: ...


def _nothing() -> None: ...
